"""What serves a module: its own signature block, a registered signature, or a registered program."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import attrs

from dspyreload.model.dspy_state import check_state, state_warnings
from dspyreload.model.faults import FaultError, Warned, did_you_mean, nearest, quoted
from dspyreload.model.fitting import hold
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.module import OptimizedModule, SignatureDefinition
from dspyreload.model.module_file import ModuleDraft
from dspyreload.model.registrations import (
    Judged,
    PredictorShape,
    RegisteredProgram,
    Registrations,
    shape_of,
)

__all__ = ["Served", "Waits", "check_lm", "judged_by", "serve"]


class Waits(Exception):
    """The game has not registered yet what a module needs: the text says what."""


@attrs.frozen
class Served:
    """What serves a module: the token of a registration, or "" for its own block; and what is odd about it."""

    registration: str
    warnings: tuple[Warned, ...] = ()


def _program_name(draft: ModuleDraft, entry: ModuleEntry | None) -> str | None:
    named = entry.program if entry is not None else None
    return named or (draft.module.module_id if draft.state is not None else None)


def judged_by(draft: ModuleDraft, entry: ModuleEntry | None, registrations: Registrations) -> Judged:
    """Return the names of what decides about a file, registered or not, each with its token."""
    names = []
    if (program := _program_name(draft, entry)) is not None:
        names.append(f"program {program}")
    if draft.borrowed:
        names.append("defaults")
    if draft.module.signature_name and (draft.state is not None or program is None):
        names.append(f"signature {draft.module.signature_name}")
    return _one_for_all(tuple((name, registrations.token(name)) for name in names))


@functools.lru_cache(maxsize=256)
def _one_for_all(judged: Judged) -> Judged:
    """Return the same object for all modules that are judged by the same."""
    return judged


def serve(
    draft: ModuleDraft, module: OptimizedModule, entry: ModuleEntry | None, registrations: Registrations
) -> Served:
    """Hold a module against what is registered.

    :param module: the draft, complete.
    :raises Waits: where that is not registered yet.
    :raises FaultError: where the two do not fit.
    """
    if draft.state is not None:
        return _serve_state(draft, module, entry, registrations)
    program = _program_name(draft, entry)
    if program is not None:
        return _serve_by_program(draft, module, program, registrations)
    return _serve_by_signature(draft, module, registrations)


def _serve_state(
    draft: ModuleDraft, module: OptimizedModule, entry: ModuleEntry | None, registrations: Registrations
) -> Served:
    assert draft.state is not None
    name = str(_program_name(draft, entry))
    program = registrations.programs.get(name)
    plain = entry is not None and entry.signature_name is not None and entry.predictor_type is not None
    if program is None and plain:
        name = module.signature_name
        signature = registrations.signatures.get(name)
        if signature is None:
            raise Waits(f"the signature {quoted(name)} is not registered{_near(name, registrations.signatures)}")
        program = RegisteredProgram((shape_of(module.predictor_type, signature.definition),), signature.token)
    if program is None:
        near = _near(name, registrations.programs)
        raise Waits(f"it is a saved DSPy program, and no program is registered as {quoted(name)}{near}")
    check_state(draft.state, module.predictors, program, name)
    return Served(program.token, tuple(state_warnings(draft.state, program, registrations.dspy)))


def _serve_by_program(draft: ModuleDraft, module: OptimizedModule, name: str, registrations: Registrations) -> Served:
    program = registrations.programs.get(name)
    if program is None:
        raise Waits(f"no program is registered as {quoted(name)}{_near(name, registrations.programs)}")
    if len(program.predictors) != 1:
        names = ", ".join(quoted(shape.name) for shape in program.predictors)
        raise FaultError(
            f"the program {quoted(name)} has {len(program.predictors)} predictors ({names}), and a module in this"
            " format speaks for one; save the program with DSPy's save() instead"
        )
    shape: PredictorShape = program.predictors[0]
    if module.signature is not None and not draft.borrowed:
        _compare(module, shape.definition, f"that of the program {quoted(name)}")
    return Served(program.token, hold(module, shape.definition))


def _serve_by_signature(draft: ModuleDraft, module: OptimizedModule, registrations: Registrations) -> Served:
    known = registrations.signatures.get(module.signature_name)
    if known is not None and module.signature is not None and not draft.borrowed:
        _compare(module, known.definition, f"the registered {quoted(module.signature_name)}")
    serving = known.definition if known is not None else module.signature
    if serving is None:
        near = _near(module.signature_name, registrations.signatures)
        here = "its file brings none"
        if draft.borrowed and draft.default is not None:
            here = f"it is {draft.default.whose}"
        raise Waits(f"the signature {quoted(module.signature_name)} is not registered{near}, and {here}")
    return Served(known.token if known is not None else "", hold(module, serving))


def _names(known: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in sorted(known) if name) or "none"


def _near(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f" (did you mean {quoted(near)}?)" if near is not None else ""


def _compare(module: OptimizedModule, registered: SignatureDefinition, whose: str) -> None:
    """Refuse a file whose own signature block and registered signature have other fields."""
    own = module.signature
    assert own is not None
    needed = tuple(field.name for field in registered.outputs if not field.optional)
    words = []
    for side, mine, theirs, wanted in (
        ("inputs", own.input_names(), registered.input_names(), registered.input_names()),
        ("outputs", own.output_names(), registered.output_names(), needed),
    ):
        if extra := [name for name in mine if name not in theirs]:
            words.append(f"{side} {', '.join(map(quoted, extra))} only in the file")
        if lacking := [name for name in wanted if name not in mine]:
            words.append(f"{side} {', '.join(map(quoted, lacking))} only in the registered one")
    if words:
        raise FaultError(
            f"its signature differs from {whose}: {'; '.join(words)}",
            ("signature",),
            key=True,
            mend="give both the same fields, or delete the file's block",
        )


def check_lm(entry: ModuleEntry, registrations: Registrations) -> Iterator[Warned]:
    """Hold what a manifest entry asks of a language model against what the operator allows.

    :raises FaultError: where there is no such LM, or it allows less.
    """
    here = "its entry in manifest.json"
    if registrations.lms is None:
        if entry.lm is not None:
            yield Warned(
                f'{here} has "lm": {quoted(entry.lm)}, which only the server knows', (), "check with --lm-config"
            )
        return
    name = entry.lm or ""
    bounds = registrations.lms.get(name)
    if bounds is None:
        if name:
            hint = did_you_mean(name, filter(None, registrations.lms)) or f"; there are {_names(registrations.lms)}"
            raise FaultError(f'{here} has "lm": {quoted(name)}, and there is no LM of that name{hint}')
        return
    which = f"the LM {quoted(name)}" if name else "the LM"
    if entry.max_tokens is not None and bounds.max_tokens is not None and entry.max_tokens > bounds.max_tokens:
        raise FaultError(
            f'{here} has "max_tokens": {entry.max_tokens}; {which} allows {bounds.max_tokens}', mend="ask for less"
        )
    if entry.temperature is not None and entry.temperature > bounds.max_temperature:
        raise FaultError(
            f'{here} has "temperature": {entry.temperature:g}; {which} allows {bounds.max_temperature:g}',
            mend="ask for less",
        )
