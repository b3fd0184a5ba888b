"""What was told, held against what went live, and against what should have been said."""

from __future__ import annotations

from collections import Counter

from dspyreload.model.events import (
    HotReloadEvent,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.model.manifest import MANIFEST, NOTHING_LISTED, changed_entries
from dspyreload.model.snapshot import Snapshot
from tests.model.judged import Why
from tests.model.truth import State, Truth
from tests.model.world import World

__all__ = ["Complaints", "check_commits", "check_stats"]

_MENDABLE = ("fault", "includes", "another hash", "another id", "unreadable")


def check_commits(before: Snapshot, world: World) -> None:
    """Hold each commit against the one before, and against the events that tell of it."""
    told: dict[int, list[HotReloadEvent]] = {}
    last = 0
    for event in world.events:
        assert event.generation >= last, f"told of generation {event.generation} after {last}"
        last = event.generation
        told.setdefault(event.generation, []).append(event)
    for after in world.commits:
        _check_commit(before, after, told.pop(after.generation, []))
        before = after
    for events in told.values():
        assert not any(isinstance(event, (ModuleChanged, ModuleDeleted, ManifestChanged)) for event in events), events
    assert before is world.engine.snapshot
    told_of = sorted((str(event.path), event.generation) for event in world.events if isinstance(event, ReloadError))
    logged = sorted((str(line["path"]), int(line["generation"])) for line in world.rejections())
    assert [line for line in told_of if line not in logged] == [], "told, and not logged"


def _check_commit(before: Snapshot, after: Snapshot, events: list[HotReloadEvent]) -> None:
    assert after.generation == before.generation + 1 or not before.generation, "a generation is left out"
    changed = {name: version.version for name, version in after.items() if version is not before.get(name)}
    gone = before.keys() - after.keys()
    for name in changed:
        assert not after[name].serves_as(before.get(name)), f"{name} is another object and no other version"
    heard = [event for event in events if isinstance(event, ModuleChanged)]
    assert {event.module_id: event.version for event in heard} == changed
    assert len(heard) == len(changed)
    assert all(after[event.module_id].path == event.path for event in heard)
    assert sorted(event.module_id for event in events if isinstance(event, ModuleDeleted)) == sorted(gone)
    switched = after.manifest is not before.manifest
    assert changed or gone or switched or not before.generation, "a commit of nothing"
    told = [event for event in events if isinstance(event, ManifestChanged)]
    assert len(told) == (switched and after.manifest is not NOTHING_LISTED)
    started = not before.generation or before.manifest is NOTHING_LISTED  # then what is good serves, and what was kept
    if switched and not started and after.manifest is not None:
        for name in changed_entries(before.manifest, after.manifest):
            version = after.get(name)
            assert version is not None, f"the manifest is live without {name}, which it changes"
            assert version.entry is not None
            assert version.entry.served_alike(after.manifest[name]), f"{name} does not serve as the manifest says"


def check_stats(world: World) -> None:
    """Hold the counters against the events."""
    stats, heard = world.service.stats, world.counted
    counted = (stats.reloads_total, stats.reloads_failed, stats.reloads_skipped)
    assert counted == (heard["ModuleChanged"], heard["ReloadError"], heard["ModuleSkipped"]), (counted, heard)
    assert bool(stats.last_reload) == bool(stats.reloads_total)
    assert stats.subscriber_errors == 0


class Complaints:
    """Which files were rejected, and why: each content of a file once, and once more when it is whole again."""

    def __init__(self) -> None:
        self._told: dict[str, Why] = {}
        self._perhaps: set[str] = set()  # told of between two settlings, and not looked at since: who knows for what
        self._counted: Counter[str] = Counter()
        self._deleted: set[str] = set()
        self._skipped: set[str] = set()
        self._whole: list[str] = []

    def begin(self) -> None:
        """Begin anew, as another process does."""
        self._told.clear()
        self._perhaps.clear()
        self._heard()

    def hear(self, world: World) -> None:
        """Take note of what was told and logged."""
        self._counted.update(str(line["path"]) for line in world.rejections())
        self._deleted |= {event.module_id for event in world.events if isinstance(event, ModuleDeleted)}
        self._skipped |= {event.module_id for event in world.events if isinstance(event, ModuleSkipped)}
        self._whole += [str(line["whole"]) for line in world.lines if "whole" in line]

    def check(self, before: State, found: Truth, *, exact: bool, most: int = 1) -> None:
        """Hold what was rejected since the last time against what should have been.

        :param exact: whether nothing but the disk as it is now was looked at since then.
        :param most: how often one may be told of.
        """
        if not found.looked_at:
            return
        for path, why in found.complaints.items():
            if self._told.get(path) != why and not (why[0] == "missing" and why[1] in self._deleted):
                assert self._counted[path] or path in self._perhaps, f"nobody was told that {path} is rejected: {why}"
        if exact:
            for path, count in self._counted.items():
                assert count <= most, f"{path} was told {count} times"
                if most == 1 and path in self._told:
                    assert self._told[path] != found.complaints.get(path), f"{path} was told again"
            self._check_mended(before, found)
        if before.manifest is None and found.state.manifest is not None:  # no file asks for an id any more
            self._told = {path: why for path, why in self._told.items() if why[0] != "taken"}
        for path in {*found.looked_at, *(self._told if found.all_of_it else ())}:
            # While a first manifest waits, an id is still that of the file that has it.
            if not (found.waiting and found.state.manifest is None and self._told.get(path, ("",))[0] == "taken"):
                self._told.pop(path, None)
        self._told.update(found.complaints)
        self._perhaps = (self._perhaps | self._counted.keys()) - found.looked_at - found.complaints.keys()
        self._heard()

    def _heard(self) -> None:
        self._counted.clear()
        self._deleted.clear()
        self._skipped.clear()
        self._whole.clear()

    def _check_mended(self, before: State, found: Truth) -> None:
        expected = {
            name
            for name, version in found.state.modules.items()
            if self._told.get(version.path, ("",))[0] in _MENDABLE
            and version.path not in found.complaints
            and version.path in found.looked_at
            and version == before.modules.get(name)
            and name not in found.waiting
        }
        was_rejected = MANIFEST in self._told and MANIFEST not in found.complaints and MANIFEST in found.looked_at
        if was_rejected and before.manifest and before.manifest == found.state.manifest:
            expected.add(MANIFEST)
        assert sorted(self._whole) == sorted(expected), f"whole again: {self._whole}, and not {expected}"
        assert expected - {MANIFEST} <= self._skipped
