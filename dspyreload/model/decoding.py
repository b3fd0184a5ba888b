"""Plain values into attrs classes, with faults in a writer's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import msgspec

from dspyreload.model.faults import FaultError, Path, Warned, did_you_mean, nearest, place_words, quoted
from dspyreload.model.module import TAKEN_BY_PREDICT, FieldType, PredictorType, SignatureDefinition

__all__ = [
    "FIELD_KEYS",
    "SIDES",
    "convert",
    "lacks",
    "signature_faults",
    "signature_of_file",
    "signature_warnings",
    "unknown_key",
]

# Attributes of DSPy's Signature, and the marker that ends a reply.
_RESERVED = TAKEN_BY_PREDICT | {"instructions", "fields", "input_fields", "output_fields", "cls", "completed"}
SIDES = ("inputs", "outputs")
FIELD_KEYS = ("name", "description", "field_type")
_EXPECTED_KEYS = (*SIDES, *FIELD_KEYS, "path", "hash", "tags")  # one that is lacking is none of the others, misspelt
_NAMES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
          "array": "a list", "object": "an object in { }", "null": "null"}  # fmt: skip


def convert(value: Any, kind: type[Any], path: Path = ()) -> Any:
    """Turn plain values into ``kind``, with a fault in a writer's words.

    :raises FaultError: at the place below ``path`` that does not fit.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _in_words(str(error), path, value) from None


_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_ENUM = re.compile(r"Invalid enum value (.+)")
_RANGE = re.compile(r"Integer value out of range|Number out of range")


def _in_words(message: str, above: Path, value: Any) -> FaultError:
    message, _, where = message.partition(" - at `")
    path = above + tuple(
        int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", where.rstrip("`"))
        if name or index
    ) if where else above  # fmt: skip
    name = place_words(path) or "the file"
    if found := _MISSING.match(message):
        given = [key for key in _at(value, path[len(above) :]) if key not in _EXPECTED_KEYS]
        return lacks(name, found[1], path, given=given)
    if found := _EXPECTED.match(message):
        wanted = " or ".join(_NAMES.get(kind.strip(), kind.strip()) for kind in found[1].split("|"))
        mend = "put it in double quotes" if found[1] == "str" and found[2] in ("int", "float", "bool") else ""
        return FaultError(f"{name} must be {wanted}, not {_NAMES.get(found[2], found[2])}", path, mend=mend)
    if _ENUM.match(message):
        kinds = {"predictor_type": PredictorType, "field_type": FieldType}.get(str(path[-1]) if path else "")
        choice = ", ".join(quoted(item) for item in getattr(kinds, "__args__", ()))
        return FaultError(f"{name} must be one of {choice}", path)
    if _RANGE.match(message):
        return FaultError(f"{name} is a number that is too large", path, mend="write a smaller one")
    return FaultError(f"{name} is not what is expected here", path)


def _at(value: Any, path: Path) -> Iterable[str]:
    """Return the keys of the object at a place, as far as there is one."""
    for part in path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return ()
    return value if isinstance(value, dict) else ()


def lacks(name: str, key: str, path: Path = (), *, given: Iterable[str] = ()) -> FaultError:
    """Return the fault of a key that is missing.

    :param given: what stands there in its place; perhaps one of these keys is it, misspelt.
    """
    near = nearest(key, given)
    if near is not None:
        return FaultError(f'{name} lacks "{key}"; is it what {quoted(near)} should be?', (*path, near), key=True)
    return FaultError(f'{name} lacks "{key}"', path, mend=f'add "{key}" to it')


def unknown_key(key: str, above: Path, known: Iterable[str]) -> Warned:
    """Warn of a key that is ignored, and name the one that was perhaps meant."""
    meant = did_you_mean(key, known)
    return Warned(
        f"{quoted(key)} is not known and is ignored{meant}", (*above, key), "" if meant else "delete it, or correct it"
    )


def signature_warnings(value: Any, above: Path = ("signature",)) -> Iterator[Warned]:
    """Warn of keys in a signature block that are ignored.

    :param value: the block as it stands in the file, once it was accepted. ``above``: where it stands.
    """
    if not isinstance(value, dict):
        return
    yield from (unknown_key(key, above, SIDES) for key in value if key not in SIDES)
    for side in SIDES:
        for index, field in enumerate(value[side]):
            yield from (unknown_key(key, (*above, side, index), FIELD_KEYS) for key in field if key not in FIELD_KEYS)


def signature_of_file(signature: SignatureDefinition) -> SignatureDefinition:
    """Return a signature as a file may give it: "optional" is for code, and one more unknown key there."""
    inputs, outputs = (
        tuple(attrs.evolve(f, optional=False, prefix="") if f.optional or f.prefix else f for f in side)
        for side in (signature.inputs, signature.outputs)
    )
    return attrs.evolve(signature, inputs=inputs, outputs=outputs)


def signature_faults(signature: SignatureDefinition | None, above: Path = ("signature",)) -> Iterator[FaultError]:
    """List what is wrong with a signature block.

    :param above: where it stands.
    """
    if signature is None:
        return
    if not signature.outputs:
        yield FaultError('the signature has no "outputs"', (*above, "outputs"), mend="name what the character answers")
    seen: set[str] = set()
    for side, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for index, field in enumerate(fields):
            path: Path = (*above, side, index, "name")
            name = field.name
            if not name.isidentifier() or name.startswith(("_", "model_")) or not name.isascii():
                yield FaultError(f"{quoted(name)} can't name a field; use letters, digits and _, a letter first", path)
            elif name in _RESERVED:
                yield FaultError(
                    f"{quoted(name)} is a name that DSPy keeps for itself; call the field something else", path
                )
            elif name in seen:
                yield FaultError(f"the signature has two fields {quoted(name)}; rename or delete one", path)
            seen.add(name)
