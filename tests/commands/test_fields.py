"""What goes into a module beside what is typed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dspyreload.commands.fields import Fields, typed_field, value_of
from dspyreload.model.module import Demo, FieldDefinition, FieldType, OptimizedModule, SignatureDefinition

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up


def signature(*inputs: FieldDefinition) -> SignatureDefinition:
    return SignatureDefinition(inputs=inputs, outputs=(FieldDefinition(name="response"),))


def field(name: str, kind: FieldType = "string", **more: Any) -> FieldDefinition:
    return FieldDefinition(name=name, field_type=kind, **more)


def module(**inputs: Any) -> OptimizedModule:
    """Return a module whose first demonstration has these inputs."""
    demos = (Demo(inputs=inputs, outputs={"response": "Aye."}), Demo(inputs={"mood": "other"}, outputs={}))
    return OptimizedModule(
        module_id="npc.smith",
        predictor_type="predict",
        signature_name="s",
        instruction="You are a smith.",
        demos=demos if inputs else (),
    )


MESSAGE, HISTORY = field("player_message"), field("conversation_history", optional=True)


@pytest.mark.parametrize(
    ("inputs", "typed"),
    [
        ((MESSAGE, field("mood")), "player_message"),
        ((field("mood"), field("question")), "question"),
        ((field("question"), HISTORY), "question"),
        ((field("question"), field("year", "int")), "question"),
        ((field("year", "int"), field("world", "json")), None),
        ((HISTORY,), None),
    ],
)
def test_what_is_typed_is_the_players_message_or_else_the_last_text(
    inputs: tuple[FieldDefinition, ...], typed: str | None
) -> None:
    """The history is a text too, and nobody types it."""
    assert typed_field(signature(*inputs)) == typed


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "7", "7"),
        ("string", '"quoted"', '"quoted"'),
        ("int", "7", 7),
        ("int", "-7", -7),
        ("float", "0.5", 0.5),
        ("float", "7", 7),
        ("bool", "true", True),
        ("list", '["a", 1]', ["a", 1]),
        ("json", '{"a": [1]}', {"a": [1]}),
        ("json", "plain words", "plain words"),
        ("json", "null", None),
    ],
)
def test_a_text_becomes_a_value_of_the_fields_type(kind: FieldType, text: str, value: object) -> None:
    made = value_of(field("x", kind), text)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("int", "seven", "x is a whole number, such as 3"),
        ("int", "7.5", "x is a whole number, such as 3"),
        ("int", "true", "x is a whole number, such as 3"),
        ("int", '"7"', "x is a whole number, such as 3"),
        ("int", "9" * 5000, "x is a whole number, such as 3"),
        ("float", "much", "x is a number, such as 0.5"),
        ("float", "false", "x is a number, such as 0.5"),
        ("float", "NaN", "x is a number, such as 0.5"),
        ("float", "-Infinity", "x is a number, such as 0.5"),
        ("bool", "yes", "x is true or false"),
        ("bool", "1", "x is true or false"),
        ("list", "a, b", 'x is a list, such as ["a", "b"]'),
        ("list", '{"a": 1}', 'x is a list, such as ["a", "b"]'),
        ("list", "[" * 100_000, 'x is a list, such as ["a", "b"]'),
    ],
)
def test_what_is_no_value_is_said_in_a_writers_words(kind: FieldType, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        value_of(field("x", kind), text)


def test_a_json_field_takes_any_text_however_deep() -> None:
    """What is no JSON is a text, and that is a value as well."""
    assert value_of(field("x", "json"), "[" * 100_000) == "[" * 100_000


def test_an_input_that_is_not_there_is_refused_with_the_nearest_one() -> None:
    fields = Fields()
    with pytest.raises(ValueError, match=r'no input "moood"; did you mean "mood"\? \(the inputs are mood\)'):
        fields.set(signature(field("mood")), "moood", "gruff")
    with pytest.raises(ValueError, match=r"\(the inputs are none\)"):
        fields.set(signature(), "mood", "gruff")
    assert fields.values == {}


def test_a_wrong_value_leaves_the_one_before() -> None:
    fields, year = Fields(), signature(field("year", "int"))
    fields.set(year, "year", "7")
    with pytest.raises(ValueError, match="whole number"):
        fields.set(year, "year", "soon")
    assert fields.fill(year, module(), "") == ({"year": 7}, ())
    fields.set(year, "year", "")
    assert fields.fill(year, module(), "") == ({}, ("year",))
    fields.set(year, "year", "")  # letting go of nothing is no fault


def test_what_was_not_set_is_of_the_first_demonstration() -> None:
    """What is typed is never taken from there, and no field that the signature has not."""
    inputs = signature(field("mood"), field("place"), MESSAGE)
    found, lacking = Fields().fill(inputs, module(mood="gruff", player_message="Hi", gone="x"), "")
    assert found == {"mood": "gruff"}
    assert lacking == ("place",)


def test_what_was_set_goes_before_the_demonstration_and_the_history() -> None:
    fields, inputs = Fields(), signature(field("mood"), HISTORY, MESSAGE)
    assert fields.fill(inputs, module(mood="gruff"), "Player: Hi") == (
        {"mood": "gruff", "conversation_history": "Player: Hi"},
        (),
    )
    fields.set(inputs, "mood", "kind")
    fields.set(inputs, "conversation_history", "Nothing.")
    assert fields.fill(inputs, module(mood="gruff"), "Player: Hi") == (
        {"mood": "kind", "conversation_history": "Nothing."},
        (),
    )


def test_a_history_that_is_no_text_is_a_field_as_others_are() -> None:
    inputs = signature(field("conversation_history", "list"), MESSAGE)
    assert Fields().fill(inputs, module(), "Player: Hi") == ({}, ("conversation_history",))


def test_a_value_that_another_module_can_not_take_is_lacking_there() -> None:
    """Fields are set for all modules that have them; the type may be another."""
    fields = Fields()
    fields.set(signature(field("year")), "year", "soon")
    assert fields.fill(signature(field("year", "int")), module(), "") == ({}, ("year",))


def test_a_field_that_is_not_described_is_told_without_a_description() -> None:
    """DSPy describes it with its own name, in a form of its own, which says nothing."""
    inputs = signature(field("mood", description="${mood}"), field("place", description="${mood}"), MESSAGE)
    assert [words for _name, words in Fields().told(inputs, module())][:2] == [
        "not set: /set mood ...",
        "not set: /set place ...    [${mood}]",
    ]


def test_each_input_is_told_with_where_its_value_comes_from() -> None:
    fields = Fields()
    inputs = signature(
        field("mood"), field("place", description="Where\x1b[2J"), field("year", "int"), HISTORY,
        field("extra", optional=True), MESSAGE,
    )  # fmt: skip
    fields.set(inputs, "place", "a \u202ecellar")
    assert fields.told(inputs, module(mood="gruff")) == [
        ("mood", '"gruff" (from the first demonstration)'),
        ("place", "a \\u202ecellar    [Where\\x1b[2J]"),
        ("year", "not set: /set year ..."),
        ("conversation_history", "what was said so far (/forget begins anew)"),
        ("extra", "left out"),
        ("player_message", "what you type"),
    ]
