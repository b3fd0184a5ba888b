"""What DSPy's own ``program.save("x.json")`` writes: bytes → checked state, or why not.

DSPy's ``load_state`` sets every key that a file names as an attribute, pairs fields by position without looking at
them, and keeps most of a saved LM. So a state is checked here, beside the template that it is for, before it comes
near one of its copies.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any

from dspyreload.model.faults import FaultError, Path, Warned, counted, did_you_mean, listed, most, quoted, raise_first
from dspyreload.model.module import SavedPredictor
from dspyreload.model.registrations import PredictorShape, RegisteredProgram

__all__ = ["check_state", "is_dspy_state", "read_state", "state_warnings"]

_SAVE_AGAIN = "save the program again, with DSPy's save()"
_PREDICTOR_KEYS = {"traces", "train", "demos", "signature"}
_ALLOWED = _PREDICTOR_KEYS | {"lm", "fields"}
_MODULE_KEYS = {"module_id", "instruction", "instruction_file", "predictor_type", "signature_name"}
_AUGMENTED = "augmented"  # BootstrapFewShot marks its demonstrations with it


def is_dspy_state(value: Mapping[str, Any]) -> bool:
    """Say whether a JSON object is a saved DSPy program: of one bare predictor, or of several by name."""
    if any(not isinstance(value[key], dict) for key in _MODULE_KEYS & value.keys()):
        return False  # a predictor may be called so; what DSPy saves of one is an object
    if value.keys() >= _PREDICTOR_KEYS:
        return True
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "dependency_versions" in metadata:
        return True
    parts = [part for name, part in value.items() if name != "metadata"]
    return bool(parts) and all(isinstance(part, dict) and part.keys() >= _PREDICTOR_KEYS for part in parts)


def read_state(value: Mapping[str, Any]) -> dict[str, SavedPredictor]:
    """Return the predictors of a saved program by name, "" for a bare one.

    Parts that have nothing of a predictor are left out: DSPy saves those of programs that hold some.

    :raises FaultError: where a predictor is not what DSPy writes.
    """
    parts = [
        (name, part, path)
        for name, part, path in _parts(value)
        if not isinstance(part, dict) or not _PREDICTOR_KEYS.isdisjoint(part)
    ]
    raise_first(fault for name, part, path in parts for fault in _form_faults(name, part, path))
    return {
        name: SavedPredictor(
            instructions=part["signature"]["instructions"],
            demos=tuple(part["demos"]),
            fields=tuple((field["prefix"], field["description"]) for field in part["signature"]["fields"]),
            decisions=part.get("fields") or {},
        )
        for name, part, _path in parts
    }


def _is_bare(value: Mapping[str, Any]) -> bool:
    """Say whether the keys of a predictor lie at the top: its lists are what no predictor of that name would be."""
    signature = value.get("signature")
    named = isinstance(signature, dict) and "instructions" in signature
    return named or any(isinstance(value.get(key), list) for key in ("traces", "train", "demos"))


def _parts(value: Mapping[str, Any]) -> Iterator[tuple[str, Any, Path]]:
    if _is_bare(value):
        yield "", {key: part for key, part in value.items() if key != "metadata"}, ()
        return
    for name, part in value.items():
        if name != "metadata":
            yield name, part, (name,)


def _who(name: str) -> str:
    return f"the predictor {quoted(name)}" if name else "the predictor"


def _form_faults(name: str, part: Any, path: Path) -> Iterator[FaultError]:
    who = _who(name)
    if not isinstance(part, dict):
        yield FaultError(
            f"{quoted(name)} is not what DSPy saves of a predictor, an object in {{ }}", path, mend=_SAVE_AGAIN
        )
        return
    for key in part:
        if key not in _ALLOWED:
            # DSPy would set it on the predictor: "config" reaches the LM call, "forward" breaks the program.
            yield FaultError(
                f"{who} has {quoted(key)}, which a saved program may not set; delete it", (*path, key), key=True
            )
    yield from _signature_form(who, part.get("signature"), (*path, "signature"), path)
    demos = part.get("demos", [])
    if not isinstance(demos, list):
        yield FaultError(f'{who}: "demos" must be a list', (*path, "demos"), mend=_SAVE_AGAIN)
        return
    if "demos" not in part:
        yield FaultError(f'{who} lacks "demos"', path, mend=_SAVE_AGAIN)
    for index, demo in enumerate(demos):
        if not isinstance(demo, dict):
            yield FaultError(
                f"{who}: demo {index + 1} must be an object in {{ }}", (*path, "demos", index), mend=_SAVE_AGAIN
            )
    if not isinstance(part.get("fields"), (dict, NoneType)):
        yield FaultError(f'{who}: "fields" must be an object in {{ }}', (*path, "fields"), mend=_SAVE_AGAIN)


def _signature_form(who: str, signature: Any, path: Path, above: Path) -> Iterator[FaultError]:
    if not isinstance(signature, dict):
        yield FaultError(f'{who} lacks "signature", with "instructions" and "fields"', above, mend=_SAVE_AGAIN)
        return
    if not isinstance(signature.get("instructions"), str):
        yield FaultError(f'{who}: "signature" lacks "instructions", a text', path, mend=_SAVE_AGAIN)
    fields = signature.get("fields")
    if not isinstance(fields, list):
        yield FaultError(f'{who}: "signature" lacks "fields", a list', path, mend=_SAVE_AGAIN)
        return
    for index, field in enumerate(fields):
        texts = isinstance(field, dict) and all(isinstance(field.get(key), str) for key in ("prefix", "description"))
        if not texts:
            message = f'{who}: field {index + 1} must have "prefix" and "description", both texts'
            yield FaultError(message, (*path, "fields", index), mend=_SAVE_AGAIN)


def check_state(
    value: Mapping[str, Any], predictors: Mapping[str, SavedPredictor], program: RegisteredProgram, name: str
) -> None:
    """Hold a saved program against the template that serves it.

    :param value: the whole file. ``predictors``: those that were read from it.
    :param name: under which the template is registered.
    :raises FaultError: naming predictor and field.
    """
    shapes = {shape.name: shape for shape in program.predictors}
    found = [part for part, _value, _path in _parts(value)]
    raise_first(
        itertools.chain(
            _name_faults(found, predictors, shapes, program, name), _predictor_faults(predictors, shapes, name)
        )
    )


def _name_faults(
    parts: list[str],
    predictors: Mapping[str, SavedPredictor],
    shapes: Mapping[str, PredictorShape],
    program: RegisteredProgram,
    name: str,
) -> Iterator[FaultError]:
    if parts == [""] != [*shapes]:
        names = listed(shapes)
        yield FaultError(
            f"the file holds one predictor without a name, and the program {quoted(name)} has {names}", mend=_SAVE_AGAIN
        )
        return
    if [*shapes] == [""] and "" not in parts:
        names = listed(parts) or "none"
        yield FaultError(
            f"the program {quoted(name)} is one predictor without a name, and the file has {names}", mend=_SAVE_AGAIN
        )
        return
    known = listed(shapes)
    for found in parts:
        if found in program.others or (found in predictors and found in shapes):
            continue
        if found in shapes:
            yield FaultError(f"{quoted(found)} is not what DSPy saves of a predictor", (found,), mend=_SAVE_AGAIN)
            continue
        hint = did_you_mean(found, shapes) or f"; it has {known}"
        yield FaultError(
            f"the predictor {quoted(found)} is none of the program {quoted(name)}{hint}", (found,), key=True
        )
    for wanted in shapes:
        if wanted not in parts:
            yield FaultError(
                f"the predictor {quoted(wanted)} of the program {quoted(name)} is missing", mend=_SAVE_AGAIN
            )


def _predictor_faults(
    predictors: Mapping[str, SavedPredictor], shapes: Mapping[str, PredictorShape], program: str
) -> Iterator[FaultError]:
    for name, saved in predictors.items():
        shape = shapes.get(name)
        if shape is None:
            continue
        who, path = _who(name), ((name,) if name else ())
        fields = shape.fields()
        if len(saved.fields) != len(fields):
            message = (
                f"{who} has {counted(len(saved.fields), 'field')}, and {len(fields)} in the program {quoted(program)}"
            )
            yield FaultError(message, (*path, "signature", "fields"), mend=_SAVE_AGAIN)
        else:
            yield from _order_faults(who, saved, shape, (*path, "signature", "fields"))
        names = {field.name for field in fields}
        for index, demo in enumerate(saved.demos):
            if names.isdisjoint(demo):
                known = listed(sorted(names))
                message = f"{who}: demo {index + 1} has none of the predictor's fields ({known})"
                yield FaultError(message, (*path, "demos", index), mend="delete it, or give it the program's fields")


def _order_faults(who: str, saved: SavedPredictor, shape: PredictorShape, path: Path) -> Iterator[FaultError]:
    owners = {field.prefix: field.name for field in shape.fields()}
    for index, ((prefix, _description), field) in enumerate(zip(saved.fields, shape.fields(), strict=True)):
        owner = owners.get(prefix)
        if owner is not None and prefix != field.prefix:
            message = f"{who}: field {index + 1} is {quoted(field.name)}, and has the prefix of {quoted(owner)}"
            yield FaultError(f"{message}; were the fields reordered since it was saved?", (*path, index, "prefix"))


def state_warnings(value: Mapping[str, Any], program: RegisteredProgram, dspy: str | None) -> Iterator[Warned]:
    """Name what is odd in a state that was checked, and what of it is not used.

    :param dspy: the installed version of DSPy, where it is known.
    """
    return most(_state_warnings(value, program, dspy))


def _state_warnings(value: Mapping[str, Any], program: RegisteredProgram, dspy: str | None) -> Iterator[Warned]:
    shapes = {shape.name: shape for shape in program.predictors}
    for name, part, path in _parts(value):
        shape = shapes.get(name)
        if shape is None:
            yield Warned(f"{quoted(name)} is no predictor; what was saved of it is not used", path)
            continue
        if part.get("lm") is not None:
            yield Warned(f"{_who(name)} was saved with an LM; it is not used, the server's is", (*path, "lm"))
        yield from _odd_fields(name, part, shape, path)
    yield from _odd_versions(value, dspy)


def _odd_fields(name: str, part: Mapping[str, Any], shape: PredictorShape, path: Path) -> Iterator[Warned]:
    known = {field.prefix for field in shape.fields()}
    for index, field in enumerate(part["signature"]["fields"]):
        if field["prefix"] not in known and any(known):
            where = (*path, "signature", "fields", index, "prefix")
            own = shape.fields()[index]
            yield Warned(f"{_who(name)}: the prefix of {quoted(own.name)} is {quoted(field['prefix'])} here", where)
    names = {field.name for field in shape.fields()} | {_AUGMENTED}
    odd = {key: index for index, demo in reversed([*enumerate(part["demos"])]) for key in demo if key not in names}
    if odd:
        first = min(odd.values())
        words = listed(sorted(odd))
        message = f"{_who(name)} has no field {words}; left out of its demonstrations, from demo {first + 1} on"
        yield Warned(message, (*path, "demos", first))


def _odd_versions(value: Mapping[str, Any], dspy: str | None) -> Iterator[Warned]:
    metadata = value.get("metadata")
    versions = metadata.get("dependency_versions") if isinstance(metadata, dict) else None
    if not isinstance(versions, dict):
        yield Warned('DSPy writes "metadata" with the versions of its parts; it is missing here')
        return
    saved = versions.get("dspy")
    if dspy is not None and saved is not None and saved != dspy:
        where = ("metadata", "dependency_versions", "dspy")
        yield Warned(f"it was saved by DSPy {quoted(saved)}, and {dspy} is installed", where)
