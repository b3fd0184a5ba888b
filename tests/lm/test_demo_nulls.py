"""Null in a demonstration is a value: the language model sees it as one, in its place."""

from __future__ import annotations

from typing import Any

from tests.conftest import module_text
from tests.lm.conftest import make_programs
from tests.lm.test_programs import version_of

SIGNATURE: dict[str, Any] = {
    "inputs": [{"name": "player_message"}],
    "outputs": [{"name": "tool_call", "field_type": "json"}, {"name": "response"}],
}
DEMOS = [
    {"inputs": {"player_message": "Hello"}, "outputs": {"tool_call": None, "response": "Good day."}},
    {
        "inputs": {"player_message": "The shelf?"},
        "outputs": {"tool_call": {"name": "look", "args": {}}, "response": ""},
    },
]


def test_a_null_is_no_hole_in_a_demonstration() -> None:
    """DSPy would say of it that a field is "not supplied", and put it before the whole ones."""
    import dspy

    text = module_text(signature=SIGNATURE, signature_name="keeper", demos=DEMOS)
    runner = make_programs().program(version_of(text)).runner
    messages = dspy.ChatAdapter().format(runner.signature, runner.demos, {"player_message": "So?"})
    turns = [message["content"] for message in messages[1:]]
    assert "not supplied" not in "".join(turns)
    assert "Hello" in turns[0]
    assert "[[ ## tool_call ## ]]\nnull" in turns[1]
