"""The offline commands: ``dspyreload check``, ``talk``, ``init``, ``hash``, ``fmt`` and ``schema``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from dspyreload.commands.checking import add_check
from dspyreload.commands.formatting import add_fmt
from dspyreload.commands.hashing import add_hash
from dspyreload.commands.initial import add_init
from dspyreload.commands.offline import absent
from dspyreload.commands.schemas import add_schema
from dspyreload.commands.talking import add_talk
from dspyreload.disk.scan import RootMissing
from dspyreload.errors import DSPyReloadError, HotReloadFailed
from dspyreload.model.faults import shown

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    :return: the exit status: 0 where all is well, 1 where a file has a fault or the directory can't be read, 2 where
        the result can't be printed.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a letter is no reason to crash
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except RootMissing as error:
        words = absent(options.directory) or f"{shown(options.directory)} can't be looked at: {error}"
        print(f"dspyreload: {words}", file=sys.stderr)
    except HotReloadFailed as error:
        print(f"dspyreload: {shown(error.path)}: {error.reason}", file=sys.stderr)
    except DSPyReloadError as error:
        print(f"dspyreload: {shown(str(error), 500)}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # the disk that the output goes to is full
        print(f"dspyreload: the result can't be written: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dspyreload", description="Work with a directory of modules, offline.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_init, add_talk, add_check, add_fmt, add_hash, add_schema):
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
