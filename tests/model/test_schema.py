"""What an editor marks is what the readers would say; what they would serve it leaves in peace."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import attrs
import dspy
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from dspyreload.model.defaults import BUILT_IN, Default
from dspyreload.model.dspy_state import is_dspy_state
from dspyreload.model.faults import FaultError
from dspyreload.model.fitting import check_demos, odd_values
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.module_file import ModuleFile, parse_module
from dspyreload.model.schema import manifest_schema, module_schema, schema_of_both
from tests.conftest import MODULE

DIALOGUE = SignatureDefinition(
    inputs=(FieldDefinition(name="player_message"), FieldDefinition(name="mood", optional=True)),
    outputs=(
        FieldDefinition(name="response", description="What is said"),
        FieldDefinition(name="emotion"),
        FieldDefinition(name="price", field_type="int", optional=True),
    ),
)
KNOWN = {"npc.dialogue": DIALOGUE}
FULL = {key: value for key, value in MODULE.items() if key != "signature"}
SAID = {"inputs": {"player_message": "Hm?"}, "outputs": {"response": "Aye."}}
SMALL = {"instruction": "x", "demos": [SAID]}
TOOLS = {
    "inputs": [{"name": "context", "field_type": "json"}, {"name": "available_tools", "field_type": "json"}],
    "outputs": [{"name": "tool_call", "field_type": "json"}],
}
MODULE_SCHEMA, KNOWN_SCHEMA, MANIFEST_SCHEMA = module_schema(), module_schema(KNOWN), manifest_schema()


def marks(schema: dict[str, Any], value: Any) -> list[str]:
    """Return what an editor that has the schema marks in a file."""
    return [error.message for error in Draft7Validator(schema).iter_errors(value)]


def put(module: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy with changes; None takes a key away."""
    return {key: value for key, value in {**copy.deepcopy(module), **changes}.items() if value is not None}


def remarks(value: Any) -> list[str]:
    """Return what the reader has to say of a module: faults, or what is odd."""
    try:
        draft = parse_module(json.dumps(value).encode(), "x")
        serving = draft.module.signature or DIALOGUE
        check_demos(draft.module, serving)
    except FaultError as fault:
        return [each.message for each in (fault, *fault.others)]
    return [odd.message for odd in (*draft.warnings, *odd_values(draft.module, serving))]


@pytest.mark.parametrize(
    "schema",
    [
        MODULE_SCHEMA,
        KNOWN_SCHEMA,
        MANIFEST_SCHEMA,
        manifest_schema(["a"]),
        schema_of_both(KNOWN_SCHEMA, MANIFEST_SCHEMA),
    ],
)
def test_each_is_a_schema_of_draft_7(schema: dict[str, Any]) -> None:
    """Which editors know; each definition that it speaks of is there, and it can be written as JSON."""
    Draft7Validator.check_schema(schema)
    text = json.dumps(schema)
    for reference in set(text.split('"$ref": "')[1:]):
        name = reference.partition('"')[0].removeprefix("#/definitions/")
        assert name in schema["definitions"]
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"


GOOD = [
    {"instruction": "x"},
    {"instruction_file": "x.md"},
    {"$schema": "../.schemas/module.json", "instruction": "x", "include": ["a.md", "../b.json"]},
    MODULE,
    FULL,
    put(FULL, predictor_type="chain_of_thought"),
    {"instruction": "x", "predictor_type": "chain_of_thought"},
    {"instruction": "x", "signature_name": "npc.dialogue"},
    put(MODULE, signature=None, signature_name="nobody.knows", demos=None),
    SMALL,
    put(SMALL, signature=MODULE["signature"], demos=MODULE["demos"]),
    put(SMALL, demos=[{**SAID, "inputs": {"player_message": "a", "conversation_history": "b"}}]),
    put(SMALL, fallback=[{"response": "Not now."}], tool_enabled=False),
    put(FULL, fallback=[{"response": "Not now."}, {"emotion": "calm"}]),
    put(FULL, demos=[{"inputs": {"player_message": "a", "mood": "b"},
                      "outputs": {"response": "c", "emotion": "d", "price": 3}}]),
    put(FULL, predictor_type="chain_of_thought",
        demos=[{"inputs": {"player_message": "a"}, "outputs": {"reasoning": "b", "response": "c", "emotion": "d"}}]),
    put(SMALL, demos=None, signature=TOOLS, tool_enabled=True),
    put(SMALL, demos=[], metadata={"optimizer": "m", "optimized_at": "2025-11-24T10:30:00Z", "metric_score": 1,
                                   "version": "2", "judge": {"name": "me"}}),
    {**SMALL, "metadata": {"optimized_at": None, "metric_score": None}, "signature": None},
]  # fmt: skip


@pytest.mark.parametrize("module", GOOD)
def test_a_good_module_has_no_mark(module: Any) -> None:
    """Whether the editor knows the game's signatures or not."""
    assert remarks(module) == []
    assert marks(MODULE_SCHEMA, module) == marks(KNOWN_SCHEMA, module) == []


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("examples/*/modules/**/*.json")))
def test_an_example_has_no_mark(file: Path) -> None:
    """A writer's first look is at these."""
    assert marks(MODULE_SCHEMA, json.loads(file.read_bytes())) == []


OWN = {
    "inputs": [{"name": "question"}, {"name": "deep", "field_type": "json"}],
    "outputs": [{"name": "n", "field_type": "int"}],
}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
odd: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats(-9, 9) | texts
odd = odd | st.lists(odd, max_size=2) | st.dictionaries(texts, odd, max_size=2)


def said_in(needed: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(needed, optional=optional)


def demos(inputs: st.SearchStrategy[Any], outputs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.fixed_dictionaries({"inputs": inputs, "outputs": outputs}), max_size=2)


heard = said_in({"player_message": texts}, {"conversation_history": texts})
spoken = said_in({"player_message": texts}, {"mood": texts})
answer = said_in({"response": texts, "emotion": texts}, {"price": st.integers()})
more = {
    "include": st.lists(texts, max_size=2), "tool_enabled": st.booleans(), "$schema": texts,
    "metadata": st.dictionaries(st.sampled_from(["metric_score", "judge", "version", "optimizer"]), odd, max_size=2),
    "fallback": st.lists(said_in({}, {"response": texts, "n": st.integers(), "price": st.integers()}), max_size=2),
}  # fmt: skip
small = st.fixed_dictionaries(
    {"instruction": texts}, optional={**more, "demos": demos(heard, said_in({"response": texts}, {}))}
)
own = st.fixed_dictionaries(
    {"instruction_file": texts, "signature": st.just(OWN)},
    optional={**more, "demos": demos(said_in({"question": texts, "deep": odd}, {}), said_in({"n": st.integers()}, {}))},
)
kinds = st.sampled_from(["predict", "chain_of_thought"])
full = st.fixed_dictionaries(
    {"module_id": texts, "predictor_type": kinds, "signature_name": st.just("npc.dialogue"), "instruction": texts},
    optional={**more, "demos": demos(spoken, answer | answer.map(lambda said: {**said, "reasoning": "hm"}))},
)
mistakes: st.SearchStrategy[Any] = st.just({}) | st.dictionaries(
    st.sampled_from([field.name for field in attrs.fields(ModuleFile)]), odd, max_size=1
)
modules = st.builds(lambda module, mistake: {**module, **mistake}, small | own | full, mistakes)


@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(modules)
def test_what_the_reader_has_nothing_against_has_no_mark(module: dict[str, Any]) -> None:
    """Of whatever files a writer may come to write."""
    assume(not remarks(module))
    assert marks(MODULE_SCHEMA, module) == marks(KNOWN_SCHEMA, module) == []


BAD = [
    {}, [], "x", {"include": ["a.md"]}, {"metadata": {}},
    {"instruction": ""}, {"instruction": " \n"}, {"instruction": 1}, {"instruction": None}, {"instruction_file": ""},
    {"instruction": "x", "instruction_file": "x.md"},
    put(FULL, module_id=None), put(FULL, predictor_type=None), put(FULL, signature_name=None),
    {"instruction": "x", "module_id": "a"},
    {"instruction": "x", "predictor_type": "predict", "signature_name": "npc.dialogue"},
    {"instruction": "x", "predictor_type": "predict", "module_id": "a"},
    {"instruction": "x", "signature_name": "npc.dialogue", "module_id": "a"},
    put(FULL, module_id=" "), put(FULL, signature_name=""), put(FULL, predictor_type="react"),
    put(SMALL, mood=1), put(SMALL, instructon="x"), put(SMALL, include="a.md"), put(SMALL, tool_enabled="yes"),
    put(SMALL, signature={"inputs": []}), put(SMALL, signature={"inputs": [{"nam": "a"}], "outputs": []}),
    put(SMALL, signature={"inputs": [{"name": "a", "field_type": "str"}], "outputs": [{"name": "b"}]}),
    put(SMALL, signature={"inputs": [], "outputs": [{"name": "b", "optional": True}]}),
    put(SMALL, demos={}), put(SMALL, demos=[{"inputs": {}}]),
    put(SMALL, metadata=3), put(SMALL, metadata=[]), put(SMALL, metadata={"metric_score": "good"}),
    put(SMALL, fallback=["Hm."]), put(SMALL, fallback=[{"reply": "Hm."}]),
    put(SMALL, demos=[{"inputs": {"message": "a"}, "outputs": {"response": "b"}}]),
    put(SMALL, demos=[SAID, {"inputs": {}, "outputs": {"response": "b"}}]),
    put(SMALL, demos=[{"inputs": {"player_message": "a"}, "outputs": {}}]),
    put(SMALL, demos=[{"inputs": {"player_message": "a"}, "outputs": {"response": 7}}]),
    put(SMALL, demos=[{"inputs": {"player_message": "a"}, "outputs": {"response": "b", "emotion": "c"}}]),
]  # fmt: skip


@pytest.mark.parametrize("module", BAD)
def test_what_the_reader_remarks_is_marked(module: Any) -> None:
    """What is no module, and what a writer is warned of; the demonstrations by the default signature."""
    assert remarks(module) != []
    assert marks(MODULE_SCHEMA, module) != []


class TestTheGamesSignatures:
    @pytest.mark.parametrize(
        ("inputs", "outputs"),
        [
            ({"player_message": "a"}, {"response": "b"}),
            ({}, {"response": "b", "emotion": "c"}),
            ({"player_message": "a", "moood": "x"}, {"response": "b", "emotion": "c"}),
            ({"player_message": "a"}, {"response": "b", "emotion": "c", "price": "dear"}),
            ({"player_message": "a"}, {"response": "b", "emotion": "c", "rice": 1}),
        ],
    )
    def test_a_demonstration_that_does_not_fit_is_marked(self, inputs: Any, outputs: Any) -> None:
        """Where the game registered what the module names, and the editor knows of it."""
        module = put(FULL, demos=[{"inputs": inputs, "outputs": outputs}])
        assert remarks(module) != []
        assert marks(KNOWN_SCHEMA, module) != []
        assert marks(MODULE_SCHEMA, module) == []
        assert marks(KNOWN_SCHEMA, put(module, signature_name="another")) == []

    def test_each_is_held_against_its_own(self) -> None:
        """Of several registered ones."""
        other = SignatureDefinition(inputs=(), outputs=(FieldDefinition(name="title"),))
        schema = module_schema({**KNOWN, "a.quest": other})
        quest = put(FULL, signature_name="a.quest", demos=[{"inputs": {}, "outputs": {"title": "x"}}])
        assert marks(schema, quest) == marks(schema, FULL) == []
        assert marks(schema, put(quest, signature_name="npc.dialogue")) != []
        assert marks(schema, put(FULL, signature_name="a.quest")) != []

    def test_a_field_is_described_where_one_writes_it(self) -> None:
        """With the words of the signature."""
        side = KNOWN_SCHEMA["definitions"]["Demo-signature-0"]["properties"]["outputs"]
        assert side["properties"]["response"]["description"] == "What is said"


SPOKEN = put(SMALL, demos=[{"inputs": {"player_message": "a"}, "outputs": {"response": "b", "emotion": "c"}}])


class TestDefaults:
    @pytest.mark.parametrize("default", [Default(signature_name="npc.dialogue"), Default(signature=DIALOGUE)])
    def test_they_say_what_a_demonstration_has(self, default: Default) -> None:
        """Whether by name or by fields; a module with fields of its own is left in peace."""
        schema = module_schema(KNOWN, [default])
        assert marks(schema, SPOKEN) == []
        assert marks(schema, SMALL) != []
        assert marks(schema, put(SMALL, signature=MODULE["signature"], demos=MODULE["demos"])) == []

    def test_one_of_several_must_fit(self) -> None:
        """Which of them serves is a matter of folder and tag, of which an editor knows nothing."""
        schema = module_schema(KNOWN, [BUILT_IN, Default(signature_name="npc.dialogue")])
        assert marks(schema, SPOKEN) == marks(schema, SMALL) == []
        assert marks(schema, put(SMALL, demos=[{"inputs": {"player_message": "a"}, "outputs": {"emotion": "c"}}])) != []

    def test_one_that_nobody_registered_may_have_any_fields(self) -> None:
        """What is not known is not marked."""
        schema = module_schema({}, [BUILT_IN, Default(signature_name="npc.dialogue")])
        assert marks(schema, put(SMALL, demos=[{"inputs": {"what": "ever"}, "outputs": {}}])) == []
        assert marks(schema, put(SMALL, demos=[{"inputs": {}}])) != []


class TestWhatDSPySaved:
    @pytest.mark.parametrize(
        "program", [dspy.Predict("a -> b"), dspy.ChainOfThought("a -> b"), dspy.ReAct("a -> b", tools=[])]
    )
    @pytest.mark.parametrize("dropped", ["", "metadata"])
    def test_it_has_no_mark(self, program: Any, dropped: str, tmp_path: Path) -> None:
        """It is checked beside its program; one without its versions is served too."""
        program.save(tmp_path / "x.json")
        state = json.loads((tmp_path / "x.json").read_bytes())
        state.pop(dropped, None)
        assert is_dspy_state(state)
        assert marks(MODULE_SCHEMA, state) == marks(schema_of_both(MODULE_SCHEMA, MANIFEST_SCHEMA), state) == []
