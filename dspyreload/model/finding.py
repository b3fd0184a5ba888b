"""What a pass learned of files, and what is known from the passes before."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs
import msgspec

from dspyreload.model.faults import Fault
from dspyreload.model.manifest import ModuleEntry, ModuleManifest
from dspyreload.model.registrations import Judged
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Finding", "Kind", "Known", "Look", "ManifestFinding", "Stamp"]

Stamp = tuple[int, int, int, int, int]
"""A stat signature: device, inode, size, mtime and ctime in nanoseconds."""


class Kind(enum.Enum):
    """What a module's file turned out to be."""

    GOOD = "good"
    BROKEN = "broken"  # its bytes can't be served
    UNREADABLE = "unreadable"  # its bytes can't be had
    MISSING = "missing"
    PENDING = "pending"  # waits for the game to register something
    CHECKING = "checking"  # one of the game's validators has not answered yet


class Finding(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a pass learned of one module's file.

    :ivar stamps: the stat signature of each file that it is made of, its own first (None: that one is missing);
        empty where they prove nothing.
    :ivar digest: of all its bytes, or "" where there are none.
    :ivar entry: the manifest entry under which it was judged.
    :ivar module_id: the id that it claims, or claimed when it last could be read.
    :ivar version: set where it is GOOD.
    :ivar fault: set where it is BROKEN, UNREADABLE or MISSING; ``more`` are the further ones.
    :ivar waits_for: for want of what it is PENDING, in words.
    :ivar judged: what it was judged by, or would have been, had the game registered it.
    """

    path: str
    kind: Kind
    stamps: tuple[tuple[str, Stamp | None], ...] = ()
    racy: bool = False
    digest: str = ""
    entry: ModuleEntry | None = None
    module_id: str | None = None
    version: ModuleVersion | None = None
    fault: Fault | None = None
    waits_for: str | None = None
    judged: Judged = ()
    more: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()

    @property
    def saved_at(self) -> float:
        """When the newest of its files changed, in seconds since the epoch."""
        return max((stamp[3] for _path, stamp in self.stamps if stamp is not None), default=0) / 1e9

    def says_the_same(self, other: Finding | None) -> bool:
        """Say whether there is nothing new to report or to serve beside an earlier finding."""
        return (
            other is not None
            and (self.kind, self.digest, self.entry, self.module_id, self.fault, self.waits_for)
            == (other.kind, other.digest, other.entry, other.module_id, other.fault, other.waits_for)
            and (self.version is None or self.version.serves_as(other.version))
        )


class ManifestFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass learned of ``manifest.json``. ``manifest`` is None where it is missing or has a ``fault``.

    :ivar data: its bytes, to name a place in them.
    """

    stamp: Stamp | None
    digest: str
    racy: bool = False
    manifest: ModuleManifest | None = None
    fault: Fault | None = None
    more: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    data: bytes = b""

    @property
    def is_kept(self) -> bool:
        """Whether it was kept from before a restart, and has not been read from the disk since."""
        return self.manifest is not None and self.stamp is None

    def says_the_same(self, other: ManifestFinding | None) -> bool:
        """Say whether there is nothing new beside an earlier finding."""
        return other is not None and (self.digest, self.fault) == (other.digest, other.fault)


@attrs.define
class Known:
    """What the passes so far have learned: where the next one starts from.

    It belongs to whoever runs a pass: to the worker while one runs (which only reads it), and to the reactor
    between two, which applies the plan to it.

    :ivar findings: by path, of each module's file that was ever looked at and is not gone.
    :ivar complete: in what one pass learned: whether ``findings``, ``serves``, ``claims`` and ``users`` are all there
        is, and not what is new.
    :ivar suspects: paths that were missing or broken at a first look, and when that was (seconds of the clock);
        ``missing``: those that were missing; ``newcomers``: those that were whole and wait for a suspect whose id they
        ask for, with that id (folded).
    :ivar claims: without a manifest: which paths claim an id (folded).
    :ivar users: which modules' files are made of a text file.
    :ivar unlisted: files that the manifest in force does not list.
    :ivar racy: paths whose stat signature proves nothing yet: the next pass reads them again.
    :ivar manifest: of ``manifest.json``; one that is readable and not in force waits for its files.
    :ivar manifest_reported: digest of the manifest that was last rejected for its files.
    :ivar collided: files whose id another file has, that id, and the digest of their bytes.
    :ivar serves: which id each file serves.
    :ivar problems: what was said of folders and files that can't be looked at, by path.
    :ivar writable: files and folders that others may write.
    :ivar root: the identity of the modules directory (``disk.identity``) when it last held a file.
    :ivar pending: id and what it waits for, in words, of each file that is PENDING; ``checking``: those that are
        CHECKING.
    :ivar restored: ids of which a state file brought back what serves, and the disk has given nothing good since.
    """

    findings: dict[str, Finding] = attrs.field(factory=dict)
    complete: bool = False
    suspects: dict[str, float] = attrs.field(factory=dict)
    missing: frozenset[str] = frozenset()
    newcomers: dict[str, str] = attrs.field(factory=dict)
    claims: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    users: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    unlisted: frozenset[str] = frozenset()
    racy: set[str] = attrs.field(factory=set)
    manifest: ManifestFinding | None = None
    manifest_reported: str = ""
    collided: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    serves: dict[str, str] = attrs.field(factory=dict)
    problems: Mapping[str, str] = attrs.field(factory=dict)
    writable: frozenset[str] = frozenset()
    root: tuple[int, int] | None = None
    pending: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    checking: frozenset[str] = frozenset()
    restored: frozenset[str] = frozenset()

    def decides_gone(self, path: str, ripe: frozenset[str] | None) -> bool:
        """Say whether a path that is missing now was so at the first look too, a quiet window ago.

        :param ripe: suspects whose second look this is; None where a first look decides.
        """
        return ripe is None or (path in ripe and path in self.missing)

    def copied(self) -> Known:
        """Return a copy of its own, without suspects."""
        return attrs.evolve(
            self,
            findings=dict(self.findings),
            serves=dict(self.serves),
            claims=dict(self.claims),
            users=dict(self.users),
            pending=dict(self.pending),
            suspects={},
            missing=frozenset(),
            newcomers={},
        )


@attrs.frozen(kw_only=True)
class Look:
    """What one pass saw.

    :ivar findings: those that say something new, by path.
    :ivar unchanged: those that say what is known already, but of another stat signature or because they were asked
        for, by path.
    :ivar manifest: what was found of the manifest; None where it was not looked at or is as it was.
    :ivar desired: the manifest that the disk asks for: the newest readable one.
    :ivar unlisted: files that ``desired`` does not list; None where the tree was not listed.
    :ivar shut: folders that may not be listed; None where the tree was not listed.
    :ivar writable: files and folders that others may write; None where the tree was not listed.
    :ivar root: the identity of the modules directory.
    :ivar hollow: another, empty directory lies where it was (a volume that is not mounted yet).
    :ivar fleeting: files that were missing, and may have another name since: the listing has them, or was not made.
    """

    findings: dict[str, Finding]
    unchanged: dict[str, Finding]
    desired: ModuleManifest | None
    manifest: ManifestFinding | None = None
    unlisted: frozenset[str] | None = None
    problems: Mapping[str, str] | None = None
    shut: tuple[str, ...] | None = None
    writable: frozenset[str] | None = None
    root: tuple[int, int] | None = None
    hollow: bool = False
    fleeting: frozenset[str] = frozenset()
