"""What a save came to, in one line: :class:`Saves`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime

from dspyreload.live.debounce import QuietWindow
from dspyreload.model.events import (
    HotReloadEvent,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.model.faults import counted, joined, shown
from dspyreload.model.manifest import MANIFEST

__all__ = ["Line", "Saves", "line_of"]

_TOGETHER = 0.05  # seconds: the events of one commit come in slices
_LONGEST = 1.0


@attrs.frozen
class Line:
    """What to tell of a save. ``bad``: it is not live. ``changed``: ids of modules that are."""

    text: str
    bad: bool = False
    changed: frozenset[str] = frozenset()


class Saves:
    """Gathers the events of one save, and tells of them at once.

    :param tell: told of each save.
    :param spoken: gives the id of the module that the writer talks to, or None.
    :param before: the version of each module so far, by id.
    """

    def __init__(
        self,
        clock: IReactorTime,
        tell: Callable[[Line], None],
        spoken: Callable[[], str | None],
        before: Mapping[str, str] | None = None,
    ) -> None:
        self._tell, self._spoken = tell, spoken
        self._events: list[HotReloadEvent] = []
        self._warnings: list[str] = []
        self._broken: set[str] = set()
        self._before: dict[str, str] = dict(before or {})
        self._window = QuietWindow(clock, self.flush, _TOGETHER, _LONGEST)

    def on_event(self, event: HotReloadEvent) -> None:
        """Take an event of the service."""
        self._events.append(event)
        self._window.hint()

    def on_warning(self, warning: str) -> None:
        """Take a line of the log that is about a file."""
        self._warnings.append(warning)
        self._window.hint()

    def flush(self) -> None:
        """Tell of what was gathered."""
        self._window.cancel()
        events, self._events = self._events, []
        warnings, self._warnings = self._warnings, []
        line = line_of(events, warnings, self._spoken(), self._before, self._broken)
        for event in events:
            if isinstance(event, ModuleChanged):
                self._before[event.module_id] = event.version
                self._broken.discard(event.module_id)
            elif isinstance(event, ReloadError) and event.module_id is not None:
                self._broken.add(event.module_id)
            elif isinstance(event, (ModuleSkipped, ModuleDeleted)):
                self._broken.discard(event.module_id)
                if isinstance(event, ModuleDeleted):
                    self._before.pop(event.module_id, None)
        if line is not None:
            self._tell(line)


def line_of(
    events: Iterable[HotReloadEvent],
    warnings: Iterable[str],
    spoken: str | None,
    before: dict[str, str],
    broken: set[str],
) -> Line | None:
    """Return what to tell of the events of one save, or None for nothing.

    :param warnings: what is odd about the files.
    :param spoken: the id of the module that the writer talks to.
    :param before: the version of each module before, by id. ``broken``: ids whose file was broken.
    """
    kinds: dict[type[Any], list[Any]] = {}
    for event in events:
        kinds.setdefault(type(event), []).append(event)
    errors = kinds.get(ReloadError, [])
    parts = [_errors(errors, spoken)] if errors else []
    parts += [_changes(found, spoken, before) for found in (kinds.get(ModuleChanged),) if found]
    parts += [_manifest(event) for event in kinds.get(ManifestChanged, ())]
    parts += [_deleted(found, spoken) for found in (kinds.get(ModuleDeleted),) if found]
    parts += [_skip(event, broken) for event in kinds.get(ModuleSkipped, ()) if event.module_id in {spoken} | broken]
    parts += [f"warning: {warning}" for warning in warnings]
    if not parts:
        return None
    return Line(joined(*parts), bool(errors), frozenset(e.module_id for e in kinds.get(ModuleChanged, ())))


def _errors(errors: list[ReloadError], spoken: str | None) -> str:
    first = min(errors, key=lambda event: (event.module_id != spoken, event.path))
    more = f"{counted(len(errors) - 1, 'more file')} likewise" if len(errors) > 1 else ""
    return f"{shown(first.where, 300)}: {joined(first.error, first.mend, more, _still(first))}"


def _still(event: ReloadError) -> str:
    if event.path == MANIFEST:
        return "the manifest before it still counts" if event.serving else "nothing is served until it is mended"
    if event.serving is None:
        return "nothing speaks in its place"
    return f"{event.serving[:4]} still speaks"


def _changes(changed: list[ModuleChanged], spoken: str | None, before: dict[str, str]) -> str:
    first = min(changed, key=lambda event: (event.module_id != spoken, event.module_id))
    was = before.get(first.module_id)
    one = f"{shown(first.module_id)} is live: {first.version[:4]}{f' (was {was[:4]})' if was is not None else ''}"
    return f"{one}, and {counted(len(changed) - 1, 'more module')}" if len(changed) > 1 else one


def _manifest(event: ManifestChanged) -> str:
    counts = [(len(event.added), "added"), (len(event.changed), "changed"), (len(event.removed), "removed")]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{MANIFEST} is live: {told or 'the same modules'}"


def _deleted(deleted: list[ModuleDeleted], spoken: str | None) -> str:
    first = min(deleted, key=lambda event: (event.module_id != spoken, event.module_id))
    if len(deleted) > 1:
        more = counted(len(deleted) - 1, "more module")
        return f"{shown(first.module_id)} and {more} are gone: their files are, or their entries"
    return f"{shown(first.module_id)} is gone: its file is, or its entry"


def _skip(event: ModuleSkipped, broken: set[str]) -> str:
    if event.module_id in broken:
        return f"{shown(event.module_id)} is whole again, as it was before"
    return f"{shown(event.module_id)} was saved without a change"
