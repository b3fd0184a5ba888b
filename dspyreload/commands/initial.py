"""``dspyreload init DIR``: a manifest and three modules to begin with."""

from __future__ import annotations

import argparse
import json
import os
import shlex

from dspyreload.commands.offline import add_directory
from dspyreload.commands.schemas import SCHEMAS, schema_texts
from dspyreload.config import HotReloadConfig
from dspyreload.disk.tree import list_tree
from dspyreload.disk.writing import make_file
from dspyreload.errors import DSPyReloadError, HotReloadFailed
from dspyreload.model.faults import shown
from dspyreload.model.formatted import formatted
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.registrations import NOTHING

__all__ = ["add_init"]

_COOK = {"instruction": "You are Bera, the cook of the Salted Herring. You hate salt. Answer in one or two sentences."}

_SMITH = {
    "instruction": "You are Hild, a gruff smith with little time. Answer in one or two short sentences.",
    "demos": [
        {"inputs": {"player_message": "Good day!"}, "outputs": {"response": "Is it? Mind the sparks."}},
        {
            "inputs": {"player_message": "Can you mend my sword?"},
            "outputs": {"response": "I can mend anything but manners. Ten coppers."},
        },
        {"inputs": {"player_message": "Goodbye"}, "outputs": {"response": "Close the door."}},
    ],
}

_GUIDE = {
    "include": ["../town.md"],
    "instruction_file": "guide.md",
    "demos": [
        {"inputs": {"player_message": "Hello"}, "outputs": {"response": "Welcome to Harrow! Stay off the pier."}},
        {
            "inputs": {"player_message": "Where can I eat?"},
            "outputs": {"response": "At the Salted Herring. Bring your own salt."},
        },
    ],
}

_GUIDE_TEXT = """\
You are Tam, a boy of nine who shows strangers around for a copper.

- You talk fast, and you know everybody.
- You never say that you don't know: you make something up.
"""

_TOWN_TEXT = """\
The town is Harrow: a harbour, a smithy, and one inn, the Salted Herring. Nobody goes to the pier after dark, and nobody
says why.
"""

_FILES = {
    "npc/cook.json": _COOK,
    "npc/smith.json": _SMITH,
    "npc/guide.json": _GUIDE,
}
_TEXTS = {"npc/guide.md": _GUIDE_TEXT, "town.md": _TOWN_TEXT}

_SETTINGS = {
    "json.schemas": [
        {"fileMatch": [f"/{MANIFEST}"], "url": f"./{SCHEMAS}/manifest.json"},
        {"fileMatch": ["/*.json", "/**/*.json", f"!/{MANIFEST}", "!/.*/**"], "url": f"./{SCHEMAS}/module.json"},
    ]
}


def add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="make a directory with a manifest and three modules to begin with")
    add_directory(parser)
    parser.add_argument("--vscode", action="store_true", help="and settings by which VS Code marks what is wrong")
    parser.set_defaults(run=_init)


def _init(options: argparse.Namespace) -> int:
    directory = options.directory
    begun = options.vscode and bool(_modules_in(directory))  # then the editor's files alone are added
    files = {} if begun else _modules()
    if options.vscode:
        files[".vscode/settings.json"] = json.dumps(_SETTINGS, indent=2) + "\n"
        files |= schema_texts(directory if begun else None, NOTHING)
    _check_new(directory, files, begun=begun)
    made: list[str] = []
    try:
        for path, text in files.items():
            make_file(directory, path, text)
            made.append(path)
    except HotReloadFailed:
        for path in made:
            os.unlink(os.path.join(directory, path))
        raise
    for path in made:
        print(os.path.join(shown(directory), path))
    if not begun:
        print(f"next: dspyreload talk {shlex.quote(shown(directory))} npc.smith")
    return 0


def _modules() -> dict[str, str]:
    files = {MANIFEST: _manifest()}
    files |= {path: formatted(json.dumps(module).encode()) for path, module in _FILES.items()}
    return files | _TEXTS


def _modules_in(directory: str) -> list[str]:
    config = HotReloadConfig()
    root = os.path.realpath(directory)
    manifest = [MANIFEST] if os.path.lexists(os.path.join(root, MANIFEST)) else []
    return manifest + sorted(list_tree(root, config.module_extensions, config.max_files).files)


def _manifest() -> str:
    """Return the manifest as a person would write it, an entry a line."""
    rows = [
        f'    "{path.removesuffix(".json").replace("/", ".")}": {{"path": "{path}", "hash": null, "tags": ["npc"]}}'
        for path in _FILES
    ]
    return '{\n  "version": "1.0",\n  "modules": {\n' + ",\n".join(rows) + "\n  }\n}\n"


def _check_new(directory: str, files: dict[str, str], *, begun: bool) -> None:
    """Refuse to write over anything, and to hide modules that are there behind a manifest that does not list them."""
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise DSPyReloadError(f"{shown(directory)} is a file; name a directory")
    there = [path for path in files if os.path.lexists(os.path.join(directory, path))]
    found = there or ([] if begun else _modules_in(directory))
    if found:
        raise DSPyReloadError(
            f"{os.path.join(shown(directory), shown(found[0]))} is there already; nothing was written."
            " init begins a new directory"
        )
