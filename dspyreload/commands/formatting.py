"""``dspyreload fmt DIR``: one form for all module files."""

from __future__ import annotations

import argparse
import os
import sys

from dspyreload.commands.offline import add_directory, check_directory_named, read_manifest
from dspyreload.config import HotReloadConfig
from dspyreload.disk.placing import failure_of
from dspyreload.disk.reading import ReadFault, read_file, stat_file
from dspyreload.disk.tree import list_tree
from dspyreload.disk.writing import replace_file
from dspyreload.errors import HotReloadFailed
from dspyreload.model.faults import FaultError, counted, joined, shown
from dspyreload.model.formatted import formatted
from dspyreload.model.manifest import MANIFEST, default_id
from dspyreload.model.module_file import parse_module

__all__ = ["add_fmt"]


def add_fmt(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("fmt", help="bring all module files into one form, without a change of meaning")
    add_directory(parser)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit status 1 where something would change"
    )
    parser.set_defaults(run=_fmt)


def _fmt(options: argparse.Namespace) -> int:
    config = HotReloadConfig()
    root = os.path.realpath(options.directory)
    check_directory_named(options.directory)
    manifest = read_manifest(root, config.max_file_size)
    listing = list_tree(root, config.module_extensions, config.max_files)
    paths = sorted(manifest.paths if manifest is not None else listing.files)
    changed, failed = [], 0
    for path in paths:
        try:
            if _format(root, path, config.max_file_size, write=not options.check):
                changed.append(path)
        except HotReloadFailed as error:
            failed += 1
            print(f"{shown(error.path, 300)}: {error.reason}")
    verb = "would be formatted" if options.check else "formatted"
    for path in changed:
        print(f"{shown(path, 300)}: {verb}")
    rest = len(paths) - len(changed) - failed
    told = f"{len(changed)} {verb}, {rest} in this form already, {failed} with a fault"
    print(f"{counted(len(paths), 'module')}: {told}", file=sys.stderr)
    for path in sorted(listing.files.keys() - set(paths)):
        print(f"{shown(path, 300)}: {MANIFEST} does not list it, and it is left as it is", file=sys.stderr)
    hashed = [path for path in changed if manifest is not None and manifest[manifest.paths[path]].hash is not None]
    if hashed and not options.check:
        print(
            f"{MANIFEST} lists hashes of {counted(len(hashed), 'file')} that changed; run dspyreload hash",
            file=sys.stderr,
        )
    return int(bool(failed or (options.check and changed)))


def _format(root: str, path: str, limit: int, *, write: bool) -> bool:
    """Bring one file into the form; say whether it was in another.

    :raises HotReloadFailed: where it is no module, or can't be read or written; then it is as it was.
    """
    try:
        read = read_file(root, path, limit)
    except ReadFault as error:
        raise HotReloadFailed(path, joined(error.message, error.mend)) from None
    try:
        parse_module(read.data, default_id(path))
        text = formatted(read.data)
    except FaultError as error:
        raise failure_of(path, error, read.data) from None
    if text.encode() == read.data:
        return False
    if write:
        if stat_file(root, path) != read.stamp:
            raise HotReloadFailed(path, "it was saved while it was formatted; run this again")
        replace_file(root, path, text)
    return True
