"""System calls that fail or take long, and a process without descriptors: a real server, a real kernel."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Save
from tests.end_to_end.processes import LIMIT, running
from tests.faults.game import text
from tests.faults.machine import needs
from tests.faults.parent import Child, Said, serving
from tests.faults.rows import Seen, row

DELAY = 3.0  # seconds that each open of a slow disk takes
SETTINGS = {"rescan_interval": 0.5}


@contextlib.contextmanager
def injected(child: Child, call: str, fault: str, *files: Path) -> Iterator[Path]:
    """Let a system call of a server fail, or wait, for the time of a ``with`` block, where it is about these files.

    :return: what strace writes: each call that it touched.
    """
    written = files[0].parent.parent / "strace.out"
    paths = [word for file in files for word in ("-P", str(file))]
    attach = ("strace", "-f", "-p", str(child.pid), "-o", str(written), "-e", f"trace={call}", "-e", "signal=none")
    with running(*attach, "-e", f"inject={call}:{fault}", *paths, cwd=written.parent) as strace:
        strace.wait_for(f"Process {child.pid} attached")
        yield written
        strace.popen.send_signal(signal.SIGINT)  # it lets go
        strace.popen.wait(LIMIT)


@row(25)
def test_row_25_io_error(modules: Path, save: Save, seen: Seen) -> None:
    """A file whose read fails is rejected once, and its last good version serves; when it can be read it is live."""
    needs("strace")
    smith, _cook = save("npc/smith.json", text("Smith 1.")), save("npc/cook.json", text("Cook 1."))
    with serving(modules, settings=SETTINGS) as child:
        with injected(child, "read", "error=EIO", smith) as written:
            save("npc/smith.json", text("Smith 2."))
            rejected = child.event("ReloadError", "npc/smith.json")
            assert rejected["error"] == "the file can't be read: Input/output error; ask who keeps this machine"
            save("npc/cook.json", text("Cook 2."))  # one bad file is in nobody's way
            child.until(lambda report: report["served"]["npc/cook.json"] == "Cook 2.")
            report = child.passes(4)
            assert report["served"]["npc/smith.json"] == "Smith 1."
            assert (report["reloads_failed"], len(child.events("ReloadError"))) == (1, 1)
            (line,) = child.lines("error")
            assert line.startswith(f"npc/smith.json: {rejected['error']}; version {rejected['serving'][:12]} of npc")
            failed = written.read_text().count("EIO (Input/output error) (INJECTED)")
            assert failed >= 2 + 4  # two looks, then each pass tries again
        report = child.until(lambda report: report["served"]["npc/smith.json"] == "Smith 2.")
        assert (report["health"], report["reloads_failed"]) == (["ok"], 1)
        stopped = child.end()
    seen(f"EIO in {failed} reads: 1 `ReloadError`, live when the disk is well")
    seen(f"stopped in {stopped * 1e3:.0f} ms")


@row(25)
def test_row_25_slow_disk(modules: Path, save: Save, seen: Seen) -> None:
    """A pass whose opens take long takes long, and the reactor does not wait for it: the pulse goes on."""
    needs("strace")
    files = [save(f"npc/{name}.json", text("Version 1.")) for name in ("cook", "smith")]
    with serving(modules, settings={"rescan_interval": 60.0}) as child:
        with injected(child, "openat", f"delay_enter={DELAY * 1e6:.0f}", *files) as written:
            child.report()
            began = time.monotonic()
            for file in files:
                file.write_text(text("Version 2."))
            report = child.report()
            longest: list[float] = [report["longest"]]

            def live(report: Said) -> bool:
                longest.append(report["longest"])
                return set(report["served"].values()) == {"Version 2."}

            report = child.until(live)
            took = time.monotonic() - began
        # Each of them was held up in a pass, and not the reactor: that would have stood still for as long.
        assert len(re.findall(r"O_RDONLY.*\(DELAYED\)", written.read_text())) >= len(files)
        assert took >= DELAY * len(files)
        assert max(longest) < DELAY / 2
        assert report["reloads_failed"] == 0
        assert child.events("ReloadError") == []
        stopped = child.end()
    seen(
        f"opens of {DELAY} s each: the pass took {took:.1f} s, the reactor's pulse {max(longest) * 1e3:.0f} ms at most"
    )
    seen(f"stopped in {stopped * 1e3:.0f} ms")


class Descriptors:
    """What a process may open."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        words = ("--nofile", "--raw", "--noheadings", "--output", "SOFT")
        self.before = self._prlimit(*words).strip()

    def _prlimit(self, *words: str) -> str:
        command = ("prlimit", "--pid", str(self.pid), *words)
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def none_left(self) -> None:
        """Let every open fail from now on: the first free number is none that it may have."""
        free = min(self._first_free() for _ in range(50))  # a pass may be using some just now
        self._prlimit(f"--nofile={free}:")

    def _first_free(self) -> int:
        time.sleep(0.002)
        used = {int(name) for name in os.listdir(f"/proc/{self.pid}/fd")}
        return next(number for number in range(len(used) + 1) if number not in used)

    def enough(self) -> None:
        """Allow as many as at first."""
        self._prlimit(f"--nofile={self.before}:")


@row(27)
def test_row_27_no_descriptors_left_while_it_runs(modules: Path, save: Save, seen: Seen) -> None:
    """The last good versions serve, and health says why; when there are some again, all is live, and watched again."""
    needs("prlimit")
    save("npc/smith.json", text("Smith 1."))
    with serving(modules, state=str(modules.parent / "state.sqlite3"), settings=SETTINGS) as child:
        descriptors = Descriptors(child.pid)
        descriptors.none_left()
        save("npc/smith.json", text("Smith 2."))
        report = child.until(lambda report: report["health"] != ["ok"])
        reason = f"{modules}: the modules directory can't be looked at (Too many open files); "
        assert report["health"] == ["failing", reason + "generation 1 is still serving"]
        modules.rename(modules.parent / "old")  # and what was watched is there no more
        save("npc/smith.json", text("Smith 3."))
        time.sleep(3 * SETTINGS["rescan_interval"])  # passes that fail tell of themselves but once
        report = child.report()
        assert (report["served"], report["health"][0]) == ({"npc/smith.json": "Smith 1."}, "failing")
        began = time.monotonic()
        descriptors.enough()
        child.until(lambda report: report["served"] == {"npc/smith.json": "Smith 3."})
        recovered = time.monotonic() - began
        child.until(lambda report: report["health"] == ["ok"])
        save("npc/smith.json", text("Smith 4."))
        report = child.until(lambda report: report["served"] == {"npc/smith.json": "Smith 4."})
        assert (report["reloads_total"], report["reloads_failed"]) == (3, 0)
        assert child.lines("error", "warn") == [f"{reason}generation 1 is still serving; health is failing"]
        assert child.events("ReloadError") == child.events("ModuleDeleted") == []
        stopped = child.end()
    seen(f"running: health `failing`, last good version; {recovered:.1f} s after the limit is raised all is live")
    seen(f"stopped in {stopped * 1e3:.0f} ms")


@row(27)
def test_row_27_no_descriptors_left_when_it_starts(modules: Path, save: Save, seen: Seen) -> None:
    """No watch, no state file and no pass: health names all three; when there are descriptors, each is well again."""
    needs("prlimit")
    save("npc/smith.json", text("Smith 1."))
    state = modules.parent / "state.sqlite3"
    with serving(modules, wait=False, late=True, state=str(state), settings=SETTINGS) as child:
        descriptors = Descriptors(child.pid)
        descriptors.none_left()
        os.kill(child.pid, signal.SIGUSR2)
        report = child.until(lambda report: len(report["health"]) == 4)
        status, *reasons = report["health"]
        assert status == "failing"
        assert sorted(reasons) == sorted(
            [
                f"{modules}: the modules directory can't be looked at (Too many open files); "
                "nothing is served; it is waited for",
                f"{modules} can't be watched: this process has no file descriptors left; raise its limit (ulimit -n, "
                "LimitNOFILE); the timer looks at it all the same",
                f"{state} can't be used: [Errno 24] Too many open files: '{state}'; "
                "what is live is not kept for a restart, and it is tried again",
            ]
        )
        assert report["served"] == {}
        began = time.monotonic()
        descriptors.enough()
        child.told("ready")
        report = child.until(lambda report: report["health"] == ["ok"])
        recovered = time.monotonic() - began
        assert report["served"] == {"npc/smith.json": "Smith 1."}
        assert any("is watched with inotify again" in line for line in child.lines("info"))
        save("npc/smith.json", text("Smith 2."))
        child.until(lambda report: report["served"] == {"npc/smith.json": "Smith 2."})
        assert len(child.lines("error", "warn")) == 3
        stopped = child.end()
    # What was live when it ended is in the state file, though that could not be opened at first.
    save("npc/smith.json", "{")
    with serving(modules, state=str(state), settings=SETTINGS) as child:
        report = child.report()
        assert report["served"] == {"npc/smith.json": "Smith 2."}
        child.end()
    seen(
        f"at start: watcher, state file and passes fail, {recovered:.1f} s after the limit is raised all three are well"
    )
    seen(f"stopped in {stopped * 1e3:.0f} ms")
