"""Where lines come from: a terminal, with prompt_toolkit, or a pipe."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import sys
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from twisted.internet.defer import Deferred

from dspyreload.commands.screen import clean
from dspyreload.reactor import IReactor

__all__ = ["PipePrompt", "TerminalPrompt", "Words"]

Complete = Callable[[str], Iterable[tuple[str, str]]]
"""Given the line up to the cursor: words that may follow, each with what it means."""


class Words(Completer):
    """Completes commands and what they take.

    :param complete: says what may follow.
    """

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterator[Completion]:
        """Complete the word before the cursor."""
        text = document.text_before_cursor
        word = text.rpartition(" ")[2]
        for name, meaning in self._complete(text):
            if name.startswith(word) or name.rpartition(".")[2].startswith(word):
                yield Completion(name, -len(word), display_meta=meaning)


class TerminalPrompt:
    """Asks on a terminal: the line can be edited, earlier ones come back, ``/`` completes.

    :param label: what stands before the line.
    """

    def __init__(self, label: Callable[[], str], complete: Complete) -> None:
        self._label = label
        self._session: PromptSession[str] = PromptSession(history=_history(), completer=Words(complete))
        self._quiet = _Quiet(sys.stdin.fileno())
        self._ended = False
        self._above = ""
        self._printing: asyncio.Future[None] | None = None

    def read(self) -> Deferred[str | None]:
        """Ask for a line; fires with it, or with None at the end (Ctrl-D, or Ctrl-C on an empty line)."""
        return Deferred.fromFuture(asyncio.ensure_future(self._read()))

    async def _read(self) -> str | None:
        while not self._ended:
            try:
                label = FormattedText([("bold", self._label())])
                line = await self._session.prompt_async(label, handle_sigint=False, set_exception_handler=False)
            except KeyboardInterrupt:
                if not self._session.default_buffer.document.text:
                    return None
            except EOFError:
                return None
            else:
                self._quiet.begin()
                return line
        return None

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._quiet.end()

    def write(self, text: str) -> None:
        """Print above the line that is being edited."""
        if not self._session.app.is_running and self._printing is None:
            _write(text)
            return
        self._above += text
        if self._printing is None:
            self._printing = asyncio.ensure_future(self._print())

    async def _print(self) -> None:
        while self._above:
            text, self._above = self._above, ""
            await run_in_terminal(functools.partial(_write, text))
        self._printing = None

    def end(self) -> None:
        """End the question that is open, or the next one."""
        self._ended = True
        if self._session.app.is_running:
            self._session.app.exit(exception=EOFError())


class _Quiet:
    """Keeps a terminal from showing what is typed ahead in the middle of an answer; the next line begins with it."""

    def __init__(self, handle: int) -> None:
        self._handle, self._before = handle, termios.tcgetattr(handle)
        atexit.register(self.end)

    def begin(self) -> None:
        with contextlib.suppress(termios.error):
            mode = termios.tcgetattr(self._handle)
            mode[3] &= ~termios.ECHO
            termios.tcsetattr(self._handle, termios.TCSADRAIN, mode)

    def end(self) -> None:
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(self._handle, termios.TCSADRAIN, self._before)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _history() -> History:
    """Return the lines of earlier conversations, in a file of the user's own, where that can be had."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state) / "dspyreload" / "talk_history"
    try:
        if state.startswith("~"):  # this user has no home
            return InMemoryHistory()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return _ForgivingHistory(path) if path.is_file() else InMemoryHistory()


class _ForgivingHistory(FileHistory):
    """A file that may become unreadable, or have no room left: then the lines are just not kept."""

    def load_history_strings(self) -> Iterable[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            super().store_string(string)


class PipePrompt:
    """Takes lines from the standard input, which is no terminal, and prints them."""

    def __init__(self, label: Callable[[], str], reactor: IReactor) -> None:
        self._label, self._reactor = label, reactor
        self._lines: list[str | None] = []
        self._waiting: Deferred[str | None] | None = None
        self._thread: threading.Thread | None = None

    def read(self) -> Deferred[str | None]:
        """Fire with the next line, or None at the end."""
        if self._thread is None:  # a daemon: one that waits for input keeps no process alive
            self._thread = threading.Thread(target=self._take, name="dspyreload-stdin", daemon=True)
            self._thread.start()
        self._waiting = Deferred()
        waiting = self._waiting
        self._give()
        return waiting

    def _take(self) -> None:
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="replace")
        try:
            for line in sys.stdin:
                self._reactor.callFromThread(self._put, line.rstrip("\r\n"))
        finally:
            self._reactor.callFromThread(self._put, None)

    def _put(self, line: str | None) -> None:
        self._lines.append(line)
        self._give()

    def _give(self) -> None:
        if self._waiting is not None and self._lines:
            waiting, self._waiting = self._waiting, None
            line = self._lines.pop(0)
            if line is not None:
                self.write(f"{self._label()}{clean(line)}\n")
            waiting.callback(line)

    def write(self, text: str) -> None:
        """Print."""
        _write(text)

    def close(self) -> None:
        """Do nothing: there is no terminal to give back."""

    def end(self) -> None:
        """Give the end to who waits, whatever was to come."""
        self._lines.clear()
        self._put(None)


Prompt = TerminalPrompt | PipePrompt


def prompt_for(label: Callable[[], str], complete: Complete, reactor: Any) -> Prompt:
    """Return a prompt that fits the standard input and output."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return TerminalPrompt(label, complete)
    return PipePrompt(label, reactor)
