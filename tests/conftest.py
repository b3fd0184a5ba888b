"""What all tests share."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Where they are run from changes no test, nor what they start: not the terminal, and not what others may write.
for _name in ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)
os.environ["TERM"] = "xterm-256color"
os.umask(0o022)

settings.register_profile("tests", settings.default, deadline=None)  # a machine may be busy with other things
settings.load_profile("tests")

pytest_plugins = ["tests.faults.table"]

MODULE: dict[str, Any] = {
    "module_id": "npc.smith",
    "predictor_type": "predict",
    "signature_name": "npc.dialogue",
    "signature": {
        "inputs": [{"name": "player_message", "description": "What the player said"}],
        "outputs": [
            {"name": "response", "description": "What the character answers"},
            {"name": "emotion", "description": "How the character feels"},
        ],
    },
    "instruction": "You are a smith.",
    "demos": [
        {
            "inputs": {"player_message": "Good day!"},
            "outputs": {"response": "Is it? Mind the sparks.", "emotion": "annoyed"},
        }
    ],
}
"""A whole module in the full form; take a copy."""


def module_text(module_id: str = "npc.smith", **changes: Any) -> str:
    """Return the text of a module file: :data:`MODULE` with changes, ``None`` deletes a key."""
    module = {**MODULE, "module_id": module_id, **changes}
    return json.dumps({key: value for key, value in module.items() if value is not None}, indent=2)


Save = Callable[[str, str], Path]


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """An empty modules directory."""
    directory = tmp_path / "modules"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def no_collection() -> Iterator[None]:
    """Collect no garbage where texts are read that use up the stack.

    What earlier tests left would else be finalized there, and fail for want of stack.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder where no server has left its state file, as one that was tried in a checkout does."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def save(modules: Path) -> Save:
    """Write a file of the modules directory: ``save("npc/smith.json", text)``."""

    def write(path: str, text: str) -> Path:
        file = modules / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write
