"""A start under ``twistd`` that is refused: what it says, and what it leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.python import usage

from dspyreload import DSPyEngine, DSPyReloadError, HotReloadService, ServiceStopped, tap
from dspyreload.starting import OwnProcess, Setup, faults_of, may_read, refuse
from tests.conftest import Save, module_text
from tests.left import Before

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture(autouse=True)
def usual_modes(modules: Path) -> Iterator[None]:
    """Files that others may not write, whoever runs the tests."""
    before = os.umask(0o022)
    modules.chmod(0o755)
    yield
    os.umask(before)


def engine(modules: Path) -> DSPyEngine:
    return DSPyEngine(modules, load=False)


def words(modules: Path, *, complete: bool = False) -> str:
    found = faults_of(engine(modules), complete=complete)
    return found.words if found is not None else ""


def options(modules: Path, *arguments: str, **parent: Any) -> tap.Options:
    """Parse a command line, with twistd's own options around it."""
    parsed = tap.Options()
    parsed.parent = usage.Options()
    parsed.parent.update({"nodaemon": True, **parent})
    parsed.parseOptions(["--modules", str(modules), "--state", "none", *arguments])
    return parsed


class TestFaults:
    """What a strict server does not start with, in one line and in lines of the log."""

    def test_what_is_good_is_no_fault(self, modules: Path, save: Save) -> None:
        save("smith.json", module_text())
        assert words(modules, complete=True) == ""

    def test_one_is_told_whole(self, modules: Path, save: Save) -> None:
        save("smith.json", "[]")
        line = words(modules)
        assert line.startswith("--strict: 1 fault (smith.json:1:1: ")
        assert line.endswith("); nothing is served")

    def test_of_several_the_first_is_told_and_all_are_logged(self, modules: Path, save: Save) -> None:
        for name in ("b", "a", "c"):
            save(f"{name}.json", "[]")
        save("d.json", '{"instruction": "x"}').chmod(0o666)
        modules.chmod(0o777)
        found = faults_of(engine(modules), complete=True)
        assert found is not None
        assert found.words.startswith(
            "--strict: 4 faults, 1 path that others may write (the first: a.json:1:1: ",
        )
        assert [line.partition(":")[0] for line in found.lines] == [
            "a.json",
            "b.json",
            "c.json",
            "d.json",
            str(modules),
        ]

    def test_what_waits_is_one_only_where_nobody_will_register_it(self, modules: Path, save: Save) -> None:
        save("smith.json", module_text(signature=None, demos=[]))
        assert words(modules, complete=False) == ""
        assert "npc.dialogue" in words(modules, complete=True)

    def test_a_directory_that_is_gone_meanwhile_is_one(self, modules: Path) -> None:
        modules.rmdir()
        assert words(modules) == f"--strict: {modules} can't be looked at: No such file or directory"

    def test_it_is_one_line_whatever_files_hold(self, modules: Path, save: Save) -> None:
        save("evil\n\x1b[2J.json", '{"\\n\\u001b[2J": 1}')
        assert words(modules).isprintable()


class TestRefusing:
    """The text is printed once, the exit status is 1, and no pid file is left."""

    def test_in_the_foreground_it_ends_the_process(self, tmp_path: Path) -> None:
        pid = tmp_path / "twistd.pid"
        pid.write_text(str(os.getpid()))
        with pytest.raises(SystemExit, match="no sword"):
            refuse("no sword", {"nodaemon": True, "pidfile": str(pid)})
        assert not pid.exists()

    @pytest.mark.parametrize("content", ["1", "", "none of ours"])
    def test_a_pid_file_of_another_is_let_be(self, tmp_path: Path, content: str) -> None:
        pid = tmp_path / "twistd.pid"
        pid.write_text(content)
        with pytest.raises(SystemExit):
            refuse("no sword", {"nodaemon": True, "pidfile": str(pid)})
        assert pid.read_text() == content

    @pytest.mark.parametrize("pidfile", [None, "", "not there"])
    def test_without_a_pid_file_it_ends_too(self, pidfile: str | None) -> None:
        with pytest.raises(SystemExit):
            refuse("no sword", {"nodaemon": True, "pidfile": pidfile})

    def test_a_daemon_raises_what_twistd_hands_on(self) -> None:
        """Of a ``SystemExit`` the command that waits would never hear."""
        with pytest.raises(DSPyReloadError, match="no sword"):
            refuse("no sword", {"nodaemon": False})


class TestStrict:
    """Checked before the fork where that can be, and after it in any case."""

    def test_it_is_checked_before_the_fork_without_a_thread(self, modules: Path, save: Save) -> None:
        save("smith.json", "{")
        before = Before()
        with pytest.raises(SystemExit, match=r"smith\.json"):
            tap.makeService(options(modules, "--strict"))
        assert before.threads() == set()

    @pytest.mark.parametrize("parent", [{"uid": os.getuid()}, {"gid": os.getgid()}])
    def test_not_where_privileges_are_dropped_after_it(self, modules: Path, save: Save, parent: dict[str, int]) -> None:
        """Nothing is parsed with more rights than the server has."""
        save("smith.json", "{")
        service = tap.makeService(options(modules, "--strict", **parent))
        with pytest.raises(SystemExit, match=r"smith\.json"):
            service.startService()

    def test_a_setup_may_register_what_is_missing_before_the_fork(self, modules: Path, save: Save) -> None:
        save("smith.json", module_text(signature=None, demos=[]))
        assert tap.makeService(options(modules, "--strict", "--setup", "json")) is not None
        with pytest.raises(SystemExit, match=r"npc\.dialogue"):
            tap.makeService(options(modules, "--strict"))

    def test_a_start_that_is_refused_leaves_nothing_half_started(self, modules: Path, save: Save) -> None:
        save("smith.json", "{")
        setup = Setup(engine(modules), None, (), strict=True)
        before = Before()
        with capturedLogs() as logged, pytest.raises(SystemExit):
            setup.startService()
        assert not setup.running
        assert before.threads() == set()
        (line,) = [str(formatEvent(event)) for event in logged]
        assert line.startswith("smith.json:1:2: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestReading:
    """Whether the server's user may list a directory is tried as that user."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """A folder to which everybody finds the way: pytest's own is closed to others."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    @pytest.mark.parametrize(("mode", "may"), [(0o700, False), (0o755, True), (0o711, False), (0o744, False)])
    def test_by_the_mode(self, folder: Path, mode: int, may: bool) -> None:
        folder.chmod(mode)
        assert may_read(str(folder), 65534, None) is may
        assert may_read(str(folder), 65534, 65534) is may
        assert may_read(str(folder), None, None), "root may"

    def test_by_the_group_that_it_gets(self, folder: Path) -> None:
        folder.chmod(0o750)
        os.chown(folder, 0, 65534)
        assert may_read(str(folder), 65534, 65534)
        assert not may_read(str(folder), 65534, 1)

    def test_one_that_can_not_be_become_is_twistds_to_tell(self, folder: Path) -> None:
        assert may_read(str(folder), 4_000_000_000, None)

    def test_this_user_stays_what_it_is(self, folder: Path) -> None:
        before = (os.getresuid(), os.getresgid(), os.getgroups())
        may_read(str(folder), 65534, None)
        assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


# The process of twistd dspyreload


def test_in_its_own_process_threads_take_turns_sooner_until_it_stops(modules: Path) -> None:
    """What is global changes there and nowhere else, and is put back."""
    before = sys.getswitchinterval()
    own = OwnProcess(HotReloadService(engine(modules)))
    own.startService()
    assert sys.getswitchinterval() < before
    own.stopService()
    assert sys.getswitchinterval() == before


def test_the_collector_passes_over_what_was_loaded_at_the_start(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DSPy alone is hundreds of thousands of objects: a full collection would stop the game for a tenth of a second."""
    calls: list[str] = []
    monkeypatch.setattr("dspyreload.starting.gc.freeze", lambda: calls.append("freeze"))
    monkeypatch.setattr("dspyreload.starting.gc.unfreeze", lambda: calls.append("unfreeze"))
    ready: Deferred[HotReloadService] = Deferred()
    service = HotReloadService(engine(modules))
    monkeypatch.setattr(service, "when_ready", lambda: ready)
    own = OwnProcess(service)
    own.startService()
    assert calls == []
    ready.callback(service)
    assert calls == ["freeze"]
    own.stopService()
    assert calls == ["freeze", "unfreeze"]


def test_a_stop_before_it_is_ready_freezes_nothing(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is frozen after the stop would stay so."""
    calls: list[str] = []
    monkeypatch.setattr("dspyreload.starting.gc.freeze", lambda: calls.append("freeze"))
    ready: Deferred[HotReloadService] = Deferred()
    service = HotReloadService(engine(modules))
    monkeypatch.setattr(service, "when_ready", lambda: ready)
    own = OwnProcess(service)
    own.startService()
    own.stopService()
    ready.errback(ServiceStopped("the service stopped"))
    assert calls == []
