"""A module's file: bytes to :class:`OptimizedModule`, or why not.

Two forms are read. The full form names ``module_id``, ``predictor_type`` and ``signature_name``; the small form has no
id of its own, may name one of the other two, and ``{"instruction": "..."}`` alone is enough. In both,
``instruction_file`` may stand in place of ``instruction``, and ``include`` names files that are placed before it.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

import attrs

from dspyreload.model.decoding import (
    SIDES,
    convert,
    lacks,
    signature_faults,
    signature_of_file,
    signature_warnings,
    unknown_key,
)
from dspyreload.model.defaults import BUILT_IN, Default
from dspyreload.model.dspy_state import is_dspy_state, read_state
from dspyreload.model.faults import FaultError, Path, Warned, most, nearest, quoted, raise_first
from dspyreload.model.jsontext import parse
from dspyreload.model.module import Demo, ModuleMetadata, OptimizedModule, PredictorType, SignatureDefinition

__all__ = ["IncludedFile", "ModuleDraft", "ModuleFile", "TextFiles", "parse_included", "parse_module"]


TextFiles = tuple[tuple[str, Path], ...]
"""Names of files that a file is made of, each relative to its folder, with the place that names it."""


@attrs.frozen
class ModuleDraft:
    """A module file by itself: ``text_files`` are still to be read, relative to the file's folder, in order.

    :ivar state: the whole value where DSPy saved it.
    :ivar default: what it took where neither the file nor its manifest entry says it; None where it took nothing.
    :ivar borrowed: whether that is its signature.
    """

    module: OptimizedModule
    text_files: TextFiles = ()
    warnings: tuple[Warned, ...] = ()
    state: Mapping[str, Any] | None = None
    default: Default | None = None
    borrowed: bool = False

    def complete(self, texts: tuple[str, ...]) -> OptimizedModule:
        """Return the module with the ``texts`` of its ``text_files``, in order, before its own instruction."""
        if not self.text_files:
            return self.module
        parts = [text.strip() for text in (*texts, self.module.instruction)]
        whole = "\n\n".join(part for part in parts if part)
        if not whole:
            raise FaultError(
                "the instruction is empty in all of its files",
                self.text_files[-1][1],
                mend="write some text into one of them",
            )
        return attrs.evolve(self.module, instruction=whole)


@attrs.frozen(kw_only=True)
class ModuleFile:
    """The keys of a module file as they stand in it."""

    module_id: str = ""
    predictor_type: PredictorType = "predict"
    signature_name: str = ""
    instruction: str = ""
    instruction_file: str = ""
    include: tuple[str, ...] = ()
    signature: SignatureDefinition | None = None
    demos: tuple[Demo, ...] = ()
    tool_enabled: bool = False
    metadata: ModuleMetadata = attrs.field(factory=ModuleMetadata)
    fallback: tuple[dict[str, Any], ...] = ()


@attrs.frozen(kw_only=True)
class IncludedFile:
    """The keys of a module file that count where another one includes it: what it says, and nothing else."""

    instruction: str = ""
    instruction_file: str = ""
    include: tuple[str, ...] = ()

    @property
    def text_files(self) -> TextFiles:
        """What it is made of itself."""
        return _text_files(self)


_TEXT_KEYS = {field.name for field in attrs.fields(IncludedFile)}
_KNOWN = {field.name for field in attrs.fields(ModuleFile)}
_FILL = {"instruction": "say who the character is and how it speaks", "instruction_file": "name a text file"}
_FILE_NAME = re.compile(r"\S+\.(md|txt|markdown)")
_FULL = ("module_id", "predictor_type", "signature_name")
_METADATA = {field.name for field in attrs.fields(ModuleMetadata)} - {"extra"}


def parse_module(
    data: bytes,
    default_id: str,
    *,
    signature_name: str | None = None,
    predictor_type: PredictorType | None = None,
    default: Default = BUILT_IN,
) -> ModuleDraft:
    """Read one module file.

    :param default_id: the id where the file names none.
    :param signature_name: what the manifest says instead of the file.
    :param predictor_type: likewise.
    :param default: what serves where neither names a signature.
    :raises FaultError: where the file can't be served.
    """
    value = parse(data)
    if not isinstance(value, dict):
        raise FaultError("a module is an object in { }", mend='the least that it can be is {"instruction": "..."}')
    if is_dspy_state(value):
        return _saved(value, default_id, signature_name or "", predictor_type or "predict")
    file = _convert_file(value)
    warnings = tuple(most(_unknown_keys(value)))
    raise_first(itertools.chain(_form_faults(value), signature_faults(file.signature)))
    borrows = not (signature_name or file.signature_name) and file.signature is None
    kind = predictor_type or (value.get("predictor_type") and file.predictor_type)
    taken = borrows or (kind is None and default.predictor_type is not None)
    module = OptimizedModule(
        module_id=file.module_id or default_id,
        predictor_type=kind or default.predictor_type or "predict",
        signature_name=signature_name or file.signature_name or (default.signature_name if borrows else ""),
        instruction=file.instruction,
        signature=default.signature if borrows else file.signature,
        demos=file.demos,
        tool_enabled=file.tool_enabled,
        metadata=file.metadata,
        fallback=file.fallback,
    )
    part = default.taken(signature=borrows, predictor_type=kind is None) if taken else None
    return ModuleDraft(module, _text_files(file), warnings, default=part, borrowed=borrows)


def _unknown_keys(value: Mapping[str, Any]) -> Iterator[Warned]:
    yield from (unknown_key(key, (), _KNOWN) for key in value if key not in _KNOWN and key != "$schema")
    yield from signature_warnings(value.get("signature"))
    if _FILE_NAME.fullmatch(value.get("instruction", "")):
        message = '"instruction" is the name of a file; did you mean "instruction_file"?'
        yield Warned(message, ("instruction",))
    for index, demo in enumerate(value.get("demos", ())):
        if tuple(demo) == SIDES:  # as nearly all have
            continue
        yield from (unknown_key(key, ("demos", index), SIDES) for key in demo if key not in SIDES)


def _text_files(file: ModuleFile | IncludedFile) -> TextFiles:
    names: list[tuple[str, Path]] = [(name, ("include", index)) for index, name in enumerate(file.include)]
    if file.instruction_file:
        names.append((file.instruction_file, ("instruction_file",)))
    return tuple(names)


def parse_included(data: bytes) -> IncludedFile | None:
    """Read a JSON file that a module includes: what it says as a module, or None where it is none, and just a text.

    :raises FaultError: where it can't be read.
    """
    value = parse(data)
    if not isinstance(value, dict) or _TEXT_KEYS.isdisjoint(value):
        return None
    file: IncludedFile = convert(value, IncludedFile)
    return file


def _saved(value: dict[str, Any], module_id: str, signature_name: str, predictor_type: PredictorType) -> ModuleDraft:
    predictors = read_state(value)
    module = OptimizedModule(
        module_id=module_id,
        predictor_type=predictor_type,
        signature_name=signature_name,
        instruction="\n\n".join(saved.instructions for saved in predictors.values()),
        predictors=predictors,
    )
    return ModuleDraft(module, state=value)


def _convert_file(value: dict[str, Any]) -> ModuleFile:
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        known = {key: item for key, item in metadata.items() if key in _METADATA}
        known["extra"] = {key: item for key, item in metadata.items() if key not in _METADATA}
        value = {**value, "metadata": known}
    try:
        file: ModuleFile = convert(value, ModuleFile)
    except FaultError:
        raise_first(_each_fault(value))
        raise
    if file.metadata.optimized_at is not None:
        try:
            datetime.datetime.fromisoformat(file.metadata.optimized_at)
        except ValueError:
            raise FaultError(
                '"optimized_at" must be a time such as "2025-11-24T10:30:00Z", or null', ("metadata", "optimized_at")
            ) from None
    return file if file.signature is None else attrs.evolve(file, signature=signature_of_file(file.signature))


def _each_fault(value: Mapping[str, Any]) -> Iterator[FaultError]:
    """Convert key by key, and demonstration by demonstration: msgspec itself stops at the first fault."""
    for key, kind in get_type_hints(ModuleFile).items():
        if key not in value:
            continue
        item = value[key]
        parts: Iterable[tuple[Any, Any, Path]] = [(item, kind, (key,))]
        if key == "demos" and isinstance(item, list):
            parts = ((demo, Demo, (key, index)) for index, demo in enumerate(item))
        for part, wanted, path in parts:
            try:
                convert(part, wanted, path)
            except FaultError as fault:
                yield fault


def _form_faults(value: Mapping[str, Any]) -> Iterator[FaultError]:
    named = [key for key in _FULL if key in value]
    full = "module_id" in value or len(named) > 1
    for key in _FULL:
        if full and key not in value:
            yield _lacks(key, value)
        if key in value and not value[key].strip():
            yield FaultError(f'"{key}" is empty', (key,), mend=_FILL.get(key, "fill it in"))
    if "instruction" not in value and "instruction_file" not in value:
        yield _lacks("instruction", value)
    if "instruction" in value and "instruction_file" in value:
        yield FaultError(
            '"instruction" and "instruction_file" are both given; delete one', ("instruction_file",), key=True
        )
    for key in ("instruction", "instruction_file"):
        if key in value and not value[key].strip():
            yield FaultError(f'"{key}" is empty', (key,), mend=_FILL.get(key, "fill it in"))


def _lacks(key: str, value: Mapping[str, Any]) -> FaultError:
    unknown = [other for other in value if other not in _KNOWN]
    for other in unknown:
        meant = nearest(other, _KNOWN)
        if key == "instruction" and meant == "instruction_file":
            message = f'the module lacks "instruction"; is {quoted(other)} to be "instruction_file"?'
            return FaultError(message, (other,), key=True)
    return lacks("the module", key, given=unknown)
