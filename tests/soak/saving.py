"""Three ways in which editors and tools save a file."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["STYLES", "Save"]

Save = Callable[[Path, bytes, random.Random], None]
"""``save(path, data, chance)``."""

_CHUNKS = 4
_PAUSE, _LONG_PAUSE = 0.001, 0.3  # seconds between two chunks; few pause for longer than the quiet window
_PAUSES_LONG = 0.002


def in_place(path: Path, data: bytes, chance: random.Random) -> None:
    """Truncate and write in chunks: between the first and the last, the file is torn."""
    pause = _LONG_PAUSE if chance.random() < _PAUSES_LONG else _PAUSE
    step = len(data) // _CHUNKS + 1
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(data), step):
            if start:
                time.sleep(pause)
            file.write(data[start : start + step])


def by_rename(path: Path, data: bytes, chance: random.Random) -> None:
    """Write a temporary file and give it the name, as tools do: the file is never torn, and never away."""
    temporary = path.with_name(f".{path.name}.{chance.randrange(1 << 32):08x}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def as_vim(path: Path, data: bytes, chance: random.Random) -> None:
    """Rename the file to ``~``, write it anew, unlink the old one: for a moment there is no such file."""
    backup = path.with_name(f"{path.name}~")
    if path.exists():
        os.rename(path, backup)
    path.write_bytes(data)
    backup.unlink(missing_ok=True)


STYLES: dict[str, Save] = {"a": in_place, "b": by_rename, "c": as_vim}
"""By writer."""
