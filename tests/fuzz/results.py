"""The figures of runs, as a line and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.reliability import put_section

__all__ = ["line", "table", "write"]

_NAMES = {
    "module": "a module's file, with its includes",
    "state": "what DSPy's `save()` writes, beside three templates",
    "manifest": "`manifest.json`",
    "kept": "the rows of the state file, and what is restored from them",
}


def line(reader: str, figures: Mapping[str, Any]) -> str:
    """Say how one run went."""
    rate = figures["executions"] / (figures["seconds"] or 1)
    return (
        f"{reader}: {figures['executions']:,} executions in {figures['seconds']:.0f} s, {rate:,.0f} a second;"
        f" corpus {figures['corpus']:,}; the longest input took {figures['longest']:.3f} s;"
        f" {'something' if figures['found'] else 'nothing'} found"
    )


def table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the runs as a table in Markdown."""
    rows = [
        "Made by `python -m tests.fuzz READER --seconds N --results DIR`: atheris, coverage-guided, with mutations"
        " that keep the JSON whole. What is accepted is held against rules of its own (`tests/fuzz/*_model.py`).",
        "",
        "| reader | seconds | executions | corpus | longest input | found |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for reader, run in runs.items():
        found = "nothing" if not run["found"] else str(run["found"])
        rows.append(
            f"| {_NAMES[reader]} | {run['seconds']:.0f} | {run['executions']:,} | {run['corpus']:,}"
            f" | {run['longest']:.3f} s | {found} |"
        )
    return "\n".join(rows)


def write(folder: Path, readers: Iterable[str]) -> None:
    """Put the figures of a folder into the document."""
    runs = {
        reader: json.loads((folder / f"{reader}.json").read_text())
        for reader in readers
        if (folder / f"{reader}.json").exists()
    }
    put_section("fuzz", table(runs))
