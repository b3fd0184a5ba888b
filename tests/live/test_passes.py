"""One pass at a time: hint, look, plan, commit. The thread's work is done when the test says so."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial import unittest as trial

from dspyreload.disk.identity import identity
from dspyreload.errors import HotReloadFailed, ServiceStopped, UnknownModule
from dspyreload.live.live import Live
from dspyreload.live.passes import Passes
from dspyreload.model.events import HotReloadEvent, ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.reactor import IReactor, StartThread
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text

CASE = trial.SynchronousTestCase()
QUIET = 0.1


class NoThread:
    """Stands in for a thread whose work is done by the test."""

    def join(self, timeout: float | None = None) -> None:
        """Return at once."""


class Rig:
    """Passes over a real directory, with threads whose work waits for :meth:`work`."""

    def __init__(self, root: Path, start: StartThread | None = None) -> None:
        self.clock = ReactorClock()
        reactor = cast("IReactor", self.clock)
        self.live = Live(lambda: reactor)
        self.waiting: list[Callable[[], None]] = []
        self.started = 0
        self.passes = Passes(str(root), self.live, lambda: reactor, start_thread=start or self.start)
        self.passes.active = True
        self.seen: list[HotReloadEvent] = []

    def start(self, target: Callable[[], None], name: str) -> NoThread:
        assert name == "dspyreload-pass"
        self.started += 1
        self.waiting.append(target)
        return NoThread()

    def work(self) -> None:
        """Do the work of the one thread that there is."""
        (target,) = self.waiting
        self.waiting.clear()
        target()
        self.clock.run_calls()

    def look(self) -> None:
        """Let the quiet window pass, and do the pass that follows."""
        self.clock.advance(QUIET)
        self.work()

    def read(self) -> None:
        """Read the tree for the first time, and listen from then on."""
        self.passes.look_here()
        self.live.subscribe(self.seen.append)

    def instruction(self, module_id: str = "npc.smith") -> str:
        return self.live.snapshot[module_id].module().instruction


@pytest.fixture
def rig(modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """One module, ``npc.smith`` in smith.json, is live; nothing of ours is left at the end."""
    monkeypatch.setattr("dspyreload.disk.reading._TICK_NS", 0)  # else a file that is new is read in every pass
    save("smith.json", module_text())
    rig = Rig(modules)
    rig.read()
    yield rig
    rig.passes.stop()
    rig.live.stop()
    while rig.waiting:
        rig.waiting.pop()()
    rig.clock.run_calls()
    assert rig.clock.getDelayedCalls() == []


def texts(logs: Sequence[LogEvent]) -> list[str]:
    return [formatEvent(entry) for entry in logs]


def ask_for(rig: Rig, what: str) -> Deferred[Any]:
    """Ask as a game would."""
    return rig.passes.reload_module("npc.smith") if what == "reload_module" else rig.passes.reload_all()


# One pass


def test_a_saved_file_is_live_after_the_quiet_window(rig: Rig, save: Save) -> None:
    """A hint, silence, one look: the new version serves and the generation is one higher."""
    save("smith.json", module_text(instruction="New."))
    rig.passes.hint(["smith.json"])
    rig.clock.advance(QUIET - 0.01)
    assert rig.waiting == []
    rig.clock.advance(0.01)
    assert rig.instruction() == "You are a smith."
    rig.work()
    assert rig.instruction() == "New."
    assert rig.live.snapshot.generation == 2


def test_a_burst_of_saves_is_one_commit(rig: Rig, save: Save) -> None:
    """Ten files that are saved together go live together, however many hints there were."""
    for number in range(10):
        save(f"npc{number}.json", module_text(f"npc.n{number}"))
        for _ in range(100):
            rig.passes.hint([f"npc{number}.json"])
    rig.look()
    assert rig.live.snapshot.generation == 2
    assert len(rig.live.snapshot) == 11
    assert rig.started == 1


def test_a_hint_without_a_change_commits_nothing(rig: Rig) -> None:
    """Hints are not truth: the same bytes leave the very same snapshot in place."""
    before = rig.live.snapshot
    rig.passes.hint(["smith.json"])
    rig.look()
    assert rig.live.snapshot is before


def test_a_path_that_nobody_knows_makes_the_pass_look_everywhere(rig: Rig, save: Save) -> None:
    """A misnamed hint finds the change as well."""
    save("smith.json", module_text(instruction="New, and longer than it was."))
    rig.passes.hint(["no/such/file.json"])
    rig.look()
    assert rig.instruction() == "New, and longer than it was."


def test_passes_run_one_at_a_time_and_what_came_meanwhile_leads_to_one_more(rig: Rig, save: Save) -> None:
    """A thousand hints while a pass runs wait, and are one more pass."""
    rig.passes.hint()
    rig.clock.advance(QUIET)
    assert len(rig.waiting) == 1
    save("smith.json", module_text(instruction="New."))
    for _ in range(1000):
        rig.passes.hint(["smith.json"])
        rig.clock.advance(0.001)
    rig.clock.advance(5)
    assert rig.started == 1
    rig.work()
    assert rig.started == 2
    rig.work()
    assert rig.instruction() == "New."
    rig.clock.advance(60)
    assert rig.started == 2


def test_the_order_of_a_pass(rig: Rig, save: Save) -> None:
    """Commit, then stats, then the Deferreds of who asked, and subscribers on a later turn."""
    order: list[str] = []

    def told(who: str) -> None:
        order.append(
            f"{who}: generation {rig.live.snapshot.generation}, {rig.passes.committing.stats.reloads_total} live"
        )

    rig.live.subscribe(lambda event: told("subscriber"))
    save("smith.json", module_text(instruction="New."))
    rig.passes.reload_module("npc.smith").addCallback(lambda event: told("reload_module"))
    rig.passes.reload_all().addCallback(lambda found: told("reload_all"))
    before = rig.passes.committing.stats.reloads_total
    rig.work()
    told_now = f"generation 2, {before + 1} live"
    assert order == [f"reload_module: {told_now}"]
    rig.work()
    assert order == [f"reload_module: {told_now}", f"reload_all: {told_now}"]
    rig.clock.advance(0)
    assert order == [f"reload_module: {told_now}", f"reload_all: {told_now}", f"subscriber: {told_now}"]


def test_the_counters_count(rig: Rig, save: Save) -> None:
    """Versions that went live, rejections, files that were unchanged, looks, and when the last went live."""
    stats = rig.passes.committing.stats
    assert (stats.reloads_total, stats.passes) == (1, 1)
    save("b.json", module_text("npc.b"))
    save("c.json", "{")
    rig.passes.reload_all()
    rig.work()
    rig.look()
    assert (stats.reloads_total, stats.reloads_failed, stats.passes) == (2, 1, 3)
    assert stats.last_reload > 1_600_000_000_000
    rig.passes.reload_module("npc.smith")
    rig.work()
    assert stats.reloads_skipped == 1


# Saves that are under way


def test_a_writers_pause_is_not_reported(rig: Rig, save: Save) -> None:
    """A half-written file is looked at twice; when it is whole by then it goes live and nothing was said of it."""
    whole = module_text(instruction="New.")
    save("smith.json", whole[:80])
    rig.passes.hint(["smith.json"])
    rig.look()
    assert rig.instruction() == "You are a smith."
    save("smith.json", whole)
    rig.look()
    rig.clock.advance(0)
    assert rig.instruction() == "New."
    assert [type(event) for event in rig.seen] == [ModuleChanged]
    assert rig.passes.committing.stats.reloads_failed == 0


def test_a_file_that_stays_broken_is_rejected_once_at_the_second_look(rig: Rig, save: Save) -> None:
    """The error names the file and the place, and what serves; later looks say nothing and do not go on for ever."""
    save("smith.json", '{\n  "instruction": }')
    serving = rig.live.snapshot["npc.smith"].version
    rig.passes.hint(["smith.json"])
    rig.look()
    rig.clock.advance(0)
    assert rig.seen == []
    rig.look()
    rig.clock.advance(0)
    (error,) = rig.seen
    assert isinstance(error, ReloadError)
    assert (error.path, error.line, error.module_id, error.serving) == ("smith.json", 2, "npc.smith", serving)
    assert rig.instruction() == "You are a smith."
    started = rig.started
    rig.clock.advance(60)
    assert rig.started == started
    rig.passes.hint()
    rig.look()
    rig.clock.advance(0)
    assert len(rig.seen) == 1


def test_a_rewrite_of_a_broken_file_is_reported_again(rig: Rig, save: Save) -> None:
    """Once for each content: other broken bytes are another rejection."""
    for text in ("{", "[ ", "[ "):  # of other sizes: the clock of the kernel may not have ticked between two saves
        save("smith.json", text)
        rig.passes.hint(["smith.json"])
        rig.look()
        with contextlib.suppress(ValueError):
            rig.look()
    rig.clock.advance(0)
    assert [type(event) for event in rig.seen] == [ReloadError, ReloadError]


def test_vims_way_of_saving_commits_nothing_and_is_never_absent(rig: Rig, modules: Path) -> None:
    """Rename to ~, write the same bytes, unlink: one skip, whatever moment a pass falls into."""
    file, backup = modules / "smith.json", modules / "smith.json~"
    text = file.read_text()
    before = rig.live.snapshot
    file.rename(backup)
    rig.passes.hint(["smith.json"])
    rig.look()
    assert rig.live.snapshot is before
    file.write_text(text)
    backup.unlink()
    rig.look()
    rig.clock.advance(60)
    assert rig.live.snapshot is before
    assert [type(event) for event in rig.seen] == [ModuleSkipped]
    assert rig.passes.committing.stats.reloads_skipped == 1


def test_a_deleted_file_is_gone_only_after_a_second_look(rig: Rig, modules: Path) -> None:
    """The first look keeps the module; the second, a quiet window later, removes it."""
    (modules / "smith.json").unlink()
    rig.passes.hint(["smith.json"])
    rig.look()
    assert "npc.smith" in rig.live.snapshot
    rig.look()
    assert "npc.smith" not in rig.live.snapshot
    rig.clock.advance(0)
    assert rig.seen == [ModuleDeleted(generation=2, module_id="npc.smith")]


def test_a_second_look_waits_for_its_quiet_window(rig: Rig, modules: Path) -> None:
    """A pass that somebody asks for in between does not decide that a file is gone."""
    (modules / "smith.json").unlink()
    rig.passes.hint(["smith.json"])
    rig.look()
    rig.clock.advance(QUIET / 2)
    rig.passes.reload_all()
    rig.work()
    assert "npc.smith" in rig.live.snapshot
    rig.look()
    assert "npc.smith" not in rig.live.snapshot


def test_a_file_deleted_and_written_again_stays(rig: Rig, modules: Path, save: Save) -> None:
    """rm and write: the module serves all the while."""
    text = (modules / "smith.json").read_text()
    (modules / "smith.json").unlink()
    rig.passes.hint(["smith.json"])
    rig.look()
    save("smith.json", text)
    rig.look()
    rig.clock.advance(0)
    assert "npc.smith" in rig.live.snapshot
    assert ModuleDeleted not in [type(event) for event in rig.seen]


# Who asks


def test_reload_module_of_a_changed_file_gives_module_changed(rig: Rig, save: Save) -> None:
    """The event of that module, with the version that serves now; no quiet window is waited for."""
    save("smith.json", module_text(instruction="New."))
    asked = rig.passes.reload_module("npc.smith")
    rig.work()
    event = CASE.successResultOf(asked)
    assert isinstance(event, ModuleChanged)
    assert event.version == rig.live.snapshot["npc.smith"].version


def test_reload_module_of_an_unchanged_file_gives_module_skipped(rig: Rig) -> None:
    """The same bytes are an answer too."""
    asked = rig.passes.reload_module("npc.smith")
    rig.work()
    assert CASE.successResultOf(asked) == ModuleSkipped(generation=1, module_id="npc.smith")


def test_reload_module_of_a_broken_file_gives_a_reload_error_event(rig: Rig, save: Save) -> None:
    """A rejection is an event and no errback, at the second look; asked again, the same answer comes."""
    save("smith.json", "{")
    for _ in range(2):
        asked = rig.passes.reload_module("npc.smith")
        rig.work()
        if not asked.called:
            rig.look()
        event = CASE.successResultOf(asked)
        assert isinstance(event, ReloadError)
        assert event.module_id == "npc.smith"
    assert rig.passes.committing.stats.reloads_failed == 1


def test_reload_module_of_a_deleted_file_gives_module_deleted(rig: Rig, modules: Path) -> None:
    """It is answered when the second look has decided."""
    (modules / "smith.json").unlink()
    asked = rig.passes.reload_module("npc.smith")
    rig.work()
    CASE.assertNoResult(asked)
    rig.look()
    assert isinstance(CASE.successResultOf(asked), ModuleDeleted)


def test_reload_module_of_an_unknown_id_fails(rig: Rig) -> None:
    """UnknownModule, with the id that was perhaps meant."""
    asked = rig.passes.reload_module("npc.smiht")
    rig.work()
    failure = CASE.failureResultOf(asked, UnknownModule)
    assert "npc.smith" in str(failure.value)


def test_reload_module_finds_a_file_that_is_new(rig: Rig, save: Save) -> None:
    """An id that is not live yet is looked for in the whole tree."""
    save("deep/down/baker.json", module_text("npc.baker"))
    asked = rig.passes.reload_module("npc.baker")
    rig.work()
    assert isinstance(CASE.successResultOf(asked), ModuleChanged)


def test_who_asks_while_a_pass_runs_gets_the_answer_of_a_look_that_began_later(rig: Rig, save: Save) -> None:
    """The pass under way may have read the file before it was saved; its answer is for those who asked before."""
    early = rig.passes.reload_module("npc.smith")
    (look,) = rig.waiting
    rig.waiting.clear()
    look()  # it has read the disk, and the reactor has not heard of it
    save("smith.json", module_text(instruction="New."))
    late = rig.passes.reload_module("npc.smith")
    rig.clock.run_calls()
    assert isinstance(CASE.successResultOf(early), ModuleSkipped)
    rig.work()
    assert isinstance(CASE.successResultOf(late), ModuleChanged)


def test_reload_all_while_a_pass_runs_waits_for_the_next(rig: Rig, save: Save) -> None:
    """The same holds for the whole tree."""
    rig.passes.hint()
    rig.clock.advance(QUIET)
    (look,) = rig.waiting
    rig.waiting.clear()
    look()
    save("smith.json", module_text(instruction="New."))
    late = rig.passes.reload_all()
    rig.clock.run_calls()
    CASE.assertNoResult(late)
    rig.work()
    assert [type(event) for event in CASE.successResultOf(late)] == [ModuleChanged]


def test_reload_all_gives_the_events_of_its_pass(rig: Rig, save: Save, modules: Path) -> None:
    """What changed, what is broken and what is gone, the second looks included."""
    save("new.json", module_text("npc.new"))
    save("bad.json", "{")
    (modules / "smith.json").unlink()
    asked = rig.passes.reload_all()
    rig.work()
    if not asked.called:
        rig.look()
    found = CASE.successResultOf(asked)
    assert [type(event) for event in found] == [ModuleChanged, ModuleDeleted, ReloadError]
    rig.clock.advance(0)
    assert rig.seen == list(found)


def test_reload_all_finds_a_change_behind_the_same_size_and_mtime(rig: Rig, modules: Path) -> None:
    """Every byte is read, whatever the stat signature says; a plain pass trusts ctime to tell."""
    file = modules / "smith.json"
    info = file.stat()
    file.write_text(module_text(instruction="You are a sMITH."))
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (info.st_size, info.st_mtime_ns)
    asked = rig.passes.reload_all()
    rig.work()
    assert [type(event) for event in CASE.successResultOf(asked)] == [ModuleChanged]
    assert rig.instruction() == "You are a sMITH."


def test_reload_all_reads_every_byte_though_no_stat_signature_differs(
    rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that no stat tells of is missed by a plain pass and found by this one."""
    stamp = (1, 2, 3, 4, 5)  # old, and always the same
    monkeypatch.setattr("dspyreload.disk.reading.stamp_of", lambda info: stamp)
    monkeypatch.setattr("dspyreload.disk.tree.stamp_of", lambda info: stamp)
    rig.passes.reload_all()
    rig.work()
    save("smith.json", module_text(instruction="Silent."))
    rig.passes.hint()
    rig.look()
    assert rig.instruction() == "You are a smith."
    rig.passes.reload_all()
    rig.work()
    assert rig.instruction() == "Silent."


@pytest.mark.parametrize("ask", ["reload_module", "reload_all"])
def test_cancelling_detaches_and_the_pass_goes_on(rig: Rig, save: Save, ask: str) -> None:
    """Whoever cancels is told so; what was saved goes live all the same."""
    save("smith.json", module_text(instruction="New."))
    asked = ask_for(rig, ask)
    asked.cancel()
    CASE.failureResultOf(asked, CancelledError)
    rig.work()
    assert rig.instruction() == "New."


@pytest.mark.parametrize("ask", ["reload_module", "reload_all"])
def test_one_answer_may_cancel_the_next(rig: Rig, ask: str) -> None:
    """A callback that cancels its sibling, who waits for the same pass, keeps nobody else from being answered."""
    rig.passes.hint()
    rig.clock.advance(QUIET)
    first, second, third = (ask_for(rig, ask) for _ in range(3))
    first.addCallback(lambda result: second.cancel())
    rig.work()
    CASE.assertNoResult(first)
    rig.work()
    CASE.successResultOf(first)
    CASE.failureResultOf(second, CancelledError)
    CASE.successResultOf(third)


@pytest.mark.parametrize("ask", ["reload_module", "reload_all"])
def test_an_answer_may_ask_again(rig: Rig, ask: str) -> None:
    """Reloading inside the callback of a reload leads to one more pass."""
    again: list[object] = []

    ask_for(rig, ask).addCallback(lambda result: ask_for(rig, ask).addCallback(again.append))
    rig.work()
    assert again == []
    rig.work()
    assert len(again) == 1


def test_many_who_ask_share_one_pass(rig: Rig) -> None:
    """A hundred requests before and while a pass runs are two passes."""
    asked = [rig.passes.reload_all() for _ in range(100)]
    rig.work()
    rig.work()
    assert all(deferred.called for deferred in asked)
    assert rig.started == 2
    rig.clock.advance(5)
    assert rig.started == 2


def test_a_manifest_that_appears_is_in_force_with_its_entries(rig: Rig, save: Save) -> None:
    """A new manifest is one commit with the modules that it lists."""
    save("manifest.json", json.dumps({"version": "1.0", "modules": {"npc.smith": {"path": "smith.json"}}}))
    rig.passes.hint(["manifest.json"])
    rig.look()
    assert rig.live.snapshot.manifest is not None
    assert list(rig.live.snapshot.manifest) == ["npc.smith"]


def test_stopping_fails_who_waits_and_commits_nothing(rig: Rig, save: Save) -> None:
    """A pass that outlives the stop is thrown away; the stop is done when its thread has ended."""
    save("smith.json", module_text(instruction="New."))
    module, everything = rig.passes.reload_module("npc.smith"), rig.passes.reload_all()
    stopped = rig.passes.stop()
    CASE.failureResultOf(module, ServiceStopped)
    CASE.failureResultOf(everything, ServiceStopped)
    CASE.assertNoResult(stopped)
    rig.work()
    CASE.successResultOf(stopped)
    assert rig.instruction() == "You are a smith."
    assert rig.clock.getDelayedCalls() == []


def test_a_thread_that_is_stuck_is_named_after_a_time_limit(rig: Rig) -> None:
    """Stopping ends within some seconds, with a line in the log; what the thread brings later is not used."""
    rig.passes.reload_all().addErrback(lambda failure: None)
    stopped = rig.passes.stop()
    with capturedLogs() as logs:
        rig.clock.advance(10)
    CASE.successResultOf(stopped)
    assert any("dspyreload-pass" in text for text in texts(logs))
    rig.work()
    assert rig.live.snapshot.generation == 1


def test_two_stops_with_a_stuck_thread_each_end(rig: Rig) -> None:
    """Stop, start and stop again while two threads are stuck: neither stop waits for ever."""
    rig.passes.reload_all().addErrback(lambda failure: None)
    first = rig.passes.stop()
    rig.passes.active = True
    rig.passes.reload_all().addErrback(lambda failure: None)
    second = rig.passes.stop()
    rig.clock.advance(10)
    CASE.successResultOf(second)
    CASE.successResultOf(first)


@pytest.mark.parametrize("ask", ["reload_module", "reload_all"])
@pytest.mark.parametrize("reason", [ServiceStopped, HotReloadFailed])
def test_one_that_fails_may_cancel_another(
    rig: Rig, modules: Path, ask: str, reason: type[ServiceStopped | HotReloadFailed]
) -> None:
    """A callback that cancels its sibling keeps neither a stop nor a failure from reaching the third."""
    first, second, third = (ask_for(rig, ask) for _ in range(3))
    first.addErrback(lambda failure: second.cancel())
    second.addErrback(lambda failure: None)
    if reason is ServiceStopped:
        rig.passes.stop()
    else:
        modules.rename(modules.with_name("away"))
        with capturedLogs():
            rig.work()  # the pass that was asked for first
            rig.work()  # the one for who came later
    CASE.failureResultOf(third, reason)


def test_one_that_asks_again_when_a_stop_fails_it_is_not_left_waiting(rig: Rig) -> None:
    """A Deferred that is asked for while everything stops comes out as well, one way or the other."""
    again: list[Deferred[Any]] = []

    def ask_again(failure: Failure) -> None:
        again.append(rig.passes.reload_all())

    rig.passes.reload_all().addErrback(ask_again)
    rig.passes.stop()
    while rig.waiting:
        rig.waiting.pop(0)()
        rig.clock.run_calls()
    rig.clock.advance(10)
    (late,) = again
    assert late.called
    late.addErrback(lambda failure: None)


# What goes wrong


def test_a_missing_root_removes_nothing_and_is_said_once(rig: Rig, modules: Path) -> None:
    """The last good version serves, one line says so, and looking goes on, ever more slowly."""
    modules.rename(modules.with_name("away"))
    with capturedLogs() as logs:
        rig.passes.hint()
        rig.look()
        for _ in range(10):
            rig.clock.advance(30)
            rig.work()
    assert rig.instruction() == "You are a smith."
    assert len(logs) == 1
    assert "still serving" in texts(logs)[0]
    assert rig.started == 11


def test_a_root_that_comes_back_is_looked_at_anew(rig: Rig, modules: Path, save: Save) -> None:
    """What was saved meanwhile goes live; a second absence is said again."""
    roots: list[object] = []
    rig.passes.on_root = roots.append
    modules.rename(modules.with_name("away"))
    rig.passes.hint()
    rig.look()
    assert roots == [None]
    modules.with_name("away").rename(modules)
    save("smith.json", module_text(instruction="New."))
    rig.clock.advance(1)
    rig.work()
    assert rig.instruction() == "New."
    assert roots[-1] == identity(str(modules))
    modules.rename(modules.with_name("away"))
    with capturedLogs() as logs:
        rig.passes.hint()
        rig.look()
    assert len(logs) == 1


def test_a_root_that_is_away_for_a_day_is_looked_for_all_the_time(rig: Rig, modules: Path) -> None:
    """However many passes failed before, the next failure is handled like the first."""
    modules.rename(modules.with_name("away"))
    rig.passes.hint()
    rig.look()
    for _ in range(1200):
        rig.clock.advance(30)
        rig.work()
    assert rig.started == 1201


def test_a_pass_that_raises_is_tried_again_with_back_off(rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hints are not lost, its error is logged, and each try waits longer than the one before."""
    from dspyreload.disk.scan import look

    def broken(*args: object) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dspyreload.live.one_pass.look", broken)
    save("smith.json", module_text(instruction="New."))
    waits: list[float] = []
    with capturedLogs() as logs:
        rig.passes.hint(["smith.json"])
        rig.look()
        for _ in range(6):
            before = rig.clock.seconds()
            while not rig.waiting:
                rig.clock.advance(0.05)
            waits.append(rig.clock.seconds() - before)
            rig.work()
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert waits[-1] > 2
    assert any("Input/output error" in str(entry.get("log_failure")) for entry in logs)
    monkeypatch.setattr("dspyreload.live.one_pass.look", look)
    rig.clock.advance(30)
    rig.work()
    assert rig.instruction() == "New."


@pytest.mark.parametrize("ask", ["reload_module", "reload_all"])
def test_who_waits_for_a_pass_that_fails_is_told(rig: Rig, modules: Path, ask: str) -> None:
    """HotReloadFailed names the directory and the reason."""
    modules.rename(modules.with_name("away"))
    asked = ask_for(rig, ask)
    rig.work()
    error = CASE.failureResultOf(asked, HotReloadFailed).value
    assert isinstance(error, HotReloadFailed)
    assert error.path == str(modules)
    assert "No such file" in error.reason


def test_a_machine_without_threads_is_a_pass_that_failed(modules: Path, save: Save) -> None:
    """Where no thread can be started, who asked is told, and a later pass runs."""
    save("smith.json", module_text())
    threads = False

    def start(target: Callable[[], None], name: str) -> NoThread:
        if not threads:
            raise RuntimeError("can't start new thread")
        return machine.start(target, name)

    machine = Rig(modules, start)
    machine.read()
    with contextlib.suppress(RuntimeError):
        machine.passes.reload_all().addErrback(lambda failure: None)
    threads = True
    save("smith.json", module_text(instruction="New."))
    machine.passes.hint()
    machine.clock.advance(60)
    assert machine.waiting, "no pass was ever started again"
    machine.work()
    assert machine.instruction() == "New."
    machine.passes.stop()


def test_a_stop_after_a_pass_had_failed_is_clean(rig: Rig, modules: Path) -> None:
    """A directory that was away for a while, and came back, keeps the service from stopping in no way."""
    modules.rename(modules.with_name("away"))
    rig.passes.hint()
    rig.look()
    modules.with_name("away").rename(modules)
    rig.clock.advance(1)
    rig.work()
    rig.clock.advance(0)  # subscribers hear that it is back
    CASE.successResultOf(rig.passes.stop())
    assert rig.clock.getDelayedCalls() == []
