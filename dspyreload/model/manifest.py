"""``manifest.json``: which modules there are, and how each is served."""

from __future__ import annotations

import math
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs
import msgspec

from dspyreload.model.decoding import convert, lacks, unknown_key
from dspyreload.model.defaults import Default, Scope, listed_default, parse_defaults, unused
from dspyreload.model.faults import MOST_FAULTS, FaultError, Path, Warned, most, quoted, raise_first
from dspyreload.model.jsontext import parse
from dspyreload.model.module import PredictorType

__all__ = [
    "MANIFEST",
    "NOTHING_LISTED",
    "EntryKeys",
    "ModuleEntry",
    "ModuleManifest",
    "changed_entries",
    "checked_entry",
    "composed",
    "default_id",
    "fold",
    "parse_manifest",
    "relative_path",
]

K = TypeVar("K", bound="EntryKeys")

MANIFEST = "manifest.json"

_LONGEST = 4096  # no system has longer ones
_LEAST = 'the least that a manifest can be is {"modules": {}}'
_HASH = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


class EntryKeys(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The keys of an entry as they stand in a manifest."""

    path: str
    hash: str | None = None
    tags: tuple[str, ...] = ()
    program: str | None = None
    signature_name: str | None = None
    predictor_type: PredictorType | None = None
    lm: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


class ModuleEntry(EntryKeys, frozen=True, gc=False, kw_only=True):
    """One line of the manifest. ``hash`` is 64 lower-case hex digits or None; ``path`` is relative POSIX text.

    A struct that the garbage collector does not track: there are tens of thousands.

    :ivar default: what the manifest's ``defaults`` say for it, or None.
    """

    default: Default | None = None

    def served_alike(self, other: ModuleEntry | None) -> bool:
        """Say whether two entries serve the same bytes the same way; the hash only proves them.

        Their defaults are not compared: what a version took of one is its own.
        """
        return other is not None and msgspec.structs.replace(self, hash=other.hash, default=other.default) == other


@attrs.frozen(eq=False)
class ModuleManifest:
    """All entries by module id, in the order of the file.

    :ivar data: the file's bytes. ``digest``: their SHA-256.
    :ivar paths: the same by path: which id a file is.
    :ivar defaults: what it says of modules that name no signature.
    """

    version: str
    modules: Mapping[str, ModuleEntry]
    digest: str = ""
    warnings: tuple[Warned, ...] = ()
    paths: Mapping[str, str] = attrs.field(factory=dict)
    defaults: tuple[Default, ...] = ()
    data: bytes = attrs.field(default=b"", repr=False)

    def __getitem__(self, module_id: str) -> ModuleEntry:
        return self.modules[module_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)


NOTHING_LISTED = ModuleManifest("1.0", {})
"""In force where the manifest is broken when the server starts: better nothing than everything."""


def changed_entries(old: ModuleManifest | None, new: ModuleManifest) -> set[str]:
    """Return the ids of the entries that a manifest adds or changes."""
    if new is old:
        return set()
    before = (old or NOTHING_LISTED).modules
    return {module_id for module_id, entry in new.modules.items() if before.get(module_id) != entry}


def composed(module_id: str) -> str:
    """Return an id in NFC: the same letters in another form, as some file systems give them, are the same id."""
    return module_id if module_id.isascii() else unicodedata.normalize("NFC", module_id)


def default_id(path: str) -> str:
    """Return the id of a file that names none: ``npc/dialogue_casual.json`` is ``npc.dialogue_casual``."""
    return composed(posixpath.splitext(path)[0].replace("/", "."))


def fold(name: str) -> str:
    """Return the form in which ids are compared: NFC, case-folded."""
    return name if name.isascii() and name.islower() else unicodedata.normalize("NFC", name).casefold()


def _base(folder: str | None) -> str:
    return "the modules directory" if folder is None else "the folder of this file"


def relative_path(text: str, path: Path, folder: str | None = None) -> str:
    """Check and tidy a path that a file names.

    :param path: where the text stands, for the fault.
    :param folder: what ``..`` may start from, relative to the modules directory; None where ``..`` is refused.
    :return: POSIX text relative to the modules directory.
    :raises FaultError: where it is absolute, leaves the directory, or is no path.
    """
    if not text.strip():
        raise FaultError("a path is empty", path, mend="name a file, relative to the modules directory")
    if len(text) > _LONGEST:
        raise FaultError("a path is too long", path, mend="give the file a shorter one")
    if any(character < " " for character in text):  # "..\town.md" has a tab in it
        raise FaultError(f"the path {quoted(text)} has a character that no path has", path, mend="write the name anew")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise FaultError(f"the path {quoted(text)} is absolute; name it relative to {_base(folder)}", path)
    if "\\" in text:
        raise FaultError(f"the path {quoted(text)} has a backslash; use / between its parts", path)
    parts = folder.split("/") if folder else []
    for part in text.split("/"):
        if part == "..":
            if folder is None or not parts:
                raise FaultError(
                    f"the path {quoted(text)} leads out of the modules directory", path, mend="move the file into it"
                )
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise FaultError(
            f"the path {quoted(text)} names no file", path, mend="name a file, relative to the modules directory"
        )
    return "/".join(parts)


_KNOWN = EntryKeys.__struct_fields__
_TOP = ("version", "modules", "defaults", "$schema")


def parse_manifest(data: bytes, digest: str = "") -> ModuleManifest:
    """Read a manifest, whole or not at all.

    :raises FaultError: with all faults of its entries.
    """
    value = parse(data, _LEAST)
    if not isinstance(value, dict):
        raise FaultError("the manifest is an object in { }", mend=_LEAST)
    if "modules" not in value:
        raise lacks("the manifest", "modules", given={key: value[key] for key in value if key not in _TOP})
    version = convert(value.get("version", "1.0"), str, ("version",))
    if version.split(".")[0] != "1":
        raise FaultError(f"the manifest's version {quoted(version)} is not known; this reads 1.0", ("version",))
    rows = convert(value["modules"], dict[str, Any], ("modules",))
    warnings = [*most(unknown_key(key, (), _TOP) for key in value if key not in _TOP)]
    modules: dict[str, ModuleEntry] = {}
    paths: dict[str, str] = {}
    ids: dict[str, str] = {}
    faults: list[FaultError] = []
    places: dict[Scope, Path] = {}
    defaults = parse_defaults(value["defaults"], warnings, faults, places) if "defaults" in value else {}
    for name, row in rows.items():
        if len(faults) >= MOST_FAULTS:
            break
        where: Path = ("modules", name)
        module_id = composed(name)
        try:
            keys = _entry(row, module_id, where)
        except FaultError as fault:
            faults.append(fault)
            continue
        entry = ModuleEntry(**msgspec.structs.asdict(keys), default=listed_default(defaults, keys.path, keys.tags))
        twin = paths.setdefault(entry.path, module_id)
        if twin != module_id:
            message = f"{quoted(twin)} and {quoted(module_id)} name one path, {quoted(entry.path)}; delete one"
            faults.append(FaultError(message, (*where, "path")))
        twin = ids.setdefault(fold(module_id), name)
        if twin != name:
            message = f"the ids {quoted(twin)} and {quoted(name)} differ only in capital letters; rename one"
            faults.append(FaultError(message, where, key=True))
        modules[module_id] = entry
    raise_first(faults)
    warnings += most(
        unknown_key(key, ("modules", name), _KNOWN) for name, row in rows.items() for key in row if key not in _KNOWN
    )
    warnings += most(unused(places, [(entry.path, entry.tags) for entry in modules.values()] if places else ()))
    return ModuleManifest(version, modules, digest, tuple(warnings), paths, tuple(defaults.values()), data)


def _entry(row: Any, module_id: str, where: Path) -> EntryKeys:
    if not module_id.strip():
        raise FaultError("a module id is empty", where, key=True, mend='name the module, such as "npc.smith"')
    keys: EntryKeys = convert(row, EntryKeys, where)
    return checked_entry(keys, where)


def checked_entry(entry: K, where: Path = ()) -> K:
    """Check the values of an entry, and tidy its path and its hash.

    :param where: where it stands, for the faults.
    :raises FaultError: where one of them can't be.
    """
    path = relative_path(entry.path, (*where, "path"))
    if path == MANIFEST:
        raise FaultError("the manifest can't list itself", (*where, "path"), mend="delete this entry")
    digest = None
    if entry.hash is not None:
        found = _HASH.fullmatch(entry.hash)
        if found is None and entry.hash.strip().casefold() in ("null", "none", ""):
            raise FaultError('"hash" is a text here; write null without quotation marks', (*where, "hash"))
        if found is None:
            raise FaultError(
                '"hash" must be null or "sha256:" and 64 hex digits; run dspyreload hash', (*where, "hash")
            )
        digest = found[1].lower()
    if entry.temperature is not None and not (math.isfinite(entry.temperature) and 0 <= entry.temperature <= 2):
        raise FaultError('"temperature" must be from 0 to 2', (*where, "temperature"))
    if entry.max_tokens is not None and entry.max_tokens < 1:
        raise FaultError('"max_tokens" must be 1 or more', (*where, "max_tokens"))
    return msgspec.structs.replace(entry, path=path, hash=digest)
