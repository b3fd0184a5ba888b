"""A server that runs in the background."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.conftest import Save
from tests.end_to_end.processes import LIMIT, running, twistd
from tests.faults.game import text
from tests.faults.parent import STOP_LIMIT
from tests.faults.rows import Seen, row


def has_ended(pid: int) -> bool:
    """Say whether a process that is not ours has ended, be it that nobody has asked for its status yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@row(22)
def test_row_22_daemonized(modules: Path, save: Save, seen: Seen) -> None:
    """In the background, from another directory: a save is live, SIGHUP looks at all, SIGTERM leaves nothing behind."""
    save("npc/smith.json", text("Smith 1."))
    there, beside = modules.parent / "elsewhere", modules.parent / "run"
    there.mkdir()
    beside.mkdir()
    os.link(modules / "npc/smith.json", there / "smith.json")
    pidfile, log = beside / "game.pid", beside / "game.log"
    log.touch()
    pid = 0
    with running("tail", "-n", "+1", "-F", str(log), cwd=beside) as tail:
        options = ("--pidfile", "../run/game.pid", "--logfile", "../run/game.log")
        command = twistd(*options, "dspyreload", "--modules", "../modules", "--rescan", "3600")
        with running(*command, cwd=there) as starter:
            assert starter.popen.wait(LIMIT) == 0
        try:
            tail.wait_for(r"watching .*/modules \(\w+\); 1 module live, generation 1")
            pid = int(pidfile.read_text())
            save("npc/smith.json", text("Smith 2."))
            after = tail.wait_for(
                r"npc\.smith is live: version [0-9a-f]{12}, generation 2, (\d+\.\d\d) s after the save"
            )
            # No event tells of bytes that are written through another name, nor does the timer within this hour.
            (there / "smith.json").write_text(text("Smith 3."))
            os.kill(pid, signal.SIGHUP)
            tail.wait_for("SIGHUP: looking at all modules")
            tail.wait_for(r"npc\.smith is live: version [0-9a-f]{12}, generation 3")
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            tail.wait_for("Server Shut Down")
            while not has_ended(pid):
                assert time.monotonic() < began + STOP_LIMIT
                time.sleep(0.01)
            stopped, pid = time.monotonic() - began, 0
        finally:
            if pid:
                os.kill(pid, signal.SIGKILL)
    assert "Traceback" not in tail.text
    assert {file.name for file in beside.iterdir()} == {"game.log", "dspyreload.sqlite3"}
    assert {file.name for file in there.iterdir()} == {"smith.json"}
    seen(f"a save is live after {after[1]} s; SIGHUP finds what no event told of")
    seen(f"SIGTERM: no process and no pid file after {stopped:.2f} s")
