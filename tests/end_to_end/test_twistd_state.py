"""``twistd dspyreload --state``: where the file is, what a killed server leaves, and what a disk in trouble costs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Save, module_text
from tests.end_to_end.processes import LIMIT, Process, running, twistd

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and take on another uid")
NAME = "dspyreload.sqlite3"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def be_nobody() -> None:
    """Skip where another user can't run what these tests run."""
    done = subprocess.run((*NOBODY, *twistd("--version")), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"another user can't run this environment: {done.stderr.strip()[-200:]}")


def serve(modules: Path, *options: str, before: tuple[str, ...] = (), pidfile: str = "twistd.pid") -> tuple[str, ...]:
    """Return the command line of a server in the foreground."""
    return (*before, *twistd("-n", f"--pidfile={pidfile}", "dspyreload", "--modules", str(modules), *options))


def kill(server: Process) -> None:
    """Kill it as the kernel does when memory runs out; its pid file stays, and is taken away as an operator would."""
    server.popen.send_signal(signal.SIGKILL)
    server.popen.wait(LIMIT)


def kept(state: Path) -> list[str]:
    """Return the instructions that a state file keeps as live, as another program reads them."""
    database = sqlite3.connect(f"file:{state}?mode=ro", uri=True)
    rows = database.execute(
        "SELECT CAST(data AS TEXT) FROM live JOIN versions USING (module_id, version) JOIN parts USING (number)"
        " JOIN contents USING (digest) ORDER BY module_id, position"
    ).fetchall()
    database.close()
    return [match[1] for (text,) in rows if (match := re.search(r'"instruction": "([^"]*)"', text))]


def until_kept(state: Path, *instructions: str) -> None:
    """Wait until a running server has written what is live."""
    latest = time.monotonic() + LIMIT
    while not state.exists() or kept_or_not(state) != list(instructions):
        assert time.monotonic() < latest, f"not kept within {LIMIT} s: {instructions}"
        time.sleep(0.02)


def kept_or_not(state: Path) -> list[str] | None:
    """Return what is kept; None while the tables are being made."""
    try:
        return kept(state)
    except sqlite3.OperationalError:
        return None


@pytest.mark.parametrize("where", ["here", "pidfile", "named", "none"])
def test_the_file_lies_beside_the_pid_file(modules: Path, save: Save, where: str) -> None:
    """Unless it is named; with ``none`` there is none. Nobody else may read it."""
    folder = modules.parent
    (folder / "run").mkdir()
    save("smith.json", module_text())
    options = {"named": ["--state", "run/other.db"], "none": ["--state", "none"]}.get(where, [])
    command = serve(modules, *options, pidfile="run/server.pid" if where == "pidfile" else "twistd.pid")
    file = {"here": folder / NAME, "pidfile": folder / "run" / NAME, "named": folder / "run/other.db"}.get(where)
    with running(*command, cwd=folder) as server:
        server.wait_for("watching .*; 1 module live")
        if file is not None:
            until_kept(file, "You are a smith.")
            assert file.stat().st_mode & 0o777 == 0o600
        server.end()
    found = {entry for entry in (*folder.iterdir(), *(folder / "run").iterdir()) if entry.is_file()}
    assert found == ({file} if file is not None else set())


def test_a_killed_server_serves_the_last_good_version_again(modules: Path, save: Save) -> None:
    """Of each file that is broken or torn at the next start; the log says so for each."""
    state = modules.parent / NAME
    save("smith.json", module_text())
    save("baker.json", module_text("npc.baker", instruction="You are a baker."))
    save("guard.json", module_text("npc.guard", instruction="You are a guard."))
    with running(*serve(modules), cwd=modules.parent) as server:
        server.wait_for("watching .*; 3 modules live, generation 1")
        save("smith.json", module_text(instruction="Be gruff."))
        server.wait_for("npc.smith is live")
        until_kept(state, "You are a baker.", "You are a guard.", "Be gruff.")
        kill(server)
    save("smith.json", "{broken")
    os.truncate(modules / "baker.json", 30)
    with running(*serve(modules), cwd=modules.parent) as server:
        words = r"3 modules brought back from the state file \(npc\.baker, npc\.guard, npc\.smith\), generation 2"
        server.wait_for(words)
        server.wait_for("watching .*; 3 modules live, generation 2")
        told = "version [0-9a-f]{12} of npc.{} serves, brought back from the state file"
        server.wait_for(rf"baker\.json:\d+:\d+: .* {told.replace('{}', 'baker')}")
        server.wait_for(rf"smith\.json:1:2: .* {told.replace('{}', 'smith')}")
        save("smith.json", module_text(instruction="Mended."))
        server.wait_for(r"npc\.smith is live: version [0-9a-f]{12}, generation 3")
        server.end()
    assert kept(state) == ["You are a baker.", "You are a guard.", "Mended."]
    assert "Traceback" not in server.text


def test_without_its_directory_it_starts_with_what_it_kept(modules: Path, save: Save) -> None:
    """``--wait``: the volume is mounted later; until then everything serves."""
    save("smith.json", module_text())
    with running(*serve(modules), cwd=modules.parent) as server:
        server.wait_for("watching .*; 1 module live")
        until_kept(modules.parent / NAME, "You are a smith.")
        kill(server)
    modules.rename(modules.with_name("volume"))
    with running(*serve(modules, "--wait", "--rescan", "0.5"), cwd=modules.parent) as server:
        server.wait_for(r"1 module brought back from the state file \(npc\.smith\), generation 1")
        server.wait_for("the modules directory can't be looked at .*; generation 1 is still serving; health is failing")
        modules.with_name("volume").rename(modules)
        server.wait_for("the modules directory is back; health is ok")
        server.end()


def test_a_daemon_keeps_it_too(modules: Path, save: Save) -> None:
    """The file is opened after the fork, in the directory in which it was started."""
    folder = modules.parent
    save("smith.json", module_text())
    with running(*twistd("dspyreload", "--modules", modules.name), cwd=folder) as starter:
        assert starter.popen.wait(LIMIT) == 0
    try:
        until_kept(folder / NAME, "You are a smith.")
    finally:
        os.kill(int((folder / "twistd.pid").read_text()), signal.SIGKILL)
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("daemon", [True, False])
def test_a_second_server_on_the_same_file_is_refused(modules: Path, save: Save, daemon: bool) -> None:
    """One line that names the first, and status 1, before anything is daemonized; the first goes on."""
    folder = modules.parent
    (folder / "other").mkdir()
    with running(*serve(modules), cwd=folder) as server:
        server.wait_for("watching")
        mode = () if daemon else ("-n",)
        second = twistd(*mode, "dspyreload", "--modules", str(modules), "--state", f"../{NAME}")
        with running(*second, cwd=folder / "other") as command:
            assert command.finish() == 1
        assert command.lines == [
            f"twistd dspyreload: {folder / NAME} is in use by another server"
            f" (process {server.popen.pid}, of {modules});"
            " give each server a file of its own (with --state, or --state none);"
            " see twistd dspyreload --help"
        ]
        assert list((folder / "other").iterdir()) == []
        save("smith.json", module_text())
        server.wait_for("npc.smith is live")
        server.end()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("modules", "--state modules: that is a folder; name a file in it"),
        ("no/such/file", "--state no/such/file: there is no such folder"),
        ("", "--state needs a file, or none"),
        ("modules/npc.json", "modules/npc.json: that would be a module; name another file"),
        ("saves.db", "saves.db is another program's database, and left alone; name another file"),
        ("theirs.db", "keeps the modules of {folder}; give each server a file of its own"),
        ("/dev/null", "/dev/null is no file; name another one (with --state, or --state none)"),
    ],
)
def test_a_file_that_can_t_be_meant_is_refused(modules: Path, state: str, words: str) -> None:
    """One line and status 1: nothing is written over, and nobody thinks that something is kept."""
    folder = modules.parent
    database = sqlite3.connect(folder / "saves.db")
    database.execute("CREATE TABLE saves (x)")
    database.close()
    with running(*serve(folder, "--state", "theirs.db"), cwd=folder) as server:
        server.wait_for("watching")
        server.end()
    before = (folder / "saves.db").read_bytes()
    with running(*serve(modules, "--state", state), cwd=folder) as command:
        assert command.finish() == 1
    assert len(command.lines) == 1
    assert words.replace("{folder}", str(folder)) in command.text
    assert (folder / "saves.db").read_bytes() == before


def test_a_damaged_file_costs_health_and_no_service(modules: Path, save: Save) -> None:
    """It is left alone, and the line says what to do; once it is moved away all is well, with no restart."""
    state = modules.parent / NAME
    state.write_bytes(b"\xff" * 10_000)
    save("smith.json", module_text())
    with running(*serve(modules), cwd=modules.parent) as server:
        server.wait_for(
            f"{state} is damaged, or no state file; move it away, and another one is made;"
            " what is live is not kept for a restart, and it is tried again; health is degraded"
        )
        server.wait_for("watching .*; 1 module live")
        assert state.read_bytes() == b"\xff" * 10_000
        state.rename(state.with_name("damaged"))
        server.wait_for(f"what is live is kept in {state} again; health is ok")
        until_kept(state, "You are a smith.")
        server.end()


def test_a_program_that_locks_it_costs_health_and_no_service(modules: Path, save: Save) -> None:
    """At the start and under way; when it lets go all is well."""
    state = modules.parent / NAME
    save("smith.json", module_text())
    with running(*serve(modules), cwd=modules.parent) as server:
        server.wait_for("watching")
        until_kept(state, "You are a smith.")
        kill(server)
    save("smith.json", "{broken")
    locker = sqlite3.connect(state, isolation_level=None)
    locker.execute("PRAGMA locking_mode = EXCLUSIVE")
    locker.execute("BEGIN EXCLUSIVE")
    with running(*serve(modules), cwd=modules.parent) as server:
        server.wait_for(f"{state} is locked by another program; what is live is not kept .*; health is degraded")
        server.wait_for("watching")
        locker.close()
        server.wait_for(r"1 module brought back from the state file \(npc\.smith\)")
        server.wait_for("is kept in .* again; health is ok")
        other = sqlite3.connect(state, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        save("smith.json", module_text(instruction="Be gruff."))
        server.wait_for("npc.smith is live")
        server.wait_for("is locked by another program; .*; health is degraded")
        other.close()
        server.wait_for("health is ok")
        until_kept(state, "Be gruff.")
        server.end()


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder for the time of a ``with`` block."""
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on a disk; ``filler`` has it."""
    with open(disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0


@ROOT
def test_a_full_disk_costs_health_and_no_service(modules: Path, save: Save) -> None:
    """What is saved goes live; when there is room again, what is live is kept, with no restart."""
    disk = modules.parent / "disk"
    disk.mkdir()
    state = disk / "state.sqlite3"
    save("smith.json", module_text())
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        with running(*serve(modules, "--state", str(state)), cwd=modules.parent) as server:
            server.wait_for("watching .*; 1 module live")
            until_kept(state, "You are a smith.")
            fill(disk)
            save("smith.json", module_text(instruction="Be loud. " * 10_000))
            server.wait_for("npc.smith is live")
            server.wait_for(
                f"the disk of {state} is full; what is live is not kept for a restart, and it is tried again;"
                " health is degraded"
            )
            save("smith.json", module_text(instruction="Be gruff."))
            server.wait_for("npc.smith is live")
            (disk / "filler").unlink()
            server.wait_for(f"what is live is kept in {state} again; health is ok")
            until_kept(state, "Be gruff.")
            server.end()
        assert [line for line in server.lines if "health is" in line][2:] == []
        assert "Traceback" not in server.text


@ROOT
def test_a_disk_that_is_full_at_the_start_costs_health_and_no_service(modules: Path, save: Save) -> None:
    """There is room for nothing at all."""
    disk = modules.parent / "disk"
    disk.mkdir()
    state = disk / "state.sqlite3"
    save("smith.json", module_text())
    with mounted(disk, "-t", "tmpfs", "-o", "size=512k", "tmpfs"):
        fill(disk)
        with running(*serve(modules, "--state", str(state)), cwd=modules.parent) as server:
            server.wait_for(f"the disk of {state} is full; .*; health is degraded")
            server.wait_for("watching .*; 1 module live")
            (disk / "filler").unlink()
            server.wait_for("health is ok")
            server.end()
        assert kept(state) == ["You are a smith."]


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A modules directory that every user gets to: pytest's own folders are closed, again and again."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "modules").mkdir()
        yield Path(name) / "modules"


@ROOT
def test_a_file_that_may_not_be_written_is_read(everybodys: Path) -> None:
    """By another user, in a folder that is not theirs: what it keeps serves, and nothing is kept."""
    modules, folder = everybodys, everybodys.parent
    (modules / "smith.json").write_text(module_text())
    with running(*serve(modules), cwd=folder) as server:
        server.wait_for("watching")
        until_kept(folder / NAME, "You are a smith.")
        server.end()
    (modules / "smith.json").write_text("{broken")
    (folder / NAME).chmod(0o444)
    be_nobody()
    command = serve(modules, "--state", NAME, before=NOBODY, pidfile="")
    with running(*command, cwd=folder) as server:
        server.wait_for(
            f"{folder / NAME} can't be written; change its permissions or those of its folder, or name another file;"
            " what is live is not kept for a restart, and it is tried again; health is degraded"
        )
        server.wait_for("1 module brought back from the state file")
        server.wait_for("watching")
        server.end()
    be_nobody()
    command = serve(modules, "--state", "new.sqlite3", before=NOBODY, pidfile="")
    with running(*command, cwd=folder) as server:
        server.wait_for("new.sqlite3 can't be written; change its permissions or those of its folder")
        server.wait_for("watching")
        server.end()
    assert "Traceback" not in server.text


@ROOT
@pytest.mark.parametrize("cleanly", [True, False])
def test_a_disk_that_may_not_be_written_is_read(modules: Path, save: Save, cleanly: bool) -> None:
    """With the journal that a killed server left, and without."""
    disk = modules.parent / "disk"
    disk.mkdir()
    state = disk / "state.sqlite3"
    save("smith.json", module_text())
    with running(*serve(modules, "--state", str(state)), cwd=modules.parent) as server:
        server.wait_for("watching")
        until_kept(state, "You are a smith.")
        server.end() if cleanly else kill(server)
    save("smith.json", "{broken")
    command = serve(modules, "--state", str(state))
    with mounted(disk, "--bind", "-o", "ro", str(disk)), running(*command, cwd=modules.parent) as server:
        server.wait_for(f"{state} lies on a file system that is read-only; .*; health is degraded")
        server.wait_for("1 module brought back from the state file")
        server.wait_for("watching")
        server.end()
    assert kept(state) == ["You are a smith."]
