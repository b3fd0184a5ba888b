"""Plain values into the classes that hold them; what does not fit is told in a writer's words, at its place."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from dspyreload.model.decoding import convert, lacks, signature_faults, signature_of_file, unknown_key
from dspyreload.model.faults import FaultError, Path
from dspyreload.model.manifest import EntryKeys
from dspyreload.model.module import (
    TAKEN_BY_PREDICT,
    Demo,
    FieldDefinition,
    ModuleMetadata,
    SignatureDefinition,
)
from dspyreload.model.module_file import ModuleFile

QUOTES = "put it in double quotes"


def fault(value: Any, kind: type[Any], path: Path = ()) -> FaultError:
    with pytest.raises(FaultError) as raised:
        convert(value, kind, path)
    return raised.value


def signature(inputs: tuple[str, ...] = ("heard",), outputs: tuple[str, ...] = ("said",)) -> SignatureDefinition:
    sides = [tuple(FieldDefinition(name=name) for name in names) for names in (inputs, outputs)]
    return SignatureDefinition(inputs=sides[0], outputs=sides[1])


def field(**keys: Any) -> dict[str, Any]:
    return {"signature": {"inputs": [{"name": "a"}, {"name": "b", **keys}], "outputs": []}}


# fmt: off
ODD_VALUES = [
    ({"instruction": 1}, ModuleFile, '"instruction" must be text, not a whole number', ("instruction",), QUOTES),
    ({"instruction": 1.5}, ModuleFile, '"instruction" must be text, not a number', ("instruction",), QUOTES),
    ({"instruction": True}, ModuleFile, '"instruction" must be text, not true or false', ("instruction",),
     QUOTES),
    ({"instruction": None}, ModuleFile, '"instruction" must be text, not null', ("instruction",), ""),
    ({"instruction": ["a"]}, ModuleFile, '"instruction" must be text, not a list', ("instruction",), ""),
    ({"instruction": {}}, ModuleFile, '"instruction" must be text, not an object in { }', ("instruction",), ""),
    ({"tool_enabled": "yes"}, ModuleFile, '"tool_enabled" must be true or false, not text', ("tool_enabled",), ""),
    ({"signature": 5}, ModuleFile, '"signature" must be an object in { } or null, not a whole number',
     ("signature",), ""),
    ({"demos": "none"}, ModuleFile, '"demos" must be a list, not text', ("demos",), ""),
    ({"demos": [{"inputs": {}, "outputs": {}}, 1]}, ModuleFile,
     "demo 2 must be an object in { }, not a whole number", ("demos", 1), ""),
    ({"demos": [{"inputs": {}, "outputs": [1]}]}, ModuleFile,
     'demo 1, "outputs" must be an object in { }, not a list', ("demos", 0, "outputs"), ""),
    ({"demos": [{"inputs": {}}]}, ModuleFile, 'demo 1 lacks "outputs"', ("demos", 0), 'add "outputs" to it'),
    ({"fallback": ["Hm."]}, ModuleFile, "fallback 1 must be an object in { }, not text", ("fallback", 0), ""),
    ({"include": ["a.md", 2]}, ModuleFile, "include 2 must be text, not a whole number", ("include", 1), QUOTES),
    ({"metadata": {"metric_score": "good"}}, ModuleFile,
     '"metadata", "metric_score" must be a number or null, not text', ("metadata", "metric_score"), ""),
    ({"predictor_type": "think"}, ModuleFile,
     '"predictor_type" must be one of "predict", "chain_of_thought"', ("predictor_type",), ""),
    (field(field_type="str"), ModuleFile,
     '"signature", input 2, "field_type" must be one of "string", "json", "int", "float", "bool", "list"',
     ("signature", "inputs", 1, "field_type"), ""),
    (field(name=None), ModuleFile, '"signature", input 2, "name" must be text, not null',
     ("signature", "inputs", 1, "name"), ""),
    ({"path": "a", "max_tokens": 1.5}, EntryKeys, '"max_tokens" must be a whole number or null, not a number',
     ("max_tokens",), ""),
    ({"path": "a", "temperature": 10**400}, EntryKeys, '"temperature" is a number that is too large',
     ("temperature",), "write a smaller one"),
    ({"path": "a", "tags": ["x", None]}, EntryKeys, '"tags" item 2 must be text, not null', ("tags", 1), ""),
    ({}, EntryKeys, 'the file lacks "path"', (), 'add "path" to it'),
    (7, EntryKeys, "the file must be an object in { }, not a whole number", (), ""),
]

ODD_SIGNATURES = [
    (("a",), (), 'the signature has no "outputs"', ("signature", "outputs")),
    (("a", "b c"), ("x",), '"b c" can\'t name a field; use letters, digits and _, a letter first',
     ("signature", "inputs", 1, "name")),
    (("a",), ("x", "2nd"), '"2nd" can\'t name a field; use letters, digits and _, a letter first',
     ("signature", "outputs", 1, "name")),
    (("",), ("x",), '"" can\'t name a field; use letters, digits and _, a letter first',
     ("signature", "inputs", 0, "name")),
    (("_a",), ("x",), '"_a" can\'t name a field; use letters, digits and _, a letter first',
     ("signature", "inputs", 0, "name")),
    (("straße",), ("x",), '"straße" can\'t name a field; use letters, digits and _, a letter first',
     ("signature", "inputs", 0, "name")),
    (("a",), ("model_x",), '"model_x" can\'t name a field; use letters, digits and _, a letter first',
     ("signature", "outputs", 0, "name")),
    (("a", "b", "a"), ("x",), 'the signature has two fields "a"; rename or delete one',
     ("signature", "inputs", 2, "name")),
    (("a",), ("x", "a"), 'the signature has two fields "a"; rename or delete one',
     ("signature", "outputs", 1, "name")),
]
# fmt: on


class TestConvert:
    def test_what_fits_is_the_value(self) -> None:
        """With the defaults of what is left out, and nothing turned into something else."""
        value = {"inputs": {"n": 3, "deep": {"x": [None, 1.5]}}, "outputs": {}}
        assert convert(value, Demo) == Demo(inputs={"n": 3, "deep": {"x": [None, 1.5]}}, outputs={})
        assert convert({}, ModuleMetadata) == ModuleMetadata()
        assert convert({"path": "a.json", "temperature": 1}, EntryKeys).temperature == 1.0

    @pytest.mark.parametrize(("value", "kind", "words", "path", "mend"), ODD_VALUES)
    def test_what_does_not_is_named(self, value: Any, kind: type[Any], words: str, path: Path, mend: str) -> None:
        """Where it stands, what stands there and what should; how to mend it where that does not follow."""
        found = fault(value, kind)
        assert (found.message, found.path, found.mend, found.key) == (words, path, mend, False)

    def test_a_place_counts_from_the_whole_file(self) -> None:
        """A part of a file is converted by itself, and its fault is told as one of the file."""
        found = fault({"inputs": {}, "outputs": 1}, Demo, ("demos", 2))
        assert found.message == 'demo 3, "outputs" must be an object in { }, not a whole number'
        assert found.path == ("demos", 2, "outputs")
        assert fault(1, Demo, ("demos", 2)).message == "demo 3 must be an object in { }, not a whole number"
        assert fault({}, EntryKeys, ("modules", "npc")).message == '"modules", "npc" lacks "path"'

    def test_no_words_are_those_of_a_programmer(self) -> None:
        """Nothing of Python, of msgspec or of its paths is in any of them."""
        odd_values: list[Any] = [None, True, 1, 1.5, "x", [], {}, [1], {"x": 1}]
        for key in EntryKeys.__struct_fields__:
            for value in odd_values:
                with contextlib.suppress(FaultError):
                    convert({"path": "a", key: value}, EntryKeys)
                    continue
                words = fault({"path": "a", key: value}, EntryKeys).message
                assert not [word for word in ("`", "$", "str", "int", "None", "msgspec") if word in words]


class TestLacks:
    def test_a_missing_key_is_to_be_added(self) -> None:
        """The fault stands where it should be."""
        found = lacks("demo 1", "outputs", ("demos", 0))
        assert (found.message, found.path, found.key) == ('demo 1 lacks "outputs"', ("demos", 0), False)
        assert found.mend == 'add "outputs" to it'

    def test_one_that_is_perhaps_misspelt_is_named(self) -> None:
        """The fault stands at the key that is there, and asks."""
        found = lacks("the module", "instruction", given={"mood": 1, "instructon": "x"})
        assert found.message == 'the module lacks "instruction"; is it what "instructon" should be?'
        assert (found.path, found.key, found.mend) == (("instructon",), True, "")

    @pytest.mark.parametrize("given", [(), {}, {"mood": 1}])
    def test_what_is_far_off_is_not_named(self, given: Any) -> None:
        """A key that is nothing like it is not taken for it."""
        assert lacks("the module", "instruction", given=given).message == 'the module lacks "instruction"'


class TestUnknownKeys:
    def test_one_that_is_near_is_asked_about(self) -> None:
        """The question is the mend; there is no other."""
        found = unknown_key("instructions", ("a", 1), ("instruction", "demos"))
        assert found.message == '"instructions" is not known and is ignored; did you mean "instruction"?'
        assert (found.path, found.mend) == (("a", 1, "instructions"), "")

    def test_any_other_is_to_be_deleted(self) -> None:
        """Or corrected; a hostile one does nothing to a terminal, and is cut."""
        found = unknown_key("mood", (), ("instruction", "demos"))
        assert (found.message, found.mend) == ('"mood" is not known and is ignored', "delete it, or correct it")
        hostile = unknown_key("\x1b[2J" * 1000, (), ("instruction",)).message
        assert "\x1b" not in hostile
        assert len(hostile) < 200


class TestSignatures:
    def test_a_good_one_has_no_faults(self) -> None:
        """Nor has none at all; it may have no inputs."""
        for good in (None, signature(), signature((), ("said", "_".join("ab"), "B2"))):
            assert list(signature_faults(good)) == []

    @pytest.mark.parametrize(("inputs", "outputs", "words", "path"), ODD_SIGNATURES)
    def test_each_fault_has_its_field(
        self, inputs: tuple[str, ...], outputs: tuple[str, ...], words: str, path: Path
    ) -> None:
        """And says what to do."""
        (found,) = signature_faults(signature(inputs, outputs))
        assert (found.message, found.path) == (words, path)

    @pytest.mark.parametrize("name", sorted(TAKEN_BY_PREDICT | {"instructions", "fields", "completed"}))
    def test_what_dspy_keeps_for_itself_names_no_field(self, name: str) -> None:
        """As an input or as an output."""
        words = f'"{name}" is a name that DSPy keeps for itself; call the field something else'
        for odd in (signature((name,)), signature(outputs=(name,))):
            assert [found.message for found in signature_faults(odd)] == [words]

    def test_all_faults_of_one_come_at_once(self) -> None:
        """Below the place where it stands."""
        above = ("defaults", "tags", "q", "signature")
        found = list(signature_faults(signature(("a b", "demos"), ("c d",)), above))
        assert [each.path for each in found] == [
            (*above, "inputs", 0, "name"), (*above, "inputs", 1, "name"), (*above, "outputs", 0, "name"),
        ]  # fmt: skip

    def test_no_field_of_a_file_is_optional(self) -> None:
        """That is for code: a demonstration of a writer's has all fields, inputs and outputs."""
        fields = tuple(FieldDefinition(name=name, description="d", optional=True, prefix="P:") for name in ("a", "b"))
        read = signature_of_file(SignatureDefinition(inputs=fields, outputs=fields))
        assert [each.optional for each in (*read.inputs, *read.outputs)] == [False] * 4
        assert [each.prefix for each in (*read.inputs, *read.outputs)] == [""] * 4
        assert [each.description for each in (*read.inputs, *read.outputs)] == ["d"] * 4
