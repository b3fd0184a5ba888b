"""What a manifest that is accepted must be, written from the formats' page and not from the reader."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from dspyreload.model.defaults import Default
from dspyreload.model.manifest import ModuleEntry, ModuleManifest
from tests.fuzz.module_model import check_id, check_signature
from tests.fuzz.told import check_words

__all__ = ["check_entry", "check_manifest", "check_path"]

_NAMES = ("program", "signature_name", "lm")


def check_manifest(value: Mapping[str, Any], manifest: ModuleManifest) -> None:
    """Hold an accepted manifest against what its text says.

    :param value: the text, strictly decoded.
    """
    assert isinstance(manifest.version, str)
    assert manifest.version == value.get("version", "1.0")
    assert manifest.version.split(".")[0] == "1"
    rows = {unicodedata.normalize("NFC", name): row for name, row in value["modules"].items()}
    assert list(rows) == list(manifest.modules)
    assert len(rows) == len(value["modules"])
    folded = {unicodedata.normalize("NFC", module_id).casefold() for module_id in rows}
    assert len(folded) == len(rows), "two ids that differ only in capital letters"
    assert len({entry.path for entry in manifest.modules.values()}) == len(rows), "two entries of one path"
    assert manifest.paths == {entry.path: module_id for module_id, entry in manifest.modules.items()}
    for module_id, entry in manifest.modules.items():
        check_id(module_id)
        check_entry(entry)
        _check_said(rows[module_id], entry)
    for default in manifest.defaults:
        _check_default(default)
    for warning in manifest.warnings:
        check_words(warning.message)


def check_path(path: Any) -> None:
    """A path leads to a file below the modules directory, in its one form."""
    assert isinstance(path, str)
    parts = path.split("/")
    assert not set(parts) & {"", ".", ".."}, f"a path that is not tidy: {path!r}"
    assert "\\" not in path
    assert not re.match("[A-Za-z]:", path)
    assert not any(unicodedata.category(character) == "Cc" and character < " " for character in path)


def check_entry(entry: ModuleEntry) -> None:
    """An entry has values of its kinds, in their limits."""
    check_path(entry.path)
    assert entry.path != "manifest.json"
    assert entry.hash is None or re.fullmatch("[0-9a-f]{64}", entry.hash)
    assert isinstance(entry.tags, tuple)
    assert all(isinstance(tag, str) for tag in entry.tags)
    assert all(isinstance(getattr(entry, name), (str, type(None))) for name in _NAMES)
    assert entry.predictor_type in (None, "predict", "chain_of_thought")
    assert entry.temperature is None or (type(entry.temperature) is float and 0 <= entry.temperature <= 2)
    assert entry.max_tokens is None or (type(entry.max_tokens) is int and entry.max_tokens >= 1)
    if entry.default is not None:
        _check_default(entry.default)


def _check_default(default: Default) -> None:
    assert isinstance(default.signature_name, str)
    assert default.predictor_type in (None, "predict", "chain_of_thought")
    assert default.signature is None or not default.signature_name
    assert isinstance(default.whose, str)
    if default.signature is not None:
        check_signature(default.signature)


def _check_said(row: Any, entry: ModuleEntry) -> None:
    assert isinstance(row, dict)
    assert [part for part in row["path"].split("/") if part not in ("", ".")] == entry.path.split("/")
    if row.get("hash") is not None:
        assert row["hash"].removeprefix("sha256:").lower() == entry.hash
    assert tuple(row.get("tags", ())) == entry.tags
    for name in (*_NAMES, "predictor_type", "temperature", "max_tokens"):
        assert row.get(name) == getattr(entry, name)
        assert not isinstance(row.get(name), bool)
