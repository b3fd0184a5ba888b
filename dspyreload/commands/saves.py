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
    :param has_manifest: says whether one is in force.
    :param told: faults that the writer knows of, each with its path: they are not said again.
    """

    def __init__(
        self,
        clock: IReactorTime,
        tell: Callable[[Line], None],
        spoken: Callable[[], str | None],
        before: Mapping[str, str] | None = None,
        has_manifest: Callable[[], bool] = lambda: True,
        told: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._tell, self._spoken, self._has_manifest = tell, spoken, has_manifest
        self._notes: list[str] = []
        self._told: dict[str, list[str]] = {}
        for path, message in told:
            self._told.setdefault(path, []).append(message)
        self._events: list[HotReloadEvent] = []
        self._warnings: list[str] = []
        self._broken: set[str] = set()
        self._before: dict[str, str] = dict(before or {})
        self._window = QuietWindow(clock, self.flush, _TOGETHER, _LONGEST)

    def on_event(self, event: HotReloadEvent) -> None:
        """Take an event of the service."""
        told = self._told.pop(getattr(event, "path", ""), [])
        if isinstance(event, ReloadError) and event.error.startswith(tuple(told)):
            return  # it was said at the beginning
        self._events.append(event)
        self._window.hint()

    def on_warning(self, warning: str) -> None:
        """Take a line of the log that is about a file."""
        self._warnings.append(warning)
        self._window.hint()

    def on_note(self, note: str) -> None:
        """Take what else there is to tell."""
        self._notes.append(note)
        self._window.hint()

    def flush(self) -> None:
        """Tell of what was gathered."""
        self._window.cancel()
        events, self._events = self._events, []
        warnings, self._warnings = self._warnings, []
        notes, self._notes = self._notes, []
        if any(isinstance(event, ManifestChanged) for event in events) and not self._has_manifest():
            events = [event for event in events if not isinstance(event, ManifestChanged)]
            notes.append(f"{MANIFEST} is gone: every .json file is a module now")
        line = line_of(events, warnings, self._spoken(), self._before, self._broken, notes)
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
    notes: Iterable[str] = (),
) -> Line | None:
    """Return what to tell of the events of one save, or None for nothing.

    :param warnings: what is odd about the files.
    :param spoken: the id of the module that the writer talks to.
    :param before: the version of each module before, by id. ``broken``: ids whose file was broken.
    :param notes: what else there is to tell.
    """
    kinds: dict[type[Any], list[Any]] = {}
    for event in events:
        kinds.setdefault(type(event), []).append(event)
    errors = kinds.get(ReloadError, [])
    parts = [_errors(errors, spoken)] if errors else []
    parts += [_changes(found, spoken, before) for found in (kinds.get(ModuleChanged),) if found]
    parts += [_manifest(event) for event in kinds.get(ManifestChanged, ())]
    unlisted = {name for event in kinds.get(ManifestChanged, ()) for name in event.removed}
    parts += [_deleted(found, spoken, unlisted) for found in (kinds.get(ModuleDeleted),) if found]
    parts += [_skip(event, broken) for event in kinds.get(ModuleSkipped, ()) if event.module_id in {spoken} | broken]
    parts += notes
    parts += [f"warning: {warning}" for warning in warnings]
    if not parts:
        return None
    return Line(joined(*parts), bool(errors), frozenset(e.module_id for e in kinds.get(ModuleChanged, ())))


def _errors(errors: list[ReloadError], spoken: str | None) -> str:
    first = min(errors, key=lambda event: (event.module_id != spoken, event.path != MANIFEST, event.path))
    more = f"{counted(len(errors) - 1, 'more file')} with a fault" if len(errors) > 1 else ""
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
    one = f"{shown(first.module_id)} is live: {first.version[:4]}"
    if was not in (None, first.version):
        one += f" (was {str(was)[:4]})"
    return f"{one}, and {counted(len(changed) - 1, 'more module')}" if len(changed) > 1 else one


def _manifest(event: ManifestChanged) -> str:
    counts = [(len(event.added), "added"), (len(event.changed), "changed"), (len(event.removed), "removed")]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{MANIFEST} is live: {told or 'the same modules'}"


def _deleted(deleted: list[ModuleDeleted], spoken: str | None, unlisted: set[str]) -> str:
    first = min(deleted, key=lambda event: (event.module_id != spoken, event.module_id))
    more = f" and {counted(len(deleted) - 1, 'more module')} are" if len(deleted) > 1 else " is"
    why = f"{MANIFEST} no longer lists" if first.module_id in unlisted else "there is no file for"
    return f"{shown(first.module_id)}{more} gone: {why} {'them' if len(deleted) > 1 else 'it'}"


def _skip(event: ModuleSkipped, broken: set[str]) -> str:
    if event.module_id in broken:
        return f"{shown(event.module_id)} is whole again, as it was before"
    return f"{shown(event.module_id)} was saved without a change"
