"""Makes the text of ``docs/messages.md``: the real commands, run on the cases."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from dspyreload.__main__ import main
from dspyreload.commands.excerpt import Excerpts
from dspyreload.commands.reporting import as_text
from dspyreload.disk.check import check_directory
from tests.messages.case import Case, Files, Group, Made, Run, Saved, Talked
from tests.messages.cases import GROUPS
from tests.messages.talking import said, said_of_saves

__all__ = ["document", "output", "outputs", "slug", "written"]

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


def output(case: Case | Run | Saved | Talked) -> str:
    """Return all that is printed for a case."""
    with tempfile.TemporaryDirectory(prefix="messages") as temporary:
        home = Path(os.path.realpath(temporary))
        folder = home / "modules"
        folder.mkdir()
        written(folder, case.files)
        with contextlib.chdir(home):
            printed = "\n".join(_lines(case, home, folder))
        return printed.replace(str(home), _HOME).rstrip("\n")


def _lines(case: Case | Run | Saved | Talked, home: Path, folder: Path) -> Iterator[str]:
    if isinstance(case, Case):
        how = case.how
        report = check_directory(folder, how.config, how.registrations, how.refuses, complete=how.complete)
        yield from as_text(report, Excerpts(str(folder), how.config.max_file_size))
    elif isinstance(case, Run):
        case.before(home)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main(case.arguments)
        yield printed.getvalue()
    elif isinstance(case, Saved):
        yield from said_of_saves(case, folder, written)
    else:
        yield from said(case, folder)


def outputs() -> Iterator[tuple[str, str]]:
    """Give the title and the output of each case."""
    for group in GROUPS:
        for case in group.cases:
            yield case.title, output(case)


def document() -> str:
    """Return the whole document."""
    parts = [(_HERE / "introduction.md").read_text(encoding="utf-8").rstrip("\n")]
    parts.append("\n".join(f"- [{group.title}](#{slug(group.title)})" for group in GROUPS))
    for group in GROUPS:
        parts += _group(group)
    return "\n\n".join(parts) + "\n"


def slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _group(group: Group) -> Iterator[str]:
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
        command = f"$ dspyreload {' '.join(case.arguments)}\n" if isinstance(case, Run) else ""
        yield f"```text\n{command}{output(case)}\n```"


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
