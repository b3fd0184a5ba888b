"""Each rule that what is accepted is held against notices when it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from dspyreload.model.defaults import Default
from dspyreload.model.faults import Fault
from dspyreload.model.manifest import ModuleManifest, parse_manifest
from dspyreload.model.module import Demo, FieldDefinition, ModuleMetadata, SignatureDefinition
from dspyreload.model.module_file import parse_module
from tests.fuzz import targets
from tests.fuzz.files import DIALOGUE, PROGRAMS
from tests.fuzz.manifest_model import check_manifest
from tests.fuzz.module_model import check_id, check_module
from tests.fuzz.state_model import check_state
from tests.fuzz.strict import NotJSON, alike, modest, strict
from tests.fuzz.told import LONGEST, check_faults, check_words

CORPUS = Path(__file__).parent / "corpus"


def value_of(name: str) -> Any:
    return json.loads((CORPUS / name).read_bytes())


@pytest.mark.parametrize(
    "broken",
    [
        {"instruction": "y"},
        {"module_id": "another"},
        {"predictor_type": "react"},
        {"signature_name": "npc.other"},
        {"tool_enabled": True},
        {"demos": ()},
        {"demos": (Demo(inputs={"player_message": 1}, outputs={}),)},
        {"fallback": ({"mood": 1},)},
        {"metadata": ModuleMetadata(optimizer="x")},
        {"metadata": ModuleMetadata(metric_score=1)},
        {"metadata": ModuleMetadata(optimized_at="2025-11-24")},
    ],
)
def test_a_module_that_is_not_its_text_is_noticed(broken: dict[str, Any]) -> None:
    """Each field is compared."""
    value = value_of("module/registered.json")
    module = parse_module(json.dumps(value).encode(), "npc.it").module
    check_module(value, module, DIALOGUE)
    with pytest.raises(AssertionError):
        check_module(value, attrs.evolve(module, **broken), DIALOGUE)


@pytest.mark.parametrize(
    "broken",
    [
        {"instruction": 1},
        {"instruction": " "},
        {"instruction_file": "x.md"},
        {"module_id": ""},
        {"demos": None},
        {"fallback": [{}]},
        {"include": [1]},
        {"metadata": None},
    ],
)
def test_a_text_that_can_be_no_module_is_noticed(broken: dict[str, Any]) -> None:
    """Had the reader accepted it."""
    value = value_of("module/registered.json")
    module = parse_module(json.dumps(value).encode(), "npc.it").module
    with pytest.raises(AssertionError):
        check_module({**value, **broken}, module, DIALOGUE)


@pytest.mark.parametrize("name", ["x y", "1x", "_x", "config", "é", "model_x", "response"])
def test_a_field_that_can_be_none_is_noticed(name: str) -> None:
    """By its name."""
    value = value_of("module/small.json")
    module = parse_module(json.dumps(value).encode(), "npc.it").module
    response = FieldDefinition(name="response")
    signature = SignatureDefinition(inputs=(FieldDefinition(name=name),), outputs=(response,))
    with pytest.raises(AssertionError):
        check_module(value, module, signature)


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("config", {}),
        ("fields", []),
        ("demos", {}),
        ("demos", [1]),
        ("demos", [{"weather": 1}]),
        ("signature", {"instructions": "Answer.", "fields": []}),
        (
            "signature",
            {"instructions": "Answer.", "fields": [{"prefix": p, "description": ""} for p in ("Response:",) * 2]},
        ),
    ],
)
def test_a_state_that_dspy_would_take_amiss_is_noticed(part: str, broken: Any) -> None:
    """Had the reader accepted it."""
    value = value_of("state/bare.json")
    module = parse_module(json.dumps(value).encode(), "npc.it").module
    check_state(value, module, PROGRAMS["bare"])
    with pytest.raises(AssertionError):
        check_state({**value, part: broken}, module, PROGRAMS["bare"])
    with pytest.raises(AssertionError):
        check_state(value, module, PROGRAMS["thought"])


@pytest.mark.parametrize(
    "broken",
    [
        {"path": "/etc/passwd"},
        {"path": "../x.json"},
        {"path": "a//x.json"},
        {"path": "./x.json"},
        {"path": "manifest.json"},
        {"path": "another.json"},
        {"hash": "ab"},
        {"tags": ()},
        {"temperature": float("nan")},
        {"temperature": 2.5},
        {"max_tokens": 0},
        {"lm": None},
        {"default": Default(signature_name="a", signature=DIALOGUE)},
    ],
)
def test_an_entry_that_can_be_none_is_noticed(broken: dict[str, Any]) -> None:
    """Or that is not what its text says."""
    value = value_of("manifest/all.json")
    manifest = parse_manifest(json.dumps(value).encode())
    check_manifest(value, manifest)
    ((module_id, entry),) = manifest.modules.items()
    entry = msgspec.structs.replace(entry, **broken)
    with pytest.raises(AssertionError):
        check_manifest(value, ModuleManifest("1", {module_id: entry}, paths={entry.path: module_id}))


@pytest.mark.parametrize("ids", [("a", "A"), ("ß", "SS"), ("é", "É")])
def test_ids_that_are_one_are_noticed(ids: tuple[str, str]) -> None:
    """In NFC, case-folded."""
    value = {"modules": {name: {"path": f"{name}.json"} for name in ids}}
    rows = {
        name: parse_manifest(json.dumps({"modules": {name: value["modules"][name]}}).encode())[name] for name in ids
    }
    with pytest.raises(AssertionError, match="capital letters"):
        check_manifest(value, ModuleManifest("1.0", rows, paths={f"{name}.json": name for name in ids}))


@pytest.mark.parametrize("module_id", ["", " ", "e\u0301", None])
def test_an_id_that_can_be_none_is_noticed(module_id: Any) -> None:
    """It has letters, in NFC."""
    with pytest.raises(AssertionError):
        check_id(module_id)


@pytest.mark.parametrize("words", ["", "two\nlines", "\x1b[31m", "\u202e", "x" * (LONGEST + 1)])
def test_words_that_a_terminal_obeys_are_noticed(words: str) -> None:
    """And those that are too many, or none."""
    with pytest.raises(AssertionError):
        check_words(words)


@pytest.mark.parametrize("place", [(0, 1), (1, 0), (1, 4), (3, 1), (2, 3), (1, None)])
def test_a_place_that_is_not_in_the_text_is_noticed(place: tuple[int, int | None]) -> None:
    """Lines and columns are from 1; one behind the end of a line is where something is missing."""
    check_faults([Fault("x", 1, 3), Fault("x", 2, 2), Fault("x")], b"ab\nc")
    with pytest.raises(AssertionError):
        check_faults([Fault("x", *place)], b"ab\nc")


@pytest.mark.parametrize(
    "data", [b'{"a": 1, "a": 1}', b"[NaN]", b"[1e999]", rb'["\ud800"]', b"\xff", b"[" * 9, b"\xfe\xff"]
)
def test_what_is_no_json_is_noticed(data: bytes) -> None:
    """By a decoder that is not ours."""
    with pytest.raises(NotJSON):
        strict(data)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), ([1], [1, 2]), ({"a": 1, "b": 2}, {"b": 2, "a": 1})])
def test_values_of_another_kind_are_no_equals(one: Any, other: Any) -> None:
    """Though Python says that some are."""
    assert not alike([one], [other])


@pytest.mark.parametrize("accepts", [b'{"a": 1, "a": 2}', b'{"a": NaN}'])
def test_a_reader_that_accepts_what_is_no_json_is_noticed(accepts: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that reads another value, or refuses what is JSON."""
    monkeypatch.setattr(targets, "parse", json.loads)
    with pytest.raises(AssertionError, match="no JSON"):
        targets.check_json(accepts)
    monkeypatch.setattr(targets, "parse", lambda data: {"a": 2})
    with pytest.raises(AssertionError, match="another value"):
        targets.check_json(b'{"a": 1}')


def test_brackets_in_a_string_are_no_depth() -> None:
    """Those that close would hide how deep a text is, and those that open are none."""
    deep = b"[" * 300 + b"]" * 300
    assert not modest(b'{"' + b"]" * 300 + b'": ' + deep + b"}")
    assert modest(b'{"a": "' + b"[" * 300 + b'\\""}')
