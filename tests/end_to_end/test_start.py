"""How ``twistd dspyreload`` starts, and how it refuses to: real processes, in the foreground and daemonized."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Save, module_text
from tests.end_to_end.processes import LIMIT, Process, running, twistd
from tests.faults.game import text

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
WHERE = pytest.mark.parametrize("nodaemon", [True, False], ids=["in the foreground", "daemonized"])


@pytest.fixture(autouse=True)
def usual_modes(modules: Path) -> Iterator[None]:
    """Files that others may not write, whoever runs the tests."""
    before = os.umask(0o022)
    modules.chmod(0o755)
    yield
    os.umask(before)


def start(*arguments: str, nodaemon: bool) -> list[str]:
    first = ["-n"] if nodaemon else []
    return [*twistd(*first, "dspyreload", "--modules", "modules", *arguments)]


def refused(modules: Path, *arguments: str, nodaemon: bool) -> Process:
    """Start a server that refuses; what it said is in ``lines``."""
    with running(*start(*arguments, nodaemon=nodaemon), cwd=modules.parent) as command:
        assert command.finish() == 1
    return command


def left(modules: Path) -> set[str]:
    """Return what lies beside the modules directory."""
    return {file.name for file in modules.parent.iterdir()} - {"modules", "game.py", "__pycache__"}


def no_pid_file(modules: Path) -> None:
    """Wait until there is none: twistd tells who waits for the daemon first, and takes it away then."""
    until = time.monotonic() + LIMIT
    while "twistd.pid" in left(modules):
        assert time.monotonic() < until, "the pid file stays"
        time.sleep(0.01)


@contextlib.contextmanager
def daemon(modules: Path, *arguments: str) -> Iterator[Process]:
    """Start a daemon, and give its log; it is ended at the end."""
    log, pid = modules.parent / "twistd.log", modules.parent / "twistd.pid"
    log.touch()
    try:
        with running("tail", "-n", "+1", "-F", str(log), cwd=modules.parent) as tail:
            with running(*start(*arguments, nodaemon=False), cwd=modules.parent) as starter:
                assert starter.finish() == 0, starter.text
            yield tail
            os.kill(int(pid.read_text()), signal.SIGTERM)
            tail.wait_for("Server Shut Down")
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


class TestWait:
    """``--wait``: a volume that is mounted late."""

    def test_a_directory_that_appears_later_is_served_without_a_restart(self, modules: Path, save: Save) -> None:
        """The log says once that it is not there; then what is in it is live, and what is saved in it."""
        modules.rmdir()
        command = start("--wait", "--rescan", "1", nodaemon=True)
        with running(*command, cwd=modules.parent) as server:
            server.wait_for(r"can't be looked at \(No such file or directory\); nothing is served; it is waited for")
            made = modules.parent / "made"
            made.mkdir()
            (made / "smith.json").write_text(text("Be kind."))
            made.rename(modules)
            server.wait_for(r"modules: the modules directory is there; health is ok")
            server.wait_for(r"loaded 1 module \(smith\), generation 1; 0 rejected")
            server.wait_for(r"watching .*modules \(inotify\); 1 module live, generation 1")
            save("smith.json", text("Be gruff."))
            server.wait_for(r"smith is live: version [0-9a-f]{12}, generation 2")
            server.end()
        assert server.text.count("can't be looked at") == 1
        assert "Traceback" not in server.text

    @pytest.mark.parametrize(
        ("before", "words"), [("a file", "it is a file"), ("a link that leads nowhere", "No such file or directory")]
    )
    def test_what_is_no_directory_yet_is_waited_for_too(self, modules: Path, before: str, words: str) -> None:
        """Until it is one."""
        modules.rmdir()
        if before == "a file":
            modules.touch()
        else:
            modules.symlink_to(modules.parent / "target")
        with running(*start("--wait", "--rescan", "1", nodaemon=True), cwd=modules.parent) as server:
            server.wait_for(rf"the modules directory can't be looked at \({words}\); nothing is served")
            if before == "a file":
                modules.unlink()
            target = modules if before == "a file" else modules.parent / "target"
            target.mkdir()
            (target / "smith.json").write_text(text("Be kind."))
            server.wait_for(r"watching .* \(inotify\); \d modules? live")
            (target / "cook.json").write_text(text("Be late."))
            server.wait_for(r"cook is live|loaded .*cook")
            server.end()

    @as_root
    def test_a_volume_that_is_mounted_late_is_served(self, modules: Path) -> None:
        """The directory is there, and empty; then a file system is mounted over it."""
        command = start("--wait", "--rescan", "1", nodaemon=True)
        # In a namespace of its own, so that the mount is gone with the server whatever happens.
        inside = ["unshare", "--mount", "--propagation", "private", *command]
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
            pytest.skip("no mount namespace can be made here")
        with running(*inside, cwd=modules.parent) as server:
            server.wait_for(r"watching .* \(inotify\); 0 modules live")
            enter = ["nsenter", "--mount", "--target", str(server.popen.pid)]
            subprocess.run([*enter, "mount", "-t", "tmpfs", "late", str(modules)], check=True, timeout=LIMIT)
            script = f"umask 022; echo '{text('Be kind.')}' > {modules}/smith.json"
            subprocess.run([*enter, "sh", "-c", script], check=True, timeout=LIMIT)
            server.wait_for(r"smith is live: version [0-9a-f]{12}, generation 2")
            assert not (modules / "smith.json").exists(), "the mount is the server's own"
            server.end()

    def test_without_it_there_is_one_line_before_anything_is_daemonized(self, modules: Path) -> None:
        """Nothing is left."""
        modules.rmdir()
        for nodaemon in (True, False):
            command = refused(modules, nodaemon=nodaemon)
            assert command.lines == ["twistd dspyreload: --modules modules: there is no such directory; see twistd "
                                     "dspyreload --help"]  # fmt: skip
            assert left(modules) == set()

    def test_daemonized_it_waits_as_well(self, modules: Path) -> None:
        """The command returns at once, with exit status 0."""
        modules.rmdir()
        with daemon(modules, "--wait", "--rescan", "1") as log:
            log.wait_for("the modules directory can't be looked at")
            modules.mkdir()
            (modules / "smith.json").write_text(text("Be kind."))
            log.wait_for(r"watching .* \(inotify\)")


@as_root
class TestPrivileges:
    """``--uid``: it is the server's user who has to read the directory."""

    @pytest.fixture
    def modules(self) -> Iterator[Path]:
        """A modules directory to which everybody finds the way: pytest's own folder is closed to others."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            (Path(folder) / "modules").mkdir()
            yield Path(folder) / "modules"

    def test_a_directory_that_this_user_may_not_read_is_refused(self, modules: Path) -> None:
        """Though root may."""
        modules.chmod(0o700)
        command = [*twistd("--uid=65534", "--pidfile=", "dspyreload", "--modules", "modules")]
        with running(*command, cwd=modules.parent) as server:
            assert server.finish() == 1
        assert server.lines == [
            "twistd dspyreload: --modules modules: the server's user may not read the directory; see twistd dspyreload"
            " --help"
        ]

    def test_strict_is_checked_as_this_user_in_the_daemon(self, modules: Path, save: Save) -> None:
        """Root parses nothing of it; who waits for the daemon is told, with exit status 1."""
        save("smith.json", "{")
        command = [*twistd("--uid=65534", "--gid=65534", "--pidfile=", "dspyreload", "--modules", "modules")]
        log = modules.parent / "twistd.log"
        with running(*command, "--strict", "--state=none", cwd=modules.parent) as server:
            assert server.finish() == 1
        assert "--strict: 1 fault" in server.text
        assert "smith.json:1:" in log.read_text()


class TestStrict:
    """``--strict``: it does not start with what it would have to reject."""

    @WHERE
    def test_a_broken_module_is_one_line_before_anything_is_daemonized(
        self, modules: Path, save: Save, nodaemon: bool
    ) -> None:
        """Exit status 1; the line has the place and the mend of the first fault; nothing is left."""
        save("smith.json", '{"instruction": "Be kind.",}')
        save("cook.json", text("Be late."))
        command = refused(modules, "--strict", nodaemon=nodaemon)
        assert command.lines == [
            "twistd dspyreload: --strict: 1 fault (smith.json:1:27: a comma too many before the closing }; delete it);"
            " nothing is served"
        ]
        assert left(modules) == set()

    @WHERE
    def test_what_others_may_write_is_refused(self, modules: Path, save: Save, nodaemon: bool) -> None:
        """A folder as well as a file."""
        save("npc/smith.json", text("Be kind.")).chmod(0o664)
        (modules / "npc").chmod(0o777)
        command = refused(modules, "--strict", nodaemon=nodaemon)
        (line,) = command.lines
        assert "1 fault, 1 path that others may write (the first: npc/smith.json: its group or all may write" in line
        assert left(modules) == set()

    @WHERE
    def test_a_fault_of_the_manifest_is_refused(self, modules: Path, save: Save, nodaemon: bool) -> None:
        """And one of its entries, here: a file that is not there."""
        save("manifest.json", '{"version": "1.0", "modules": {"npc.cook": {"path": "cook.json", "hash": null}}}')
        (line,) = refused(modules, "--strict", nodaemon=nodaemon).lines
        assert line.startswith("twistd dspyreload: --strict: 1 fault (")
        assert "cook.json" in line
        assert left(modules) == set()

    @WHERE
    def test_a_module_that_waits_for_what_nobody_registers_is_refused(
        self, modules: Path, save: Save, nodaemon: bool
    ) -> None:
        """Without a setup there is nobody who could."""
        save("smith.json", module_text(signature=None, demos=[]))
        (line,) = refused(modules, "--strict", nodaemon=nodaemon).lines
        assert "npc.dialogue" in line
        assert left(modules) == set()

    @WHERE
    def test_what_the_setup_registers_decides(self, modules: Path, save: Save, nodaemon: bool) -> None:
        """It runs in the daemon: the command that waits for it hears that it refused, and why, and ends with 1."""
        save("smith.json", module_text(signature=None, demos=[]))
        (modules.parent / "game.py").write_text("def setup(engine):\n    pass\n")
        command = refused(modules, "--strict", "--setup", "game", nodaemon=nodaemon)
        assert "--strict: 1 fault" in command.text
        assert "Traceback" not in command.text
        no_pid_file(modules)

    def test_what_the_setup_registers_lets_it_start(self, modules: Path, save: Save) -> None:
        """The same modules, and a game that has what they need."""
        save("smith.json", module_text(signature=None, demos=[]))
        (modules.parent / "game.py").write_text(
            "import dspy\n\n\ndef setup(engine):\n"
            "    engine.signatures.register('npc.dialogue', dspy.Signature('player_message -> response, emotion'))\n"
        )
        with running(*start("--strict", "--setup", "game", nodaemon=True), cwd=modules.parent) as server:
            server.wait_for(r"watching .*; 1 module live, generation 1")
            server.end()

    def test_later_it_serves_on_as_any_server(self, modules: Path, save: Save) -> None:
        """What comes to be broken is rejected; what others may write is not read."""
        save("smith.json", text("Be kind."))
        with running(*start("--strict", nodaemon=True), cwd=modules.parent) as server:
            server.wait_for(r"watching .*; 1 module live, generation 1")
            new = modules.parent / "new.json"
            new.write_text(text("Be cruel."))
            new.chmod(0o666)
            new.rename(modules / "smith.json")
            server.wait_for(r"smith\.json: its group or all may write this file; .* of smith is still serving")
            server.end()

    def test_it_can_not_be_had_with_wait(self, modules: Path) -> None:
        """What is not there can't be checked."""
        (line,) = refused(modules, "--strict", "--wait", nodaemon=False).lines
        assert "--wait and --strict" in line


class TestBroken:
    """Without ``--strict`` the rest is served."""

    def test_each_broken_module_is_reported_and_the_rest_served(self, modules: Path, save: Save) -> None:
        """Two of three, which might have been half written and are read twice."""
        for name in ("a", "b"):
            save(f"{name}.json", "{")
        save("c.json", text("Be kind."))
        with running(*start(nodaemon=True), cwd=modules.parent) as server:
            server.wait_for(r"loaded 1 module \(c\), generation 1; 0 rejected, 2 to be looked at again")
            server.wait_for(r"a\.json:1:.* nothing is served in its place")
            server.wait_for(r"b\.json:1:.* nothing is served in its place")
            server.end()

    @WHERE
    def test_a_setup_that_raises_is_told_to_who_waits(self, modules: Path, nodaemon: bool) -> None:
        """Exit status 1 in the foreground and daemonized, and no pid file."""
        (modules.parent / "game.py").write_text("def setup(engine):\n    raise ValueError('no sword')\n")
        command = refused(modules, "--setup", "game", nodaemon=nodaemon)
        assert "--setup game failed: ValueError: no sword" in command.text
        no_pid_file(modules)
