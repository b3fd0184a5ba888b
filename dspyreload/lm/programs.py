"""Module versions → DSPy programs. A version gets one program, made once and never changed."""

from __future__ import annotations

from typing import Any

import attrs

from dspyreload.lm.registry import SignatureRegistry
from dspyreload.model.module import FieldDefinition, FieldType, OptimizedModule, SignatureDefinition
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Program", "Programs"]

_TYPES: dict[FieldType, Any] = {"string": str, "json": Any, "int": int, "float": float, "bool": bool, "list": list}


@attrs.frozen(eq=False)
class Program:
    """A DSPy program that belongs to one module version.

    :ivar version: that version.
    :ivar predictor: the ``dspy.Predict`` or ``dspy.ChainOfThought``; never loaded into or changed.
    :ivar required: inputs that a call must have. ``inputs``: all that it may have.
    """

    version: ModuleVersion
    predictor: Any
    inputs: tuple[str, ...]
    required: tuple[str, ...]


class Programs:
    """The newest program of each module. For one thread, the LM loop's."""

    def __init__(self, signatures: SignatureRegistry) -> None:
        self._signatures = signatures
        self._latest: dict[str, Program] = {}

    def program(self, version: ModuleVersion) -> Program:
        """Return the program of a version, made now if there is none."""
        known = self._latest.get(version.module_id)
        if known is None or known.version is not version:
            known = self._latest[version.module_id] = self._make(version)
        return known

    def forget(self, module_ids: tuple[str, ...]) -> None:
        """Let go of the programs of modules that were replaced or are gone; calls under way keep theirs."""
        for module_id in module_ids:
            self._latest.pop(module_id, None)

    def _make(self, version: ModuleVersion) -> Program:
        import dspy

        module = version.module()
        if version.registration:
            definition = self._signatures.definition(version.registration)
            signature = self._signatures.signature_class(version.registration).with_instructions(module.instruction)
        else:
            assert module.signature is not None
            definition = module.signature
            signature = _signature(dspy, module, definition)
        kind = dspy.ChainOfThought if module.predictor_type == "chain_of_thought" else dspy.Predict
        entry = version.entry
        options = {"temperature": entry.temperature, "max_tokens": entry.max_tokens} if entry is not None else {}
        predictor = kind(signature, **{name: value for name, value in options.items() if value is not None})
        for _name, part in predictor.named_predictors():
            part.demos = [{**demo.inputs, **demo.outputs} for demo in module.demos]
        return Program(
            version,
            predictor,
            definition.input_names(),
            tuple(field.name for field in definition.inputs if not field.optional),
        )


def _signature(dspy: Any, module: OptimizedModule, definition: SignatureDefinition) -> Any:
    def described(field: FieldDefinition) -> dict[str, Any]:
        extra: dict[str, Any] = {"desc": field.description} if field.description else {}
        return {**extra, "default": ""} if field.optional else extra

    fields = {
        field.name: (_TYPES[field.field_type], dspy.InputField(**described(field))) for field in definition.inputs
    }
    fields |= {
        field.name: (_TYPES[field.field_type], dspy.OutputField(**described(field))) for field in definition.outputs
    }
    return dspy.Signature(fields, module.instruction)
