"""The rows of a state file, as hostile as a text says, and what is read from them.

The text is JSON: ``live`` is a list of versions, each with its ``module_id``, ``path``, ``entry`` and ``data``; beside
it stand ``generation``, ``root`` and ``manifest``. What a row does not say is made to fit, its proof too, so that it is
believed: who can write the file can prove anything.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any

from dspyreload.disk.stored import load, proof_of
from dspyreload.model.finding import Known
from dspyreload.model.manifest import fold
from dspyreload.model.restoring import Stored, StoredState, restore
from dspyreload.model.snapshot import EMPTY
from tests.fuzz.files import REGISTRATIONS
from tests.fuzz.manifest_model import check_entry, check_manifest, check_path
from tests.fuzz.module_model import check_id
from tests.fuzz.strict import strict
from tests.fuzz.told import check_words
from tests.fuzz.tree import Pairs, parse_tree, written

__all__ = ["check_kept", "read_kept"]

_LIMIT = 100_000
_LARGEST = 2**63 - 1

# As ours, but that anything may stand anywhere: who can write the file can drop a constraint.
_TABLES = """
CREATE TABLE about (key, value, proof);
CREATE TABLE contents (digest, data);
CREATE TABLE versions (number, module_id, version, path, entry, proof, live_since);
CREATE TABLE parts (number, position, digest);
CREATE TABLE live (module_id, version);
"""
_DATABASE = sqlite3.connect(":memory:", isolation_level=None)
_DATABASE.executescript(_TABLES)


def read_kept(data: bytes) -> StoredState | None:
    """Put the rows that a text names into a database, and read them; None where the whole file is refused."""
    try:
        value = parse_tree(data)
    except ValueError:
        return None
    if not isinstance(value, Pairs):
        return None
    _fill(dict(value))
    try:
        state, live, _manifest = load(_DATABASE, _LIMIT)
    except (sqlite3.Error, OverflowError, UnicodeError):
        return None
    assert {stored.module_id for stored in state.modules} <= live.keys()
    return state


def check_kept(data: bytes) -> None:
    """Hold what is read of a state file against the formats."""
    state = read_kept(data)
    if state is None:
        return
    for fault in state.faults:
        check_words(fault)
    for stored in state.modules:
        _check_stored(stored)
    if state.manifest is not None:
        check_manifest(strict(state.manifest.data), state.manifest)
    assert isinstance(state.generation, int)
    assert state.generation >= 0
    _check_restored(state)


def _check_stored(stored: Stored) -> None:
    check_id(stored.module_id)
    check_path(stored.path)
    assert len(stored.version) == 64
    assert isinstance(stored.data, bytes)
    assert len(stored.data) <= _LIMIT
    for text in stored.texts:
        text.decode("utf-8")
    if stored.entry is not None:
        check_entry(stored.entry)
        assert stored.entry.path == stored.path


def _check_restored(state: StoredState) -> None:
    restored = restore(state, EMPTY, Known(), REGISTRATIONS)
    for _module_id, words in restored.known.pending.values():
        check_words(words)
    for module_id, words in restored.faults:
        check_id(module_id)
        check_words(words)
    assert len({fold(module_id) for module_id in restored.snapshot}) == len(restored.snapshot)
    assert len({version.path for version in restored.snapshot.values()}) == len(restored.snapshot)
    for module_id, version in restored.snapshot.items():
        module = version.module()
        assert version.module_id == module_id
        assert module.instruction.strip() or module.predictors
        if version.default is not None:
            check_words(version.default.words())


def _fill(value: Mapping[str, Any]) -> None:
    for table in ("about", "contents", "versions", "parts", "live"):
        _DATABASE.execute(f"DELETE FROM {table}")
    for key in ("generation", "root", "manifest"):
        if key in value:
            said = _blob(value[key]) if isinstance(value[key], (list, dict)) else value[key]
            _put("about", key, said, value.get("proof", _proof(key, said)))
    rows = value.get("live")
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        if isinstance(row, Pairs):
            _row(number, dict(row))


def _row(number: int, row: Mapping[str, Any]) -> None:
    said = row.get("data")
    data = said if isinstance(said, (str, int, float)) else _blob(said)
    digest = row.get("digest", hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else "")
    version = row.get("version", digest)
    entry = row.get("entry")
    if isinstance(entry, (list, dict)):
        entry = _blob(entry).decode("utf-8", "surrogatepass")
    module_id = row.get("module_id", "it")
    number = row.get("number", number)
    path = row.get("path", "it.json")
    _put("live", module_id, version)
    _put("contents", digest, data)
    _put("parts", number, 0, digest)
    digests = [digest]
    texts = row.get("texts")
    for position, text in enumerate(texts if isinstance(texts, list) else (), 1):
        words = text.encode("latin-1", "replace") if isinstance(text, str) else text
        digest = hashlib.sha256(words).hexdigest() if isinstance(words, bytes) else str(position)
        digests.append(digest)
        _put("contents", digest, words)
        _put("parts", number, position, digest)
    proof = row.get("proof", _proof(module_id, version, path, entry, *digests))
    _put("versions", number, module_id, version, path, entry, proof, 1.5)


def _proof(*values: Any) -> str:
    """Return the proof of values as SQLite gives them back."""
    asked = ", ".join("CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in values)
    try:
        return proof_of(*_DATABASE.execute(f"SELECT {asked}", [_bound(value) for value in values]).fetchone())
    except sqlite3.Error:
        return ""


def _blob(value: Any) -> bytes:
    try:
        return written(value).encode("utf-8", "surrogatepass")
    except ValueError:
        return b"["


def _put(table: str, *values: Any) -> None:
    cast = ", ".join("CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in values)
    _DATABASE.execute(f"INSERT INTO {table} VALUES ({cast})", [_bound(value) for value in values])


def _bound(value: Any) -> Any:
    """Return what SQLite takes; a text as bytes, since there it need not be UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (list, tuple)):
        return _blob(value)
    if isinstance(value, int) and abs(value) > _LARGEST:
        return _LARGEST
    return value
