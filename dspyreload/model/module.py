"""What a module is: :class:`OptimizedModule` and its parts. Frozen values."""

from __future__ import annotations

from typing import Any, Literal

import attrs

__all__ = [
    "DEFAULT_SIGNATURE",
    "Demo",
    "FieldDefinition",
    "FieldType",
    "ModuleMetadata",
    "OptimizedModule",
    "PredictorType",
    "SavedPredictor",
    "SignatureDefinition",
    "TAKEN_BY_PREDICT",
]

TAKEN_BY_PREDICT = frozenset(
    ("signature", "demos", "config", "lm", "new_signature", "prediction", "completions", "instance", "self")
)
"""Keyword arguments that DSPy's Predict takes for itself: an input of such a name would never arrive."""

FieldType = Literal["string", "json", "int", "float", "bool", "list"]
PredictorType = Literal["predict", "chain_of_thought"]


@attrs.frozen(kw_only=True)
class FieldDefinition:
    """One field of a signature.

    :ivar optional: an input that a call may leave out, or an output that a demonstration may (never read from a file).
    :ivar prefix: what DSPy writes before it in a saved program, where the game registered it.
    """

    name: str
    description: str = ""
    field_type: FieldType = "string"
    optional: bool = False
    prefix: str = ""


@attrs.frozen(kw_only=True)
class SignatureDefinition:
    """What goes into a module and what comes out of it."""

    inputs: tuple[FieldDefinition, ...]
    outputs: tuple[FieldDefinition, ...]

    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs, in order."""
        return tuple(field.name for field in self.inputs)

    def output_names(self) -> tuple[str, ...]:
        """Return the names of the outputs, in order."""
        return tuple(field.name for field in self.outputs)


DEFAULT_SIGNATURE = SignatureDefinition(
    inputs=(
        FieldDefinition(name="player_message", description="What the player says"),
        FieldDefinition(name="conversation_history", description="What was said before", optional=True),
    ),
    outputs=(FieldDefinition(name="response", description="What the character answers"),),
)
"""The signature of a module in the small form that brings none."""


@attrs.frozen(kw_only=True)
class Demo:
    """One demonstration: values for input fields, and the outputs that should follow them."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]


@attrs.frozen(kw_only=True)
class ModuleMetadata:
    """Where a module came from. ``extra`` holds the keys that this version does not know."""

    optimizer: str = "manual"
    optimized_at: str | None = None
    metric_score: float | None = None
    version: str = "1.0.0"
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class SavedPredictor:
    """One predictor of a program that DSPy saved.

    :ivar demos: flat, as DSPy writes them: inputs and outputs of one demonstration in one object.
    :ivar fields: prefix and description of each field, in the order of its signature.
    :ivar decisions: what DSPy keeps of decision outputs (its key ``fields``).
    """

    instructions: str
    demos: tuple[dict[str, Any], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    decisions: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class OptimizedModule:
    """What a character says is decided by this. A fresh copy for whoever asks; nobody else sees changes to it.

    :ivar instruction: the whole text for the LM, includes and instruction file in it; of a saved program, those of its
        predictors, one after the other.
    :ivar signature: the file's own block, or None where a registered signature or program serves.
    :ivar predictors: of a saved program (what DSPy's ``save()`` writes): its predictors by name, "" for a bare one.
        Empty for a module in the format of the README; ``demos`` is empty where this is not.
    """

    module_id: str
    predictor_type: PredictorType
    signature_name: str
    instruction: str
    signature: SignatureDefinition | None = None
    demos: tuple[Demo, ...] = ()
    tool_enabled: bool = False
    metadata: ModuleMetadata = attrs.field(factory=ModuleMetadata)
    fallback: tuple[dict[str, Any], ...] = ()
    predictors: dict[str, SavedPredictor] = attrs.field(factory=dict)
