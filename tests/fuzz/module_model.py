"""What a module that is accepted must be, written from the formats' page and not from the reader."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from dspyreload.model.module import FieldDefinition, OptimizedModule, SignatureDefinition

__all__ = ["check_id", "check_module", "check_signature"]

_KINDS = ("string", "json", "int", "float", "bool", "list")
_PREDICTORS = ("predict", "chain_of_thought")
_TAKEN = {
    "signature", "demos", "config", "lm", "new_signature", "prediction", "completions", "instance", "self",
    "instructions", "fields", "input_fields", "output_fields", "cls", "completed",
}  # fmt: skip


def check_id(module_id: Any) -> None:
    """An id is a text of some letters, in NFC."""
    assert isinstance(module_id, str)
    assert module_id.strip(), "an empty id"
    assert unicodedata.normalize("NFC", module_id) == module_id, f"an id not in NFC: {module_id!r}"


def check_signature(signature: SignatureDefinition) -> None:
    """A signature has outputs, and names that a keyword argument can have, each once."""
    fields = (*signature.inputs, *signature.outputs)
    names = [field.name for field in fields]
    assert signature.outputs
    assert len(set(names)) == len(names), f"a field twice: {names}"
    for field in fields:
        assert type(field) is FieldDefinition
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", field.name), f"a field is named {field.name!r}"
        assert field.name not in _TAKEN
        assert not field.name.startswith("model_")
        assert isinstance(field.description, str)
        assert field.field_type in _KINDS


def _check_block(block: Any, signature: SignatureDefinition | None) -> None:
    if block is None:
        return
    assert signature is not None
    check_signature(signature)
    for side, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        assert len(block[side]) == len(fields)
        for row, field in zip(block[side], fields, strict=True):
            read = {"name": field.name, "description": field.description, "field_type": field.field_type}
            said = {"description": "", "field_type": "string", **row}
            assert {key: said[key] for key in read} == read
            assert not field.optional
            assert not field.prefix


def check_module(value: Mapping[str, Any], module: OptimizedModule, serving: SignatureDefinition | None) -> None:
    """Hold an accepted module against what its text says.

    :param value: the text, strictly decoded. ``module``: what was read from it, before its includes are put in.
    :param serving: the signature that serves it; None where that is still to be registered.
    """
    for key in ("module_id", "predictor_type", "signature_name", "instruction", "instruction_file"):
        if key in value:
            assert isinstance(value[key], str), f"{key} is {value[key]!r}"
            assert value[key].strip(), f"{key} is empty"
    named = {"module_id", "predictor_type", "signature_name"} & value.keys()
    assert named == {"module_id", "predictor_type", "signature_name"} or (
        len(named) < 2 and "module_id" not in named
    ), f"neither form: {named}"
    assert ("instruction" in value) != ("instruction_file" in value)
    assert module.instruction == value.get("instruction", "")
    assert module.module_id == value.get("module_id", module.module_id)
    assert module.predictor_type in _PREDICTORS
    assert module.predictor_type == value.get("predictor_type", "predict")
    assert module.signature_name == value.get("signature_name", "")
    _check_block(value.get("signature"), module.signature)
    _check_rest(value, module)
    if serving is not None:
        check_signature(serving)
        _check_demos(module, serving)


def _check_rest(value: Mapping[str, Any], module: OptimizedModule) -> None:
    includes = value.get("include", [])
    assert isinstance(includes, list)
    assert all(isinstance(name, str) for name in includes)
    assert isinstance(value.get("demos", []), list)
    demos = [(demo["inputs"], demo["outputs"]) for demo in value.get("demos", [])]
    assert [(demo.inputs, demo.outputs) for demo in module.demos] == demos
    assert module.tool_enabled is value.get("tool_enabled", False)
    assert isinstance(value.get("fallback", []), list)
    assert list(module.fallback) == value.get("fallback", [])
    metadata = value.get("metadata", {})
    assert isinstance(metadata, dict)
    read = module.metadata
    assert isinstance(read.optimizer, str)
    assert isinstance(read.version, str)
    assert read.metric_score is None or type(read.metric_score) is float
    assert not isinstance(metadata.get("metric_score"), (bool, str))
    if read.optimized_at is not None:
        datetime.datetime.fromisoformat(read.optimized_at)
    said = {"optimizer": "manual", "optimized_at": None, "metric_score": None, "version": "1.0.0", **metadata}
    if said["metric_score"] is not None:
        said["metric_score"] = float(said["metric_score"])  # a whole number may be too large to be one exactly
    assert said == {
        "optimizer": read.optimizer, "optimized_at": read.optimized_at, "metric_score": read.metric_score,
        "version": read.version, **read.extra,
    }  # fmt: skip


def _check_demos(module: OptimizedModule, serving: SignatureDefinition) -> None:
    inputs = {field.name for field in serving.inputs}
    outputs = {field.name for field in serving.outputs}
    needed = {field.name for field in serving.inputs if not field.optional}
    said = {field.name for field in serving.outputs if not field.optional}
    spoken = outputs | ({"reasoning"} if module.predictor_type == "chain_of_thought" else set())
    for demo in module.demos:
        assert needed <= demo.inputs.keys() <= inputs
        assert said <= demo.outputs.keys() <= spoken
    for line in module.fallback:
        assert isinstance(line, dict)
        assert line
        assert line.keys() <= spoken
    if module.tool_enabled:
        assert {"context", "available_tools"} <= inputs
        assert "tool_call" in outputs
