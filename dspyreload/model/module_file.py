"""A module's file: bytes to :class:`OptimizedModule`, or why not.

Two forms are read. The full form names ``module_id``, ``predictor_type`` and ``signature_name``; the small form
names none of them, and ``{"instruction": "..."}`` alone is enough. In both, ``instruction_file`` may stand in place
of ``instruction``, and ``include`` names text files that are placed before it.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

import attrs
import msgspec

from dspyreload.model.dspy_state import is_dspy_state, read_state
from dspyreload.model.faults import FaultError, Path, Warned, place_words, quoted, raise_first
from dspyreload.model.jsontext import parse
from dspyreload.model.module import (
    DEFAULT_SIGNATURE,
    TAKEN_BY_PREDICT,
    Demo,
    FieldType,
    ModuleMetadata,
    OptimizedModule,
    PredictorType,
    SignatureDefinition,
)

__all__ = ["ModuleDraft", "convert", "parse_module", "unknown_key"]

# Attributes of DSPy's Signature, and the marker that ends a reply.
_RESERVED = TAKEN_BY_PREDICT | {"instructions", "fields", "input_fields", "output_fields", "cls", "completed"}


@attrs.frozen
class ModuleDraft:
    """A module file by itself: ``text_files`` are still to be read, relative to the file's folder, in order.

    :ivar state: the whole value where DSPy saved it.
    """

    module: OptimizedModule
    text_files: tuple[tuple[str, Path], ...] = ()
    warnings: tuple[Warned, ...] = ()
    state: Mapping[str, Any] | None = None

    def complete(self, texts: tuple[str, ...]) -> OptimizedModule:
        """Return the module with the ``texts`` of its ``text_files``, in order, before its own instruction."""
        if not self.text_files:
            return self.module
        parts = [text.strip() for text in (*texts, self.module.instruction)]
        whole = "\n\n".join(part for part in parts if part)
        if not whole:
            raise FaultError("the instruction is empty in all of its files", self.text_files[-1][1])
        return attrs.evolve(self.module, instruction=whole)


@attrs.frozen(kw_only=True)
class _File:
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


_KNOWN = {field.name for field in attrs.fields(_File)}
_FULL = ("module_id", "predictor_type", "signature_name")
_METADATA = {field.name for field in attrs.fields(ModuleMetadata)} - {"extra"}
_NAMES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
          "array": "a list", "object": "an object in { }", "null": "null"}  # fmt: skip


def parse_module(
    data: bytes, default_id: str, *, signature_name: str | None = None, predictor_type: str | None = None
) -> ModuleDraft:
    """Read one module file.

    :param default_id: the id where the file names none.
    :param signature_name: what the manifest says instead of the file.
    :param predictor_type: likewise.
    :raises FaultError: where the file can't be served.
    """
    value = parse(data)
    if not isinstance(value, dict):
        raise FaultError("a module is an object in { }")
    if is_dspy_state(value):
        return _saved(value, default_id, signature_name or "", predictor_type or "predict")
    warnings = tuple(unknown_key(key, (), _KNOWN) for key in value if key not in _KNOWN and key != "$schema")
    file = _convert_file(value)
    raise_first([*_form_faults(value), *_signature_faults(file.signature)])
    module = OptimizedModule(
        module_id=file.module_id or default_id,
        predictor_type=predictor_type or file.predictor_type,  # type: ignore[arg-type]  # the manifest's was checked
        signature_name=signature_name or file.signature_name,
        instruction=file.instruction,
        signature=file.signature,
        demos=file.demos,
        tool_enabled=file.tool_enabled,
        metadata=file.metadata,
        fallback=file.fallback,
    )
    if not module.signature_name and module.signature is None:
        module = attrs.evolve(module, signature=DEFAULT_SIGNATURE)
    names: list[tuple[str, Path]] = [(name, ("include", index)) for index, name in enumerate(file.include)]
    if file.instruction_file:
        names.append((file.instruction_file, ("instruction_file",)))
    return ModuleDraft(module, tuple(names), warnings)


def _saved(value: dict[str, Any], module_id: str, signature_name: str, predictor_type: str) -> ModuleDraft:
    predictors = read_state(value)
    module = OptimizedModule(
        module_id=module_id,
        predictor_type=predictor_type,  # type: ignore[arg-type]  # the manifest's was checked
        signature_name=signature_name,
        instruction="\n\n".join(saved.instructions for saved in predictors.values()),
        predictors=predictors,
    )
    return ModuleDraft(module, state=value)


def convert(value: Any, kind: type[Any], path: Path = ()) -> Any:
    """Turn plain values into ``kind``, with a fault in a writer's words.

    :raises FaultError: at the place below ``path`` that does not fit.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _in_words(str(error), path) from None


_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_ENUM = re.compile(r"Invalid enum value (.+)")


def _in_words(message: str, above: Path) -> FaultError:
    message, _, where = message.partition(" - at `")
    path = above + tuple(
        int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", where.rstrip("`"))
        if name or index
    ) if where else above  # fmt: skip
    name = place_words(path) or "the file"
    if found := _MISSING.match(message):
        return FaultError(f'{name} lacks "{found[1]}"', path)
    if found := _EXPECTED.match(message):
        wanted = " or ".join(_NAMES.get(kind.strip(), kind.strip()) for kind in found[1].split("|"))
        return FaultError(f"{name} must be {wanted}, not {_NAMES.get(found[2], found[2])}", path)
    if found := _ENUM.match(message):
        kinds = {"predictor_type": PredictorType, "field_type": FieldType}.get(str(path[-1]) if path else "")
        choice = ", ".join(quoted(item) for item in getattr(kinds, "__args__", ()))
        return FaultError(f"{name} must be one of {choice}", path)
    return FaultError(f"{name}: {message}", path)


def _convert_file(value: dict[str, Any]) -> _File:
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        known = {key: item for key, item in metadata.items() if key in _METADATA}
        known["extra"] = {key: item for key, item in metadata.items() if key not in _METADATA}
        value = {**value, "metadata": known}
    try:
        file: _File = convert(value, _File)
    except FaultError as first:
        raise_first(_each_fault(value) or [first])
    if file.metadata.optimized_at is not None:
        try:
            datetime.datetime.fromisoformat(file.metadata.optimized_at)
        except ValueError:
            raise FaultError(
                '"optimized_at" must be a time such as "2025-11-24T10:30:00Z", or null', ("metadata", "optimized_at")
            ) from None
    if file.signature is not None:  # "optional" is for code: in a file it is one more unknown key
        inputs = tuple(attrs.evolve(field, optional=False) for field in file.signature.inputs)
        file = attrs.evolve(file, signature=attrs.evolve(file.signature, inputs=inputs))
    return file


def _each_fault(value: Mapping[str, Any]) -> list[FaultError]:
    """Convert key by key, and demonstration by demonstration: msgspec itself stops at the first fault."""
    faults: list[FaultError] = []
    for key, kind in get_type_hints(_File).items():
        if key not in value:
            continue
        item, parts = value[key], None
        if key == "demos" and isinstance(item, list):
            parts = [(demo, Demo, (key, index)) for index, demo in enumerate(item)]
        for part, wanted, path in parts if parts is not None else [(item, kind, (key,))]:
            try:
                convert(part, wanted, path)
            except FaultError as fault:
                faults.append(fault)
    return faults


def unknown_key(key: str, above: Path, known: Iterable[str]) -> Warned:
    """Warn of a key that is ignored, and name the one that was perhaps meant."""
    near = difflib.get_close_matches(key, sorted(known), n=1)
    hint = f"; did you mean {quoted(near[0])}?" if near else ""
    return Warned(f"{quoted(key)} is not known and is ignored{hint}", (*above, key))


def _lacks(key: str, value: Mapping[str, Any]) -> FaultError:
    near = difflib.get_close_matches(key, [other for other in value if other not in _KNOWN], n=1)
    if not near:
        return FaultError(f'the module lacks "{key}"')
    return FaultError(f'the module lacks "{key}"; is it what {quoted(near[0])} should be?', (near[0],), key=True)


def _form_faults(value: Mapping[str, Any]) -> Iterator[FaultError]:
    named = [key for key in _FULL if key in value]
    for key in _FULL:
        if named and key not in value:
            yield _lacks(key, value)
        if key in value and not value[key].strip():
            yield FaultError(f'"{key}" is empty', (key,))
    if "instruction" not in value and "instruction_file" not in value:
        yield _lacks("instruction", value)
    if "instruction" in value and "instruction_file" in value:
        yield FaultError(
            '"instruction" and "instruction_file" are both given; delete one', ("instruction_file",), key=True
        )
    for key in ("instruction", "instruction_file"):
        if key in value and not value[key].strip():
            yield FaultError(f'"{key}" is empty', (key,))


def _signature_faults(signature: SignatureDefinition | None) -> Iterator[FaultError]:
    if signature is None:
        return
    if not signature.outputs:
        yield FaultError('the signature has no "outputs"', ("signature", "outputs"))
    seen: set[str] = set()
    for side, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for index, field in enumerate(fields):
            path: Path = ("signature", side, index, "name")
            name = field.name
            if not name.isidentifier() or name.startswith(("_", "model_")) or not name.isascii():
                yield FaultError(f"{quoted(name)} can't name a field; use letters, digits and _, a letter first", path)
            elif name in _RESERVED:
                yield FaultError(
                    f"{quoted(name)} is a name that DSPy keeps for itself; call the field something else", path
                )
            elif name in seen:
                yield FaultError(f"the signature has two fields {quoted(name)}", path)
            seen.add(name)
