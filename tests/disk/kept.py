"""Snapshots to keep in a state file, and what must come out of it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from dspyreload.disk.state import StateFile
from dspyreload.model.manifest import ModuleManifest, parse_manifest
from dspyreload.model.restoring import Stored, StoredState
from dspyreload.model.snapshot import EMPTY, ModuleVersion, Snapshot

__all__ = [
    "LIMIT",
    "NOBODY",
    "ROOT",
    "kept_of",
    "manifest_of",
    "reread",
    "snapshot_of",
    "state_file",
    "stored_of",
    "version",
    "versions_of",
]

LIMIT = 1 << 20
NOBODY: frozenset[str] = frozenset()
ROOT = (1, 2)


def version(
    module_id: str = "npc.smith",
    instruction: str = "You are a smith.",
    *texts: bytes,
    listed: ModuleManifest | None = None,
) -> ModuleVersion:
    """Return a version of a module whose file includes ``texts``."""
    data = json.dumps({"instruction": instruction}).encode()
    digests = [hashlib.sha256(part).hexdigest() for part in (data, *texts)]
    together = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return ModuleVersion(
        module_id=module_id,
        path=module_id.replace(".", "/") + ".json",
        version=digests[0] if not texts else together,
        data=data,
        texts=texts,
        entry=listed[module_id] if listed is not None else None,
    )


def manifest_of(*module_ids: str, tags: Iterable[str] = ()) -> ModuleManifest:
    """Return a manifest that lists these modules."""
    modules = {
        name: {"path": name.replace(".", "/") + ".json", "hash": None, "tags": list(tags)} for name in module_ids
    }
    data = json.dumps({"version": "1.0", "modules": modules}).encode()
    return parse_manifest(data, hashlib.sha256(data).hexdigest())


def snapshot_of(
    *versions: ModuleVersion,
    before: Snapshot = EMPTY,
    gone: tuple[str, ...] = (),
    manifest: ModuleManifest | None = None,
) -> Snapshot:
    """Return the next snapshot."""
    return before.commit({version.module_id: version for version in versions}, gone, manifest)


def state_file(folder: Path, modules: Path | None = None, name: str = "state.sqlite3") -> StateFile:
    """Return a state file in a folder, not open yet."""
    return StateFile(str(folder / name), str(modules or folder / "modules"), LIMIT)


def stored_of(version: ModuleVersion) -> Stored:
    """Return what a version must come back as."""
    return Stored(
        module_id=version.module_id,
        path=version.path,
        version=version.version,
        data=version.data,
        texts=version.texts,
        entry=version.entry,
    )


def versions_of(file: StateFile, module_id: str = "npc.smith") -> list[bytes]:
    """Return the contents of a module that a file keeps, the newest first."""
    return [kept.data for kept in file.versions(module_id)]


def kept_of(snapshot: Snapshot) -> tuple[Stored, ...]:
    """Return what a snapshot must come back as."""
    return tuple(stored_of(snapshot[name]) for name in sorted(snapshot))


def reread(file: StateFile) -> StoredState:
    """Open a file anew, and return what it keeps."""
    file.close()
    return file.open()
