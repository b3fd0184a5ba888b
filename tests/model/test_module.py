"""What a module is."""

from __future__ import annotations

import attrs
import pytest

from dspyreload.model.module import (
    DEFAULT_SIGNATURE,
    Demo,
    FieldDefinition,
    ModuleMetadata,
    OptimizedModule,
    SignatureDefinition,
)

SMITH = OptimizedModule(
    module_id="npc.smith", predictor_type="predict", signature_name="npc.dialogue", instruction="You are a smith."
)


def test_what_a_file_may_leave_out_has_its_default() -> None:
    """No demonstrations, no tools, no fallback, no signature of its own, and metadata of a manual version 1.0.0."""
    assert (SMITH.demos, SMITH.tool_enabled, SMITH.fallback, SMITH.signature) == ((), False, (), None)
    assert attrs.asdict(SMITH.metadata) == {
        "optimizer": "manual",
        "optimized_at": None,
        "metric_score": None,
        "version": "1.0.0",
        "extra": {},
    }


def test_a_field_is_a_described_text_unless_told_else() -> None:
    """A field needs a name; it is a string, needed, without description."""
    field = FieldDefinition(name="mood")
    assert (field.field_type, field.description, field.optional) == ("string", "", False)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (SMITH, "instruction"),
        (DEFAULT_SIGNATURE, "inputs"),
        (DEFAULT_SIGNATURE.inputs[0], "name"),
        (Demo(inputs={}, outputs={}), "inputs"),
        (ModuleMetadata(), "version"),
    ],
)
def test_a_module_and_its_parts_are_frozen(value: object, name: str) -> None:
    """Nobody can change what others may see."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "changed")


def test_a_signature_names_its_fields_in_order() -> None:
    """Inputs and outputs are named in the order of the file."""
    fields = tuple(FieldDefinition(name=name) for name in ("b", "a", "c"))
    signature = SignatureDefinition(inputs=fields, outputs=fields[::-1])
    assert signature.input_names() == ("b", "a", "c")
    assert signature.output_names() == ("c", "a", "b")


def test_the_signature_of_the_small_form_is_a_conversation() -> None:
    """A player's message goes in, a response comes out; what was said before may be left out."""
    assert DEFAULT_SIGNATURE.output_names() == ("response",)
    assert {field.name: field.optional for field in DEFAULT_SIGNATURE.inputs} == {
        "player_message": False,
        "conversation_history": True,
    }
