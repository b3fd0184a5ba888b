"""Values of demonstrations and fallbacks beside their fields; the faults of both are in ``test_module_file.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspyreload.model.faults import FaultError, Warned
from dspyreload.model.fitting import check_demos, hold, odd_values
from dspyreload.model.module import Demo, FieldDefinition, OptimizedModule, SignatureDefinition
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


NAMES = st.lists(st.sampled_from(["said", "mood", "place", "sayd"]), unique=True)
VALUE: st.SearchStrategy[Any] = st.sampled_from(["x", "", 1, None, True, [], {}])
DEMOS = st.lists(
    st.fixed_dictionaries(
        {
            "inputs": NAMES.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, VALUE))),
            "outputs": NAMES.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, VALUE))),
        }
    ),
    max_size=4,
)
FIELD = st.sampled_from(["string", "json", "int"])


def said(look: Callable[[], tuple[Warned, ...]]) -> str | tuple[Warned, ...]:
    """Return what is odd, or what is wrong."""
    try:
        return look()
    except FaultError as fault:
        return fault.message


@given(demos=DEMOS, kind=FIELD, optional=st.booleans(), thinks=st.booleans())
def test_what_is_passed_at_a_glance_has_no_fault(demos: list[Any], kind: Any, optional: bool, thinks: bool) -> None:
    """The quick way says yes only where the other one has nothing to say."""
    signature = SignatureDefinition(
        inputs=(FieldDefinition(name="said"), FieldDefinition(name="place", optional=optional)),
        outputs=(FieldDefinition(name="mood", field_type=kind),),
    )
    module = OptimizedModule(
        module_id="npc",
        predictor_type="chain_of_thought" if thinks else "predict",
        signature_name="",
        instruction="x",
        demos=tuple(Demo(**demo) for demo in demos),
    )

    def slowly() -> tuple[Warned, ...]:
        check_demos(module, signature)
        return tuple(odd_values(module, signature))

    assert said(slowly) == said(lambda: hold(module, signature))


def test_a_module_of_plain_texts_is_not_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all modules are so; each of ten thousand reloads pays for what the others need."""
    module, signature = fitted("string", demos=[{"inputs": {"said": "x"}, "outputs": {"mood": "y"}}] * 3)
    monkeypatch.setattr("dspyreload.model.fitting.check_demos", None)
    assert hold(module, signature) == ()
