"""``dspyreload check`` of 200 files, and of 2,000: the whole command, from its start to its end.

Beside us: a Python that only reads the same files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, more
from benchmarks.modules import directory_of
from benchmarks.start import with_bytecode

__all__ = ["run"]

_BARE = "import pathlib, sys; [path.read_bytes() for path in pathlib.Path(sys.argv[1]).rglob('*.json')]"
_READS = "a Python that reads them"
_SIZE = 4096


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def in_process(directory: str) -> dict[str, float]:
    """Return our seconds without the start of a process, and those of reading and decoding alone."""
    from dspyreload.config import HotReloadConfig
    from dspyreload.disk.check import check_directory

    started = time.perf_counter()
    check_directory(directory, HotReloadConfig())
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for path in Path(directory).rglob("*.json"):
        json.loads(path.read_bytes())
    return {"ours": ours, "decoded": time.perf_counter() - started}


def _measure(count: int, repeat: int, most: float | None) -> list[Figure]:
    ours: list[float] = []
    bare: list[float] = []
    inside: list[dict[str, float]] = []
    with directory_of(count, _SIZE) as directory, with_bytecode() as environment:
        check = [sys.executable, "-m", "dspyreload", "check", directory]
        _seconds(check, environment)  # writes the bytecode
        for _ in range(repeat):
            bare.append(_seconds([sys.executable, "-c", _BARE, directory], environment))
            ours.append(_seconds(check, environment))
            inside.append(alone(in_process, directory))
    return [
        Figure(
            what=f"check of {count:,} files, whole command",
            unit="s",
            ours=ours,
            peers={_READS: bare},
            limits=(more(most, _READS),) if most is not None else (),
        ),
        Figure(
            what=f"check of {count:,} files, without its start",
            unit="s",
            ours=flat(inside, "ours"),
            peers={"reading and json.loads": flat(inside, "decoded")},
        ),
    ]


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    return _measure(200, 2 if quick else 9, 1.0) + ([] if quick else _measure(2000, 3, None))
