"""``dspyreload check`` of 200 files, and of 2,000: the whole command, from its start to its end.

Beside us: a Python that only reads the same files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from dspyreload.config import HotReloadConfig
from dspyreload.disk.check import check_directory

__all__ = ["run"]

_BARE = "import pathlib, sys; [path.read_bytes() for path in pathlib.Path(sys.argv[1]).rglob('*.json')]"


def _module(number: int) -> str:
    demos = [
        {
            "inputs": {"player_message": f"What about {number} and {other}?"},
            "outputs": {"response": "Ask me tomorrow. " * 8},
        }
        for other in range(16)
    ]
    return json.dumps({"instruction": f"You are guest {number}. " * 10, "demos": demos}, indent=1)


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _in_process(directory: str) -> tuple[float, float]:
    """Return our seconds without the start of a process, and those of reading and decoding alone."""
    started = time.perf_counter()
    check_directory(directory, HotReloadConfig())
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for path in Path(directory).rglob("*.json"):
        json.loads(path.read_bytes())
    return ours, time.perf_counter() - started


def _measure(count: int, repeat: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        for number in range(count):
            folder = Path(directory, f"town{number % 10}")
            folder.mkdir(exist_ok=True)
            (folder / f"guest{number}.json").write_text(_module(number), encoding="utf-8")
        ours, bare, inside, decoded = [], [], [], []
        for _ in range(repeat):  # in turn: what slows the machine down slows both
            bare.append(_seconds([sys.executable, "-c", _BARE, directory]))
            ours.append(_seconds([sys.executable, "-m", "dspyreload", "check", directory]))
            here, alone = _in_process(directory)
            inside.append(here)
            decoded.append(alone)
    more = 1.0 if count == 200 else None
    return [
        Figure(
            f"check of {count} files, whole command", ours, "s", "a Python that reads them", bare, at_most_more=more
        ),
        Figure(f"check of {count} files, without its start", inside, "s", "reading and json.loads", decoded),
    ]


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    return _measure(200, 3 if quick else 9) + ([] if quick else _measure(2000, 3))
