"""What stands in a state file: its tables, and reading them. Nothing that is read is believed.

Each row has a proof, a digest of what belongs together, so that bytes that changed on the disk are never another
module, or another version of it.
"""

from __future__ import annotations

import errno
import hashlib
import re
import sqlite3
from typing import Any

import msgspec

from dspyreload.model.decoding import signature_faults
from dspyreload.model.faults import FaultError, raise_first, shown
from dspyreload.model.manifest import (
    ModuleEntry,
    ModuleManifest,
    checked_entry,
    composed,
    parse_manifest,
    relative_path,
)
from dspyreload.model.restoring import KeptVersion, Stored, StoredState
from dspyreload.model.steps import Steps, at_once

__all__ = [
    "APPLICATION",
    "FORMAT",
    "ROW",
    "TABLES",
    "StateFault",
    "StateRefused",
    "about",
    "damaged",
    "kept_version",
    "key_of",
    "load",
    "proof_of",
    "stored_version",
    "words_of",
]

APPLICATION = 0x44535052  # "DSPR"
FORMAT = 1

ROW = "v.number, v.module_id, v.version, v.path, v.entry, v.proof"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST = 2**53  # generations

TABLES = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
CREATE TABLE about (key TEXT PRIMARY KEY, value, proof TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (digest TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    module_id TEXT NOT NULL,
    version TEXT NOT NULL,
    path TEXT NOT NULL,
    entry TEXT,
    proof TEXT NOT NULL,
    live_since REAL NOT NULL,
    UNIQUE (module_id, version)
);
CREATE TABLE parts (
    number INTEGER NOT NULL REFERENCES versions ON DELETE CASCADE,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL REFERENCES contents,
    PRIMARY KEY (number, position)
) WITHOUT ROWID;
CREATE INDEX parts_of ON parts (digest);
CREATE TABLE live (module_id TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
"""


class StateFault(Exception):
    """The state file, or something in it, can't be used. The text says why, and what to do."""


class StateRefused(StateFault):
    """The file is another's: only the operator can tell which one is meant."""


def proof_of(*values: Any) -> str:
    """Return a digest of what belongs together: texts, bytes, whole numbers and None."""
    return hashlib.sha256(repr(values).encode(errors="backslashreplace")).hexdigest()


def about(database: sqlite3.Connection, key: str) -> Any:
    """Return what stands under a key about the whole; None where that is nothing, or not what was written."""
    value, proof = _about(database, key)
    return value if proof == proof_of(key, value) else None


def _about(database: sqlite3.Connection, key: str) -> tuple[Any, Any]:
    found: tuple[Any, Any] | None = database.execute("SELECT value, proof FROM about WHERE key = ?", (key,)).fetchone()
    return found or (None, proof_of(key, None))


def load(database: sqlite3.Connection, limit: int, steps: Steps = at_once) -> tuple[StoredState, dict[str, str], Any]:
    """Read what was live last.

    :param limit: bytes; of larger contents nothing is believed.
    :return: it; by id the :func:`key_of` each, "" for one that has to be written anew; what stands for the manifest.
    """
    faults: list[str] = []
    modules: dict[str, Stored] = {}
    live: dict[str, str] = {}
    written, proof = _about(database, "manifest")
    manifest, is_whole = _manifest(written, proof, limit, faults)
    join = "live l LEFT JOIN versions v USING (module_id, version)"
    select = f"SELECT l.module_id, l.version, {ROW} FROM {join} ORDER BY 1"
    for module_id, version, *row in steps(database.execute(select).fetchall()):
        twice = live.get(module_id) is not None
        live[module_id] = ""
        modules.pop(module_id, None)
        try:
            stored = stored_version(database, tuple(row), limit)
            if twice or (stored.module_id, stored.version) != (module_id, version):  # an index is damaged
                raise StateFault("it is not what was written")  # noqa: TRY301
        except StateFault as fault:
            faults.append(f"{shown(str(module_id))}: {fault}; this version can't be brought back")
        else:
            live[module_id] = key_of(stored.version, stored.path, row[4])
            if is_whole or stored.entry is None:
                modules[module_id] = stored
    generation = about(database, "generation")
    root = re.fullmatch(r"(\d{1,20}) (\d{1,20})", str(about(database, "root")), re.ASCII)
    state = StoredState(
        modules=tuple(modules.values()),
        manifest=manifest,
        generation=generation if isinstance(generation, int) and 0 < generation < _MOST else 0,
        root=(int(root[1]), int(root[2])) if root else None,
        faults=tuple(faults),
    )
    return state, live, written


def key_of(version: str, path: str, entry: str | None) -> str:
    """Return what makes a version that is kept another one."""
    return f"{version} {path} {entry or ''}"


def stored_version(database: sqlite3.Connection, row: tuple[Any, ...], limit: int) -> Stored:
    """Read one version.

    :param row: its :data:`ROW`.
    :raises StateFault: where it is not as it was written.
    """
    number, module_id, version, path, entry, proof = row
    if number is None:
        raise StateFault("its version is not there")
    select = "SELECT digest, CASE WHEN length(data) <= ? THEN data END FROM parts LEFT JOIN contents USING (digest)"
    parts = database.execute(f"{select} WHERE number = ? ORDER BY position", (limit, number)).fetchall()
    if not parts or proof != proof_of(module_id, version, path, entry, *(digest for digest, _data in parts)):
        raise StateFault("it is not what was written")
    for digest, data in parts:
        if not isinstance(data, bytes) or hashlib.sha256(data).hexdigest() != digest:
            raise StateFault("its bytes are not what was written")
    texts = tuple(data for _digest, data in parts[1:])
    try:
        return _checked(module_id, version, path, parts[0][1], texts, entry)
    except FaultError as error:
        raise StateFault(error.message) from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise StateFault(shown(str(error))) from None


def kept_version(stored: Stored, live_since: Any) -> KeptVersion:
    """Return what an operator is told of a version."""
    return KeptVersion(
        module_id=stored.module_id,
        version=stored.version,
        path=stored.path,
        live_since=live_since if isinstance(live_since, float) else 0.0,
        data=stored.data,
        texts=stored.texts,
    )


def _checked(
    module_id: str, version: str, path: str, data: bytes, texts: tuple[bytes, ...], entry: str | None
) -> Stored:
    """Check that a version is one that may have been live: whoever wrote the file may have written anything."""
    if not all(isinstance(text, str) for text in (module_id, version, path, "" if entry is None else entry)):
        raise FaultError("it is not what was written")
    if not _DIGEST.fullmatch(version):
        raise FaultError("its version is no SHA-256")
    listed = _decoded(entry)
    if not module_id.strip() or composed(module_id) != module_id or relative_path(path, ()) != path:
        raise FaultError("its id or its path can't be one")
    if listed is not None and listed.path != path:
        raise FaultError("its entry is that of another file")
    for text in texts:
        text.decode()
    return Stored(module_id=module_id, path=path, version=version, data=data, texts=texts, entry=listed)


def _decoded(entry: str | None) -> ModuleEntry | None:
    if entry is None:
        return None
    found = checked_entry(msgspec.json.decode(entry, type=ModuleEntry))
    default = found.default
    if default is not None:
        raise_first(signature_faults(default.signature, ()))
        # Its words go into the log, and are ours where a manifest gave it.
        if default.whose != shown(default.whose) or (default.signature_name and default.signature is not None):
            raise FaultError("it is not what was written")
    return found


def _manifest(data: Any, proof: Any, limit: int, faults: list[str]) -> tuple[ModuleManifest | None, bool]:
    """Return the manifest, and whether it is what was written: if not, what it listed is left to the disk."""
    words = ""
    if proof != proof_of("manifest", data) or not (data is None or (isinstance(data, bytes) and len(data) <= limit)):
        words = "it is not what was written"
    elif data is not None:
        try:
            return parse_manifest(data, hashlib.sha256(data).hexdigest()), True
        except FaultError as fault:
            words = fault.message
    if words:
        faults.append(f"the manifest: {words}; what it lists is not brought back")
    return None, not words


def damaged(path: str) -> str:
    """Say that a file can't be read, and what to do."""
    return f"{shown(path, 300)} is damaged, or no state file; move it away, and another one is made"


def words_of(path: str, error: Exception) -> str:
    """Say what is wrong with a state file, and what to do."""
    name = shown(path, 300)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = getattr(error, "errno", None)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{name} is locked by another program"
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {name} is full"
    if number == errno.EROFS:
        return f"{name} lies on a file system that is read-only; name another file"
    if code == sqlite3.SQLITE_READONLY or number in (errno.EACCES, errno.EPERM):
        return f"{name} can't be written; change its permissions or those of its folder, or name another file"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or "no such" in str(error):
        return damaged(path)
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"{name} can't be made: there is no such folder; make it"
    if number == errno.EISDIR:
        return f"{name} is a folder; name a file in it"
    return f"{name} can't be used: {shown(str(error) or type(error).__name__)}"
