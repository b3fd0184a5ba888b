"""A writer: ``python -m tests.soak.writer SETTINGS``. It saves its modules in its own way, and keeps a journal.

A line of the journal is ``KIND ID SECONDS DIGEST``:

- ``save``: the file holds a new version, of that digest; ``same``: the very bytes that it held.
- ``broken``: it holds half of a version. It is mended later.
- ``delete``: it is about to be gone; ``make``: it is there again, with a new version.
- ``move``: a folder has another name now. A file in it that is broken is noted as deleted: in its new place nobody can
  tell which module it is.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import TextIO

import attrs

from tests.soak.content import Place, places, text_of
from tests.soak.processes import die_with
from tests.soak.saving import STYLES

__all__ = ["Settings", "Writer"]

_BURST = 5  # saves at a time: somebody who saves all open files
_BROKEN, _DELETED, _SAME = 0.03, 0.006, 0.02  # of the saves
_MEND_AFTER = 60  # saves, at most
_MOVE_EVERY = 100  # saves
_SETTLED = 3.0  # seconds after a move, before which nothing in that folder is broken, for the same reason


@attrs.frozen(kw_only=True)
class Settings:
    """What a writer is to do.

    :ivar count: modules, of all writers. ``saves``: of this one, at least. ``seconds``: for all of them.
    """

    modules: str
    journal: str
    writer: str
    count: int
    saves: int
    seconds: float
    parent: int


class Writer:
    """Saves, and remembers what is to be mended or made again."""

    def __init__(self, settings: Settings, journal: TextIO) -> None:
        self.settings, self._journal = settings, journal
        self._chance = random.Random(f"soak {settings.writer}")
        self._save = STYLES[settings.writer]
        self._modules = Path(settings.modules)
        self._places = [place for place in places(settings.count) if place.writer == settings.writer]
        self._numbers = dict.fromkeys(self._places, 0)
        self._folders = {place.folder: place.folder for place in self._places}
        self._roving = sorted({place.folder for place in self._places if place.roves})
        self._moved = dict.fromkeys(self._roving, 0.0)
        self._later: list[tuple[int, Place]] = []  # when, and what is to be good again
        self._bad: dict[Place, str] = {}  # and what to call that
        self.saves = 0

    def run(self) -> None:
        """Save as often as was asked for, evenly over the time; then mend what is left."""
        begun, pause = time.monotonic(), self.settings.seconds / max(1, self.settings.saves)
        while self.saves < self.settings.saves:
            if self.saves % _BURST == 0:
                time.sleep(max(0.0, begun + self.saves * pause - time.monotonic()))
            self._next()
        while self._later:
            self._mend()

    def _next(self) -> None:
        if self._roving and self.saves % _MOVE_EVERY == _MOVE_EVERY - 1:
            self._move(self._chance.choice(self._roving))
        if self._later and self._later[0][0] <= self.saves:
            self._mend()
            return
        place = self._chance.choice(self._places)
        if place in self._bad:
            return
        dice = self._chance.random()
        if dice < _DELETED:
            self._delete(place)
        elif dice < _DELETED + _BROKEN and time.monotonic() - self._moved.get(place.folder, 0.0) > _SETTLED:
            self._break(place)
        elif dice < _DELETED + _BROKEN + _SAME:
            self._write("same", place, text_of(place, self._numbers[place]))
        else:
            self._write("save", place, self._newer(place))

    def _path(self, place: Place) -> Path:
        return place.path(self._modules, self._folders[place.folder])

    def _newer(self, place: Place) -> bytes:
        self._numbers[place] += 1
        return text_of(place, self._numbers[place])

    def _write(self, kind: str, place: Place, data: bytes) -> None:
        self._save(self._path(place), data, self._chance)
        self.saves += 1
        self._note(kind, place.module_id, hashlib.sha256(data).hexdigest())

    def _break(self, place: Place) -> None:
        data = self._newer(place)
        self._write("broken", place, data[: self._chance.randrange(1, len(data) - 2)])
        self._put_off("save", place)

    def _delete(self, place: Place) -> None:
        self._note("delete", place.module_id, "-")
        self._path(place).unlink()
        if self._chance.random() < 0.5:
            self._write("make", place, self._newer(place))
        else:
            self._put_off("make", place)

    def _put_off(self, kind: str, place: Place) -> None:
        self._bad[place] = kind
        heapq.heappush(self._later, (self.saves + self._chance.randrange(1, _MEND_AFTER), place))

    def _mend(self) -> None:
        _when, place = heapq.heappop(self._later)
        self._write(self._bad.pop(place), place, self._newer(place))

    def _move(self, folder: str) -> None:
        for place, kind in self._bad.items():
            if place.folder == folder and kind == "save":
                self._bad[place] = "make"
                self._note("delete", place.module_id, "-")
        before = self._folders[folder]
        after = folder if before != folder else f"{folder}_away"
        os.rename(self._modules / before, self._modules / after)
        self._folders[folder], self._moved[folder] = after, time.monotonic()
        self._note("move", folder, "-")

    def _note(self, kind: str, what: str, digest: str) -> None:
        self._journal.write(f"{kind} {what} {time.time():.4f} {digest}\n")


def main(settings: Settings) -> None:
    """Write until all is saved."""
    die_with(settings.parent)
    os.nice(5)
    with open(settings.journal, "w", encoding="ascii") as journal:
        writer = Writer(settings, journal)
        writer.run()
    print(writer.saves, flush=True)


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
