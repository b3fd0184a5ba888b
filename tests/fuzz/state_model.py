"""What a saved DSPy program that is accepted must be, written from the formats' page and not from the reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dspyreload.model.module import OptimizedModule
from dspyreload.model.registrations import PredictorShape, RegisteredProgram

__all__ = ["check_state"]

_ALLOWED = {"traces", "train", "demos", "signature", "lm", "fields"}


def check_state(value: Mapping[str, Any], module: OptimizedModule, program: RegisteredProgram) -> None:
    """Hold an accepted state against its text and the template that serves it."""
    rest = {key: part for key, part in value.items() if key != "metadata"}
    bare = [shape.name for shape in program.predictors] == [""]
    parts = {"": rest} if bare else rest
    shapes = {shape.name: shape for shape in program.predictors}
    assert shapes.keys() <= parts.keys() <= shapes.keys() | set(program.others)
    assert [name for name in parts if name in module.predictors] == list(module.predictors)
    assert shapes.keys() <= module.predictors.keys()
    for name, shape in shapes.items():
        _check_predictor(parts[name], shape)
        saved = module.predictors[name]
        assert saved.instructions == parts[name]["signature"]["instructions"]
        assert list(saved.demos) == parts[name]["demos"]
        rows = [(field["prefix"], field["description"]) for field in parts[name]["signature"]["fields"]]
        assert list(saved.fields) == rows
    assert not module.demos
    assert not module.fallback
    assert not module.tool_enabled
    assert module.signature is None


def _check_predictor(part: Any, shape: PredictorShape) -> None:
    assert isinstance(part, dict)
    assert part.keys() <= _ALLOWED, f"keys that DSPy would set: {part.keys() - _ALLOWED}"
    assert isinstance(part.get("fields"), (dict, type(None))), f"decisions that are {part['fields']!r}"
    signature = part["signature"]
    assert isinstance(signature["instructions"], str)
    fields = (*shape.definition.inputs, *shape.definition.outputs)
    owners = {field.prefix: field.name for field in fields}
    assert len(signature["fields"]) == len(fields)
    for row, field in zip(signature["fields"], fields, strict=True):
        assert isinstance(row["prefix"], str)
        assert isinstance(row["description"], str)
        assert owners.get(row["prefix"], field.name) == field.name
    for demo in _objects(part["demos"]):
        assert demo.keys() & set(owners.values()), f"a demonstration of nothing: {demo}"


def _objects(rows: Any) -> Iterator[dict[str, Any]]:
    assert isinstance(rows, list)
    for row in rows:
        assert isinstance(row, dict)
        yield row
