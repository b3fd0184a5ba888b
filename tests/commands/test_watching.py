"""A command that runs again after each save, on a reactor whose time is ours; real threads, a fake observer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dspyreload import HotReloadConfig
from dspyreload.commands import watching
from dspyreload.commands.watching import watch
from dspyreload.live.watcher import WatcherService
from dspyreload.testing import FakeObserver, ReactorClock
from tests.conftest import Save
from tests.live.test_service import advance, ours, settle

CONFIG = HotReloadConfig(debounce=0.25, max_wait=1.0, rescan_interval=10.0)


class Loop(ReactorClock):
    """A reactor that is told when to run: ``run`` begins, and what follows is up to the test, until ``stop``."""

    def __init__(self) -> None:
        super().__init__()
        self._first: list[Callable[[], object]] = []
        self._last: list[Callable[[], object]] = []

    def callWhenRunning(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        self._first.append(lambda: callable(*args, **kwargs))

    def addSystemEventTrigger(self, phase: str, event: str, callable: Callable[..., object]) -> None:
        assert (phase, event) == ("before", "shutdown")
        self._last.append(callable)

    def run(self) -> None:
        for call in self._first:
            call()
        settle(self)

    def stop(self) -> None:
        for call in self._last:
            call()
        settle(self)


class Watching:
    """A command that is watched with.

    :ivar runs: for each run whether something was saved.
    :ivar texts: what the next runs say counts too.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.loop = root, Loop()
        self.observers: list[FakeObserver] = []
        self.runs: list[bool] = []
        self.texts: frozenset[str] = frozenset()
        self.status = -1

    def again(self, saved: bool) -> frozenset[str]:
        self.runs.append(saved)
        return self.texts

    def observer(self, _polling: bool) -> Any:
        self.observers.append(FakeObserver())
        return self.observers[-1]

    def start(self) -> None:
        self.status = watch(str(self.root), CONFIG, self.again, self.loop)
        assert self.runs == [], "nothing is run before it is watched"
        advance(self.loop, 0.25)

    def tell(self, *paths: str, **event: Any) -> list[bool]:
        """Tell of saves and let the quiet window pass; return the runs that follow."""
        before = len(self.runs)
        for path in paths:
            self.observers[-1].tell(path, **event)
        advance(self.loop, 0.25)
        return self.runs[before:]


@pytest.fixture
def watching_it(modules: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    """One that has not begun; when it is stopped, no thread and no observer is left."""
    it = Watching(modules)
    monkeypatch.setattr(watching, "WatcherService", lambda *args: WatcherService(*args, make_observer=it.observer))
    yield it
    it.loop.stop()
    assert ours() == []
    assert not any(observer.running for observer in it.observers)


def test_it_runs_at_once_and_then_when_something_is_saved(watching_it: Watching) -> None:
    """The first run comes when it is watched, so that no save falls between; without a save there is none."""
    watching_it.start()
    assert watching_it.runs == [True]
    advance(watching_it.loop, 5)
    assert watching_it.runs == [True]
    assert watching_it.tell("npc/smith.json") == [True]
    assert watching_it.status == 0


def test_many_saves_in_a_row_are_one_run(watching_it: Watching) -> None:
    """It waits until there is quiet, though never longer than it may."""
    watching_it.start()
    assert watching_it.tell("a.json", "b.json", "a.json", "manifest.json") == [True]
    del watching_it.runs[:]
    for _ in range(6):
        watching_it.observers[-1].tell("a.json")
        advance(watching_it.loop, 0.125)
    assert watching_it.runs == []
    for _ in range(4):
        watching_it.observers[-1].tell("a.json")
        advance(watching_it.loop, 0.125)
    assert watching_it.runs == [True]
    advance(watching_it.loop, 0.25)
    assert watching_it.runs == [True, True]


def test_only_what_counts_leads_to_a_run(watching_it: Watching) -> None:
    """Files of modules, the manifest, and the texts that the last run named: not others, not scraps of editors."""
    watching_it.texts = frozenset({"town.md"})
    watching_it.start()
    assert watching_it.tell("notes.md", ".smith.json.swp", "smith.json~") == []
    assert watching_it.tell("town.md") == [True]
    watching_it.texts = frozenset({"notes.md"})
    assert watching_it.tell("smith.json") == [True]
    assert watching_it.tell("town.md") == []
    assert watching_it.tell("notes.md") == [True]


def test_a_folder_that_comes_or_goes_leads_to_a_run(watching_it: Watching) -> None:
    """There may be modules in it."""
    watching_it.start()
    assert watching_it.tell("npc", kind="moved", dest="people", directory=True) == [True]


def test_now_and_then_it_runs_without_word_of_a_save(watching_it: Watching) -> None:
    """For changes that no event tells of; the command is told that nothing was heard."""
    watching_it.start()
    advance(watching_it.loop, 30)
    assert watching_it.runs == [True, False, False, False]


def test_what_only_time_finds_is_heard_of_from_then_on(watching_it: Watching) -> None:
    """Texts that a run of the timer names count as well."""
    watching_it.start()
    watching_it.texts = frozenset({"town.md"})
    assert watching_it.tell("town.md") == []
    advance(watching_it.loop, 10)
    assert watching_it.tell("town.md") == [True]


def test_a_directory_that_is_not_there_yet_is_waited_for(watching_it: Watching, modules: Path) -> None:
    """The command runs and can say so; once there is one, it is watched."""
    modules.rmdir()
    watching_it.start()
    assert (watching_it.runs, watching_it.observers) == ([True], [])
    modules.mkdir()
    advance(watching_it.loop, 20)
    assert len(watching_it.observers) == 1
    assert watching_it.tell("smith.json") == [True]


def test_another_directory_in_its_place_is_watched(watching_it: Watching, modules: Path, save: Save) -> None:
    """A checkout that was made anew under the same name is what the writer works in now."""
    watching_it.start()
    modules.rename(modules.parent / "old")
    modules.mkdir()
    advance(watching_it.loop, 11)
    first, second = watching_it.observers
    assert (first.running, second.running) == (False, True)
    assert watching_it.tell("smith.json") == [True]


def test_a_run_that_gives_up_ends_it(watching_it: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nobody reads what is printed any more: the reactor stops, and nothing is watched."""

    def leave(saved: bool) -> frozenset[str]:
        watching_it.runs.append(saved)
        raise SystemExit(1)

    monkeypatch.setattr(watching_it, "again", leave)
    watching_it.start()
    (observer,) = watching_it.observers
    assert (watching_it.runs, observer.running) == ([True], False)


def test_when_the_reactor_stops_nothing_is_watched(watching_it: Watching) -> None:
    """Word that comes later leads to nothing."""
    watching_it.start()
    watching_it.loop.stop()
    (observer,) = watching_it.observers
    assert (observer.running, observer.stops) == (False, 1)
    assert watching_it.tell("smith.json") == []
