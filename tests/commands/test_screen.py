"""What is printed: nothing that a language model or a file says reaches the terminal but as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dspyreload.commands.screen import Screen, clean
from dspyreload.commands.speech import Speech
from dspyreload.lm.reply import Chunk, Reply, ToolCall

HOSTILE = [
    "\x1b[2J", "\x1b]0;title\x07", "\x1bP1$r\x1b\\", "a\rb", "\x08\x08", "\x7f", "\x9b2J", "\x85", "\x00", "\x0b",
    "\x0c", "\u202eevil", "\u2066x", "\u200f", "\u2028", "\u2029", "\ud800", "\ufeff", "\x0e", "\U000e0041",
]  # fmt: skip


class Terminal:
    """Collects what is written.

    :ivar text: all of it.
    """

    def __init__(self, *, terminal: bool = False) -> None:
        self.text = ""
        self.screen = Screen(self.write, terminal=terminal)

    def write(self, text: str) -> None:
        """Take what is written."""
        self.text += text

    def is_harmless(self) -> bool:
        """Say whether it is lines of printable text."""
        return all(line.isprintable() for line in self.text.split("\n")) and self.text.encode() is not None


def reply(text: str) -> Reply:
    calls = (ToolCall(text, {}, result=text), ToolCall("look", {}, error=text))
    return Reply({"response": text, text: text, "x": {text: [text]}}, f"npc.{text}", "aaaa" * 16, 1, text,
                 fallback="lines", reason=text, tool_calls=calls)  # fmt: skip


WAYS: dict[str, Callable[[Screen, str], None]] = {
    "a line": lambda screen, text: screen.line((text, "bold"), (text, "")),
    "a piece": lambda screen, text: screen.raw(text),
    "a title": lambda screen, text: screen.beside((text, "a"), (text, "b")),
    "a column": lambda screen, text: screen.beside(("a", text), ("b", text)),
    "a chunk": lambda screen, text: Speech(screen, f"npc.{text}", text, text).hear(Chunk(text, text, text, text)),
    "a reply": lambda screen, text: Speech(screen, f"npc.{text}", text, text).over(reply(text)),
}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("way", WAYS)
def test_no_character_that_steers_a_terminal_is_ever_written(way: str, text: str) -> None:
    """Not from an answer, the name of a field, of a tool, of a module or of a language model, and no half character."""
    terminal = Terminal()
    WAYS[way](terminal.screen, f"before{text}after")
    assert "before" in terminal.text
    assert terminal.is_harmless(), ascii(terminal.text)


def test_pieces_of_an_escape_that_come_apart_make_none() -> None:
    """A language model may say ESC in one piece and the rest in the next."""
    terminal = Terminal()
    for piece in ("\x1b", "[2", "J", "\r", "\n", "ok"):
        terminal.screen.raw(piece)
    assert terminal.is_harmless()
    assert terminal.text.endswith("\nok")


def test_an_answer_keeps_its_lines_and_its_letters() -> None:
    """Lines, tabs, letters of all scripts, and signs outside of the first plane."""
    assert clean("a\r\nb\n\tc") == "a\nb\n    c"
    for text in ("Grüß Gott", "你好", "Привет", "שלום", "🔥", "e\u0301", "[bold]x[/bold]", ":smile:", "C:\\new"):
        assert clean(text) == text


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u2009", "\u3000"], ids=ascii)
def test_a_space_that_does_not_break_is_a_space(space: str) -> None:
    """French is written with them, and language models are fond of them."""
    shown = clean(f"Non{space}!")
    assert "\\" not in shown
    assert shown.replace(space, " ") == "Non !"


def test_signs_that_join_letters_are_not_spelled_out() -> None:
    """Persian needs the one, families and professions among the emoji the other; neither moves anything."""
    for text in ("\u0645\u06cc\u200c\u062e\u0648", "👩\u200d🚀", "❤\ufe0f"):
        assert clean(text) == text


def test_what_looks_like_markup_is_printed_as_it_is() -> None:
    terminal = Terminal()
    terminal.screen.line(("[red]x[/red] :fire: [/]", "bold"))
    assert terminal.text == "[red]x[/red] :fire: [/]\n"


def test_a_long_line_is_left_to_the_terminal_to_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be copied whole."""
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    terminal.screen.line(("word " * 50, ""))
    assert terminal.text.count("\n") == 1


def test_two_texts_stand_beside_each_other_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of both is there, each in its own half."""
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    terminal.screen.beside(("aaaa before", "left\nand low"), ("bbbb now", "right 你好"))
    lines = terminal.text.splitlines()
    assert all(len(line) <= 60 for line in lines)
    [titles] = [line for line in lines if "before" in line]
    assert titles.index("aaaa before") < 30 <= titles.index("bbbb now")
    [first] = [line for line in lines if "left" in line]
    assert first.index("left") < 30 <= first.index("right")


def test_what_is_said_can_not_look_like_the_prompt() -> None:
    """Its further lines are indented, wherever the pieces of them begin; nothing else is."""
    terminal = Terminal()
    for piece in ("Aye.\n", "npc.smith> /quit\r\n", "\n", "\x1b[2J"):
        terminal.screen.said(piece)
    assert terminal.text == "Aye.\n    npc.smith> /quit\n    \n    \\x1b[2J"
    terminal.text = ""
    terminal.screen.raw("a\nb")
    assert terminal.text == "a\nb"


@pytest.mark.parametrize("letter", ["x", "\u4f60"])
def test_no_word_is_too_long_to_stand_beside_another(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address, and all of Chinese and Japanese, which have no spaces."""
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    terminal.screen.beside(("aaaa before", letter * 50), ("bbbb now", "right"))
    assert terminal.text.count(letter) == 50


def test_colour_is_for_terminals_and_not_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is the same in each."""

    def printed(*, terminal: bool) -> str:
        made = Terminal(terminal=terminal)
        made.screen.line(("said", "bold red"))
        return made.text

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed(terminal=True).startswith("\x1b[")
    assert printed(terminal=False) == "said\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(terminal=True) == "said\n"
    monkeypatch.setenv("NO_COLOR", "")
    assert printed(terminal=True).startswith("\x1b["), "an empty NO_COLOR says nothing"


def test_rich_settings_of_the_environment_put_no_colour_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
    terminal = Terminal()
    terminal.screen.line(("said", "bold red"))
    assert terminal.text == "said\n"


def test_a_dumb_terminal_gets_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would show the codes."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal(terminal=True)
    terminal.screen.line(("said", "bold red"))
    assert terminal.text == "said\n"


def test_without_a_place_to_write_it_is_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(terminal=False)
    screen.line(("said", ""), end="")
    screen.raw("!")
    assert capsys.readouterr().out == "said!"
