"""Snapshots → rows of a state file, inside of a transaction that somebody else begins and ends."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from dspyreload.disk.stored import key_of, proof_of
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from dspyreload.model.steps import Steps, at_once

__all__ = ["Written", "put", "store"]

_VERSIONS = 20  # of one module
_GONE = 2_000  # versions of modules that are live no more, all together


@attrs.frozen
class Written:
    """What the file is known to hold.

    :ivar versions: the version of each id that was looked at last. ``live``: the ``key_of`` what is live, by id.
    :ivar manifest: the bytes that stand there for the manifest, whatever they are.
    """

    versions: dict[str, ModuleVersion] = attrs.field(factory=dict)
    live: dict[str, str] = attrs.field(factory=dict)
    manifest: Any = None


def put(database: sqlite3.Connection, key: str, value: Any) -> None:
    """Put a value about the whole under its key."""
    database.execute("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", (key, value, proof_of(key, value)))


def store(
    database: sqlite3.Connection,
    snapshots: Sequence[Snapshot],
    root: tuple[int, int] | None,
    waiting: frozenset[str],
    before: Written,
    steps: Steps = at_once,
) -> Written:
    """Write what is live, and the versions that were; see ``StateFile.write``.

    :return: what the file holds, once the transaction is committed.
    """
    rows = _Rows(database, dict(before.live))
    versions = dict(before.versions)
    for snapshot in snapshots:
        for module_id, version in steps(snapshot.items()):
            if versions.get(module_id) is not version:
                rows.keep(version)
                versions[module_id] = version
    last = snapshots[-1]
    gone = [module_id for module_id in steps(rows.live) if module_id not in last and module_id not in waiting]
    for module_id in steps(gone):
        rows.retire(module_id)
        versions.pop(module_id, None)
    rows.tidy(ids_are_gone=bool(gone))
    manifest = (last.manifest.data if last.manifest is not None else b"") or None
    if manifest != before.manifest:
        put(database, "manifest", manifest)
    put(database, "generation", last.generation)
    put(database, "root", None if root is None else f"{root[0]} {root[1]}")
    return Written(versions, rows.live, manifest)


class _Rows:
    def __init__(self, database: sqlite3.Connection, live: dict[str, str]) -> None:
        self.live = live
        self._database = database
        self._dropped: set[str] = set()  # contents that nothing may refer to any more

    def keep(self, version: ModuleVersion) -> None:
        """Write a version, as the newest of its module and the one that is live."""
        entry = None if version.entry is None else msgspec.json.encode(version.entry).decode()
        key = key_of(version.version, version.path, entry)
        if self.live.get(version.module_id) == key:
            return
        name = (version.module_id, version.version)
        contents = [(hashlib.sha256(data).hexdigest(), data) for data in (version.data, *version.texts)]
        proof = proof_of(*name, version.path, entry, *(digest for digest, _data in contents))
        self._drop("module_id = ? AND version = ?", name)
        number = self._database.execute(
            "INSERT INTO versions (module_id, version, path, entry, proof, live_since) VALUES (?, ?, ?, ?, ?, ?)",
            (*name, version.path, entry, proof, time.time()),
        ).lastrowid
        for position, (digest, data) in enumerate(contents):
            self._database.execute(
                "INSERT INTO contents VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data"
                " WHERE data IS NOT excluded.data",  # damaged
                (digest, data),
            )
            self._database.execute("INSERT INTO parts VALUES (?, ?, ?)", (number, position, digest))
        old = "number IN (SELECT number FROM versions WHERE module_id = ? ORDER BY number DESC LIMIT -1 OFFSET ?)"
        self._drop(old, (version.module_id, _VERSIONS))
        self._database.execute("INSERT OR REPLACE INTO live VALUES (?, ?)", name)
        self.live[version.module_id] = key

    def retire(self, module_id: str) -> None:
        """Note that a module is live no more; its versions stay."""
        self._database.execute("DELETE FROM live WHERE module_id = ?", (module_id,))
        del self.live[module_id]

    def tidy(self, *, ids_are_gone: bool) -> None:
        """Drop what is kept no longer: modules that come and go under ever new ids would fill the disk."""
        if ids_are_gone:
            old = "SELECT number FROM versions WHERE module_id NOT IN (SELECT module_id FROM live) ORDER BY number DESC"
            self._drop(f"number IN ({old} LIMIT -1 OFFSET ?)", (_GONE,))
        self._database.executemany(
            "DELETE FROM contents WHERE digest = :digest AND NOT EXISTS (SELECT 1 FROM parts WHERE digest = :digest)",
            [{"digest": digest} for digest in self._dropped],
        )

    def _drop(self, where: str, values: tuple[Any, ...]) -> None:
        select = f"SELECT digest FROM parts WHERE number IN (SELECT number FROM versions WHERE {where})"
        self._dropped.update(digest for (digest,) in self._database.execute(select, values))
        self._database.execute(f"DELETE FROM versions WHERE {where}", values)
