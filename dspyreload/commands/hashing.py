"""``dspyreload hash DIR``: each file's hash into the manifest, for a release."""

from __future__ import annotations

import argparse

from dspyreload.commands.offline import add_directory, check_directory_named
from dspyreload.config import HotReloadConfig
from dspyreload.disk.hashes import list_hashes
from dspyreload.model.faults import shown

__all__ = ["add_hash"]


def add_hash(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("hash", help="write each file's hash into manifest.json, for a release")
    add_directory(parser)
    parser.add_argument(
        "--clear", action="store_true", help="write null instead, so that the files can be edited again"
    )
    parser.set_defaults(run=_hash)


def _hash(options: argparse.Namespace) -> int:
    check_directory_named(options.directory)
    for path, change in list_hashes(options.directory, HotReloadConfig().max_file_size, clear=options.clear):
        print(f"{shown(path, 300)}: {change}")
    return 0
