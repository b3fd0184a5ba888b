"""Real processes, and waiting for what they print."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0


class Process:
    """A process whose lines can be waited for; it is killed at the end whatever happens."""

    def __init__(self, *arguments: str, cwd: Path, **environment: str) -> None:
        self.lines: list[str] = []
        self._arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.popen = subprocess.Popen(
            arguments,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._arrived.put(line.rstrip("\n"))
        self._arrived.put(None)

    @property
    def text(self) -> str:
        """All lines that were waited past."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for the next line that matches, and return the match."""
        until = time.monotonic() + LIMIT
        while True:
            try:
                line = self._arrived.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line like {pattern!r} within {LIMIT} s; so far:\n{self.text}") from None
            if line is None:
                raise AssertionError(f"the process ended without a line like {pattern!r}:\n{self.text}")
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def finish(self) -> int:
        """Wait until the process ends by itself, and return its exit status; all its lines are in ``lines`` then."""
        status = self.popen.wait(LIMIT)
        while (line := self._arrived.get(timeout=LIMIT)) is not None:
            self.lines.append(line)
        return status

    def end(self) -> None:
        """Ask the process to end, as ``kill`` does, and hold it to that. Newer Twisteds pass the signal on."""
        self.popen.send_signal(signal.SIGTERM)
        assert self.finish() in (0, -signal.SIGTERM), self.text

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.kill()
        self.popen.wait(LIMIT)


@contextlib.contextmanager
def running(*arguments: str, cwd: Path, **environment: str) -> Iterator[Process]:
    """Run a process for the time of a ``with`` block."""
    process = Process(*arguments, cwd=cwd, **environment)
    try:
        yield process
    finally:
        process.kill()


def twistd(*arguments: str) -> tuple[str, ...]:
    """Return the command line of ``twistd`` in this environment."""
    return (str(Path(sys.executable).with_name("twistd")), *arguments)


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
