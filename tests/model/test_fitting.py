"""Values of demonstrations beside their fields; the faults of demonstrations are in ``test_module_file.py``."""

from __future__ import annotations

import pytest

from dspyreload.model.fitting import check_demos, odd_values
from dspyreload.model.module_file import parse_module
from tests.conftest import module_text


@pytest.mark.parametrize(
    ("kind", "good", "odd"),
    [("string", "x", 7), ("int", 7, "7"), ("int", 0, True), ("float", 1, "x"), ("bool", True, 1), ("list", [], {})],
)
def test_a_value_that_is_not_what_its_field_holds_is_a_warning(kind: str, good: object, odd: object) -> None:
    """DSPy would show it to the model as it is; a writer is told which demonstration, and nothing is rejected."""
    signature = {"inputs": [{"name": "said"}], "outputs": [{"name": "mood", "field_type": kind}]}
    demos = [{"inputs": {"said": "x"}, "outputs": {"mood": value}} for value in (good, odd)]
    module = parse_module(module_text(signature=signature, demos=demos).encode(), "npc").module
    assert module.signature is not None
    check_demos(module, module.signature)
    (warning,) = odd_values(module, module.signature)
    assert warning.message.startswith('demo 2: "mood" is ')
    assert warning.path == ("demos", 1, "outputs", "mood")
