"""What the game registered, as the readers of files need it: names, fields and tokens, and nothing that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from dspyreload.model.defaults import Scope
from dspyreload.model.module import FieldDefinition, SignatureDefinition

__all__ = [
    "NOTHING",
    "Judged",
    "LMBounds",
    "PredictorShape",
    "Registered",
    "RegisteredProgram",
    "Registrations",
    "shape_of",
]

Judged = tuple[tuple[str, str], ...]
"""The names that a file was judged by, such as ``signature npc.dialogue``, each with its token or "" for none."""


class Registered(msgspec.Struct, frozen=True):
    """A registered signature: its fields, and a token that differs from one registration to the next."""

    definition: SignatureDefinition
    token: str


class PredictorShape(msgspec.Struct, frozen=True):
    """One predictor of a program: its name there ("" for a bare one) and its fields."""

    name: str
    definition: SignatureDefinition

    def fields(self) -> tuple[FieldDefinition, ...]:
        """Return all fields in the order in which DSPy saves them."""
        return (*self.definition.inputs, *self.definition.outputs)


class RegisteredProgram(msgspec.Struct, frozen=True):
    """A registered template: its predictors, in order, and a token as above.

    :ivar others: parts that DSPy saves and that are no predictors, by name.
    """

    predictors: tuple[PredictorShape, ...]
    token: str
    others: tuple[str, ...] = ()


class LMBounds(msgspec.Struct, frozen=True):
    """What the operator allows a manifest entry to ask of one language model."""

    max_tokens: int | None = None
    max_temperature: float = 2.0


def _proves_nothing(version: Any) -> None:
    """Stand in where no program is registered."""


@attrs.frozen(kw_only=True)
class Registrations:
    """All of it at one moment.

    :ivar defaults: registered signatures of modules that name none, by what they are for; ``defaults_token``: changes
        with them.
    :ivar lms: the language models that a manifest entry may name; None where only the server knows them.
    :ivar dspy: the installed version of DSPy, where a template was registered.
    :ivar validators: a token that changes with the game's validators.
    :ivar prove: makes a version's program once, and raises a ``FaultError`` where that fails.
    """

    signatures: Mapping[str, Registered] = attrs.field(factory=dict)
    programs: Mapping[str, RegisteredProgram] = attrs.field(factory=dict)
    defaults: Mapping[Scope, str] = attrs.field(factory=dict)
    defaults_token: str = ""
    lms: Mapping[str, LMBounds] | None = None
    dspy: str | None = None
    validators: str = ""
    prove: Callable[[Any], None] = _proves_nothing

    def token(self, name: str) -> str:
        """Return the token of what is registered under a name such as ``signature npc.dialogue``, or ""."""
        kind, _, rest = name.partition(" ")
        if kind == "validators":
            return self.validators
        if kind == "defaults":
            return self.defaults_token
        found = self.signatures.get(rest) if kind == "signature" else self.programs.get(rest)
        return found.token if found is not None else ""


NOTHING = Registrations()
"""Where the game registered nothing."""


def shape_of(predictor_type: str, definition: SignatureDefinition) -> PredictorShape:
    """Return what DSPy saves of a bare ``Predict`` or ``ChainOfThought`` with a signature."""
    if predictor_type == "predict":
        return PredictorShape("", definition)
    thought = FieldDefinition(name="reasoning", optional=True, prefix="Reasoning:")
    own = tuple(field for field in definition.outputs if field.name != "reasoning")
    return PredictorShape("predict", attrs.evolve(definition, outputs=(thought, *own)))
