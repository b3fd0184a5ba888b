"""Makes the text of ``docs/messages.md``: the real commands, run on the cases."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from dspyreload.__main__ import main
from dspyreload.commands.excerpt import Excerpts
from dspyreload.commands.reporting import as_text
from dspyreload.disk.check import check_directory
from tests.messages.case import Case, Files, Group, Made, Run, Saved, Talked
from tests.messages.cases import GROUPS
from tests.messages.talking import said, said_of_saves

__all__ = ["Output", "Said", "document", "output", "outputs", "slug", "written"]


@attrs.frozen
class Said:
    """A message and its mend. ``level``: as of a remark."""

    message: str
    mend: str
    level: str


@attrs.frozen
class Output:
    """What is printed, and the messages in it that stand at a place of a file."""

    text: str
    said: tuple[Said, ...] = ()


_HERE = Path(__file__).parent

_HOME = "~/game"
"""What stands for the folder in which a command is run."""


def written(folder: Path, files: Mapping[str, str | Made | None]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        elif isinstance(content, Made):
            content.make(path)
        else:
            path.write_bytes(content.encode())


def output(case: Case | Run | Saved | Talked) -> Output:
    """Run a case in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="messages") as temporary:
        home = Path(os.path.realpath(temporary))
        folder = home / "modules"
        folder.mkdir()
        written(folder, case.files)
        with contextlib.chdir(home):
            found = _OF[type(case)](case, home, folder)
        return attrs.evolve(found, text=found.text.replace(str(home), _HOME).rstrip("\n"))


def _of_check(case: Case, _home: Path, folder: Path) -> Output:
    how = case.how
    report = check_directory(folder, how.config, how.registrations, how.refuses, complete=how.complete)
    lines = as_text(report, Excerpts(str(folder), how.config.max_file_size))
    found = tuple(Said(remark.message, remark.mend, remark.level) for remark in report.remarks)
    return Output("\n".join(lines), found)


def _of_run(case: Run, home: Path, _folder: Path) -> Output:
    case.before(home)
    if case.alone:
        command = [sys.executable, "-m", "dspyreload", *case.arguments]
        run = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=60, check=False
        )
        return Output(run.stdout)
    printed = io.StringIO()
    path = [*sys.path]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        main(case.arguments)
    sys.path[:] = path  # --setup looks in the current directory
    return Output(printed.getvalue())


def _of_saves(case: Saved, _home: Path, folder: Path) -> Output:
    lines, faults = said_of_saves(case, folder, written)
    return Output("\n".join(lines), tuple(Said(fault.message, fault.mend, "fault") for fault in faults))


def _of_talk(case: Talked, _home: Path, folder: Path) -> Output:
    return Output(said(case, folder))


_OF: dict[type[Any], Callable[[Any, Path, Path], Output]] = {
    Case: _of_check,
    Run: _of_run,
    Saved: _of_saves,
    Talked: _of_talk,
}


@functools.cache
def outputs() -> tuple[tuple[str, Output], ...]:
    """Return what each case gives, with its group and its title."""
    return tuple((f"{group.title}: {case.title}", output(case)) for group in GROUPS for case in group.cases)


def document() -> str:
    """Return the whole document."""
    parts = [_introduction()]
    parts.append("\n".join(f"- [{group.title}](#{slug(group.title)})" for group in GROUPS))
    found = dict(outputs())
    for group in GROUPS:
        parts += _group(group, found)
    return "\n\n".join(parts) + "\n"


def _introduction() -> str:
    text = (_HERE / "introduction.md").read_text(encoding="utf-8").rstrip("\n")
    example = dict(outputs())["How it looks: One fault"].text.partition("\n\n")[0]
    return text.replace("@example@", example).replace("@place@", example.partition(": ")[0])


def slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _group(group: Group, found: Mapping[str, Output]) -> Iterator[str]:
    yield f"## {group.title}"
    if group.words:
        yield group.words
    for case in group.cases:
        yield f"### {case.title}"
        if case.note:
            yield case.note
        yield from _files(case.files)
        if isinstance(case, Case) and case.how.words:
            yield case.how.words
        if isinstance(case, Saved):
            yield from _saves(case)
        text = found[f"{group.title}: {case.title}"].text
        command = f"$ dspyreload {' '.join(case.arguments)}\n" if isinstance(case, Run) else ""
        yield f"```text\n{command}{text}\n```"


def _saves(case: Saved) -> Iterator[str]:
    for number, save in enumerate(case.saves):
        yield "Then this is saved:" if number == 0 else "And then this:"
        gone = [name for name, text in save.items() if text is None]
        yield from _files({name: text for name, text in save.items() if text is not None})
        yield from (f"`{name}` is deleted." for name in gone)


def _files(files: Files) -> Iterator[str]:
    for name, content in files.items():
        if isinstance(content, Made):
            yield f"`{name}`: {content.words}."
            text = content.shown
        elif not content:
            yield f"`{name}`: an empty file."
            text = ""
        else:
            yield f"`{name}`:"
            text = content
        if text:
            kind = "json" if name.endswith(".json") else "text"
            yield f"```{kind}\n{text.rstrip(chr(10))}\n```"
