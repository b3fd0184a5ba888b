"""``twistd dspyreload`` as a real process: in the foreground, daemonized, under two reactors, with fewer privileges."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.conftest import Save, module_text
from tests.end_to_end.processes import LIMIT, running, twistd

REACTORS = ["default", "asyncio"]


@pytest.mark.parametrize("reactor", REACTORS)
def test_a_save_is_live_and_a_broken_one_is_explained(modules: Path, save: Save, reactor: str) -> None:
    """One line says what went live; one says file, line, column, what is wrong, and what is still serving."""
    save("npc/smith.json", module_text())
    command = twistd("-n", f"--reactor={reactor}", "dspyreload", "--modules", str(modules))
    with running(*command, cwd=modules.parent) as server:
        server.wait_for(r"reactor class: .*(asyncio|epoll|poll|select)")
        server.wait_for(r"loaded 1 module \(npc\.smith\), generation 1; 0 rejected")
        server.wait_for(rf"watching {modules} \(\w+\); 1 module live, generation 1")
        save("npc/smith.json", module_text(instruction="Be kind."))
        live = server.wait_for(r"npc\.smith is live: version ([0-9a-f]{12}), generation 2, \d+\.\d\d s after the save")
        save("npc/smith.json", '{\n  "module_id": "npc.smith",,\n}')
        server.wait_for(
            rf"npc/smith\.json:2:28: a comma too many; "
            rf"version {live[1]} of npc\.smith is still serving"
        )
        server.end()
    assert "Traceback" not in server.text


@pytest.mark.parametrize("reactor", REACTORS)
def test_daemonized_it_reloads_too(modules: Path, save: Save, reactor: str) -> None:
    """Without ``-n`` the process forks; what is saved afterwards goes live, and SIGHUP looks at everything."""
    save("npc/smith.json", module_text())
    log = modules.parent / "twistd.log"
    log.touch()
    pid = 0
    with running("tail", "-n", "+1", "-F", str(log), cwd=modules.parent) as tail:
        # A relative path: daemonizing changes the working directory.
        command = twistd(f"--reactor={reactor}", "dspyreload", "--modules", modules.name)
        with running(*command, cwd=modules.parent) as starter:
            assert starter.popen.wait(LIMIT) == 0
        try:
            tail.wait_for(r"watching .*; 1 module live")
            pid = int((modules.parent / "twistd.pid").read_text())
            save("npc/smith.json", module_text(instruction="Be kind."))
            tail.wait_for(r"npc\.smith is live: version [0-9a-f]{12}, generation 2")
            os.kill(pid, signal.SIGHUP)
            tail.wait_for(r"SIGHUP: looking at all modules")
            save("npc/smith.json", module_text(instruction="Be gruff."))
            tail.wait_for(r"npc\.smith is live: version [0-9a-f]{12}, generation 3")
            os.kill(pid, signal.SIGTERM)
            pid = 0
            tail.wait_for(r"Server Shut Down")
        finally:
            if pid:
                os.kill(pid, signal.SIGKILL)
    assert "Traceback" not in tail.text


def test_a_closed_terminal_ends_a_server_in_the_foreground(modules: Path) -> None:
    """With ``-n`` SIGHUP is what a terminal sends when it is closed, and means what it always means."""
    with running(*twistd("-n", "dspyreload", "--modules", str(modules)), cwd=modules.parent) as server:
        server.wait_for("watching .*; 0 modules live")
        server.popen.send_signal(signal.SIGHUP)
        assert server.popen.wait(LIMIT) == -signal.SIGHUP


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
def test_dropped_privileges_are_gone_before_the_first_read(modules: Path, save: Save) -> None:
    """A file that root may read, and the user named by ``--uid`` may not, is rejected."""
    for folder in (modules, *modules.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    save("open.json", module_text("npc.open"))
    save("closed.json", module_text("npc.closed")).chmod(0o600)
    command = twistd("-n", "--uid=65534", "--gid=65534", "--pidfile=", "dspyreload", "--modules", str(modules))
    with running(*command, cwd=modules.parent) as server:
        server.wait_for(r"loaded 1 module \(npc\.open\)")
        server.wait_for(r"closed\.json: the file may not be read here \(permission denied\)")
        server.end()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--modules DIR is required"),
        (["--modules", "nowhere"], "--modules nowhere: there is no such directory"),
        (["--modules", "file.txt"], "--modules file.txt: that is a file; name the directory it lies in"),
        (["--modules", "modules", "--debounce", "soon"], "--debounce soon: a number of seconds is needed"),
        (["--modules", "modules", "--rescan", "0"], "rescan must be more than 0 seconds"),
        (["--modules", "modules", "--setup", "no.such.module"], "--setup no.such.module: there is no module 'no'"),
        (["--modules", "modules", "--frobnicate"], "option --frobnicate not recognized"),
    ],
)
def test_a_bad_value_is_one_line_before_anything_is_daemonized(
    modules: Path, arguments: list[str], message: str
) -> None:
    """Exit status 1, one line that says what is wrong, no process left, no pid file, no log file."""
    (modules.parent / "file.txt").touch()
    with running(*twistd("dspyreload", *arguments), cwd=modules.parent) as command:
        assert command.finish() == 1
    assert len(command.lines) == 1
    assert message in command.text
    assert {file.name for file in modules.parent.iterdir()} == {"modules", "file.txt"}


def test_help_names_each_option_that_works() -> None:
    """``--help`` shows what there is, and exits with 0."""
    with running(*twistd("dspyreload", "--help"), cwd=Path("/")) as command:
        assert command.finish() == 0
    options = {
        word.rstrip("=,") for word in command.text.split() if word.startswith("--") and word.endswith(("=", ","))
    }
    assert {"--modules", "--debounce", "--rescan", "--setup", "--lm", "--lm-config", "--fallback"} <= options
    assert "--poll" in command.text
    assert "--http" not in command.text


def test_setup_registers_the_games_signatures(modules: Path, save: Save) -> None:
    """``--setup`` names a module of the game, imported when the service starts."""
    save("npc/smith.json", module_text(signature=None, demos=[]))
    (modules.parent / "game.py").write_text(
        "import dspy\n\n\ndef setup(engine):\n"
        "    engine.signatures.register('npc.dialogue', dspy.Signature('player_message -> response, emotion'))\n"
    )
    command = twistd("-n", "dspyreload", "--modules", "modules", "--setup", "game", "--poll")
    with running(*command, cwd=modules.parent) as server:
        server.wait_for(r"loaded 1 module \(npc\.smith\)")
        server.wait_for(r"watching .* \(polling\)")
        server.end()


def test_a_setup_that_raises_ends_the_start(modules: Path) -> None:
    """The last line names the module and what it raised; the exit status is 1."""
    (modules.parent / "game.py").write_text("def setup(engine):\n    raise ValueError('no sword')\n")
    command = twistd("-n", "dspyreload", "--modules", "modules", "--setup", "game")
    with running(*command, cwd=modules.parent) as server:
        server.wait_for("--setup game failed: ValueError: no sword")
        assert server.popen.wait(LIMIT) == 1
    shutil.rmtree(modules)
