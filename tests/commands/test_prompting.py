"""Where lines come from: a pipe; what completes them, and where the earlier ones are kept."""

from __future__ import annotations

import io
import os
import pwd
import threading
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from dspyreload.commands.prompting import PipePrompt, Words, _history, prompt_for
from dspyreload.testing import ReactorClock

MEANINGS = {"/again": "once more", "/all": "all of it", "smith": ""}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return home


# Completion


def completed(text: str) -> list[tuple[str, int, str]]:
    """Return what is offered at the end of a text, how much of it is replaced, and what each means."""
    words = Words(lambda _text: MEANINGS.items())
    found = words.get_completions(Document(text), CompleteEvent())
    return [(one.text, one.start_position, one.display_meta_text) for one in found]


def test_an_id_is_completed_by_its_end_too() -> None:
    """As it can be typed; what stands there is replaced by the whole id."""
    words = Words(lambda _text: [("npc.smith", ""), ("npc.town.bard", ""), ("smithy", "")])

    def offered(text: str) -> list[tuple[str, int]]:
        return [(one.text, one.start_position) for one in words.get_completions(Document(text), CompleteEvent())]

    assert offered("/module sm") == [("npc.smith", -2), ("smithy", -2)]
    assert offered("/module npc.t") == [("npc.town.bard", -5)]
    assert offered("/module ba") == [("npc.town.bard", -2)]
    assert offered("/module town") == []


def test_the_word_at_the_cursor_is_completed() -> None:
    assert completed("/a") == [("/again", -2, "once more"), ("/all", -2, "all of it")]
    assert completed("/module sm") == [("smith", -2, "")]
    assert completed("/module x") == []
    assert len(completed("/module ")) == 3


# A pipe


class Pipe:
    """A prompt on a pipe that holds some bytes.

    :ivar lines: what was read, None for the end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
        self.clock, self.lines = ReactorClock(), list[str | None]()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        self.prompt = PipePrompt(lambda: "smith> ", self.clock)

    def read(self) -> str | None:
        """Read a line."""
        count = len(self.lines)
        self.prompt.read().addCallback(self.lines.append)
        while len(self.lines) == count:
            self.clock.wait(5)
        return self.lines[-1]


def test_lines_of_a_pipe_come_one_by_one_and_are_echoed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that what is printed reads as a conversation; a last line without an end counts."""
    pipe = Pipe(monkeypatch, "Grüß Gott\r\n\n/quit".encode())
    assert pipe.read() == "Grüß Gott"
    assert capsys.readouterr().out == "smith> Grüß Gott\n"
    assert [pipe.read(), pipe.read(), pipe.read()] == ["", "/quit", None]
    assert capsys.readouterr().out == "smith> \nsmith> /quit\n"
    assert "dspyreload-stdin" not in {thread.name for thread in threading.enumerate() if not thread.daemon}


def test_a_line_that_nobody_waits_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(monkeypatch, b"one\ntwo\n")
    assert pipe.read() == "one"
    pipe.clock.run_calls()
    assert pipe.lines == ["one"]
    assert [pipe.read(), pipe.read()] == ["two", None]


def test_bytes_that_are_no_utf8_end_no_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is read with a mark in their place, and those after it come too."""
    pipe = Pipe(monkeypatch, b"one\nt\xffwo\nthree\n")
    assert pipe.read() == "one"
    assert "wo" in str(pipe.read())
    assert [pipe.read(), pipe.read()] == ["three", None]


def test_what_a_pipe_says_moves_no_cursor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of questions may come from anywhere; it is echoed to a terminal."""
    Pipe(monkeypatch, b"a\x1b[2Jb\n").read()
    assert "\x1b" not in capsys.readouterr().out


def test_a_pipe_that_is_told_to_end_ends_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal ends the conversation, whatever else may come."""
    read, write = os.pipe()
    with open(read, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        prompt, lines = PipePrompt(lambda: "> ", ReactorClock()), list[str | None]()
        prompt.read().addCallback(lines.append)
        prompt.end()
        os.close(write)  # lets the thread go that reads
        assert prompt._thread is not None
        prompt._thread.join(5)
    assert lines == [None]


def test_a_pipe_that_is_told_to_end_asks_no_more_of_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand questions that wait are not asked after a signal to end."""
    pipe = Pipe(monkeypatch, b"one\ntwo\nthree\n")
    assert pipe.read() == "one"
    while len(pipe.prompt._lines) < 3:
        pipe.clock.wait(5)
    pipe.prompt.end()
    assert pipe.read() is None


def test_what_is_no_terminal_is_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert isinstance(prompt_for(lambda: "> ", lambda _text: (), ReactorClock()), PipePrompt)


# The history


def files(directory: Path) -> list[str]:
    """Name the files of a directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_the_history_lies_where_the_user_keeps_state(tmp_path: Path, home: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    _history()
    assert files(tmp_path) == ["state/dspyreload/talk_history"]
    assert files(home) == []


def test_a_user_without_a_home_has_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no directory of the name ``~`` beside the modules."""

    def nobody(_uid: int) -> Any:
        raise KeyError(_uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert isinstance(_history(), InMemoryHistory)
    assert not (tmp_path / "~").exists()
