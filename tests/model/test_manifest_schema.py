"""What an editor marks in a manifest, with the schema of manifests and with one of both kinds of file."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from dspyreload.model.defaults import DefaultKeys, DefaultsKeys
from dspyreload.model.faults import FaultError
from dspyreload.model.manifest import EntryKeys, parse_manifest
from dspyreload.model.module import Demo, FieldDefinition, ModuleMetadata, SignatureDefinition
from dspyreload.model.module_file import ModuleFile
from dspyreload.model.schema import manifest_schema, schema_of_both
from tests.model.test_schema import BAD, GOOD, KNOWN_SCHEMA, MANIFEST_SCHEMA, MODULE_SCHEMA, TOOLS, marks

SCHEMA: Any = {"$schema": "x"}
ENTRY: dict[str, Any] = {
    "path": "npc/smith.json", "hash": None, "tags": ["npc"], "program": "p", "signature_name": "s", "lm": "big",
    "predictor_type": "chain_of_thought", "temperature": 0.5, "max_tokens": 1,
}  # fmt: skip
SAYS = {"signature_name": "s", "predictor_type": "predict"}


def listing(top: dict[str, Any] | None = None, **entry: Any) -> dict[str, Any]:
    return {"modules": {"a": {"path": "a.json", **entry}}, **(top or {})}


def manifest_remarks(value: Any) -> list[str]:
    try:
        return [warning.message for warning in parse_manifest(json.dumps(value).encode()).warnings]
    except FaultError as fault:
        return [fault.message]


@pytest.mark.parametrize(
    "manifest",
    [
        {"modules": {}}, {"version": "1.0", "$schema": "x.json", "modules": {"a": ENTRY, "b": {"path": "b.json"}}},
        listing({"version": "1"}, hash="sha256:" + "0a" * 32), listing(hash="AB" * 32), listing(path="./a b/ö.json"),
        listing(dict.fromkeys(["version"], "1.7"), program=None, lm=None, temperature=None, max_tokens=None),
        listing(temperature=0), listing(temperature=2.0), listing({"defaults": {}}),
        listing({"defaults": {**SAYS, "folders": {"npc": {"signature": TOOLS}}, "tags": {"q": SAYS, "r": {}}}},
                path="npc/a.json", tags=["q"]),
        listing({"defaults": {"signature": None, "predictor_type": None}}),
    ],
)  # fmt: skip
def test_a_good_manifest_has_no_mark(manifest: Any) -> None:
    """In the forms in which a hash, a version and what is left open may stand."""
    assert manifest_remarks(manifest) == []
    assert marks(MANIFEST_SCHEMA, manifest) == []


@pytest.mark.parametrize(
    "manifest",
    [
        {}, [], {"modules": []}, {"modules": {"a": {}}}, {"modules": {"a": "a.json"}}, listing({"owner": 1}),
        listing({"version": "2.0"}), listing({"version": 1}), listing({"version": "10"}), listing(path="/a.json"),
        listing(path=""), listing(path="a\\b.json"), listing(hash="x"), listing(hash="md5:" + "0" * 32),
        listing(tag="x"), listing(tags="x"), listing(temperature=2.1), listing(temperature=-1), listing(max_tokens=0),
        listing(max_tokens=1.5), listing(predictor_type="react"), listing(default={}), listing(**SCHEMA),
        listing({"defaults": []}), listing({"defaults": {"folder": {}}}), listing({"defaults": {"lm": "big"}}),
        listing({"defaults": {"tags": {"q": {"folders": {}}}}}), listing({"defaults": {"predictor_type": "think"}}),
        listing({"defaults": {"signature": {"inputs": []}}}), listing({"defaults": {"$schema": "x"}}),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_manifest_is_marked(manifest: Any) -> None:
    """As the reader remarks it."""
    assert manifest_remarks(manifest) != []
    assert marks(MANIFEST_SCHEMA, manifest) != []


def test_the_manifest_offers_their_names() -> None:
    """In an entry and in the defaults; another name is no fault."""
    found = manifest_schema(["npc.dialogue"])
    for part in ("EntryKeys", "DefaultsKeys", "DefaultKeys"):
        assert found["definitions"][part]["properties"]["signature_name"]["examples"] == ["npc.dialogue"]
    named = {"modules": {"a": {"path": "a.json", "signature_name": "x"}}, "defaults": {"signature_name": "y"}}
    assert marks(found, named) == []


BOTH = schema_of_both(KNOWN_SCHEMA, MANIFEST_SCHEMA)


@pytest.mark.parametrize("file", [*GOOD, *BAD])
def test_one_schema_of_both_says_of_a_module_what_that_of_modules_says(file: Any) -> None:
    """An editor that can only have one for a directory does not need two."""
    assert bool(marks(BOTH, file)) == bool(marks(KNOWN_SCHEMA, file))


@pytest.mark.parametrize(
    "manifest", [listing(None, **ENTRY), listing(path="/a"), {"modules": 1}, listing({"owner": 1})]
)
def test_and_of_a_manifest_what_that_of_manifests_says(manifest: Any) -> None:
    """It is told by its ``modules``."""
    assert bool(marks(BOTH, manifest)) == bool(marks(MANIFEST_SCHEMA, manifest))


def known_keys() -> list[tuple[dict[str, Any], set[str], set[str]]]:
    """Return a part of the schemas each, with the keys that its reader knows, and those that need no words."""
    module, manifest = MODULE_SCHEMA["definitions"], MANIFEST_SCHEMA["definitions"]
    names = lambda kind: {field.name for field in attrs.fields(kind)}  # noqa: E731
    return [
        (module["ModuleFile"], names(ModuleFile) | {"$schema"}, {"$schema"}),
        (module["SignatureDefinition"], names(SignatureDefinition), set()),
        (module["FieldDefinition"], names(FieldDefinition) - {"optional", "prefix"}, set()),
        (module["Demo"], names(Demo), set()),
        (module["ModuleMetadata"], names(ModuleMetadata) - {"extra"}, set()),
        (MANIFEST_SCHEMA, {"version", "modules", "defaults", "$schema"}, {"$schema"}),
        (manifest["EntryKeys"], set(EntryKeys.__struct_fields__), set()),
        (manifest["DefaultsKeys"], names(DefaultsKeys), set()),
        (manifest["DefaultKeys"], names(DefaultKeys), set()),
    ]


@pytest.mark.parametrize(("part", "keys", "plain"), known_keys())
def test_every_key_that_a_reader_knows_is_offered_and_described(
    part: dict[str, Any], keys: set[str], plain: set[str]
) -> None:
    """And none that it would say is not known."""
    assert set(part["properties"]) == keys
    assert [key for key in keys - plain if not part["properties"][key].get("description")] == []
