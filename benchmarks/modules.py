"""Modules to measure with: made, and changed by a child process."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["directory_of", "make", "module_id", "paths", "rewrite", "rewritten", "text"]

_FOLDERS = 100
_SIGNATURE = {
    "inputs": [{"name": "player_message", "description": "What the player said"}],
    "outputs": [
        {"name": "response", "description": "What the guest answers"},
        {"name": "emotion", "description": "How the guest feels"},
    ],
}


def text(number: int, size: int, revision: int = 0) -> str:
    """Return a module of ``size`` bytes: with as many short demonstrations as there is room for, as games have them."""
    head = {
        "signature_name": "inn.guest",
        "signature": _SIGNATURE,
        "instruction": f"You are guest {number:06} of the inn, in revision {revision:06}. You like long evenings.",
        "metadata": {"optimizer": "MIPROv2", "metric_score": 0.87, "version": "1.0.0"},
    }
    demos = [
        {
            "inputs": {"player_message": f"And for {other} silver?"},
            "outputs": {"response": "Ask me again tomorrow, when the fire is out.", "emotion": "weary"},
        }
        for other in range(size // 100)
    ]
    left = size - len(json.dumps({**head, "demos": []}))
    lengths = itertools.accumulate(len(json.dumps(demo)) + 2 for demo in demos)
    body = json.dumps({**head, "demos": demos[: sum(length <= left for length in lengths)]})
    return body.replace("long evenings.", "long evenings." + "." * (size - len(body)), 1)


def module_id(number: int) -> str:
    """Return the id of a module."""
    return f"town{number % _FOLDERS}.guest{number:06}"


def paths(directory: str, count: int) -> list[str]:
    """Return where the modules lie."""
    return [f"{directory}/town{number % _FOLDERS}/guest{number:06}.json" for number in range(count)]


def make(directory: str, count: int, size: int) -> None:
    """Write ``count`` modules of ``size`` bytes, in a hundred folders."""
    for number, path in enumerate(paths(directory, count)):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(text(number, size), encoding="utf-8")


@contextmanager
def directory_of(count: int, size: int) -> Iterator[str]:
    """Give a directory with modules, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="dspyreload-bench-") as directory:
        make(directory, count, size)
        yield directory


def rewritten(directory: str, count: int, revision: int) -> list[tuple[str, bytes]]:
    """Return the modules as a new revision of them, each of the same size."""
    new = b"revision %06d" % revision
    return [
        (path, re.sub(rb"revision \d{6}", new, Path(path).read_bytes(), count=1)) for path in paths(directory, count)
    ]


def rewrite(directory: str, count: int, revision: int, seconds: float = 0.0) -> float:
    """Write all modules anew, in place, once a line comes in: as quickly as it goes, or evenly in so many seconds.

    For a child process: it says when it is ready, and returns how long it took.
    """
    fresh = rewritten(directory, count, revision)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for number, (path, data) in enumerate(fresh):
        while time.perf_counter() - started < seconds * number / count:
            time.sleep(0.0005)
        with open(path, "wb") as file:
            file.write(data)
    return time.perf_counter() - started
