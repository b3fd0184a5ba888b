"""The other commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.messages.case import Files, Group, Run

__all__ = ["GROUPS"]

_SMITH = '{"instruction": "You are a smith."}\n'
_FORMED = '{\n  "instruction": "You are a smith."\n}\n'
_LISTED = '{\n  "modules": {\n    "smith": {"path": "smith.json", "hash": null}\n  }\n}\n'
_BROKEN = '{\n  "modules": {\n    "smith": {"path": "smith.json"},\n  }\n}\n'
_HASHED = '{{\n  "modules": {{\n    "smith": {{"path": "smith.json", "hash": "sha256:{}"}}\n  }}\n}}\n'


def _run(
    title: str, files: Files, command: str, note: str = "", before: Callable[[Path], object] = lambda folder: None
) -> Run:
    return Run(title, files, tuple(command.split()), note, before)


def _plain_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("Hild is gruff.\n", encoding="utf-8")


def _lms(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "lms.toml").write_text(text, encoding="utf-8")


_CHECK: tuple[Run, ...] = (
    _run("A directory without modules", {"notes.txt": "Hild is gruff.\n"}, "check modules"),
    _run("A directory that is not there", {}, "check mdules"),
    _run("A file instead of the directory", {"smith.json": _SMITH}, "check modules/smith.json"),
    _run("A game that is not there", {"smith.json": _SMITH}, "check modules --setup gameprot"),
    _run("A game with its ending", {"smith.json": _SMITH}, "check modules --setup gameport.py"),
    _run("Language models that are not there", {"smith.json": _SMITH}, "check modules --lm-config lms.toml"),
    _run(
        "Watching for programs",
        {"smith.json": _SMITH},
        "check modules --watch --format json",
    ),
)

_INIT: tuple[Run, ...] = (
    _run("A new directory", {}, "init tavern"),
    _run("A directory with modules", {"npc/smith.json": _SMITH}, "init modules"),
    _run("A directory with other modules", {"wizard.json": _SMITH}, "init modules"),
    _run("A directory with modules, for Visual Studio Code", {"npc/smith.json": _SMITH}, "init modules --vscode"),
    _run("A file instead of a directory", {}, "init notes.txt", "`notes.txt` is a file.", _plain_file),
)

_HASH: tuple[Run, ...] = (
    _run("Hashes for a release", {"manifest.json": _LISTED, "smith.json": _FORMED}, "hash modules"),
    _run("A directory that is not there", {}, "hash mdules"),
    _run("Without a manifest", {"smith.json": _SMITH}, "hash modules"),
    _run("A manifest with a fault", {"manifest.json": _BROKEN, "smith.json": _SMITH}, "hash modules"),
    _run("A file that is missing", {"manifest.json": _LISTED}, "hash modules"),
    _run("A module with a fault", {"manifest.json": _LISTED, "smith.json": '["bread"]\n'}, "hash modules"),
    _run(
        "Files that are to be edited again",
        {"manifest.json": _HASHED.format("9f86d081" * 8), "smith.json": _SMITH},
        "hash modules --clear",
    ),
)

_FMT: tuple[Run, ...] = (
    _run("Files in another form", {"smith.json": _SMITH, "baker.json": _FORMED}, "fmt modules"),
    _run("Only looking", {"smith.json": _SMITH}, "fmt modules --check"),
    _run("A file with a fault", {"smith.json": _SMITH, "baker.json": '["bread"]\n'}, "fmt modules"),
    _run("A file that is missing", {"manifest.json": _LISTED}, "fmt modules"),
    _run("A manifest with a fault", {"manifest.json": _BROKEN, "smith.json": _SMITH}, "fmt modules"),
    _run(
        "A file whose hash is listed",
        {"manifest.json": _HASHED.format("9f86d081" * 8), "smith.json": _SMITH},
        "fmt modules",
    ),
    _run(
        "A file that the manifest does not list",
        {"manifest.json": _LISTED, "smith.json": _FORMED, "old.json": _SMITH},
        "fmt modules",
    ),
    _run("A directory that is not there", {}, "fmt mdules"),
)

_SCHEMA: tuple[Run, ...] = (
    _run("Without a directory to write to", {}, "schema --write"),
    _run("A directory that is not there", {}, "schema mdules"),
    _run("Schemas for an editor", {"smith.json": _SMITH}, "schema modules --write"),
    _run("A manifest with a fault", {"manifest.json": _BROKEN}, "schema modules --write"),
    _run("A file where a folder should be", {".schemas": "Notes.\n"}, "schema modules --write"),
)

_TALK: tuple[Run, ...] = (
    _run("A directory that is not there", {}, "talk mdules"),
    _run("A file instead of a directory", {"smith.json": _SMITH}, "talk modules/smith.json"),
    _run("A language model without a name", {"smith.json": _SMITH}, "talk modules --lm openai/"),
    _run(
        "A language model that there is not",
        {"smith.json": _SMITH},
        "talk modules --lm-config lms.toml --lm fats",
        "`lms.toml` has a table `[fast]`.",
        _lms('[fast]\nmodel = "openai/gpt-4o-mini"\n'),
    ),
    Run(
        "Several language models, and none chosen",
        {"smith.json": _SMITH},
        ("talk", "modules", "--lm-config", "lms.toml"),
        "`lms.toml` has the tables `[fast]` and `[smart]`.",
        _lms('[fast]\nmodel = "openai/gpt-4o-mini"\n[smart]\nmodel = "openai/gpt-4o"\n'),
        alone=True,
    ),
)

GROUPS = (
    Group("`dspyreload check` itself", "What has no place in a file.", _CHECK),
    Group("`dspyreload init`", "", _INIT),
    Group("`dspyreload hash`", "", _HASH),
    Group("`dspyreload fmt`", "", _FMT),
    Group("`dspyreload schema`", "", _SCHEMA),
    Group("`dspyreload talk`, before it begins", "", _TALK),
)
