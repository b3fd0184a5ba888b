"""Where lines come from: a terminal whose keys the test presses."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from dspyreload.commands.prompting import TerminalPrompt

Keys = Callable[[Callable[[PipeInput, TerminalPrompt], Coroutine[Any, Any, None]]], None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return home


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal as the standard input; its descriptor."""
    controller, terminal = os.openpty()
    with open(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield terminal
    os.close(controller)


@pytest.fixture
def keys(tty: int) -> Keys:
    """Run a coroutine function with keys to press, and a prompt that takes them."""

    def run(test: Callable[[PipeInput, TerminalPrompt], Coroutine[Any, Any, None]]) -> None:
        async def with_prompt(pressed: PipeInput) -> None:
            prompt = TerminalPrompt(lambda: "smith> ", lambda _text: [("/again", "once more")])
            try:
                await test(pressed, prompt)
            finally:
                prompt.close()

        with create_pipe_input() as pressed, create_app_session(input=pressed, output=DummyOutput()):
            asyncio.run(asyncio.wait_for(with_prompt(pressed), 10))

    return run


async def line(prompt: TerminalPrompt) -> str | None:
    """Read one."""
    return await prompt.read().asFuture(asyncio.get_running_loop())


def echoes(tty: int) -> bool:
    """Say whether the terminal shows what is typed."""
    return bool(termios.tcgetattr(tty)[3] & termios.ECHO)


def test_a_line_is_edited_and_read_and_earlier_ones_come_back(keys: Keys) -> None:
    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        pressed.send_text("Hellp\x7fo\r")
        assert await line(prompt) == "Hello"
        pressed.send_text("\x1b[A\r")
        assert await line(prompt) == "Hello"

    keys(test)


def test_ctrl_d_and_ctrl_c_on_an_empty_line_are_the_end(keys: Keys) -> None:
    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        pressed.send_text("\x04")
        assert await line(prompt) is None
        pressed.send_text("\x03")
        assert await line(prompt) is None

    keys(test)


def test_ctrl_c_drops_what_was_typed_and_asks_again(keys: Keys) -> None:
    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        pressed.send_text("dropped\x03")
        reading = asyncio.ensure_future(line(prompt))
        await asyncio.sleep(0.1)
        pressed.send_text("kept\r")
        assert await reading == "kept"

    keys(test)


def test_a_question_that_is_open_can_be_ended(keys: Keys) -> None:
    async def test(_pressed: PipeInput, prompt: TerminalPrompt) -> None:
        reading = asyncio.ensure_future(line(prompt))
        while not prompt._session.app.is_running:
            await asyncio.sleep(0)
        prompt.end()
        assert await reading is None

    keys(test)


def test_an_end_that_comes_while_nothing_is_asked_ends_the_next_question(keys: Keys) -> None:
    """A signal comes while an answer is being said."""

    async def test(_pressed: PipeInput, prompt: TerminalPrompt) -> None:
        prompt.end()
        assert await asyncio.wait_for(line(prompt), 20) is None

    keys(test)


def test_what_is_printed_while_a_line_is_edited_comes_in_order(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        prompt.write("before\n")
        reading = asyncio.ensure_future(line(prompt))
        while not prompt._session.app.is_running:
            await asyncio.sleep(0)
        for number in range(50):
            prompt.write(f"{number}\n")
        while prompt._printing is not None:
            await asyncio.sleep(0)
        prompt.write("late\n")
        pressed.send_text("Hello\r")
        assert await reading == "Hello"
        while prompt._printing is not None:
            await asyncio.sleep(0)
        prompt.write("after\n")

    keys(test)
    printed = capsys.readouterr().out
    assert printed.split() == ["before", *map(str, range(50)), "late", "after"]


def test_what_is_typed_ahead_is_not_shown_within_an_answer(keys: Keys, tty: int) -> None:
    """And the terminal is given back as it was."""

    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        assert echoes(tty)
        pressed.send_text("Hello\r")
        await line(prompt)
        assert not echoes(tty)

    keys(test)
    assert echoes(tty)


def files(directory: Path) -> list[str]:
    """Name the files of a directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_the_history_is_one_file_of_the_users_own_and_nothing_else_is_touched(keys: Keys, home: Path) -> None:
    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        pressed.send_text("Hello\r")
        await line(prompt)

    keys(test)
    assert files(home) == [".local/state/dspyreload/talk_history"]
    file = home / files(home)[0]
    assert "+Hello\n" in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("obstacle", ["a file in the way", "a directory in its place", "a full disk"])
def test_where_no_history_can_be_kept_there_is_none_and_lines_are_read(
    obstacle: str, keys: Keys, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    def full(_history: FileHistory, _line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    state = home / ".local/state"
    if obstacle == "a file in the way":
        state.parent.mkdir()
        state.write_text("")
    else:
        (state / "dspyreload").mkdir(parents=True)
        if obstacle == "a directory in its place":
            (state / "dspyreload/talk_history").mkdir()
        else:
            monkeypatch.setattr(FileHistory, "store_string", full)

    async def test(pressed: PipeInput, prompt: TerminalPrompt) -> None:
        for words in ("Hello", "And now?"):
            pressed.send_text(f"{words}\r")
            assert await asyncio.wait_for(line(prompt), 20) == words

    keys(test)
    assert caplog.text == ""
