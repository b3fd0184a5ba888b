"""A module held against the signature that serves it: demonstrations, fallback lines, the fields of tools."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dspyreload.model.faults import FaultError, Path, Warned, did_you_mean, listed, most, nearest, quoted, raise_first
from dspyreload.model.module import FieldType, OptimizedModule, SignatureDefinition

__all__ = ["check_demos", "hold", "odd_values"]

_MOST_HINTS = 20  # of one file: each compares a name with all that the signature has
_MOST_NAMES = 1000  # of more none is named that was perhaps meant
_TOOL_FIELDS = (("inputs", "context"), ("inputs", "available_tools"), ("outputs", "tool_call"))


def hold(module: OptimizedModule, signature: SignatureDefinition) -> tuple[Warned, ...]:
    """Hold a module against the signature that serves it; return what is odd about its demonstrations.

    :raises FaultError: where they do not fit.
    """
    if _is_plain(module, signature):
        return ()
    check_demos(module, signature)
    return tuple(odd_values(module, signature))


def _is_plain(module: OptimizedModule, signature: SignatureDefinition) -> bool:
    """Say whether there is nothing to find: as nearly all have, it has demonstrations with the right names, all texts.

    This is for speed alone: where it says no, the others look.
    """
    if module.tool_enabled or module.fallback or module.predictor_type != "predict":
        return False
    if any(field.field_type != "string" for field in (*signature.inputs, *signature.outputs)):
        return False
    sides = [
        ({field.name for field in side if not field.optional}, {field.name for field in side})
        for side in (signature.inputs, signature.outputs)
    ]
    fit: set[tuple[tuple[str, ...], ...]] = set()
    for demo in module.demos:
        names = (tuple(demo.inputs), tuple(demo.outputs))
        if names not in fit:  # all of a file have the same ones, as a rule
            if not all(needed <= set(given) <= known for given, (needed, known) in zip(names, sides, strict=True)):
                return False
            fit.add(names)
        for values in (demo.inputs, demo.outputs):
            for value in values.values():
                if type(value) is not str:
                    return False
    return True


def check_demos(module: OptimizedModule, signature: SignatureDefinition) -> None:
    """Hold demonstrations, fallback lines and the tool fields against the signature that serves.

    :raises FaultError: where they do not fit, such as ``demo 3 lacks "emotion"``.
    """
    raise_first(
        itertools.chain(
            _tool_faults(module, signature), _thought_faults(module, signature), _demo_faults(module, signature)
        )
    )


_VALUES: dict[FieldType, tuple[type, ...]] = {
    "string": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "list": (list,),
    "json": (str, int, float, bool, list, dict, type(None)),
}  # fmt: skip
_EXAMPLES: dict[FieldType, str] = {
    "string": '"..."', "int": "0", "float": "0.5", "bool": "true", "list": "[]", "json": "{}",
}  # fmt: skip
_WORDS: dict[FieldType, str] = {
    "string": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list",
}  # fmt: skip


def odd_values(module: OptimizedModule, signature: SignatureDefinition) -> Iterator[Warned]:
    """Warn of values in demonstrations that are not what their field holds; the LM sees them as they are."""
    return most(_odd_values(module, signature))


def _odd_values(module: OptimizedModule, signature: SignatureDefinition) -> Iterator[Warned]:
    kinds = {field.name: field.field_type for field in (*signature.inputs, *signature.outputs)}
    for index, demo in enumerate(module.demos):
        for side, values in (("inputs", demo.inputs), ("outputs", demo.outputs)):
            for name, value in values.items():
                if type(value) not in _VALUES[kinds.get(name, "json")]:
                    yield _odd(f"demo {index + 1}", name, kinds[name], ("demos", index, side, name))
    for index, line in enumerate(module.fallback):
        for name, value in line.items():
            if type(value) not in _VALUES[kinds.get(name, "json")]:
                yield _odd(f"fallback {index + 1}", name, kinds[name], ("fallback", index, name))


def _odd(who: str, name: str, kind: FieldType, path: Path) -> Warned:
    return Warned(f"{who}: {quoted(name)} must be {_WORDS[kind]}, as the signature says", path)


def _tool_faults(module: OptimizedModule, signature: SignatureDefinition) -> Iterator[FaultError]:
    for side, name in _TOOL_FIELDS if module.tool_enabled else ():
        if name not in (signature.input_names() if side == "inputs" else signature.output_names()):
            yield FaultError(
                f'"tool_enabled" needs the field "{name}" among the {side}',
                ("tool_enabled",),
                mend="add it to the signature",
            )


def _thought_faults(module: OptimizedModule, signature: SignatureDefinition) -> Iterator[FaultError]:
    if module.predictor_type == "chain_of_thought" and "reasoning" in signature.input_names():
        yield FaultError(
            '"chain_of_thought" adds an output "reasoning", and the signature has an input of that name; rename it',
            ("predictor_type",),
        )


def _demo_faults(module: OptimizedModule, signature: SignatureDefinition) -> Iterator[FaultError]:
    inputs, outputs = signature.input_names(), signature.output_names()
    fits = _Fitting(signature)
    needed = [field.name for field in signature.inputs if not field.optional]
    said = [field.name for field in signature.outputs if not field.optional]
    thinks = module.predictor_type == "chain_of_thought" and "reasoning" not in outputs
    heard, spoken = dict.fromkeys(inputs), dict.fromkeys((*outputs, "reasoning") if thinks else outputs)
    for index, demo in enumerate(module.demos):
        who, where = f"demo {index + 1}", ("demos", index)
        yield from fits.faults(who, (*where, "inputs"), demo.inputs, needed, heard, "input")
        yield from fits.faults(who, (*where, "outputs"), demo.outputs, said, spoken, "output")
    for index, line in enumerate(module.fallback):
        who = f"fallback {index + 1}"
        if not line:
            yield FaultError(f"{who} is empty", ("fallback", index), mend="write what is said, or delete it")
        yield from fits.faults(who, ("fallback", index), line, (), spoken, "output")


class _Fitting:
    """Values held against fields, in one file."""

    def __init__(self, signature: SignatureDefinition) -> None:
        self._signature = signature
        self._hints = itertools.repeat(True, _MOST_HINTS)

    def faults(
        self,
        who: str,
        path: Path,
        given: Mapping[str, Any],
        needed: Iterable[str],
        known: Mapping[str, None],
        kind: str,
    ) -> Iterator[FaultError]:
        """List the names that are none of the fields, and the fields that have no value."""
        misspelt: set[str | None] = set()
        hinted = len(known) <= _MOST_NAMES
        for name in given:
            if name not in known:
                others = listed(known) or "none"
                message = f"{who} has {quoted(name)}, which is no {kind} of the signature ({others})"
                left = [item for item in known if item not in given] if hinted and next(self._hints, False) else []
                near = nearest(name, left)
                misspelt.add(near)
                hint = did_you_mean(name, [near] if near is not None else [])
                yield FaultError(
                    message + hint, (*path, name), key=True, mend="" if hint else "delete it, or correct the name"
                )
        for name in needed:
            if name not in given and name not in misspelt:
                mend = f"add {quoted(name)}: {self._example(name)} to its {kind}s"
                yield FaultError(f"{who} lacks {quoted(name)}", path, mend=mend)

    def _example(self, name: str) -> str:
        fields = (*self._signature.inputs, *self._signature.outputs)
        return _EXAMPLES[next((field.field_type for field in reversed(fields) if field.name == name), "string")]
