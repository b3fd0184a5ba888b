"""Signatures that the game registered: :class:`SignatureRegistry`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from dspyreload.errors import SignatureRefused
from dspyreload.model.defaults import Scope, folder_of
from dspyreload.model.module import TAKEN_BY_PREDICT, FieldDefinition, FieldType, SignatureDefinition
from dspyreload.model.registrations import Registered

__all__ = ["SignatureRegistry", "definition_of"]

_TYPES: dict[Any, FieldType] = {str: "string", int: "int", float: "float", bool: "bool", list: "list"}


class SignatureRegistry:
    """DSPy signature classes, by the name that module files use (``signature_name``).

    :param changed: called after each registration, with what it was: ``signature NAME`` or ``defaults``.
    :param check: called before each, to refuse it.
    :ivar defaults: names of signatures by what they are the default for; ``defaults_token``: changes with them.
    """

    def __init__(
        self, changed: Callable[[str], None] = lambda name: None, check: Callable[[], None] = lambda: None
    ) -> None:
        self._changed, self._check = changed, check
        self._classes: dict[str, tuple[Any, SignatureDefinition]] = {}
        self._registered: dict[str, Registered] = {}
        self._numbers = itertools.count(1)
        self.defaults: dict[Scope, str] = {}
        self.defaults_token = ""

    def register(self, name: str, signature: Any) -> None:
        """Register a ``dspy.Signature`` class. Modules that wait for it go live; a second registration replaces.

        :raises SignatureRefused: where it is no signature, or names an input as DSPy names an option of its own.
        """
        self._check()
        if not isinstance(name, str) or not name:
            raise SignatureRefused(f"a signature is registered under a name, not {name!r}")
        inputs, outputs = getattr(signature, "input_fields", None), getattr(signature, "output_fields", None)
        if not isinstance(signature, type) or not isinstance(inputs, dict) or not isinstance(outputs, dict):
            raise SignatureRefused(f"{name!r}: a dspy.Signature class is needed, not {signature!r}")
        if not outputs:
            raise SignatureRefused(f"{name!r}: the signature has no output field")
        if taken := [field for field in inputs if field in TAKEN_BY_PREDICT]:
            raise SignatureRefused(f"{name!r}: DSPy's Predict keeps the input name {taken[0]!r} for itself")
        if "completed" in outputs:
            raise SignatureRefused(
                f"{name!r}: DSPy ends a reply with the marker 'completed'; no output can have that name"
            )
        definition = definition_of(signature)
        token = f"signature {name}#{next(self._numbers)}"
        self._classes[token] = signature, definition  # an older one may still be in use by a version that serves
        self._registered[name] = Registered(definition, token)
        self._changed(f"signature {name}")

    def set_default(self, name: str, *, folder: str | None = None, tag: str | None = None) -> None:
        """Have modules that name no signature served by a registered one. The manifest's ``defaults`` come before this.

        :param name: of the signature; until it is registered, those modules wait.
        :param folder: for the modules below it only, relative to the modules directory.
        :param tag: for the modules that the manifest gives this tag only.
        :raises SignatureRefused: where that can't be.
        """
        self._check()
        if not isinstance(name, str) or not name:
            raise SignatureRefused(f"a default is the name of a signature, not {name!r}")
        if folder is not None and tag is not None:
            raise SignatureRefused(f"the default {name!r} is for a folder or for a tag, not for both")
        if folder is not None and not folder_of(folder):
            raise SignatureRefused(f"the default {name!r} is for a folder below the modules directory, not {folder!r}")
        scope = ("tag", tag) if tag is not None else ("folder", folder_of(folder)) if folder is not None else ("", "")
        self.defaults = {**self.defaults, scope: name}
        self.defaults_token = f"defaults#{next(self._numbers)}"
        self._changed("defaults")

    def contains(self, name: str) -> bool:
        """Say whether a signature is registered under a name."""
        return name in self._registered

    __contains__ = contains

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._registered))

    def registered(self) -> Mapping[str, Registered]:
        """Return the fields of what is registered, by name."""
        return MappingProxyType(self._registered)

    def signature_class(self, token: str) -> Any:
        """Return the class of one registration, by the token of its :class:`Registered`."""
        return self._classes[token][0]

    def definition(self, token: str) -> SignatureDefinition:
        """Return the fields of one registration, likewise."""
        return self._classes[token][1]


def definition_of(signature: Any) -> SignatureDefinition:
    """Return the fields of a ``dspy.Signature`` class."""
    return SignatureDefinition(
        inputs=tuple(_field(name, info) for name, info in signature.input_fields.items()),
        outputs=tuple(_field(name, info) for name, info in signature.output_fields.items()),
    )


def _field(name: str, info: Any) -> FieldDefinition:
    extra = info.json_schema_extra or {}
    nullable = type(None) in getattr(info.annotation, "__args__", ())
    return FieldDefinition(
        name=name,
        description=str(extra.get("desc") or ""),
        field_type=_TYPES.get(info.annotation, "json"),
        optional=nullable or not info.is_required(),
        prefix=str(extra.get("prefix") or ""),
    )
