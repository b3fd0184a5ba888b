"""``dspyreload hash``: each file's hash into the manifest, which keeps the form that a person gave it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from dspyreload.disk.placing import failure_of
from dspyreload.disk.reading import FileRead, ReadFault, read_file
from dspyreload.disk.writing import replace_file
from dspyreload.errors import HotReloadFailed
from dspyreload.model.faults import FaultError, Path, joined, shown
from dspyreload.model.jsontext import Place, text_of, walk
from dspyreload.model.manifest import MANIFEST, ModuleManifest, default_id, parse_manifest
from dspyreload.model.module_file import parse_module

__all__ = ["list_hashes"]


def list_hashes(directory: str | os.PathLike[str], limit: int, *, clear: bool = False) -> list[tuple[str, str]]:
    """Write ``sha256:`` and the digest of each listed file into ``manifest.json``, by one rename.

    :param clear: write null in their place, so that files can be edited again.
    :return: each path with what was done, in the order of the manifest.
    :raises HotReloadFailed: where the manifest, or a file that it lists, has a fault; then nothing is written.
    """
    root = os.path.realpath(directory)
    read = _read(root, MANIFEST, limit)
    try:
        manifest = parse_manifest(read.data, read.digest)
    except FaultError as error:
        raise failure_of(MANIFEST, error, read.data) from None
    digests = {name: None if clear else _checked(root, entry.path, limit) for name, entry in manifest.modules.items()}
    text = text_of(read.data)
    changed = _rewritten(text, manifest, digests)
    if changed != text:
        replace_file(root, MANIFEST, changed)
    return [
        (entry.path, "as it was" if entry.hash == digests[name] else _told(digests[name]))
        for name, entry in manifest.modules.items()
    ]


def _read(root: str, path: str, limit: int) -> FileRead:
    try:
        return read_file(root, path, limit)
    except ReadFault as fault:
        mend = fault.mend
        if fault.missing:
            mend = (
                "name a directory that has one" if path == MANIFEST else f"make it, or delete its entry in {MANIFEST}"
            )
        raise HotReloadFailed(shown(path), joined(fault.message, mend)) from None


def _told(digest: str | None) -> str:
    return "no hash listed" if digest is None else f"sha256:{digest[:12]}… listed"


def _checked(root: str, path: str, limit: int) -> str:
    """Return the digest of a module's file that can be served by itself."""
    read = _read(root, path, limit)
    try:
        parse_module(read.data, default_id(path))
    except FaultError as error:
        raise failure_of(path, error, read.data) from None
    return read.digest


def _rewritten(text: str, manifest: ModuleManifest, digests: Mapping[str, str | None]) -> str:
    """Put the digests into the text: in place of each "hash", or after the "path" of an entry that has none."""
    places: dict[Path, Place] = {place.path: place for place in walk(text)}
    edits: list[tuple[int, int, str]] = []
    for module_id, digest in digests.items():
        if manifest[module_id].hash == digest:
            continue
        value = "null" if digest is None else json.dumps(f"sha256:{digest}")
        listed = places.get(("modules", module_id, "hash"))
        if listed is not None:
            edits.append((listed.start, listed.end, value))
        else:
            path = places["modules", module_id, "path"]
            assert path.key is not None
            line = text.rfind("\n", 0, path.key)
            indent = text[line + 1 : path.key]
            newline = "\r\n" if text[line - 1 : line] == "\r" else "\n"
            separator = f",{newline}{indent}" if line >= 0 and not indent.strip() else ", "
            edits.append((path.end, path.end, f'{separator}"hash": {value}'))
    for start, end, value in sorted(edits, reverse=True):
        text = text[:start] + value + text[end:]
    return text
