"""What serves a module that names no signature: the default, or what the manifest or the game says instead.

The manifest's ``defaults`` come first, then those of the game, then :data:`BUILT_IN`. Within each, a tag says more than
a folder, a deeper folder more than the one around it, and that more than what is said for all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import msgspec

from dspyreload.model.decoding import convert, signature_faults, signature_of_file, signature_warnings, unknown_key
from dspyreload.model.faults import FaultError, Path, Warned, did_you_mean, most, quoted
from dspyreload.model.module import DEFAULT_SIGNATURE, PredictorType, SignatureDefinition

__all__ = ["BUILT_IN", "Default", "DefaultsKeys", "Scope", "effective_default", "listed_default", "parse_defaults"]

_MOST_HINTS = 20
_MOST_NAMES = 10_000  # that are compared with one that no module has

Scope = tuple[str, str]
"""What a default is for: ``("tag", "quest")``, ``("folder", "npc/town")``, or ``("", "")`` for all."""


class Default(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a module takes where its file says nothing.

    :ivar signature_name: a registered signature; ``signature``: its fields. One of the two, or neither.
    :ivar whose: who says so, in words.
    """

    signature_name: str = ""
    signature: SignatureDefinition | None = None
    predictor_type: PredictorType | None = None
    whose: str = ""

    def over(self, other: Default) -> Default:
        """Return this with what it leaves open taken from another."""
        own = bool(self.signature_name) or self.signature is not None
        said = self if own else other
        return Default(
            signature_name=said.signature_name,
            signature=said.signature,
            predictor_type=self.predictor_type or other.predictor_type,
            whose=said.whose if own or self.predictor_type is None else f"{self.whose}, and {other.whose}",
        )

    def taken(self, *, signature: bool, predictor_type: bool) -> Default:
        """Return the parts that a module took: what else this says is none of it."""
        if signature and predictor_type:  # nearly all take both: one for all of them
            return self
        return Default(
            signature_name=self.signature_name if signature else "",
            signature=self.signature if signature else None,
            predictor_type=self.predictor_type if predictor_type else None,
            whose=self.whose,
        )

    def words(self) -> str:
        """Say what a module takes, and from whom."""
        what = []
        if self.signature_name:
            what.append(f"the signature {quoted(self.signature_name)}")
        elif self.signature is not None:
            sides = (self.signature.input_names(), self.signature.output_names())
            what.append("the fields " + " → ".join(", ".join(names) for names in sides))
        if self.predictor_type is not None:
            what.append(quoted(self.predictor_type))
        return f"{self.whose}: {' and '.join(what)}"


BUILT_IN = Default(signature=DEFAULT_SIGNATURE, whose="the default signature")
"""Where neither the manifest nor the game says anything."""


def scopes(path: str, tags: tuple[str, ...]) -> Iterator[Scope]:
    """List what a default may be for, for one file: what counts most first."""
    for tag in tags:
        yield ("tag", tag)
    folder = path
    while "/" in folder:
        folder = folder.rpartition("/")[0]
        yield ("folder", folder)
    yield ("", "")


def listed_default(defaults: Mapping[Scope, Default], path: str, tags: tuple[str, ...]) -> Default | None:
    """Return what the manifest's ``defaults`` say for one file, or None."""
    chosen: Default | None = None
    for scope in scopes(path, tags) if defaults else ():
        found = defaults.get(scope)
        if found is not None:
            chosen = found if chosen is None else chosen.over(found)
    return chosen


def effective_default(listed: Default | None, names: Mapping[Scope, str], path: str, tags: tuple[str, ...]) -> Default:
    """Return what serves a file that names no signature.

    :param listed: what the manifest says.
    :param names: what the game says: registered signatures, by what they are for.
    """
    chosen = BUILT_IN
    for scope in scopes(path, tags) if names else ():
        if scope in names:
            chosen = Default(signature_name=names[scope], whose=f"the game's default{_for(scope)}")
            break
    return chosen if listed is None else listed.over(chosen)


def folder_of(text: str) -> str:
    """Return a folder as :func:`scopes` names it, or "" where it is none below the modules directory."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


def unused(defaults: Mapping[Scope, Path], entries: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[Warned]:
    """Warn of defaults for folders and tags that no entry has.

    :param defaults: where each is said.
    :param entries: path and tags of each.
    """
    there: dict[Scope, None] = {}  # no more than can be of use: the folders of hostile paths would fill the memory
    left = {scope for scope in defaults if scope[0]}
    for scope in (scope for path, tags in entries for scope in scopes(path, tags)):
        left.discard(scope)
        if len(there) < _MOST_NAMES:
            there[scope] = None
    hints = itertools.repeat(True, _MOST_HINTS)
    for (kind, name), place in defaults.items():
        if (kind, name) in left:
            known = [other for found, other in there if found == kind] if next(hints, False) else []
            meant = did_you_mean(name, known)
            what = "has the tag" if kind == "tag" else "lies in the folder"
            mend = "" if meant else "delete it, or correct the name"
            yield Warned(f"no listed module {what} {quoted(name)}{meant}", place, mend)


def _for(scope: Scope) -> str:
    kind, name = scope
    return f" for the {kind} {quoted(name)}" if kind else ""


@attrs.frozen(kw_only=True)
class DefaultKeys:
    """The keys of one default, as they stand in a manifest."""

    signature_name: str = ""
    signature: SignatureDefinition | None = None
    predictor_type: PredictorType | None = None


@attrs.frozen(kw_only=True)
class DefaultsKeys(DefaultKeys):
    """The keys of ``defaults``: what is said for all modules, and for folders and tags."""

    folders: dict[str, DefaultKeys] = attrs.field(factory=dict)
    tags: dict[str, DefaultKeys] = attrs.field(factory=dict)


_ONE = tuple(field.name for field in attrs.fields(DefaultKeys))
_ALL = tuple(field.name for field in attrs.fields(DefaultsKeys))


def parse_defaults(
    value: Any, warnings: list[Warned], faults: list[FaultError], places: dict[Scope, Path]
) -> dict[Scope, Default]:
    """Read the manifest's ``defaults``.

    :param places: where each is said is added.
    :param warnings: what is odd is added. ``faults``: likewise.
    """
    where: Path = ("defaults",)
    found: dict[Scope, Default] = {}
    try:
        keys = convert(value, dict[str, Any], where)
        rows: list[tuple[Scope, Any, Path, tuple[str, ...]]] = [(("", ""), keys, where, _ALL)]
        for kind, key in (("folder", "folders"), ("tag", "tags")):
            for name, row in convert(keys.get(key, {}), dict[str, Any], (*where, key)).items():
                scope = (kind, folder_of(name) if kind == "folder" else name)
                if scope == ("folder", ""):
                    message = f"{quoted(name)} is no folder below the modules directory"
                    faults.append(FaultError(message, (*where, key, name), key=True, mend="name one"))
                    continue
                rows.append((scope, row, (*where, key, name), _ONE))
    except FaultError as fault:
        faults.append(fault)
        return {}
    for scope, row, place, known in rows:
        try:
            one: DefaultKeys = convert(row, DefaultKeys, place)
        except FaultError as fault:
            faults.append(fault)
            continue
        warnings += most(unknown_key(key, place, known) for key in row if key not in known)
        warnings += most(signature_warnings(row.get("signature"), (*place, "signature")))
        if one.signature_name and one.signature is not None:
            message = '"signature" and "signature_name" are both given; delete one'
            faults.append(FaultError(message, (*place, "signature_name"), key=True))
        faults += most(signature_faults(one.signature, (*place, "signature")))
        if one == DefaultKeys():
            continue
        places[scope] = place
        found[scope] = Default(
            signature_name=one.signature_name,
            signature=None if one.signature is None else signature_of_file(one.signature),
            predictor_type=one.predictor_type,
            whose=f"the default of manifest.json{_for(scope)}",
        )
    return found
