"""Files and folders that can't be read, and what the game says."""

from __future__ import annotations

import os
from pathlib import Path

from dspyreload.config import HotReloadConfig
from tests.messages.case import PLAIN, Case, Checked, Group, Made, one

__all__ = ["GROUPS"]

_SMITH = '{\n  "instruction": "You are a smith."\n}\n'
_FIELDS = '{"inputs": [{"name": "question"}], "outputs": [{"name": "answer"}]}'
_WHOLE = f'{{\n  "instruction": "You are a smith.",\n  "signature": {_FIELDS}\n}}\n'


def _outside(path: Path) -> Path:
    """Return the folder in which the modules directory lies."""
    return next(above for above in path.parents if above.name == "modules").parent


def _out(path: Path) -> None:
    outside = _outside(path) / "outside.json"
    outside.write_text(_SMITH, encoding="utf-8")
    path.symlink_to(outside)


def _folder_out(path: Path) -> None:
    outside = _outside(path) / "shared"
    outside.mkdir()
    path.symlink_to(outside, target_is_directory=True)


def _for_all(path: Path) -> None:
    path.write_text(_SMITH, encoding="utf-8")
    path.chmod(0o666)


def _to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _to_nothing(path: Path) -> None:
    path.symlink_to("old.json")


def _latin_name(path: Path) -> None:
    (path.parent / os.fsdecode("caf\xe9.json".encode("latin-1"))).write_text(_SMITH, encoding="utf-8")


_LISTED = '{"modules": {"smith": {"path": "smith.json"}}}\n'
_FILES: tuple[Case, ...] = (
    Case(
        "A folder with the name of a file",
        {"manifest.json": _LISTED, "smith.json": Made("a folder", Path.mkdir)},
    ),
    one("A pipe with the name of a file", Made("a FIFO, which programs write into", os.mkfifo)),
    one("A link to a file elsewhere", Made("a link to a file outside of the modules directory", _out)),
    Case(
        "A link that leads round",
        {"manifest.json": _LISTED, "smith.json": Made("a link to itself", _to_itself)},
    ),
    one("A link that leads nowhere", Made("a link to a file that there is not", _to_nothing)),
    Case(
        "A link to a folder elsewhere",
        {"smith.json": _SMITH, "shared": Made("a link to a folder outside of the modules directory", _folder_out)},
    ),
    Case(
        "A name that is not UTF-8",
        {"smith.json": _SMITH, "café.json": Made("a file whose name an old program wrote as Latin-1", _latin_name)},
    ),
    one(
        "A file that is too large",
        '{\n  "instruction": "You are a smith who tells long stories of the old days in the mountains."\n}\n',
        Checked(
            words="(Checked with a limit of 50 bytes; 4 MiB are allowed.)", config=HotReloadConfig(max_file_size=50)
        ),
    ),
    one(
        "A file that everybody may write",
        Made("a file of mode 666", _for_all, _SMITH),
        Checked(words="(Checked as `twistd dspyreload --strict` does.)", config=HotReloadConfig(strict=True)),
    ),
    Case(
        "More files than are allowed",
        {f"{name}.json": _WHOLE for name in ("baker", "guide", "smith")},  # which two serve, the disk decides
        Checked(words="(Checked with a limit of two files; 100,000 are allowed.)", config=HotReloadConfig(max_files=2)),
    ),
)

_GAME: tuple[Case, ...] = (
    one(
        "The game refuses a module",
        _SMITH,
        Checked(
            words="Checked with `--setup`; the game has a check of its own. The words are the game's.",
            refuses=lambda path, version: "smith does not name her town",
        ),
    ),
    one(
        "The game can't tell yet",
        _SMITH,
        Checked(
            words="Checked with `--setup`; the game has a check of its own, which asks another server.",
            refuses=lambda path, version: None,
        ),
    ),
)

_LOOKS: tuple[Case, ...] = (
    Case(
        "Nothing is wrong",
        {
            "npc/smith.json": '{\n  "instruction_file": "smith.md",\n  "include": ["../town.md"]\n}\n',
            "npc/smith.md": "You are Hild, a gruff smith.\n",
            "town.md": "The town is Harrow.\n",
        },
        PLAIN,
    ),
    Case(
        "One fault",
        {
            "npc/smith.json": '{\n  "instruction": "You are Hild, a gruff smith.",\n  "demos": [\n'
            '    {"inputs": {"player_message": "Hi"}, "outputs": {}}\n  ]\n}\n'
        },
    ),
    Case(
        "Several files",
        {
            "baker.json": '{\n  "instruction": "You are a baker.",\n  "mood": "kind"\n}\n',
            "guide.json": '{\n  "demos": [,]\n}\n',
            "smith.json": '{\n  "instruction": "You are a smith.",\n  "demos": [\n'
            '    {"inputs": {}, "outputs": {}}\n  ]\n}\n',
        },
        PLAIN,
        "Faults come first, then warnings, then how many each file has.",
    ),
)

GROUPS = (
    Group("How it looks", "", _LOOKS),
    Group("Files that can't be read", "", _FILES),
    Group("What the game says", "", _GAME),
)
