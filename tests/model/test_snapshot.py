"""A snapshot is what is served together, and never changes."""

from __future__ import annotations

import gc
from typing import Any

import attrs
import pytest

from dspyreload.model.defaults import Default
from dspyreload.model.manifest import ModuleEntry, parse_manifest
from dspyreload.model.snapshot import EMPTY, ModuleVersion, Snapshot
from tests.conftest import module_text


def version(module_id: str = "npc", /, *tags: str, **changes: Any) -> ModuleVersion:
    values: dict[str, Any] = {
        "module_id": module_id,
        "path": f"{module_id}.json",
        "version": "0" * 64,
        "data": module_text(module_id).encode(),
        "entry": ModuleEntry(path=f"{module_id}.json", tags=tags) if tags else None,
    }
    return ModuleVersion(**{**values, **changes})


def live(*versions: ModuleVersion) -> Snapshot:
    return EMPTY.commit({each.module_id: each for each in versions}, (), None)


def test_before_the_first_reading_nothing_is_served() -> None:
    """Generation 0 has no modules and no manifest."""
    assert (len(EMPTY), EMPTY.generation, EMPTY.manifest) == (0, 0, None)


def test_a_commit_is_one_generation_however_much_it_changes() -> None:
    """Many modules that change, come and go raise the generation by one."""
    before = live(version("a"), version("b"), version("c"))
    after = before.commit({"a": version("a", "new"), "d": version("d")}, ("b", "c"), None)
    assert after.generation == before.generation + 1 == 2
    assert set(after) == {"a", "d"}


def test_a_commit_leaves_the_snapshot_before_it_as_it_was() -> None:
    """Who holds a snapshot sees no change."""
    before = live(version("a", "x"))
    a = before["a"]
    before.commit({"b": version("b", "x")}, ("a",), parse_manifest(b'{"modules": {}}'))
    assert dict(before) == {"a": a}
    assert (before.generation, before.manifest, before.with_tag("x")) == (1, None, ("a",))


def test_a_snapshot_is_frozen() -> None:
    """No attribute of a snapshot or a version can be assigned."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EMPTY.generation = 7  # type: ignore[misc]
    with pytest.raises(AttributeError):
        version().path = "x"  # type: ignore[misc]


def test_a_snapshot_is_a_mapping() -> None:
    """A module is looked up by its id; one that is not there is a KeyError."""
    snapshot = live(version("a"))
    assert "a" in snapshot
    assert "b" not in snapshot
    assert (list(snapshot), len(snapshot), snapshot.get("b")) == (["a"], 1, None)
    with pytest.raises(KeyError):
        snapshot["b"]
    assert repr(snapshot) == "<Snapshot generation=1 modules=1>"


def test_modules_are_found_by_tag_sorted() -> None:
    """A tag names its modules, through every change of them."""
    snapshot = live(version("b", "npc", "town"), version("a", "npc"), version("c"))
    assert snapshot.with_tag("npc") == ("a", "b")
    assert snapshot.with_tag("none") == ()
    snapshot = snapshot.commit({"c": version("c", "npc"), "b": version("b", "town")}, ("a",), None)
    assert (snapshot.with_tag("npc"), snapshot.with_tag("town")) == (("c",), ("b",))
    assert snapshot.commit({}, ("b",), None).with_tag("town") == ()


def test_a_tag_that_stands_twice_names_its_module_once() -> None:
    """A writer's doubled tag does not make a module two."""
    assert live(version("a", "npc", "npc")).with_tag("npc") == ("a",)


def test_each_look_decodes_a_fresh_value() -> None:
    """What one caller does to a module is seen by nobody else."""
    held = version()
    held.module().demos[0].inputs["player_message"] = "changed"
    assert held.module().demos[0].inputs["player_message"] == "Good day!"


def test_a_version_is_decoded_with_its_texts_and_its_entry() -> None:
    """Includes stand before the instruction, and the entry's names count."""
    entry = ModuleEntry(path="a.json", signature_name="npc", predictor_type="chain_of_thought")
    data = b'{"instruction": "Smith.", "include": ["rules.md"]}'
    module = version(data=data, texts=(b"Rules.",), entry=entry).module()
    assert module.instruction == "Rules.\n\nSmith."
    assert (module.signature_name, module.predictor_type) == ("npc", "chain_of_thought")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1" * 64},
        {"path": "other.json"},
        {"module_id": "other"},
        {"registration": "token"},
        {"default": Default(signature_name="npc.dialogue")},
        {"entry": None},
        {"entry": ModuleEntry(path="npc.json", tags=("y",))},
        {"entry": ModuleEntry(path="npc.json", tags=("x",), predictor_type="predict")},
    ],
)
def test_a_difference_that_a_game_could_notice_is_another_version(changes: dict[str, Any]) -> None:
    """Bytes, id, path, registration, default, tags and how it runs: any of them makes a version new."""
    assert not version("npc", "x").serves_as(version("npc", "x", **changes))
    assert not version("npc", "x", **changes).serves_as(version("npc", "x"))


def test_the_hash_alone_makes_no_other_version() -> None:
    """A hash proves bytes; the module that is served is the same."""
    hashed = ModuleEntry(path="npc.json", tags=("x",), hash="0" * 64)
    assert version("npc", "x").serves_as(version("npc", "x", entry=hashed))
    assert version().serves_as(version())
    assert not version().serves_as(None)


def test_a_version_is_no_work_for_the_garbage_collector() -> None:
    """Ten thousand versions are not visited by a full collection."""
    assert not gc.is_tracked(version())
