"""Files that a module is made of."""

from __future__ import annotations

from pathlib import Path

from dspyreload.config import HotReloadConfig
from tests.messages.case import Case, Checked, Group, Made

__all__ = ["GROUPS"]

_TOWN = "The town is Harrow.\n"


def _including(*names: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f'{{\n  "instruction": "You are a smith.",\n  "include": [{listed}]\n}}\n'


def _folder(path: Path) -> None:
    path.mkdir()


def _many_names(path: Path) -> None:
    path.write_text(_including(*(f"texts/{number}.md" for number in range(1, 71))), encoding="utf-8")


def _many_texts(path: Path) -> None:
    path.mkdir()
    for number in range(1, 71):
        (path / f"{number}.md").write_text(f"Rule {number}.\n", encoding="utf-8")


def _long_name(path: Path) -> None:
    path.write_text(_including("a" * 300), encoding="utf-8")


def _latin(path: Path) -> None:
    path.write_bytes("The café.\n".encode("latin-1"))


_TEXTS: tuple[Case, ...] = (
    Case("A file that is not there", {"smith.json": _including("rules.md")}),
    Case("A name that is misspelt", {"smith.json": _including("twon.md"), "town.md": _TOWN}),
    Case(
        "A name that counts from another folder",
        {"npc/smith.json": _including("town.md"), "town.md": _TOWN},
        note="A name counts from the folder of the file that names it; here it is `../town.md`.",
    ),
    Case("An instruction file that is not there", {"smith.json": '{\n  "instruction_file": "smith.md"\n}\n'}),
    Case("The same file twice", {"smith.json": _including("town.md", "./town.md"), "town.md": _TOWN}),
    Case(
        "More files than are allowed",
        {
            "smith.json": Made("a module that includes the 70 texts", _many_names),
            "texts": Made("a folder of 70 texts, `1.md` to `70.md`", _many_texts),
        },
    ),
    Case(
        "Files without words",
        {"smith.json": '{\n  "instruction_file": "smith.md"\n}\n', "smith.md": "\n"},
    ),
    Case(
        "A file that is not UTF-8",
        {"smith.json": _including("town.md"), "town.md": Made("a text that was saved as Latin-1", _latin, "The café.")},
    ),
    Case("A folder", {"smith.json": _including("town"), "town": Made("a folder", _folder)}),
    Case(
        "A file that is too large",
        {"smith.json": _including("town.md"), "town.md": "The town is Harrow, and it is a large town.\n" * 4},
        Checked(
            words="(Checked with a limit of 100 bytes; 4 MiB are allowed.)", config=HotReloadConfig(max_file_size=100)
        ),
    ),
)

_MODULES: tuple[Case, ...] = (
    Case(
        "A file that an included one names",
        {
            "smith.json": _including("guild.json"),
            "guild.json": _including("rules.md").replace("a smith", "of the guild"),
        },
        note="The mark stands where `smith.json` includes what leads there; `guild.json` has the same fault itself.",
    ),
    Case("A file that includes itself", {"smith.json": _including("smith.json")}),
    Case(
        "Files that include each other",
        {"guild.json": _including("smith.json"), "smith.json": _including("guild.json")},
    ),
    Case(
        "A longer circle",
        {
            "baker.json": _including("guild.json"),
            "guild.json": _including("smith.json"),
            "smith.json": _including("baker.json"),
        },
    ),
    Case(
        "An included module that is broken",
        {"smith.json": _including("guild.json"), "guild.json": '{\n  "instruction": "You are of the guild."\n'},
    ),
    Case(
        "An included module with a value of another kind",
        {"smith.json": _including("guild.json"), "guild.json": '{\n  "instruction": ["You are of the guild."]\n}\n'},
    ),
)

_PATHS: tuple[Case, ...] = (
    Case("A path from the root of the disk", {"smith.json": _including("/town.md")}),
    Case("A path with backslashes", {"smith.json": _including("texts\\\\town.md")}),
    Case("A path out of the modules directory", {"smith.json": _including("../town.md")}),
    Case("A path without a name", {"smith.json": _including("")}),
    Case("A path that names no file", {"npc/smith.json": _including("..")}),
    Case("A path that is too long", {"smith.json": Made("a module that includes a file of 300 letters", _long_name)}),
    Case("A path with a character that can't be in one", {"smith.json": _including("town\\u0000.md")}),
)

GROUPS = (
    Group("Texts that a module is made of", '`"include"` and `"instruction_file"`.', _TEXTS),
    Group("Modules that include modules", "", _MODULES),
    Group("Paths", "They are the same wherever a file names another one.", _PATHS),
)
