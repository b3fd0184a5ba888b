"""A module's file: bytes to :class:`OptimizedModule`, or why not.

Two forms are read. The full form names ``module_id``, ``predictor_type`` and ``signature_name``; the small form
names none of them, and ``{"instruction": "..."}`` alone is enough. In both, ``instruction_file`` may stand in place
of ``instruction``, and ``include`` names text files that are placed before it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import msgspec

from dspyreload.model.dspy_state import is_dspy_state
from dspyreload.model.faults import FaultError, Path, Warned, place_words, quoted
from dspyreload.model.jsontext import parse

__all__ = [
    "DEFAULT_SIGNATURE",
    "Demo",
    "FieldDefinition",
    "ModuleDraft",
    "ModuleMetadata",
    "OptimizedModule",
    "SignatureDefinition",
    "check_demos",
    "convert",
    "parse_module",
]

FieldType = Literal["string", "json", "int", "float", "bool", "list"]
PredictorType = Literal["predict", "chain_of_thought"]

# DSPy's Predict takes these keyword arguments for itself, and its Signature has these attributes.
_RESERVED = {"signature", "demos", "config", "lm", "new_signature", "prediction"} | {
    "instructions", "fields", "input_fields", "output_fields", "model_config", "self", "cls", "completed",
}  # fmt: skip


@attrs.frozen(kw_only=True)
class FieldDefinition:
    """One field of a signature. ``optional``: an input that a call may leave out (never read from a file)."""

    name: str
    description: str = ""
    field_type: FieldType = "string"
    optional: bool = False


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
class OptimizedModule:
    """What a character says is decided by this. A fresh copy for whoever asks; nobody else sees changes to it.

    ``instruction`` is the whole text for the LM, includes and instruction file in it. ``signature`` is the file's own
    block, or None where the registered ``signature_name`` serves.
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


@attrs.frozen
class ModuleDraft:
    """A module file by itself: ``text_files`` are still to be read, relative to the file's folder, in order."""

    module: OptimizedModule
    text_files: tuple[tuple[str, Path], ...]
    warnings: tuple[Warned, ...]

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
    :raises FaultError: where the file can't be served, at the first fault.
    """
    value = parse(data)
    if not isinstance(value, dict):
        raise FaultError("a module is an object in { }")
    if is_dspy_state(value):
        raise FaultError("this is what DSPy's save() writes; such files are not served yet")
    warnings = tuple(
        Warned(f"{quoted(key)} is not known and is ignored", (key,))
        for key in value
        if key not in _KNOWN and key != "$schema"
    )
    file = _convert_file(value)
    _check_form(value)
    _check_signature(file.signature)
    for index, line in enumerate(file.fallback):
        if not line:
            raise FaultError(f"fallback {index + 1} is empty", ("fallback", index))
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
    file: _File = convert(value, _File)
    if file.signature is not None:  # "optional" is for code: in a file it is one more unknown key
        inputs = tuple(attrs.evolve(field, optional=False) for field in file.signature.inputs)
        file = attrs.evolve(file, signature=attrs.evolve(file.signature, inputs=inputs))
    if file.metadata.optimized_at is not None:
        try:
            datetime.datetime.fromisoformat(file.metadata.optimized_at)
        except ValueError:
            raise FaultError(
                '"optimized_at" must be a time such as "2025-11-24T10:30:00Z", or null', ("metadata", "optimized_at")
            ) from None
    return file


def _check_form(value: Mapping[str, Any]) -> None:
    named = [key for key in _FULL if key in value]
    for key in _FULL:
        if named and key not in value:
            raise FaultError(f'the module lacks "{key}"')
        if key in value and not str(value[key]).strip():
            raise FaultError(f'"{key}" is empty', (key,))
    if "instruction" not in value and "instruction_file" not in value:
        raise FaultError('the module lacks "instruction"')
    if "instruction" in value and "instruction_file" in value:
        raise FaultError(
            '"instruction" and "instruction_file" are both given; delete one', ("instruction_file",), key=True
        )
    for key in ("instruction", "instruction_file"):
        if key in value and not value[key].strip():
            raise FaultError(f'"{key}" is empty', (key,))


def _check_signature(signature: SignatureDefinition | None) -> None:
    if signature is None:
        return
    seen: set[str] = set()
    for side, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if side == "outputs" and not fields:
            raise FaultError('the signature has no "outputs"', ("signature", "outputs"))
        for index, field in enumerate(fields):
            path: Path = ("signature", side, index, "name")
            name = field.name
            if not name.isidentifier() or name.startswith(("_", "model_")) or not name.isascii():
                raise FaultError(f"{quoted(name)} can't name a field; use letters, digits and _, a letter first", path)
            if name in _RESERVED:
                raise FaultError(
                    f"{quoted(name)} is a name that DSPy keeps for itself; call the field something else", path
                )
            if name in seen:
                raise FaultError(f"the signature has two fields {quoted(name)}", path)
            seen.add(name)


_TOOL_FIELDS = (("inputs", "context"), ("inputs", "available_tools"), ("outputs", "tool_call"))


def check_demos(module: OptimizedModule, signature: SignatureDefinition) -> None:
    """Hold demonstrations, fallback lines and the tool fields against the signature that serves.

    :raises FaultError: at the first demonstration that does not fit, such as ``demo 3 lacks "emotion"``.
    """
    inputs, outputs = signature.input_names(), signature.output_names()
    if module.tool_enabled:
        for side, name in _TOOL_FIELDS:
            if name not in (inputs if side == "inputs" else outputs):
                raise FaultError(f'"tool_enabled" needs the field "{name}" among the {side}', ("tool_enabled",))
    spoken = (*outputs, "reasoning") if module.predictor_type == "chain_of_thought" else outputs
    for index, demo in enumerate(module.demos):
        where: Path = ("demos", index)
        _known_fields(demo.inputs, inputs, f"demo {index + 1}", (*where, "inputs"), "input")
        _known_fields(demo.outputs, spoken, f"demo {index + 1}", (*where, "outputs"), "output")
        for field in signature.inputs:
            if field.name not in demo.inputs and not field.optional:
                raise FaultError(f"demo {index + 1} lacks {quoted(field.name)}", (*where, "inputs"))
        for name in outputs:
            if name not in demo.outputs:
                raise FaultError(f"demo {index + 1} lacks {quoted(name)}", (*where, "outputs"))
    for index, line in enumerate(module.fallback):
        _known_fields(line, spoken, f"fallback {index + 1}", ("fallback", index), "output")


def _known_fields(given: Mapping[str, Any], known: tuple[str, ...], who: str, path: Path, kind: str) -> None:
    for name in given:
        if name not in known:
            others = ", ".join(quoted(item) for item in known) or "none"
            raise FaultError(
                f"{who} has {quoted(name)}, which is no {kind} of the signature ({others})", (*path, name), key=True
            )
