"""Ways of saving a module: as editors, deploy scripts and the kubelet do it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.modules import text

__all__ = ["MOUNTED", "SIZE", "Save", "as_vim", "by_rename", "in_place", "mount"]

SIZE = 4096
MOUNTED = 100  # a ConfigMap holds 1 MiB at most

Save = Callable[[str, int], str]
"""Saves a module's file as a revision, and returns the event that ends that: a path, or "deleted " and a path."""


def in_place(path: str, revision: int) -> str:
    Path(path).write_text(text(0, SIZE, revision), encoding="utf-8")
    return path


def by_rename(path: str, revision: int) -> str:
    Path(f"{path}.tmp").write_text(text(0, SIZE, revision), encoding="utf-8")
    os.replace(f"{path}.tmp", path)
    return path


def as_vim(path: str, revision: int) -> str:
    os.rename(path, f"{path}~")
    Path(path).write_text(text(0, SIZE, revision), encoding="utf-8")
    os.unlink(f"{path}~")
    return f"deleted {path}~"


def mount(path: str, revision: int) -> str:
    """Write the files of a ConfigMap, put them in place of the old ones, and delete those, as the kubelet does."""
    directory = os.path.dirname(path)
    new, link = f"..set_{revision:06}", f"{directory}/..data"
    old = os.path.realpath(link) if os.path.lexists(link) else ""
    os.mkdir(f"{directory}/{new}")
    for number in range(MOUNTED):
        changed = revision if number == revision % MOUNTED else 0
        Path(f"{directory}/{new}/guest{number:06}.json").write_text(text(number, SIZE, changed), encoding="utf-8")
    os.symlink(new, f"{link}_tmp")
    os.rename(f"{link}_tmp", link)
    if old:
        shutil.rmtree(old)
    else:
        for number in range(MOUNTED):
            os.symlink(f"..data/guest{number:06}.json", f"{directory}/guest{number:06}.json")
    return f"deleted {old}"
