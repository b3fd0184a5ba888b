"""A module's file is read whole, or every fault in it is named at its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import attrs
import pytest

from dspyreload.model.faults import FaultError
from dspyreload.model.fitting import check_demos
from dspyreload.model.module import DEFAULT_SIGNATURE, FieldDefinition, SavedPredictor, SignatureDefinition
from dspyreload.model.module_file import parse_module
from tests.conftest import MODULE, module_text
from tests.model.conftest import faults

DEMO = MODULE["demos"][0]


def spot(text: str, part: str, nth: int = 0) -> tuple[int, int]:
    """Return the line and column at which a part of a text stands."""
    offset = -1
    for _ in range(nth + 1):
        offset = text.index(part, offset + 1)
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def changed(*path: str | int, to: Any) -> str:
    """Return the text of the whole module with one value changed."""
    module = copy.deepcopy(MODULE)
    inner: Any = module
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = to
    return json.dumps(module, indent=2)


def test_the_full_form_is_read_whole() -> None:
    """Every field of the file stands in the module."""
    metadata = {
        "optimizer": "MIPROv2", "optimized_at": "2025-11-24T10:30:00Z", "metric_score": 0.87, "version": "2.1.0",
        "judge": {"name": "x"}, "extra": 1,
    }  # fmt: skip
    fallback = [{"response": "Hm."}]
    text = module_text(metadata=metadata, fallback=fallback, predictor_type="chain_of_thought")
    draft = parse_module(text.encode(), "unused")
    module = draft.module
    assert (module.module_id, module.predictor_type) == ("npc.smith", "chain_of_thought")
    assert (module.signature_name, module.instruction) == ("npc.dialogue", "You are a smith.")
    assert module.signature is not None
    assert module.signature.inputs == (FieldDefinition(name="player_message", description="What the player said"),)
    assert module.signature.output_names() == ("response", "emotion")
    assert attrs.asdict(module.demos[0]) == DEMO
    assert module.fallback == tuple(fallback)
    assert module.metadata.extra == {"judge": {"name": "x"}, "extra": 1}
    assert (module.metadata.optimizer, module.metadata.metric_score) == ("MIPROv2", 0.87)
    assert (draft.warnings, draft.text_files) == ((), ())


def test_an_instruction_alone_is_a_module() -> None:
    """The small form has the default id, predicts, and has the signature of a conversation."""
    module = parse_module(b'{"instruction": "You are a smith."}', "npc.smith").module
    assert (module.module_id, module.predictor_type, module.signature_name) == ("npc.smith", "predict", "")
    assert module.signature == DEFAULT_SIGNATURE


def test_the_small_form_may_bring_a_signature_and_demos() -> None:
    """What is not the name of the full form may stand in the small form too."""
    text = json.dumps({"instruction": "x", "signature": MODULE["signature"], "demos": MODULE["demos"]})
    assert faults(text) == []
    module = parse_module(text.encode(), "npc").module
    assert module.signature is not None
    assert module.signature.output_names() == ("response", "emotion")


@pytest.mark.parametrize("key", ["module_id", "predictor_type", "signature_name", "instruction"])
def test_each_required_field_is_missed_by_name(key: str) -> None:
    """The full form without one of its fields is rejected, and the field is named."""
    module = {name: value for name, value in MODULE.items() if name != key}
    assert [fault[0] for fault in faults(json.dumps(module))] == [f'the module lacks "{key}"']


@pytest.mark.parametrize(
    "named",
    [("module_id",), ("module_id", "predictor_type"), ("module_id", "signature_name"),
     ("predictor_type", "signature_name")],
)  # fmt: skip
def test_an_id_or_both_of_the_others_ask_for_all_three(named: tuple[str, ...]) -> None:
    """Such a file has the full form; each that it lacks is named."""
    text = json.dumps({**{key: MODULE[key] for key in named}, "instruction": "x"})
    others = [name for name in ("module_id", "predictor_type", "signature_name") if name not in named]
    assert [fault[0] for fault in faults(text)] == [f'the module lacks "{name}"' for name in others]


def test_the_small_form_may_say_how_it_thinks_or_which_signature_it_has() -> None:
    """One of the two; what it does not say is as in any small form."""
    thinks = parse_module(b'{"instruction": "x", "predictor_type": "chain_of_thought"}', "npc").module
    assert (thinks.module_id, thinks.predictor_type) == ("npc", "chain_of_thought")
    assert (thinks.signature_name, thinks.signature) == ("", DEFAULT_SIGNATURE)
    draft = parse_module(b'{"instruction": "x", "signature_name": "npc.dialogue"}', "npc")
    assert (draft.module.module_id, draft.module.predictor_type) == ("npc", "predict")
    assert (draft.module.signature_name, draft.module.signature, draft.default) == ("npc.dialogue", None, None)


@pytest.mark.parametrize("key", ["module_id", "signature_name", "instruction"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_is_no_value(key: str, text: str) -> None:
    """A required text of nothing but blanks is rejected where it stands."""
    whole = module_text(**{"module_id": "npc", key: text})
    line, column = spot(whole, f'"{key}": ')
    assert faults(whole) == [(f'"{key}" is empty', line, column + len(key) + 4)]


@pytest.mark.parametrize("kind", ["string", "json", "int", "float", "bool", "list"])
def test_the_six_field_types_are_read(kind: str) -> None:
    """A field may be a string, json, int, float, bool or list."""
    assert faults(changed("signature", "inputs", 0, "field_type", to=kind)) == []


@pytest.mark.parametrize("kind", ["react", "Predict", ""])
def test_another_predictor_type_is_rejected(kind: str) -> None:
    """The two predictor types are named to who writes a third."""
    text = changed("predictor_type", to=kind)
    words = '"predictor_type" must be one of "predict", "chain_of_thought"'
    assert faults(text) == [(words, *spot(text, json.dumps(kind)))]


def test_another_field_type_is_rejected() -> None:
    """The six field types are named to who writes a seventh."""
    text = changed("signature", "outputs", 1, "field_type", to="str")
    ((message, *where),) = faults(text)
    assert message.startswith('"signature", output 2, "field_type" must be one of "string", "json"')
    assert tuple(where) == spot(text, '"str"')


@pytest.mark.parametrize(
    ("path", "value", "words", "part"),
    [
        (("instruction",), 5, '"instruction" must be text, not a whole number', "5"),
        (("instruction",), None, '"instruction" must be text, not null', "null"),
        (("demos",), {"a": 1}, '"demos" must be a list, not an object in { }', '{\n    "a"'),
        (("demos", 0), "x", "demo 1 must be an object in { }, not text", '"x"'),
        (("demos", 0, "inputs"), [], 'demo 1, "inputs" must be an object in { }, not a list', "[]"),
        (("tool_enabled",), "yes", '"tool_enabled" must be true or false, not text', '"yes"'),
        (("signature",), 1.5, '"signature" must be', "1.5"),
        (("signature", "inputs", 0, "name"), 7, '"signature", input 1, "name" must be text', "7"),
        (("signature", "outputs"), [], 'the signature has no "outputs"', "[]"),
        (("metadata",), [], '"metadata" must be an object in { }, not a list', "[]"),
        (("metadata",), {"metric_score": "x"}, '"metadata", "metric_score" must be a number or null', '"x"'),
        (("metadata",), {"optimized_at": "today"}, '"optimized_at" must be a time', '"today"'),
        (("metadata",), {"version": 2}, '"metadata", "version" must be text', "2\n"),
        (("include",), "rules.md", '"include" must be a list, not text', '"rules.md"'),
        (("include",), ["a.md", 3], "include 2 must be text", "3\n"),
        (("fallback",), ["Hm."], "fallback 1 must be an object in { }", '"Hm."'),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(path: tuple[str | int, ...], value: Any, words: str, part: str) -> None:
    """What stands there, what should stand there, and where: in a writer's words."""
    text = changed(*path, to=value)
    ((message, *where),) = faults(text)
    assert message.startswith(words)
    assert tuple(where) == spot(text, part)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("two words", "can't name a field"), ("1st", "can't name a field"), ("_x", "can't name a field"),
        ("größe", "can't name a field"), ("", "can't name a field"), ("demos", "DSPy keeps for itself"),
        ("lm", "DSPy keeps for itself"), ("config", "DSPy keeps for itself"), ("response", 'two fields "response"'),
    ],
)  # fmt: skip
def test_a_name_that_dspy_can_not_take_is_rejected(name: str, words: str) -> None:
    """A signature's fields are names, not reserved, and each stands once, inputs and outputs together."""
    ((message, *_where),) = faults(changed("signature", "outputs", 1, "name", to=name))[:1]
    assert words in message


@pytest.mark.parametrize("top", ["[]", '"text"', "1", "null"])
def test_a_module_is_an_object(top: str) -> None:
    """A file that is JSON but no object is no module."""
    assert faults(top) == [("a module is an object in { }", 1, 1)]


SAVED: dict[str, Any] = {"traces": [], "train": [], "demos": [], "lm": None}


def test_what_dspy_saves_is_a_draft_with_its_state() -> None:
    """A saved program is not taken for a module that lacks everything: its predictors are what there is of it."""
    state = {**SAVED, "signature": {"instructions": "Add.", "fields": []}}
    draft = parse_module(json.dumps(state).encode(), "x")
    assert draft.state == state
    assert (draft.module.module_id, draft.module.signature_name, draft.module.signature) == ("x", "", None)
    assert draft.module.predictors == {"": SavedPredictor(instructions="Add.")}


def test_what_dspy_saves_without_instructions_is_rejected_as_that() -> None:
    """A saved predictor that lacks its signature's parts lacks these, and is not taken for several predictors."""
    assert [message for message, *_ in faults(json.dumps({**SAVED, "signature": {}}))] == [
        'the predictor: "signature" lacks "instructions", a text',
        'the predictor: "signature" lacks "fields", a list',
    ]


def test_an_unknown_key_is_a_warning() -> None:
    """A key that nobody knows is ignored with a warning at its place; $schema is ignored without."""
    draft = parse_module(module_text(**{"$schema": "x", "instructions": "y"}).encode(), "x")
    assert [(warning.message, warning.path) for warning in draft.warnings] == [
        ('"instructions" is not known and is ignored; did you mean "instruction"?', ("instructions",))
    ]


def test_an_unknown_key_inside_is_a_warning_too() -> None:
    """In a demonstration, in a signature and in its fields; "metadata" may hold anything."""
    field = {"name": "said", "descripton": "x"}
    signature = {"inputs": [], "outputs": [field, {"name": "mood", "optional": True}], "output": 1}
    demo = {"inputs": {}, "outputs": {"said": "", "mood": ""}, "note": "x"}
    keys = {"signature": signature, "demos": [demo, demo], "metadata": {"judge": 1}, "instruction": "x"}
    found = {warning.path: warning.message for warning in parse_module(json.dumps(keys).encode(), "x").warnings}
    assert found == {
        ("signature", "output"): '"output" is not known and is ignored; did you mean "outputs"?',
        ("signature", "outputs", 0, "descripton"): (
            '"descripton" is not known and is ignored; did you mean "description"?'
        ),
        ("signature", "outputs", 1, "optional"): '"optional" is not known and is ignored',
        ("demos", 0, "note"): '"note" is not known and is ignored',
        ("demos", 1, "note"): '"note" is not known and is ignored',
    }


@pytest.mark.parametrize(
    ("instruction", "odd"),
    [("smith.md", True), ("../npc/smith.txt", True), ("a.markdown", True), ("See smith.md", False), ("smith.", False)],
)
def test_an_instruction_that_is_the_name_of_a_file_is_a_warning(instruction: str, odd: bool) -> None:
    """The model would be told a name; prose that speaks of a file is none."""
    draft = parse_module(json.dumps({"instruction": instruction}).encode(), "x")
    message = '"instruction" is the name of a file; did you mean "instruction_file"?'
    assert [(warning.message, warning.path) for warning in draft.warnings] == [(message, ("instruction",))] * odd


def test_a_misspelt_instruction_file_is_asked_about() -> None:
    """It is not taken for an instruction that is misspelt."""
    assert faults('{"instruction_fil": "smith.md"}') == [
        ('the module lacks "instruction"; is "instruction_fil" to be "instruction_file"?', 1, 2)
    ]


def test_all_faults_of_a_file_come_at_once() -> None:
    """Who repairs a file learns of all its faults, not of the first alone."""
    text = module_text(predictor_type="react", instruction=3, demos=[{"inputs": {}}, 1])
    assert [message for message, *_ in faults(text)] == [
        '"predictor_type" must be one of "predict", "chain_of_thought"',
        '"instruction" must be text, not a whole number',
        'demo 1 lacks "outputs"',
        "demo 2 must be an object in { }, not a whole number",
    ]


def test_the_manifest_speaks_for_what_a_state_lacks() -> None:
    """A signature name and a predictor type that are passed in stand in place of the file's."""
    draft = parse_module(b'{"instruction": "x"}', "n", signature_name="npc", predictor_type="chain_of_thought")
    assert (draft.module.signature_name, draft.module.predictor_type) == ("npc", "chain_of_thought")
    assert draft.module.signature is None


def test_text_files_are_the_includes_and_then_the_instruction_file() -> None:
    """They are named in the order in which they are put together."""
    text = '{"instruction_file": "smith.md", "include": ["../rules.md", "town.md"]}'
    draft = parse_module(text.encode(), "n")
    assert [name for name, _place in draft.text_files] == ["../rules.md", "town.md", "smith.md"]
    assert draft.complete((" Rules.\n", "Town.", "Smith.\n")).instruction == "Rules.\n\nTown.\n\nSmith."


def test_includes_come_before_the_instruction_of_the_file() -> None:
    """An instruction of the file's own comes last."""
    draft = parse_module(b'{"instruction": "Smith.", "include": ["rules.md"]}', "n")
    assert draft.complete(("Rules.",)).instruction == "Rules.\n\nSmith."


def test_an_instruction_that_is_empty_in_all_its_files_is_rejected() -> None:
    """Files of nothing but blanks are no instruction."""
    draft = parse_module(b'{"instruction_file": "smith.md"}', "n")
    with pytest.raises(FaultError, match="instruction is empty"):
        draft.complete((" \n",))


def test_an_instruction_stands_in_one_place() -> None:
    """A file with both an instruction and an instruction file is rejected at the latter."""
    text = '{"instruction": "x",\n "instruction_file": "y.md"}'
    assert faults(text) == [('"instruction" and "instruction_file" are both given; delete one', 2, 2)]


@pytest.mark.parametrize(
    ("side", "demo", "words", "part"),
    [
        ("outputs", {"response": "Hm."}, 'demo 3 lacks "emotion"', "{"),
        ("inputs", {}, 'demo 3 lacks "player_message"', "{"),
        ("inputs", {"player_message": "", "mood": 1}, 'demo 3 has "mood", which is no input', '"mood"'),
        ("outputs", {**DEMO["outputs"], "anger": 1}, 'demo 3 has "anger", which is no output', '"anger"'),
        ("outputs", {**DEMO["outputs"], "reasoning": ""}, 'demo 3 has "reasoning"', '"reasoning"'),
    ],
)
def test_a_demo_that_does_not_fit_is_named_at_its_place(side: str, demo: Any, words: str, part: str) -> None:
    """Each demonstration has every field of the signature and no other; a fault says which one, from 1."""
    text = module_text(demos=[DEMO, DEMO, {**DEMO, side: demo}])
    offset = text.index(part, text.index(f'"{side}": ', text.rindex('"inputs"')))
    ((message, line, column),) = faults(text)
    assert message.startswith(words)
    assert (line, column) == (text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def test_every_demo_that_does_not_fit_is_named() -> None:
    """All demonstrations' faults come at once, in order."""
    lacking = {"inputs": {}, "outputs": {"response": "Hm."}}
    assert [message for message, *_ in faults(module_text(demos=[lacking, DEMO, lacking]))] == [
        'demo 1 lacks "player_message"',
        'demo 1 lacks "emotion"',
        'demo 3 lacks "player_message"',
        'demo 3 lacks "emotion"',
    ]


def test_a_chain_of_thought_may_show_its_reasoning() -> None:
    """A demonstration of a chain of thought may hold the reasoning that DSPy adds to the outputs."""
    demo = {**DEMO, "outputs": {**DEMO["outputs"], "reasoning": "He is busy."}}
    assert faults(module_text(demos=[demo, DEMO], predictor_type="chain_of_thought")) == []


def test_a_demo_may_leave_out_what_a_call_may_leave_out() -> None:
    """An optional input of the serving signature is not missed in a demonstration."""
    text = json.dumps(
        {"instruction": "x", "demos": [{"inputs": {"player_message": "a"}, "outputs": {"response": "b"}}]}
    )
    assert faults(text) == []


def test_demos_are_held_against_the_signature_that_serves() -> None:
    """A registered signature with other fields than the demonstrations makes them faults."""
    fields = (FieldDefinition(name="line"),)
    serving = SignatureDefinition(inputs=fields, outputs=(FieldDefinition(name="reply"),))
    with pytest.raises(FaultError, match='demo 1 has "player_message", which is no input of the signature'):
        check_demos(parse_module(module_text(signature=None).encode(), "x").module, serving)


@pytest.mark.parametrize(
    ("fallback", "words"),
    [
        ([{"response": "Hm."}], []),
        ([{"response": "Hm."}, {"anger": "x"}], ['fallback 2 has "anger", which is no output of the signature']),
        ([{}], ["fallback 1 is empty"]),
    ],
)
def test_a_fallback_line_speaks_in_outputs(fallback: Any, words: list[str]) -> None:
    """A fallback has some of the signature's outputs, at least one, and nothing else."""
    found = [message.partition(" (")[0] for message, *_ in faults(module_text(fallback=fallback))]
    assert found == words


def test_a_module_that_may_call_tools_has_the_fields_for_it() -> None:
    """A tool-enabled module lacks context, available_tools and tool_call by name."""
    text = module_text(tool_enabled=True)
    assert faults(text) == [
        (f'"tool_enabled" needs the field "{name}" among the {side}', *spot(text, "true"))
        for side, name in (("inputs", "context"), ("inputs", "available_tools"), ("outputs", "tool_call"))
    ]
