"""Values of demonstrations and fallbacks beside their fields; the faults of both are in ``test_module_file.py``."""

from __future__ import annotations

from typing import Any

import pytest

from dspyreload.model.faults import FaultError, Warned
from dspyreload.model.fitting import check_demos, odd_values
from dspyreload.model.module import OptimizedModule, SignatureDefinition
from dspyreload.model.module_file import parse_module
from tests.conftest import module_text

VALUES: list[tuple[str, Any, Any, str]] = [
    ("string", "x", 7, "text"),
    ("int", 7, "7", "a whole number"),
    ("int", 0, True, "a whole number"),
    ("float", 1, "x", "a number"),
    ("bool", True, 1, "true or false"),
    ("list", [], {}, "a list"),
]


def fitted(kind: str, **keys: Any) -> tuple[OptimizedModule, SignatureDefinition]:
    """Return a module whose one output is of a kind, and its signature."""
    signature = {"inputs": [{"name": "said"}], "outputs": [{"name": "mood", "field_type": kind}]}
    module = parse_module(module_text(signature=signature, **keys).encode(), "npc").module
    assert module.signature is not None
    return module, module.signature


@pytest.mark.parametrize(("kind", "good", "odd", "words"), VALUES)
def test_a_value_that_is_not_what_its_field_holds_is_a_warning(kind: str, good: Any, odd: Any, words: str) -> None:
    """DSPy would show it to the model as it is; a writer is told which demonstration, and nothing is rejected."""
    demos = [{"inputs": {"said": "x"}, "outputs": {"mood": value}} for value in (good, odd)]
    module, signature = fitted(kind, demos=demos)
    check_demos(module, signature)
    message = f'demo 2: "mood" must be {words}, as the signature says'
    assert list(odd_values(module, signature)) == [Warned(message, ("demos", 1, "outputs", "mood"))]


@pytest.mark.parametrize(("kind", "good", "odd", "words"), VALUES)
def test_so_it_is_in_a_fallback(kind: str, good: Any, odd: Any, words: str) -> None:
    """The game would get what it does not expect, while the model is away."""
    module, signature = fitted(kind, demos=[], fallback=[{"mood": good}, {"mood": odd}])
    check_demos(module, signature)
    message = f'fallback 2: "mood" must be {words}, as the signature says'
    assert list(odd_values(module, signature)) == [Warned(message, ("fallback", 1, "mood"))]


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [], {}])
def test_where_any_json_may_stand_nothing_is_odd(value: Any) -> None:
    """In a demonstration and in a fallback."""
    demos = [{"inputs": {"said": "x"}, "outputs": {"mood": value}}]
    assert list(odd_values(*fitted("json", demos=demos, fallback=[{"mood": value}]))) == []


@pytest.mark.parametrize(
    ("kind", "example"),
    [("string", '"..."'), ("int", "0"), ("float", "0.5"), ("bool", "true"), ("list", "[]"), ("json", "{}")],
)
def test_what_a_demonstration_lacks_is_told_with_a_value_that_fits(kind: str, example: str) -> None:
    """Who adds it as it is told has no second fault."""
    module, signature = fitted(kind, demos=[{"inputs": {"said": "x"}, "outputs": {}}])
    with pytest.raises(FaultError) as raised:
        check_demos(module, signature)
    assert (raised.value.message, raised.value.mend) == ('demo 1 lacks "mood"', f'add "mood": {example} to its outputs')
