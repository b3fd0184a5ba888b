"""Readers: threads of the server's process that look modules up without end, and hold each look against the rules."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from dspyreload.errors import UnknownModule
from dspyreload.model.module import OptimizedModule
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from tests.soak.content import WrongRead, number_in, number_of

__all__ = ["Engine", "Readers"]

READERS = 10

_BURST, _PAUSE = 50, 0.1  # looks, and seconds between two bursts, of one reader
_DECODE = 16  # one look in so many decodes the module
_MOST_SAID = 10


class Engine(Protocol):
    """What readers need of an engine."""

    @property
    def snapshot(self) -> Snapshot: ...
    def __getitem__(self, module_id: str) -> OptimizedModule: ...


class Readers:
    """Ten threads.

    :param note: called with ``absent`` or ``back`` and a module's id, when it is first seen to be so.
    :param bytes_of: gives the bytes of a version. ``walk``: walks through what is counted; one of them does it.
    :ivar wrong: how many looks were wrong; ``said``: the first of them, in words.
    :ivar marks: the highest number of each module that a reader has seen.
    """

    def __init__(
        self,
        engine: Engine,
        ids: Iterable[str],
        note: Callable[[str, str], None],
        bytes_of: Callable[[ModuleVersion], bytes] = lambda version: version.data,
        walk: Callable[[], object] = lambda: None,
    ) -> None:
        self._engine, self._ids, self._note, self._bytes_of = engine, tuple(ids), note, bytes_of
        self._walk = walk
        self._looks = [0] * READERS
        self._absent: set[str] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.marks = dict.fromkeys(self._ids, 0)
        self.wrong = 0
        self.said: list[str] = []

    @property
    def looks(self) -> int:
        """How many there were."""
        return sum(self._looks)

    def start(self) -> None:
        """Start the threads."""
        for number in range(READERS):
            thread = threading.Thread(target=self._run, args=(number,), name=f"reader-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Have the threads end, and wait for them: a tenth of a second."""
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def blame(self, words: str) -> None:
        """Count what was wrong. Any thread."""
        with self._lock:
            self.wrong += 1
            if len(self.said) < _MOST_SAID:
                self.said.append(words)

    def mark(self, module_id: str, number: int, before: int) -> None:
        """Hold a number against the highest that was seen before the look began. Any thread."""
        if number < before:
            self.blame(f"{module_id} goes back: from {before} to {number}")
        if number > self.marks[module_id]:
            self.marks[module_id] = number

    def _run(self, reader: int) -> None:
        chance, generation = random.Random(reader), 0
        while not self._over.wait(_PAUSE):
            try:
                generation = self._burst(reader, chance, generation)
            except Exception as error:  # a reader that ended would see nothing wrong any more
                self.blame(f"a look raised {type(error).__name__}: {error}")

    def _burst(self, reader: int, chance: random.Random, generation: int) -> int:
        if reader == 0:
            self._walk()
        held = self._engine.snapshot
        first = chance.choice(self._ids)
        version = held.get(first)
        for look in range(_BURST):
            module_id = chance.choice(self._ids)
            before = self.marks[module_id]
            snapshot = self._engine.snapshot
            if snapshot.generation < generation:
                self.blame(f"the generation goes back: from {generation} to {snapshot.generation}")
            generation = snapshot.generation
            self._look(snapshot, module_id, before, decode=look % _DECODE == 0)
            self._looks[reader] += 1
        if held.get(first) is not version:
            self.blame(f"a snapshot that was held has another {first} than before")
        return generation

    def _look(self, snapshot: Snapshot, module_id: str, before: int, *, decode: bool) -> None:
        number: int | None
        try:
            if decode:
                number = number_in(module_id, self._engine[module_id])
            else:
                version = snapshot.get(module_id)
                number = number_of(module_id, self._bytes_of(version)) if version is not None else None
        except UnknownModule:
            number = None
        except WrongRead as error:
            self.blame(str(error))
            return
        if (number is None) != (module_id in self._absent):
            self._seen(module_id, number is None)
        if number is not None:
            self.mark(module_id, number, before)

    def _seen(self, module_id: str, absent: bool) -> None:
        with self._lock:
            if absent == (module_id in self._absent):  # another reader was quicker
                return
            (self._absent.add if absent else self._absent.discard)(module_id)
            self._note("absent" if absent else "back", module_id)
