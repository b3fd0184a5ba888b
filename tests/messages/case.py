"""What one entry of the document is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from dspyreload.config import HotReloadConfig
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import NOTHING, Registered, Registrations
from dspyreload.model.snapshot import ModuleVersion

__all__ = [
    "PLAIN",
    "Case",
    "Checked",
    "Files",
    "Group",
    "Made",
    "Run",
    "Saved",
    "Talked",
    "fields",
    "one",
    "registered",
]

Files = Mapping[str, "str | Made"]
"""Texts by path; None in their place deletes a file."""


@attrs.frozen
class Made:
    """A file that is no plain text.

    :ivar words: what it is, for the reader.
    :ivar make: makes it at a path.
    :ivar shown: how its text is shown, or "" where only the words are.
    """

    words: str
    make: Callable[[Path], object]
    shown: str = ""


@attrs.frozen(kw_only=True)
class Checked:
    """How a folder is checked.

    :ivar words: for the reader; "" for ``dspyreload check`` alone.
    :ivar refuses: as for :func:`~dspyreload.disk.check.check_directory`.
    """

    words: str = ""
    registrations: Registrations = NOTHING
    complete: bool = False
    refuses: Callable[[str, ModuleVersion], str | None] = lambda path, version: ""
    config: HotReloadConfig = attrs.field(factory=HotReloadConfig)


PLAIN = Checked()


@attrs.frozen
class Case:
    """A folder that is checked.

    :ivar title: what is wrong with it, in plain words.
    :ivar note: what the files do not show.
    """

    title: str
    files: Files
    how: Checked = PLAIN
    note: str = ""


@attrs.frozen
class Run:
    """Another command, run beside a folder ``modules`` with these files.

    :ivar before: called with the folder that holds it, for what no file shows.
    :ivar alone: it wants a process of its own.
    """

    title: str
    files: Files
    arguments: tuple[str, ...]
    note: str = ""
    before: Callable[[Path], object] = lambda folder: None
    alone: bool = False


@attrs.frozen
class Saved:
    """Files that are saved one time after another, and what ``talk`` says of each save.

    :ivar files: what lies there at first. ``saves``: what is written then; None deletes a file.
    :ivar refuses: what the game has against every version that is saved.
    """

    title: str
    files: Files
    saves: tuple[Mapping[str, str | None], ...]
    spoken: str = "smith"
    refuses: str = ""
    note: str = ""


@attrs.frozen
class Talked:
    """Lines that are typed in ``dspyreload talk``."""

    title: str
    files: Files
    typed: tuple[str, ...]
    module_id: str | None = None
    note: str = ""


@attrs.frozen
class Group:
    """Cases under one heading.

    :ivar words: what stands before them.
    """

    title: str
    words: str
    cases: tuple[Case | Run | Saved | Talked, ...]


def one(title: str, text: str | Made, how: Checked = PLAIN, note: str = "") -> Case:
    """Return the case of one file, ``smith.json``."""
    return Case(title, {"smith.json": text}, how, note)


def fields(inputs: str, outputs: str) -> SignatureDefinition:
    """Return a signature of text fields, each side as ``"a b"``."""
    return SignatureDefinition(
        inputs=tuple(FieldDefinition(name=name) for name in inputs.split()),
        outputs=tuple(FieldDefinition(name=name) for name in outputs.split()),
    )


def registered(**signatures: SignatureDefinition) -> dict[str, Registered]:
    """Return registered signatures by name."""
    return {name: Registered(definition, f"signature {name}#1") for name, definition in signatures.items()}
