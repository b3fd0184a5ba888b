"""The offline commands: ``dspyreload check DIR`` and ``dspyreload hash DIR``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence

import attrs

from dspyreload.config import HotReloadConfig
from dspyreload.disk.check import Remark, check_directory
from dspyreload.disk.hashes import list_hashes
from dspyreload.disk.scan import RootMissing
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError, HotReloadFailed
from dspyreload.lm.models import LanguageModels
from dspyreload.lmconfig import read_lm_config
from dspyreload.model.faults import counted, shown
from dspyreload.model.registrations import Registrations
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.setups import find_setup, run_setup

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    :return: the exit status: 0 where all is well, 1 where a file has a fault or the directory can't be read.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except RootMissing as error:
        hint = "; name the directory that it lies in" if os.path.isfile(options.directory) else ""
        print(f"dspyreload: {shown(options.directory)} can't be looked at: {error}{hint}", file=sys.stderr)
        if getattr(options, "json", False):
            remark = Remark(options.directory, 1, 1, "fault", f"it can't be looked at: {error}")
            print(json.dumps([attrs.asdict(remark)], indent=2))
    except HotReloadFailed as error:
        print(f"dspyreload: {shown(error.path)}: {error.reason}", file=sys.stderr)
    except DSPyReloadError as error:
        print(f"dspyreload: {shown(str(error), 500)}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dspyreload", description="Work with a directory of modules, offline.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="name every fault, one a line, as path:line:column: message")
    check.add_argument("directory", metavar="DIR", help="the directory of the modules")
    check.add_argument("--json", action="store_true", help="print a JSON list instead, for programs")
    check.add_argument("--setup", metavar="MODULE", help="its setup(engine) registers what the game has")
    check.add_argument("--lm-config", metavar="FILE", help="the server's language models, which entries may name")
    check.set_defaults(run=_check)
    hashes = commands.add_parser("hash", help="write each file's hash into manifest.json")
    hashes.add_argument("directory", metavar="DIR", help="the directory of the modules")
    hashes.set_defaults(run=_hash)
    return parser


def _check(options: argparse.Namespace) -> int:
    directory = os.path.abspath(options.directory)  # a setup may go elsewhere
    registrations, refuses = _registered(options)
    remarks = check_directory(directory, HotReloadConfig(), registrations, refuses, complete=bool(options.setup))
    faults = sum(remark.level == "fault" for remark in remarks)
    if options.json:
        print(json.dumps([attrs.asdict(remark) for remark in remarks], indent=2))
    else:
        for remark in remarks:
            print(_line(remark))
        print(f"dspyreload: {counted(faults, 'fault')}", file=sys.stderr)
    return 1 if faults else 0


def _registered(options: argparse.Namespace) -> tuple[Registrations, Callable[[str, ModuleVersion], str | None]]:
    """Return what the game registers, and what its validators say of a version."""
    lms = read_lm_config(options.lm_config) if options.lm_config is not None else None
    if options.setup is None:
        bounds = LanguageModels(None, lms).bounds() if lms is not None else None
        return Registrations(lms=bounds), lambda path, version: ""
    if (fault := find_setup(options.setup)) is not None:
        raise DSPyReloadError(fault)
    engine = DSPyEngine(options.directory, load=False)
    engine.offline = True
    run_setup(options.setup, engine)
    bounds = LanguageModels(None, lms).bounds() if lms is not None else None
    return attrs.evolve(engine.registrations(), lms=bounds), engine.validators.verdict


def _line(remark: Remark) -> str:
    kind = "warning: " if remark.level == "warning" else ""
    return f"{shown(remark.path, 300)}:{remark.line}:{remark.column}: {kind}{remark.message}"


def _hash(options: argparse.Namespace) -> int:
    for path, change in list_hashes(options.directory, HotReloadConfig().max_file_size):
        print(f"{shown(path, 300)}: {change}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
