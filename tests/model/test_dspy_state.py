"""What DSPy's own save() writes is recognized."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dspyreload.model.dspy_state import is_dspy_state
from tests.conftest import module_text

PREDICTOR: dict[str, Any] = {
    "traces": [],
    "train": [],
    "demos": [{"question": "1 + 1?", "answer": "2"}],
    "signature": {"instructions": "Add.", "fields": [{"prefix": "Question:", "description": "${question}"}]},
    "lm": None,
}
METADATA = {"dependency_versions": {"python": "3.11", "dspy": "3.4.1", "cloudpickle": "3.1"}}


@pytest.mark.parametrize(
    "state",
    [
        {**PREDICTOR, "metadata": METADATA},
        PREDICTOR,
        {**PREDICTOR, "fields": []},
        {"plan": PREDICTOR, "metadata": METADATA},
        {"plan.predict": PREDICTOR, "many[0]": PREDICTOR, "by['x']": PREDICTOR, "metadata": METADATA},
        {"react": PREDICTOR, "extract.predict": PREDICTOR},
        {"metadata": METADATA},
    ],
)
def test_a_saved_program_is_recognized(state: dict[str, Any]) -> None:
    """A bare predictor's keys at the top, or named predictors, with the metadata or without."""
    assert is_dspy_state(state)


@pytest.mark.parametrize(
    "module",
    [
        {},
        {"instruction": "You are a smith."},
        {"instruction": "You are a smith.", "metadata": {"optimizer": "MIPROv2"}},
        {"metadata": {}},
        json.loads(module_text()),
        {"plan": {"demos": []}},
        {"plan": PREDICTOR, "other": 1},
    ],
)
def test_a_module_is_no_saved_program(module: dict[str, Any]) -> None:
    """Neither form of a module is taken for DSPy's, nor is an object of other things."""
    assert not is_dspy_state(module)


def test_a_module_that_names_its_tools_versions_is_a_module() -> None:
    """Unknown keys of a module's metadata are kept, whatever they are called."""
    assert not is_dspy_state(json.loads(module_text(metadata=METADATA)))
