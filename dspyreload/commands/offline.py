"""What the commands share: their directory and its manifest, and what a game registers where no server runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable

import attrs

from dspyreload.disk.placing import failure_of
from dspyreload.disk.reading import ReadFault, read_file
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError, HotReloadFailed
from dspyreload.lm.models import LanguageModels
from dspyreload.lmconfig import read_lm_config
from dspyreload.model.faults import FaultError, joined, shown
from dspyreload.model.manifest import MANIFEST, ModuleManifest, parse_manifest
from dspyreload.model.registrations import Registrations
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.setups import find_setup, run_setup

__all__ = ["absent", "add_directory", "add_setup", "check_directory_named", "read_manifest", "registered"]

Refuses = Callable[[str, ModuleVersion], str | None]


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Give a command its directory."""
    parser.add_argument("directory", metavar="DIR", help="the directory of the modules")


def absent(directory: str) -> str | None:
    """Say why a name is that of no directory, or return None."""
    if os.path.isdir(directory):
        return None
    if os.path.exists(directory):
        return f"{shown(directory)} is a file; name the directory that it lies in"
    return f"{shown(directory)} is not there; correct its name, or make it with dspyreload init"


def check_directory_named(directory: str) -> None:
    """Refuse what is no directory.

    :raises DSPyReloadError: saying what it is.
    """
    if (fault := absent(directory)) is not None:
        raise DSPyReloadError(fault)


def read_manifest(root: str, limit: int) -> ModuleManifest | None:
    """Return the manifest of a directory, or None where there is none.

    :raises HotReloadFailed: where it can't be read, or has a fault.
    """
    try:
        read = read_file(root, MANIFEST, limit)
    except ReadFault as error:
        if error.missing:
            return None
        raise HotReloadFailed(MANIFEST, joined(error.message, error.mend)) from None
    try:
        return parse_manifest(read.data)
    except FaultError as error:
        raise failure_of(MANIFEST, error, read.data) from None


def add_setup(parser: argparse.ArgumentParser) -> None:
    """Give a command the option for what the game registers."""
    parser.add_argument("--setup", metavar="MODULE", help="its setup(engine) registers what the game has")


def registered(setup: str | None, lm_config: str | None, directory: str) -> tuple[Registrations, Refuses]:
    """Return what the game registers, and what its validators say of a version.

    :param setup: the game's module, or None for no game.
    :param lm_config: the server's file of language models, or None.
    :raises DSPyReloadError: where one of the two can't be used.
    """
    bounds = LanguageModels(None, read_lm_config(lm_config)).bounds() if lm_config is not None else None
    if setup is None:
        return Registrations(lms=bounds), lambda path, version: ""
    if (fault := find_setup(setup)) is not None:
        raise DSPyReloadError(fault)
    engine = DSPyEngine(directory, load=False)
    engine.offline = True
    with contextlib.redirect_stdout(sys.stderr):  # what the game prints is no part of the result
        run_setup(setup, engine)
    return attrs.evolve(engine.registrations(), lms=bounds), engine.validators.verdict
