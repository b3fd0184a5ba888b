"""One answer on the screen, while it is said."""

from __future__ import annotations

from typing import Any

import pytest

from dspyreload.commands.screen import Screen
from dspyreload.commands.speech import Speech, told
from dspyreload.lm.reply import Chunk, Reply, ToolCall

VERSION = "3f9a" + "0" * 60


class Said:
    """An answer of ``npc.smith`` by the language model ``fast``, and what is printed of it."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.speech = Speech(Screen(self.pieces.append, terminal=False), "npc.smith", VERSION, "fast")

    @property
    def screen(self) -> str:
        """What is printed so far."""
        return "".join(self.pieces)

    def hear(self, *chunks: tuple[str, str], fallback: str = "") -> None:
        """Take (field, text) pieces."""
        for field, text in chunks:
            self.speech.hear(Chunk(text, field, "", fallback))


@pytest.fixture
def said() -> Said:
    """An answer that has not begun."""
    return Said()


def reply(lm: str = "fast", *, fallback: str = "", reason: str = "", calls: tuple[ToolCall, ...] = (),
          **fields: Any) -> Reply:  # fmt: skip
    return Reply(fields, "npc.smith", VERSION, 1, lm, fallback=fallback, reason=reason, tool_calls=calls)


def test_nothing_is_printed_before_the_first_piece(said: Said) -> None:
    assert said.screen == ""
    said.speech.broken()
    assert said.screen == ""


def test_each_piece_is_printed_as_it_comes(said: Said) -> None:
    said.hear(("response", "Mind "))
    assert said.screen == "[3f9a fast] smith: Mind "
    said.hear(("response", "the sparks."))
    assert said.screen == "[3f9a fast] smith: Mind the sparks."


def test_further_lines_are_indented(said: Said) -> None:
    """A poem has them; what a language model says can't be taken for a prompt, nor for a line of a save."""
    said.hear(("response", "Mind\nthe "), ("response", "sparks.\n-- npc.smith is live"), ("mood", "a\nb"))
    said.speech.over(reply(response="Mind\nthe sparks.\n-- npc.smith is live", mood="a\nb"))
    assert said.screen == "[3f9a fast] smith: Mind\n    the sparks.\n    -- npc.smith is live\n  mood: a\n    b\n"


def test_a_reply_of_which_nothing_was_heard_is_indented_as_well(said: Said) -> None:
    said.speech.over(reply(response="Mind\nsmith> /quit", note="a\nsmith> /quit"))
    assert "\nsmith>" not in said.screen


def test_what_a_tool_gives_and_how_it_failed_is_indented_too(said: Said) -> None:
    calls = (ToolCall("look", {}, result="a\nsmith> /quit"), ToolCall("open", {}, error="no\nsmith> /quit"))
    said.speech.over(reply(response="Aye.", calls=calls))
    assert "\nsmith>" not in said.screen


def test_a_tool_that_failed_is_told_without_the_name_of_the_error(said: Said) -> None:
    """The writer can do nothing with it."""
    said.speech.over(reply(response="Aye.", calls=(ToolCall("open", {}, error="KeyError: it is locked"),)))
    assert said.screen.endswith("  (used open: it failed: it is locked)\n")


def test_a_failure_is_told_in_a_writers_words(said: Said) -> None:
    """One line, without the names of errors; beside another reply too."""
    late = "npc.smith: the LM fast failed: litellm.Timeout_Error: it was late\nTraceback"
    said.speech.over(reply("fallback", fallback="lines", reason=late, response="Not now."))
    assert said.screen.endswith("  (the language model could not: it was late)\n")
    words = told(reply("fallback", fallback="lines", reason=late, response="Not now."))
    assert "the language model could not: it was late" in words
    assert "Traceback" not in words


def test_each_further_field_is_named_once(said: Said) -> None:
    said.hear(("response", "Mind "), ("response", "it."), ("emotion", "an"), ("emotion", "noyed"))
    said.speech.over(reply(response="Mind it.", emotion="annoyed"))
    assert said.screen == "[3f9a fast] smith: Mind it.\n  emotion: annoyed\n"


def test_what_was_not_heard_is_printed_at_the_end_as_json(said: Said) -> None:
    """Numbers, lists and objects are not streamed; letters stay letters."""
    said.hear(("response", "Aye."))
    said.speech.over(reply(response="Aye.", mood=3, wares=["Öl"], sold=None, sure=True))
    assert said.screen == '[3f9a fast] smith: Aye.\n  mood: 3\n  wares: ["Öl"]\n  sold: null\n  sure: true\n'


def test_a_reply_of_which_nothing_was_heard_is_printed_whole(said: Said) -> None:
    """By whom it is, is known then."""
    said.speech.over(reply("slow", mood=3, wares=[]))
    assert said.screen == "[3f9a slow] smith: 3\n  wares: []\n"


def test_a_value_that_is_no_json_is_printed_all_the_same(said: Said) -> None:
    """A tool, or a program of the game, may give anything; not even one that refuses ends the conversation."""
    circle: list[Any] = []
    circle.append(circle)
    calls = (ToolCall("look", {}, result={1, 2}), ToolCall("turn", {}, result=circle),
             ToolCall("ask", {}, result={(1, 2): 3}))  # fmt: skip
    said.speech.over(reply(response="Aye.", calls=calls))
    assert "smith: Aye.\n" in said.screen
    assert "(used look: " in said.screen
    assert "(used turn: " in said.screen
    assert "(used ask: " in said.screen


def test_a_fallback_begins_anew_and_says_why(said: Said) -> None:
    """Whatever was heard before it is no part of the reply."""
    said.hear(("response", "Mind the"))
    said.hear(("response", "Not now."), ("emotion", "busy"), fallback="lines")
    said.speech.over(
        reply("fallback", fallback="lines", reason="it was late", response="Not now.", emotion="busy", mood=None)
    )
    assert said.screen == (
        "[3f9a fast] smith: Mind the\n[3f9a lines] smith: Not now.\n  emotion: busy\n  mood: null\n"
        "  (the language model could not: it was late)\n"
    )


def test_a_fallback_of_which_nothing_is_heard_is_printed_whole_too(said: Said) -> None:
    """It has no text; what the language model had begun to say is not taken for it."""
    said.hear(("response", "Mind the"))
    said.speech.over(reply("fallback", fallback="lines", reason="it was late", response="", mood=3))
    first, second, *_rest = said.screen.split("\n")
    assert first == "[3f9a fast] smith: Mind the"
    assert second.startswith("[3f9a fallback] smith:")
    assert "mood: 3" in said.screen


def test_a_fallback_from_the_first_word_on_is_named(said: Said) -> None:
    said.hear(("response", "Not now."), fallback="demos")
    assert said.screen == "[3f9a demos] smith: Not now."


def test_an_answer_that_breaks_off_ends_its_line(said: Said) -> None:
    said.hear(("response", "Mind the"))
    said.speech.broken()
    assert said.screen == "[3f9a fast] smith: Mind the\n"


def test_each_tool_is_told_with_its_result_or_what_went_wrong(said: Said) -> None:
    said.hear(("response", "A hammer."))
    calls = (ToolCall("look", {}, result=["a hammer"]), ToolCall("open", {}, error="it is locked"))
    said.speech.over(reply(response="A hammer.", calls=calls))
    assert said.screen == (
        '[3f9a fast] smith: A hammer.\n  (used look: ["a hammer"])\n  (used open: it failed: it is locked)\n'
    )


def test_what_a_character_thinks_is_not_what_it_says(said: Said) -> None:
    """The reasoning and the call of a tool come first in a reply; what is said stands after the name."""
    said.speech.over(reply(reasoning="He is rude.", tool_call=None, wares=["oil"], mood=3))
    assert said.screen.startswith('[3f9a fast] smith: ["oil"]\n')
    assert "  reasoning: He is rude.\n" in said.screen


def test_a_module_without_a_dot_speaks_by_its_name() -> None:
    pieces: list[str] = []
    Speech(Screen(pieces.append, terminal=False), "smith", VERSION, "demos").hear(Chunk("Aye.", "response"))
    assert "".join(pieces) == "[3f9a demos] smith: Aye."


def test_a_reply_that_stands_beside_another_says_all_and_by_whom() -> None:
    assert told(reply("demos", response="Aye.", emotion="calm", mood=3)) == "[demos]\nAye.\nemotion: calm\nmood: 3"
    assert told(reply("demos")) == "[demos]"


def test_beside_another_too_the_answer_comes_before_the_thought() -> None:
    words = told(reply(reasoning="He is rude.", tool_call=None, response="Aye."))
    assert words.startswith("[fast]\nAye.\n")
    assert "reasoning: He is rude." in words


def test_a_reply_beside_another_says_that_a_fallback_spoke() -> None:
    """Else the writer takes it for what the new version says."""
    words = told(reply("fallback", fallback="lines", reason="it was late", response="Not now."))
    assert "it was late" in words
