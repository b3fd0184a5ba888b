"""manifest.json is read whole, or every fault in it is named."""

from __future__ import annotations

import gc
import json
import unicodedata
from typing import Any

import msgspec
import pytest

from dspyreload.model.faults import FaultError
from dspyreload.model.manifest import (
    NOTHING_LISTED,
    ModuleEntry,
    changed_entries,
    fold,
    parse_manifest,
    relative_path,
)
from tests.model.conftest import place

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def manifest(**entries: dict[str, Any]) -> bytes:
    return json.dumps({"version": "1.0", "modules": entries}, indent=2).encode()


def faults(data: bytes) -> list[tuple[str, int, int]]:
    with pytest.raises(FaultError) as raised:
        parse_manifest(data)
    return [(fault.message, *place(fault, data)) for fault in (raised.value, *raised.value.others)]


def test_every_field_of_an_entry_is_read() -> None:
    """A manifest is a mapping of id to entry, in the order of the file, and knows which id a path is."""
    whole = {
        "path": "npc/smith.json", "hash": f"sha256:{HEX}", "tags": ["npc", "town"], "program": "p",
        "signature_name": "npc.dialogue", "predictor_type": "predict", "lm": "big", "temperature": 0.7, "max_tokens": 9,
    }  # fmt: skip
    found = parse_manifest(manifest(b=whole, a={"path": "a.json"}), "digest")
    assert list(found) == ["b", "a"]
    assert len(found) == 2
    assert msgspec.structs.asdict(found["b"]) == {
        **whole, "hash": HEX, "tags": ("npc", "town"), "default": None,
    }  # fmt: skip
    assert found["a"] == ModuleEntry(path="a.json")
    assert found.paths == {"npc/smith.json": "b", "a.json": "a"}
    assert (found.version, found.digest, found.warnings) == ("1.0", "digest", ())


@pytest.mark.parametrize("text", [HEX, f"sha256:{HEX}", HEX.upper(), f"sha256:{HEX.upper()}"])
def test_a_hash_is_read_with_its_name_or_bare(text: str) -> None:
    """Bare hex and upper case mean the same hash."""
    assert parse_manifest(manifest(a={"path": "a.json", "hash": text}))["a"].hash == HEX


@pytest.mark.parametrize("text", ["md5:" + HEX[:32], HEX[:-1], HEX + "0", f"sha1:{HEX}", "g" * 64, f" {HEX}"])
def test_what_is_no_hash_is_rejected(text: str) -> None:
    """A hash that is none is a fault that says how to make one."""
    data = manifest(a={"path": "a.json", "hash": text})
    ((message, line, _column),) = faults(data)
    assert "64 hex digits" in message
    assert "dspyreload hash" in message
    assert line == 6


@pytest.mark.parametrize("text", ["null", "None", " NULL ", ""])
def test_a_null_in_quotation_marks_is_named_as_that(text: str) -> None:
    """Who is told of hex digits would look for the wrong mistake."""
    ((message, line, column),) = faults(manifest(a={"path": "a.json", "hash": text}))
    assert message == '"hash" is a text here; write null without quotation marks'
    assert (line, column) == (6, 15)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd", "is absolute"),
        ("//host/x.json", "is absolute"),
        ("C:/x.json", "is absolute"),
        ("..", "leads out of"),
        ("../x.json", "leads out of"),
        ("npc/../x.json", "leads out of"),
        ("npc/../../x.json", "leads out of"),
        ("npc\\smith.json", "has a backslash"),
        ("..\\x.json", "has a backslash"),
        ("", "is empty"),
        (" ", "is empty"),
        (".", "names no file"),
        ("manifest.json", "can't list itself"),
        ("./manifest.json", "can't list itself"),
        ("a\x00.json", "has a character that no path has"),
        ("..\town.json", "has a character that no path has"),
    ],
)
def test_a_path_that_is_not_below_the_directory_is_rejected(path: str, words: str) -> None:
    """Absolute paths, .. and backslashes are faults, each by name, at the path."""
    ((message, line, column),) = faults(manifest(a={"path": path}))
    assert words in message
    assert (line, column) == (5, 15)


@pytest.mark.parametrize(
    ("path", "tidy"), [("npc/smith.json", "npc/smith.json"), ("./a//b.json", "a/b.json"), ("..a/b", "..a/b")]
)
def test_a_path_is_tidied(path: str, tidy: str) -> None:
    """Empty parts and single dots are dropped; two dots in a name are none by themselves."""
    assert relative_path(path, ()) == tidy


def test_two_dots_start_from_the_folder_of_a_file() -> None:
    """What a file includes may lie above it, and not above the modules directory."""
    assert relative_path("../../rules.md", (), "town/npc") == "rules.md"
    with pytest.raises(FaultError, match="leads out of"):
        relative_path("../../../rules.md", (), "town/npc")
    with pytest.raises(FaultError, match="leads out of"):
        relative_path("../rules.md", (), "")


@pytest.mark.parametrize("other", ["npc.json", "./npc.json", ".//npc.json"])
def test_two_ids_may_not_name_one_path(other: str) -> None:
    """One file is one module; the second entry is the fault."""
    ((message, line, _column),) = faults(manifest(a={"path": "npc.json"}, b={"path": other}))
    assert message == '"a" and "b" name one path, "npc.json"; delete one'
    assert line == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("npc.smith", "NPC.Smith"),
        ("straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("Caf\u00c9", "cafe\u0301"),
        ("\u1e9b\u0323", unicodedata.normalize("NFD", "\u1e9b\u0323")),
    ],
)
def test_ids_that_differ_only_in_form_are_one_id(one: str, other: str) -> None:
    """Ids are compared in NFC and case-folded; the second of two that are equal is the fault."""
    assert fold(one) == fold(other)
    data = manifest(**{one: {"path": "a.json"}, other: {"path": "b.json"}})
    ((message, line, column),) = faults(data)
    assert message.startswith("the ids ")
    assert message.endswith(" differ only in capital letters; rename one")
    assert (line, column) == (7, 5)


def test_ids_that_differ_are_two_ids() -> None:
    """Folding makes nothing equal that is not."""
    assert len({fold(name) for name in ("npc.smith", "npc.smiths", "npc-smith", "npc", "ñpc")}) == 5


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, 'lacks "path"'),
        ("a.json", "must be an object in { }, not text"),
        (None, "must be an object in { }, not null"),
        ({"path": 5}, '"path" must be text'),
        ({"path": "a.json", "hash": 5}, '"hash" must be text or null'),
        ({"path": "a.json", "tags": "npc"}, '"tags" must be a list'),
        ({"path": "a.json", "tags": [1]}, '"tags" item 1 must be text'),
        ({"path": "a.json", "predictor_type": "react"}, '"predictor_type" must be one of "predict"'),
        ({"path": "a.json", "temperature": -0.1}, '"temperature" must be from 0 to 2'),
        ({"path": "a.json", "temperature": 2.1}, '"temperature" must be from 0 to 2'),
        ({"path": "a.json", "temperature": "warm"}, '"temperature" must be a number'),
        ({"path": "a.json", "max_tokens": 0}, '"max_tokens" must be 1 or more'),
        ({"path": "a.json", "max_tokens": 1.5}, '"max_tokens" must be a whole number'),
        ({"path": "a.json", "lm": ["x"]}, '"lm" must be text'),
    ],
)
def test_an_entry_that_can_not_be_used_is_rejected(row: Any, words: str) -> None:
    """Each fault of an entry names the entry, what stands there and what should."""
    ((message, line, _column),) = faults(manifest(smith=row))
    assert words in message
    assert line >= 4


@pytest.mark.parametrize(
    ("data", "words", "line"),
    [
        (b"[]", "the manifest is an object", 1),
        (b"{}", 'lacks "modules"', 1),
        (b'{\n"modules": []}', '"modules" must be an object in { }, not a list', 2),
        (b'{"modules": {},\n"version": 1}', '"version" must be text', 2),
        (b'{"modules": {},\n"version": "2.0"}', 'version "2.0" is not known', 2),
        (b'{"modules": {\n"": {"path": "a.json"}}}', "id is empty", 2),
        (b'{"modules": {"a": {"path": "a.json"},\n"a": {"path": "b.json"}}}', '"a" stands twice', 2),
        (b'{"modules": {', "ends too early", 1),
    ],
)
def test_what_is_no_manifest_is_rejected(data: bytes, words: str, line: int) -> None:
    """The manifest as a whole is checked as its entries are."""
    ((message, found, _column),) = faults(data)
    assert words in message
    assert found == line


def test_all_faults_of_a_manifest_come_at_once() -> None:
    """One bad entry does not hide the next."""
    data = manifest(
        a={"path": "/a.json"}, b={"path": "b.json"}, c={"path": "c.json", "hash": "x"}, d={"path": "b.json"}
    )
    assert [line for _message, line, _column in faults(data)] == [5, 12, 15]


def test_an_unknown_key_is_a_warning() -> None:
    """A key that nobody knows, at the top or in an entry, is ignored with a warning."""
    text = {"modules": {"a": {"path": "a.json", "tag": "x"}}, "owner": "me", "$schema": "y"}
    found = parse_manifest(json.dumps(text).encode())
    assert [warning.path for warning in found.warnings] == [("owner",), ("modules", "a", "tag")]


def test_a_manifest_may_list_nothing() -> None:
    """An empty list of modules is a manifest; its version is 1.0 where it says none."""
    assert (len(parse_manifest(b'{"modules": {}}')), parse_manifest(b'{"modules": {}}').version) == (0, "1.0")


def test_the_hash_says_nothing_of_how_a_module_is_served() -> None:
    """Two entries that differ only in the hash serve alike; any other difference is one."""
    entry = ModuleEntry(path="a.json", tags=("npc",))
    assert entry.served_alike(msgspec.structs.replace(entry, hash=HEX))
    assert not entry.served_alike(None)
    others: list[dict[str, Any]] = [
        {"tags": ()}, {"path": "b.json"}, {"predictor_type": "predict"}, {"signature_name": "x"}, {"lm": "x"},
        {"temperature": 0.1}, {"max_tokens": 1}, {"program": "x"},
    ]  # fmt: skip
    for other in others:
        assert not entry.served_alike(msgspec.structs.replace(entry, **other))


def test_changed_entries_are_those_added_or_not_equal() -> None:
    """An entry that is as it was, or is gone, is not touched."""
    old = parse_manifest(manifest(a={"path": "a.json"}, b={"path": "b.json"}, c={"path": "c.json"}))
    new = parse_manifest(manifest(a={"path": "a.json"}, b={"path": "b.json", "hash": HEX}, d={"path": "d.json"}))
    assert changed_entries(old, new) == {"b", "d"}
    assert changed_entries(None, old) == {"a", "b", "c"}
    assert changed_entries(old, old) == changed_entries(old, NOTHING_LISTED) == set()


def test_an_entry_is_no_work_for_the_garbage_collector() -> None:
    """There are tens of thousands of entries, and full collections do not visit them."""
    assert not gc.is_tracked(ModuleEntry(path="a.json"))
