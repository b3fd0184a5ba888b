"""What is served together: :class:`ModuleVersion` and :class:`Snapshot`. Both never change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
import msgspec

from dspyreload.model.defaults import BUILT_IN, Default
from dspyreload.model.manifest import ModuleEntry, ModuleManifest
from dspyreload.model.module import OptimizedModule
from dspyreload.model.module_file import parse_module
from dspyreload.model.steps import Steps, at_once

__all__ = ["EMPTY", "ModuleVersion", "Snapshot"]


class ModuleVersion(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One content of one module. Never changes.

    A struct that the garbage collector does not track; the bytes are kept, and decoded when somebody asks.

    :ivar module_id: the id that games ask for.
    :ivar path: of the module's file, relative POSIX text.
    :ivar version: SHA-256 in 64 hex digits: of the file's bytes, or of all digests where there are several files.
    :ivar data: the file's bytes.
    :ivar texts: the bytes of its includes and its instruction file, in order.
    :ivar entry: what the manifest says of it, or None without a manifest.
    :ivar registration: which registered signature it was checked against, or "" where its own block serves.
    :ivar default: what it took where neither its file nor its entry says it; None where it took nothing.
    """

    module_id: str
    path: str
    version: str
    data: bytes
    texts: tuple[bytes, ...] = ()
    entry: ModuleEntry | None = None
    registration: str = ""
    default: Default | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The manifest's tags."""
        return self.entry.tags if self.entry is not None else ()

    def module(self) -> OptimizedModule:
        """Decode the bytes: a fresh value at each call."""
        entry = self.entry
        draft = parse_module(
            self.data,
            self.module_id,
            signature_name=entry.signature_name if entry else None,
            predictor_type=entry.predictor_type if entry else None,
            default=self.default or BUILT_IN,
        )
        return draft.complete(tuple(text.decode() for text in self.texts))

    def serves_as(self, other: ModuleVersion | None) -> bool:
        """Say whether nothing that a game could notice differs between two versions."""
        if other is None or (self.version, self.module_id, self.path, self.registration, self.default) != (
            other.version, other.module_id, other.path, other.registration, other.default,
        ):  # fmt: skip
            return False
        return other.entry is None if self.entry is None else self.entry.served_alike(other.entry)


@attrs.frozen(eq=False)
class Snapshot(Mapping[str, ModuleVersion]):
    """All module versions that are served together: a mapping of id to version that any thread may read.

    :ivar generation: a number that each commit raises by one.
    :ivar manifest: the manifest in force, or None.
    """

    _modules: dict[str, ModuleVersion]
    generation: int
    manifest: ModuleManifest | None = None
    _tags: dict[str, tuple[str, ...]] = attrs.field(factory=dict)

    def __getitem__(self, module_id: str) -> ModuleVersion:
        return self._modules[module_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, module_id: object) -> bool:
        return module_id in self._modules

    def __repr__(self) -> str:
        return f"<Snapshot generation={self.generation} modules={len(self._modules)}>"

    def with_tag(self, tag: str) -> tuple[str, ...]:
        """Return the ids that the manifest gives this tag, sorted."""
        return self._tags.get(tag, ())

    def commit(
        self,
        live: Mapping[str, ModuleVersion],
        gone: tuple[str, ...],
        manifest: ModuleManifest | None,
        steps: Steps = at_once,
    ) -> Snapshot:
        """Return the next generation: ``live`` put in, ``gone`` taken out, ``manifest`` in force."""
        modules = self._modules.copy()
        retag = False
        for module_id in gone:
            retag = bool(modules.pop(module_id).tags) or retag
        for module_id, version in steps(live.items()):
            before = modules.get(module_id)
            retag = retag or version.tags != (before.tags if before else ())
            modules[module_id] = version
        return Snapshot(modules, self.generation + 1, manifest, _by_tag(modules, steps) if retag else self._tags)


def _by_tag(modules: Mapping[str, ModuleVersion], steps: Steps) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for module_id in steps(sorted(modules)):
        for tag in dict.fromkeys(modules[module_id].tags):
            found.setdefault(tag, []).append(module_id)
    return {tag: tuple(ids) for tag, ids in found.items()}


EMPTY = Snapshot({}, 0)
"""Before the first reading: generation 0, no modules."""
