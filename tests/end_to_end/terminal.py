"""A real process on a pseudo-terminal, as a person sees it: :class:`Terminal`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

__all__ = ["Terminal"]

_LIMIT = 30.0


class Terminal:
    """Runs a command; what it draws is on :attr:`screen`. Ends it at the end of a ``with`` block.

    :param command: the program and its arguments.
    :param columns: width; ``rows``: height.
    """

    def __init__(
        self,
        *command: str,
        columns: int = 100,
        rows: int = 40,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        # The program asks where the cursor is, as it may of any terminal.
        self.screen.write_process_input = lambda data: self.child.send(data)  # type: ignore[method-assign]
        self.recording: list[tuple[float, str]] = []
        self._since = time.monotonic()
        self.child = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(rows, columns),
            env={**os.environ, "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            encoding="utf-8",
            timeout=_LIMIT,
        )

    @classmethod
    def of_dspyreload(cls, *arguments: str, home: Path, columns: int = 100, rows: int = 40) -> Terminal:
        """Run ``dspyreload`` with a home directory of its own."""
        env = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "NO_COLOR": "1"}
        return cls(sys.executable, "-m", "dspyreload", *arguments, env=env, columns=columns, rows=rows)

    def text(self) -> str:
        """Return what is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def _take(self, timeout: float) -> bool:
        """Draw what arrives within some seconds; say whether the program goes on."""
        try:
            data = self.child.read_nonblocking(65536, timeout=timeout)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.recording.append((time.monotonic() - self._since, data))
        self._stream.feed(data)
        return True

    def until(self, wanted: str, *, times: int = 1, limit: float = _LIMIT) -> str:
        """Wait until a text is on the screen, so many times; return the whole of it."""
        end = time.monotonic() + limit
        while not self._shows(wanted, times):
            going = self._take(0.05)
            if self._shows(wanted, times):
                break
            if not going or time.monotonic() > end:
                state = "it has ended" if not going else f"not within {limit} s"
                raise AssertionError(f"{wanted!r} is not on the screen ({state}):\n{self.text()}")
        return self.text()

    def _shows(self, wanted: str, times: int) -> bool:
        texts = (self.text(), "".join(self.screen.display))  # the second, where a line is wrapped
        return any(text.count(wanted) >= times for text in texts)

    def keys(self, text: str) -> None:
        """Type a text, as it is."""
        self.child.send(text)

    def enter(self, text: str = "") -> None:
        """Type a line."""
        self.keys(f"{text}\r")

    def ended(self) -> int:
        """Wait until the program has ended; return its exit status."""
        end = time.monotonic() + _LIMIT
        while self._take(0.05):
            if time.monotonic() > end:
                raise AssertionError(f"it goes on:\n{self.text()}")
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -(self.child.signalstatus or 0))

    def pause(self, seconds: float) -> None:
        """Go on drawing for some seconds, for a recording."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._take(max(0.0, min(0.05, end - time.monotonic())))

    def cast(self) -> str:
        """Return the recording in asciinema's format, version 2."""
        head = {
            "version": 2,
            "width": self.screen.columns,
            "height": self.screen.lines,
            "env": {"TERM": "xterm-256color"},
        }
        rows = [json.dumps(head), *(json.dumps([round(at, 3), "o", data]) for at, data in self.recording)]
        return "\n".join(rows) + "\n"

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.child.close(force=True)
