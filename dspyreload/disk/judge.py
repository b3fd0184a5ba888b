"""One module's file, read once with all that it includes → what it is: a :class:`Finding`."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping

import msgspec

from dspyreload.disk.reading import FileRead, ReadFault, read_file
from dspyreload.model.faults import Fault, FaultError, Path, Warned, quoted, shown
from dspyreload.model.finding import Finding, Kind, Registered, Stamp
from dspyreload.model.fitting import check_demos, odd_values
from dspyreload.model.jsontext import line_column, placed, text_of
from dspyreload.model.manifest import ModuleEntry, composed, relative_path
from dspyreload.model.module import DEFAULT_SIGNATURE, OptimizedModule, SignatureDefinition
from dspyreload.model.module_file import ModuleDraft, parse_module
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Source", "default_id", "faults_of", "judge", "refreshed", "warnings_of"]

_MOST_TEXT_FILES = 64


class Source:
    """The files as one pass reads them: each at most once."""

    def __init__(self, root: str, limit: int) -> None:
        self.root, self.limit = root, limit
        self._reads: dict[str, FileRead | tuple[str, bool]] = {}

    def read(self, path: str) -> FileRead:
        """Read a file, or give what reading it gave before.

        :raises ReadFault: as :func:`read_file` does.
        """
        found = self._reads.get(path)
        if found is None:
            try:
                found = read_file(self.root, path, self.limit)
            except ReadFault as fault:
                # Not the exception itself: it holds its frames, and ten thousand of those are work for the collector.
                found = (fault.message, fault.missing)
            self._reads[path] = found
        if isinstance(found, tuple):
            message, missing = found
            raise ReadFault(message, missing=missing) from None
        return found


def default_id(path: str) -> str:
    """Return the id of a file that names none: ``npc/dialogue_casual.json`` is ``npc.dialogue_casual``."""
    return composed(posixpath.splitext(path)[0].replace("/", "."))


def faults_of(error: FaultError, data: bytes) -> tuple[Fault, ...]:
    """Find the lines and columns of a file's faults; slow, and only done when there are some."""
    return tuple(_placed(data, fault.message, fault.path, fault.key, fault.offset) for fault in (error, *error.others))


def warnings_of(warnings: tuple[Warned, ...], data: bytes) -> tuple[Fault, ...]:
    """Find the lines and columns of a file's warnings."""
    return tuple(_placed(data, warning.message, warning.path, True, None) for warning in warnings)


def _placed(data: bytes, message: str, path: Path, key: bool, offset: int | None) -> Fault:
    try:
        text = text_of(data)
    except FaultError:
        text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if offset is None:
        return placed(text, message, path, key=key)
    return Fault(message, *line_column(text, offset))


def refreshed(before: Finding, source: Source) -> Finding | None:
    """Return an earlier finding with fresh stat signatures where all of its bytes are the same, else None."""
    if not before.stamps or any(stamp is None for _path, stamp in before.stamps):
        return None
    try:
        reads = [source.read(path) for path, _stamp in before.stamps]
    except ReadFault:
        return None
    if _digest([read.digest for read in reads]) != before.digest:
        return None
    stamps = tuple((path, read.stamp) for (path, _old), read in zip(before.stamps, reads, strict=True))
    return msgspec.structs.replace(before, stamps=stamps, racy=any(read.racy for read in reads))


def judge(
    path: str,
    source: Source,
    *,
    module_id: str | None,
    entry: ModuleEntry | None,
    last_id: str | None,
    registered: Mapping[str, Registered],
) -> Finding:
    """Read a module's file and what it includes, decode it, check it.

    :param module_id: the id under which the manifest lists it; None without a manifest.
    :param last_id: the id that it had before, for a file that can't be read now.
    """
    try:
        read = source.read(path)
    except ReadFault as fault:
        kind = Kind.MISSING if fault.missing else Kind.UNREADABLE
        return Finding(path=path, kind=kind, entry=entry, module_id=module_id or last_id, fault=Fault(fault.message))
    return _Judging(path, source, read, module_id, entry, registered).finding(last_id)


class _Judging:
    def __init__(
        self,
        path: str,
        source: Source,
        read: FileRead,
        module_id: str | None,
        entry: ModuleEntry | None,
        registered: Mapping[str, Registered],
    ) -> None:
        self.path, self.source, self.read = path, source, read
        self.module_id, self.entry, self.registered = module_id, entry, registered
        self.texts: list[FileRead] = []
        self.warnings: tuple[Warned, ...] = ()
        self.stamps: list[tuple[str, Stamp | None]] = [(path, read.stamp)]
        self.digests = [read.digest]

    def finding(self, last_id: str | None) -> Finding:
        draft: ModuleDraft | None = None
        try:
            self._check_hash()
            draft = self._draft()
            found = self._served(draft)
        except FaultError as error:
            faults = faults_of(error, self.read.data)
            found = Finding(path=self.path, kind=Kind.BROKEN, fault=faults[0], more=faults[1:])
        except ReadFault as error:
            found = Finding(path=self.path, kind=Kind.UNREADABLE, fault=Fault(error.message))
        reads = [self.read, *self.texts]
        return msgspec.structs.replace(
            found,
            stamps=() if found.kind is Kind.UNREADABLE else tuple(self.stamps),
            racy=any(read.racy for read in reads),
            digest=_digest(self.digests),
            entry=self.entry,
            module_id=self._id(found.kind, draft, last_id),
            signature_name=draft.module.signature_name if draft is not None else None,
            registration=self._registration(draft),
            warnings=warnings_of(self.warnings, self.read.data),
            saved_at=max(read.stamp[3] for read in reads) / 1e9,
        )

    def _registration(self, draft: ModuleDraft | None) -> str:
        known = self.registered.get(draft.module.signature_name) if draft is not None else None
        return known.token if known is not None else ""

    def _id(self, kind: Kind, draft: ModuleDraft | None, last_id: str | None) -> str | None:
        drafted = composed(draft.module.module_id) if draft is not None else None
        if kind in (Kind.GOOD, Kind.PENDING):
            return self.module_id or drafted
        return self.module_id or last_id or drafted  # a broken file can't take its good version off another id

    def _check_hash(self) -> None:
        if self.entry is not None and self.entry.hash not in (None, self.read.digest):
            raise FaultError(
                "the file does not have the hash that manifest.json lists;"
                " if it is meant to be so, run dspyreload hash to list the new one"
            )

    def _draft(self) -> ModuleDraft:
        entry = self.entry
        draft = parse_module(
            self.read.data,
            self.module_id or default_id(self.path),
            signature_name=entry.signature_name if entry is not None else None,
            predictor_type=entry.predictor_type if entry is not None else None,
        )
        if self.module_id is not None and composed(draft.module.module_id) != self.module_id:
            raise FaultError(
                f"the file says it is {quoted(draft.module.module_id)},"
                f" and manifest.json lists it as {quoted(self.module_id)}",
                ("module_id",),
            )
        if entry is not None and entry.program is not None:
            raise FaultError('its entry in manifest.json has a "program", which is not served yet; delete that')
        if entry is not None and entry.lm is not None:
            raise FaultError(
                f'its entry in manifest.json has "lm": {quoted(entry.lm)}, and there is no LM of that name'
            )
        self.warnings += draft.warnings
        self._read_texts(draft)
        return draft

    def _read_texts(self, draft: ModuleDraft) -> None:
        if len(draft.text_files) > _MOST_TEXT_FILES:
            raise FaultError(f"more than {_MOST_TEXT_FILES} includes", ("include",))
        folder = posixpath.dirname(self.path)
        for name, place in draft.text_files:
            path = relative_path(name, place, folder)
            if path in dict(self.stamps):
                raise FaultError(f"{quoted(name)} is included twice", place)
            try:
                read = self.source.read(path)
            except ReadFault as fault:
                if not fault.missing:
                    raise ReadFault(f"{shown(path)}: {fault.message}") from None
                self.stamps.append((path, None))
                self.digests.append("")
                raise FaultError(f"the file {quoted(path)} is missing", place) from None
            self.stamps.append((path, read.stamp))
            self.digests.append(read.digest)
            self.texts.append(read)

    def _served(self, draft: ModuleDraft) -> Finding:
        texts: list[str] = []
        for read, (name, place) in zip(self.texts, draft.text_files, strict=True):
            try:
                texts.append(text_of(read.data))
            except FaultError as error:
                raise FaultError(f"{quoted(name)}: {error.message}", place) from None
        module = draft.complete(tuple(texts))
        known = self.registered.get(module.signature_name)
        if known is not None and module.signature not in (None, DEFAULT_SIGNATURE):
            _compare(module, known.definition)
        serving = known.definition if known is not None else module.signature
        if serving is None:
            return Finding(path=self.path, kind=Kind.PENDING, waits_for=module.signature_name)
        check_demos(module, serving)
        self.warnings += tuple(odd_values(module, serving))
        version = ModuleVersion(
            module_id=composed(module.module_id),
            path=self.path,
            version=_digest(self.digests),
            data=self.read.data,
            texts=tuple(read.data for read in self.texts),
            entry=self.entry,
            registration=known.token if known is not None else "",
        )
        return Finding(path=self.path, kind=Kind.GOOD, version=version)


def _compare(module: OptimizedModule, registered: SignatureDefinition) -> None:
    """Refuse a file whose own signature block and registered signature have other fields."""
    own = module.signature
    assert own is not None
    words = []
    for side, mine, theirs in (
        ("inputs", own.input_names(), registered.input_names()),
        ("outputs", own.output_names(), registered.output_names()),
    ):
        if extra := [name for name in mine if name not in theirs]:
            words.append(f"{side} {', '.join(map(quoted, extra))} only in the file")
        if lacking := [name for name in theirs if name not in mine]:
            words.append(f"{side} {', '.join(map(quoted, lacking))} only in the registered one")
    if words:
        raise FaultError(
            f"its signature differs from the registered {quoted(module.signature_name)}: {'; '.join(words)}",
            ("signature",),
            key=True,
        )


def _digest(digests: list[str]) -> str:
    """Return the digest of one file, or that of all digests where there are several."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
