"""A server killed at any moment."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import random
import re
import signal
import sys
import threading
import time
from pathlib import Path

from tests.end_to_end.processes import LIMIT, ROOT, Process, running
from tests.faults.killed import DEBOUNCE, text
from tests.faults.rows import Seen, row

KILLS = 100  # of each of two servers
IDS = ("npc.bard", "npc.cook", "npc.smith")


class Writer(threading.Thread):
    """Somebody who saves modules all the time, in every way that editors and scripts have.

    :ivar written: the numbers that were begun, by id.
    :ivar longest: the longest time that a file was not there, in seconds, by id.
    """

    def __init__(self, modules: Path, seed: int) -> None:
        super().__init__(name="writer", daemon=True)
        self.modules, self.random = modules, random.Random(seed)
        self.written = dict.fromkeys(IDS, 0)
        self.longest = dict.fromkeys(IDS, 0.0)
        self._over = threading.Event()

    def file(self, module_id: str) -> Path:
        """Return where a module is."""
        return self.modules / f"{module_id.replace('.', '/')}.json"

    def run(self) -> None:
        while not self._over.is_set():
            self.save_one()
            self._over.wait(self.random.uniform(0, 0.15))

    def save_all(self) -> None:
        """Save every module whole, as the number that it is at."""
        for module_id, number in self.written.items():
            self._replace(module_id, text(module_id, number))

    def stop(self) -> None:
        """Finish the save that is under way, and save no more."""
        self._over.set()
        self.join(LIMIT)
        assert not self.is_alive()

    def save_one(self) -> None:
        """Save the next number of some module in some way."""
        module_id = self.random.choice(IDS)
        self.written[module_id] += 1
        save = self.random.choice((self._replace, self._rewrite, self._slowly, self._like_vim, self._unlink))
        save(module_id, text(module_id, self.written[module_id]))

    def _replace(self, module_id: str, whole: str) -> None:
        file = self.file(module_id)
        file.parent.mkdir(exist_ok=True)
        other = file.with_name(f".{file.name}.tmp")
        other.write_text(whole)
        other.replace(file)

    def _rewrite(self, module_id: str, whole: str) -> None:
        self.file(module_id).write_text(whole)

    def _slowly(self, module_id: str, whole: str) -> None:
        """Truncate, and write piece by piece: torn for longer than a quiet window, most of the time."""
        cuts = sorted(self.random.sample(range(len(whole)), 3))
        with self.file(module_id).open("w") as file:
            for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                file.write(whole[start:end])
                file.flush()
                time.sleep(self.random.uniform(0, 2 * DEBOUNCE))

    def _like_vim(self, module_id: str, whole: str) -> None:
        file = self.file(module_id)
        other = file.with_name(f"{file.name}~")
        began = time.monotonic()
        file.rename(other)
        file.write_text(whole)
        self._was_away(module_id, began)
        other.unlink()

    def _unlink(self, module_id: str, whole: str) -> None:
        began = time.monotonic()
        self.file(module_id).unlink()
        self.file(module_id).write_text(whole)
        self._was_away(module_id, began)

    def _was_away(self, module_id: str, began: float) -> None:
        self.longest[module_id] = max(self.longest[module_id], time.monotonic() - began)


class SetWriter(Writer):
    """Somebody who deploys all modules together, with a manifest that has their hashes."""

    def save_one(self) -> None:
        number = self.written[IDS[0]] + 1
        self.written = dict.fromkeys(IDS, number)
        ways = (self._replace, self._rewrite, self._slowly, self._over_it)
        for name in self.random.sample((*IDS, "manifest"), len(IDS) + 1):
            if name == "manifest":
                self._manifest()
            else:
                self.random.choice(ways)(name, text(name, number))
            time.sleep(self.random.uniform(0, DEBOUNCE))

    def save_all(self) -> None:
        super().save_all()
        self._manifest()

    def _over_it(self, module_id: str, whole: str) -> None:
        """Write over the old bytes, the first half first: for a while it is half of each, and good JSON."""
        with self.file(module_id).open("r+") as file:
            file.write(whole[: len(whole) // 2])
            file.flush()
            time.sleep(self.random.uniform(0, 2 * DEBOUNCE))
            file.write(whole[len(whole) // 2 :])

    def _manifest(self) -> None:
        entries = {
            module_id: {
                "path": str(self.file(module_id).relative_to(self.modules)),
                "hash": hashlib.sha256(text(module_id, number).encode()).hexdigest(),
                "tags": [],
            }
            for module_id, number in self.written.items()
        }
        whole = json.dumps({"version": "1.0", "modules": entries})
        self.random.choice((self._replace, self._rewrite, self._slowly))("manifest", whole)


class Victim:
    """A server that is started and killed again and again, and what it says is checked.

    :ivar ready: how often it came to be ready. ``commits``: what went live. ``excused``: modules that were not there,
        since the machine stood still while somebody saved them.
    """

    def __init__(self, process: Process, writer: Writer, *, together: bool) -> None:
        self.process, self.writer, self.together = process, writer, together
        self.random = random.Random(31)
        self.ready = self.commits = self.excused = 0
        self._kept = dict.fromkeys(IDS, 0)  # what it had kept when it last began
        self._begins = True

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line, and look at those on the way."""
        seen = len(self.process.lines)
        match = self.process.wait_for(pattern)
        for number, line in enumerate(self.process.lines[seen:], seen + 1):
            wrong = self._wrong(line)
            assert not wrong, "\n".join([wrong, *self.process.lines[max(0, number - 40) : number]])
        return match

    def kill(self) -> None:
        """Let the next one begin, and kill it: at once, when it is ready, or after some reloads."""
        pid = int(self.wait_for(r"^begun (\d+)")[1])
        moment = self.random.choice(("start", "ready", "later"))
        if moment != "start":
            self.wait_for("^ready")
        for _ in range(self.random.randint(1, 2) if moment == "later" else 0):
            self.wait_for("^live")
        time.sleep(self.random.uniform(0, DEBOUNCE))
        os.kill(pid, signal.SIGKILL)
        assert self.wait_for(r"^ended (-?\d+)")[1] == str(-signal.SIGKILL)

    def serve(self, numbers: dict[str, int]) -> None:
        """Let the next one begin, wait until it serves these numbers, and have it stop as it should."""
        pid = int(self.wait_for(r"^begun (\d+)")[1])
        found = json.loads(self.wait_for("^ready (.*)")[1])
        while found["numbers"] != numbers:
            found = json.loads(self.wait_for("^live (.*)")[1])
        os.kill(pid, signal.SIGTERM)
        assert self.wait_for(r"^ended (-?\d+)")[1] == "0"

    def _wrong(self, line: str) -> str:
        """Say what is wrong with what it says, or nothing."""
        word, _, rest = line.partition(" ")
        self._begins = self._begins or word == "begun"
        if word not in ("ready", "live"):
            return "" if word in ("begun", "ended", "log") else line
        self.ready += word == "ready"
        self.commits += word == "live"
        seen = json.loads(rest)
        numbers = seen["numbers"]
        if seen["health"] != "ok":
            return "its health is not ok"
        if self.together and len(set(numbers.values())) > 1:
            return "it serves modules of several sets"
        wrong = "".join(self._wrong_of(module_id, numbers) for module_id in IDS)
        if self._begins:  # what it serves at first is what it had kept
            self._kept |= {module_id: number or 0 for module_id, number in numbers.items()}
            self._begins = False
        return wrong

    def _wrong_of(self, module_id: str, numbers: dict[str, int | None]) -> str:
        if module_id not in numbers:
            # Gone at two looks, a quiet window apart, is gone: only a machine that stands still makes it so.
            self.excused += 1
            return "" if self.writer.longest[module_id] >= DEBOUNCE else f"{module_id} is missing"
        number = numbers[module_id]
        if number is None:
            return f"{module_id} is torn"
        if not self._kept[module_id] <= number <= self.writer.written[module_id]:
            return f"{module_id} is older than what was kept, or was never written"
        return ""


def kill_often(directory: Path, kind: type[Writer], *, together: bool) -> Victim:
    """Kill a server a hundred times while somebody saves; then it serves what was saved last, whatever is broken."""
    modules = directory / "modules"
    modules.mkdir(parents=True)
    writer = kind(modules, seed=31)
    writer.save_all()
    command = (sys.executable, "-m", "tests.faults.killed", str(modules), str(directory / "state.sqlite3"), *IDS)
    with running(*command, cwd=ROOT) as process:
        victim = Victim(process, writer, together=together)
        victim.serve(dict.fromkeys(IDS, 0))  # from now on each file was once good
        writer.start()
        try:
            for _ in range(KILLS):
                victim.kill()
        finally:
            writer.stop()
        victim.serve(writer.written)
        for module_id in IDS:
            file = writer.file(module_id)
            os.truncate(file, file.stat().st_size // 2)
        victim.serve(writer.written)
    return victim


@row(31)
def test_row_31_killed_at_any_moment(tmp_path: Path, seen: Seen) -> None:
    """Killed two hundred times while files are saved, it starts with a whole snapshot each time.

    Whole: no module is missing or torn, and none is older than what an earlier start had kept. With one server the
    files stand alone; with the other a manifest lists them with their hashes: they are always of one set.
    """
    with concurrent.futures.ThreadPoolExecutor(2) as lanes:
        alone = lanes.submit(kill_often, tmp_path / "alone", Writer, together=False)
        listed = lanes.submit(kill_often, tmp_path / "listed", SetWriter, together=True)
        victims = alone.result(), listed.result()
    for victim in victims:
        assert KILLS / 2 < victim.ready < KILLS  # some were killed before, most after
        assert victim.commits > KILLS / 4
    ready, commits, excused = (
        sum(getattr(victim, name) for victim in victims) for name in ("ready", "commits", "excused")
    )
    seen(f"{2 * KILLS} kills, {ready} starts to the end, {commits} commits: no snapshot with a module torn or older")
    seen(f"{excused} times a module was missing, since its file was for long")
