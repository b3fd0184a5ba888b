"""One soak: a directory, a server and three writers, and what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.soak.content import WRITERS, places, text_of
from tests.soak.record import Record, Sample, files_of, read_events, read_journals, undocumented

__all__ = ["Soak", "run"]

ROOT = Path(__file__).resolve().parents[2]

_READY = 120.0  # seconds that a start may take on a busy machine
_SETTLE = 60.0  # six of the timer's passes
_SAMPLES = 480

Tell = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Soak:
    """How long, how much.

    :ivar faults: what goes wrong on purpose; see the server's settings.
    """

    minutes: float = 40.0
    saves: int = 100_000
    modules: int = 500
    faults: tuple[str, ...] = ()

    @property
    def sample(self) -> float:
        """Seconds between two samples."""
        return max(0.1, self.minutes * 60 / _SAMPLES)


class _Child:
    """A process of ours, whose lines of JSON are read; it dies with us."""

    def __init__(self, module: str, settings: dict[str, Any]) -> None:
        arguments = json.dumps({**settings, "parent": os.getpid()})
        self.popen = subprocess.Popen(
            [sys.executable, "-m", f"tests.soak.{module}", arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.samples: deque[Sample] = deque()
        self._lines: deque[dict[str, Any] | int] = deque()
        self._arrived = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            words = json.loads(line)
            with self._arrived:
                if isinstance(words, dict) and "sample" in words:
                    self.samples.append(Sample(**words["sample"]))
                else:
                    self._lines.append(words)
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def line(self, limit: float) -> Any:
        """Wait for the next line that is no sample."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._lines or self._ended, limit)
            if not self._lines:
                raise RuntimeError(f"{self.popen.args!r} {'ended' if self._ended else 'says nothing'}")
            return self._lines.popleft()

    def order(self, words: str) -> Any:
        """Send a line, and wait for the answer."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{words}\n")
        self.popen.stdin.flush()
        return self.line(_READY)

    def end(self) -> None:
        """End it, whatever it does."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


def run(soak: Soak, tell: Tell) -> Record:
    """Soak, and return what was seen.

    :param tell: is told how far it is, once a minute.
    """
    with tempfile.TemporaryDirectory(prefix="dspyreload-soak-") as folder, contextlib.ExitStack() as children:
        return _Run(soak, Path(folder), children, tell).run()


class _Run:
    def __init__(self, soak: Soak, folder: Path, children: contextlib.ExitStack, tell: Tell) -> None:
        self.soak, self.folder, self._children, self._tell = soak, folder, children, tell
        self.modules = folder / "modules"
        self.journals = [folder / f"writer-{writer}" for writer in WRITERS]
        self._begun = time.monotonic()

    def run(self) -> Record:
        self._first_files()
        server = self._start(
            "server",
            modules=str(self.modules),
            state=str(self.folder / "state.db"),
            events=str(self.folder / "events"),
            count=self.soak.modules,
            sample=self.soak.sample,
            faults=list(self.soak.faults),
        )
        ready = server.line(_READY)
        if "ready" not in ready:
            raise RuntimeError(f"the server does not start: {ready}")
        self._begun = time.monotonic()
        server.samples.clear()
        writers = [self._start("writer", **settings) for settings in self._writers()]
        self._wait(server, writers)
        samples, seconds = list(server.samples), time.monotonic() - self._begun
        said, settled = self._settle(server)
        left = server.order("stop")["left"]
        did, saved, gaps = read_journals(self.journals)
        latencies, absences = read_events(self.folder / "events", saved)
        return Record(
            modules=self.soak.modules,
            seconds=seconds,
            samples=samples,
            did=did,
            disk=files_of(self.modules),
            served=said["served"],
            stats=said["stats"],
            counted=said["counted"],
            wrong=said["wrong"],
            wrong_count=server.samples[-1].wrong,
            away=undocumented(absences, gaps),
            latencies=latencies,
            settled=settled,
            health=said["health"] if not self.soak.faults else "ok",
            problems=said["problems"],
            left=_ours(left),
        )

    def _first_files(self) -> None:
        for place in places(self.soak.modules):
            path = place.path(self.modules)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text_of(place, 0))

    def _start(self, module: str, **settings: Any) -> _Child:
        child = _Child(module, settings)
        self._children.callback(child.end)
        return child

    def _writers(self) -> Iterator[dict[str, Any]]:
        for number, writer in enumerate(WRITERS):
            yield {
                "modules": str(self.modules),
                "journal": str(self.journals[number]),
                "writer": writer,
                "count": self.soak.modules,
                "saves": self.soak.saves // len(WRITERS) + (number < self.soak.saves % len(WRITERS)),
                "seconds": self.soak.minutes * 60,
            }

    def _wait(self, server: _Child, writers: list[_Child]) -> None:
        """Wait until all is written, and say each minute how it goes."""
        told = 0
        while any(writer.popen.poll() is None for writer in writers):
            time.sleep(0.2)
            if server.popen.poll() is not None:
                raise RuntimeError(f"the server has ended with {server.popen.returncode}")
            minutes = int((time.monotonic() - self._begun) / 60)
            if minutes > told and server.samples:
                told = minutes
                self._tell(_progress(minutes, server.samples[-1]))
        for writer in writers:
            if writer.popen.returncode:
                raise RuntimeError(f"a writer has ended with {writer.popen.returncode}")

    def _settle(self, server: _Child) -> tuple[dict[str, Any], float]:
        """Wait until what is served is what is on the disk, and all that was counted was heard."""
        begun, disk = time.monotonic(), files_of(self.modules)
        while True:
            said = server.order("served")
            seconds = time.monotonic() - begun
            heard = said["counted"].get("ModuleChanged", 0) == said["stats"]["reloads_total"]
            if (said["served"] == disk and heard) or seconds > (_SETTLE if not self.soak.faults else 2.0):
                return said, seconds
            time.sleep(0.1)


def _progress(minutes: int, sample: Sample) -> str:
    return (
        f"{minutes:>3} min: {sample.reloads:,} versions live, generation {sample.generation:,}, {sample.looks:,} looks,"
        f" {sample.wrong} wrong, {sample.memory / (1 << 20):.1f} MiB, {sample.threads} threads,"
        f" {sample.descriptors} descriptors, state file {sample.state / (1 << 20):.1f} MiB"
    )


def _ours(threads: list[str]) -> list[str]:
    return [name for name in threads if name.startswith("dspyreload")]
