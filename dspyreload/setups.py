"""The game's module that registers what it needs: ``--setup dotted.module``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from typing import TYPE_CHECKING

from dspyreload.errors import DSPyReloadError
from dspyreload.model.faults import shown

if TYPE_CHECKING:
    from dspyreload.engine import DSPyEngine

__all__ = ["find_setup", "run_setup"]


def find_setup(name: str) -> str | None:
    """Look for the module, in the current directory too; return what is wrong, or None."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    # Only the top of a.b.c: to find the rest would run a, and the process may still fork and drop its privileges.
    if name.endswith(".py"):
        return f"--setup {shown(name)}: name the module without .py, such as {shown(name[:-3])}"
    top = name.partition(".")[0]
    if not top.isidentifier() or importlib.util.find_spec(top) is None:
        where = f"{shown(here)}; run this where the game lies"
        return f"--setup {shown(name)}: there is no module '{shown(top)}' in {where}"
    return None


def run_setup(name: str, engine: DSPyEngine) -> None:
    """Import the module and call its ``setup(engine)``.

    :raises DSPyReloadError: where that fails.
    """
    try:
        module = importlib.import_module(name)
        if not callable(getattr(module, "setup", None)):
            raise TypeError("the module has no function setup(engine)")  # noqa: TRY301
        module.setup(engine)
    except Exception as error:
        raise DSPyReloadError(f"--setup {name} failed: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: Exception) -> str:
    """Say where in the game's code an error was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [
        frame
        for frame in frames
        if os.path.dirname(__file__) not in frame.filename and "importlib" not in frame.filename
    ]
    return f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
