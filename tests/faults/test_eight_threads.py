"""Readers on many threads while sets of modules go live: the real service in a real reactor."""

from __future__ import annotations

import hashlib
import json
import sys
import threading

import pytest_twisted

from dspyreload import DSPyEngine, ModuleChanged
from tests.conftest import Save
from tests.faults.game import LIMIT, Play, text, until
from tests.faults.rows import Seen, row

FOUR = ("npc.bard", "npc.cook", "npc.page", "npc.smith")


class Reader(threading.Thread):
    """Looks at the live snapshot as often as it can.

    :param numbers: of which set a version is.
    :ivar wrong: what it saw that must never be.
    """

    def __init__(self, engine: DSPyEngine, numbers: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self.engine, self.numbers = engine, numbers
        self.looks = self.generation = self.number = 0
        self.wrong = ""
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set() and not self.wrong:
            for _ in range(1000):
                self._look()
            self.looks += 1000

    def _look(self) -> None:
        snapshot = self.engine.snapshot
        found = {self.numbers[snapshot[module_id].version] for module_id in FOUR}
        number, generation = max(found), snapshot.generation
        follows = (generation, number) == (self.generation, self.number) or (
            generation > self.generation and number > self.number
        )
        if len(found) != 1 or not follows:
            self.wrong = f"{found} in generation {generation}, after {self.number} in {self.generation}"
        self.generation, self.number = generation, number


@row(30)
@pytest_twisted.ensureDeferred
async def test_row_30_readers_on_eight_threads(play: Play, save: Save, seen: Seen) -> None:
    """Four modules of one set, and eight threads that look a million times: nobody sees two sets, or an older one."""
    numbers: dict[str, int] = {}

    def save_set(number: int) -> None:
        entries = {}
        for module_id in FOUR:
            whole, path = text(f"{module_id} of set {number}."), f"{module_id}.json"
            digest = hashlib.sha256(whole.encode()).hexdigest()
            numbers[digest] = number
            entries[module_id] = {"path": path, "hash": digest, "tags": []}
            save(path, whole)
        save("manifest.json", json.dumps({"version": "1.0", "modules": entries}))

    save_set(1)
    game = await play()
    readers = [Reader(game.engine, numbers) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        for reader in readers:
            reader.start()
        number = 1
        while number <= 20 or sum(reader.looks for reader in readers) < 1_000_000:
            number += 1
            save_set(number)
            await until(lambda: numbers[game.engine.snapshot[FOUR[0]].version] == number)  # noqa: B023
    finally:
        for reader in readers:
            reader.over.set()
        for reader in readers:
            reader.join(LIMIT)
        sys.setswitchinterval(interval)
    assert [reader.wrong for reader in readers] == [""] * 8
    assert game.engine.snapshot.generation == number
    generations = set(range(2, number + 1))
    await until(lambda: {event.generation for event in game.heard(ModuleChanged)} == generations)  # on a later turn
    assert game.service.stats.reloads_total == len(FOUR) * (number - 1)
    assert {module.split(" of ")[1] for module in game.served().values()} == {f"set {number}."}
    looks = sum(reader.looks for reader in readers)
    seen(f"{looks:,} looks on 8 threads through {number - 1} commits of 4 modules: no mix, none older")
