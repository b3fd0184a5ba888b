"""What is known of an answer's fields while it streams, held against what DSPy's adapters make of the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy.adapters.baml_adapter import BAMLAdapter
from dspy.utils.exceptions import AdapterParseError
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dspyreload.lm import partial
from dspyreload.lm.partial import FieldStream, PartialField, Style, is_empty, partial_fields, style_of

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

NAMES = ("response", "emotion")
SIGNATURE = dspy.Signature("player_message -> response, emotion")
ADAPTERS: dict[Style, Any] = {"chat": dspy.ChatAdapter(), "json": dspy.JSONAdapter(), "xml": dspy.XMLAdapter()}

LETTERS = [
    *(
        "a",
        "Z",
        "7",
        "_",
        " ",
        "  ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\x0b",
        "\x1f",
        "\x85",
        "\u2028",
        "\u00a0",
        "é",
        "鍛",
        "🔨",
    ),
    *("[", "]", "#", "[[", "]]", "##", "[[ ## ", " ## ]]", "[[ ## response ## ]]", "[[ ## emotion ## ]]"),
    *("[[ ## completed ## ]]", '"', "\\", "\\n", "\\u00", "{", "}", ",", ":", "null", '", "emotion": "'),
    *("<", ">", "/", "&", ";", "&amp", "&lt;", "#39;", "<response>", "</response>", "</", "<b>"),
]
texts = st.lists(st.one_of(st.sampled_from(LETTERS), st.characters(codec="utf-8")), max_size=12).map("".join)
values = st.fixed_dictionaries(dict.fromkeys(NAMES, texts))
styles = st.sampled_from(list(ADAPTERS))
unhurried = settings(deadline=None)  # DSPy takes its time on a busy machine


def pieces_of(text: str, cuts: list[int]) -> Iterator[str]:
    """Cut a text; of each number, what remains of it in the text's length is a place."""
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(text)], strict=True):
        yield text[start:end]


def answer_of(style: Style, fields: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return an answer as the adapter itself writes it, and what it reads in it; tries another where it cannot."""
    answer = ADAPTERS[style].format_assistant_message_content(SIGNATURE, fields)
    return answer, parsed(style, answer)


def parsed(style: Style, answer: str) -> dict[str, str]:
    """Return what the adapter reads in an answer."""
    try:
        return dict(ADAPTERS[style].parse(SIGNATURE, answer))
    except AdapterParseError:  # XMLAdapter cannot read all that it writes
        assume(False)
        raise


def joined(given_out: list[tuple[str, str]]) -> dict[str, str]:
    """Return the pieces of each field as one text."""
    whole: dict[str, str] = {}
    for name, text in given_out:
        whole[name] = whole.get(name, "") + text
    return whole


def check_growth(style: Style, answer: str) -> dict[str, PartialField]:
    """Assert that what is known of each field only grows, with each character; returns what is known at the end."""
    known: dict[str, PartialField] = {}
    for end in range(len(answer) + 1):
        now = partial_fields(answer[:end], style, NAMES)
        for name, field in known.items():
            assert now[name].text.startswith(field.text), answer[:end]
            assert now[name] == field or not field.complete, answer[:end]
        known = now
    return known


class TestLaw:
    @unhurried
    @given(style=styles, fields=values)
    @example(style="chat", fields={"response": "[[ ## emotion ## ]] x", "emotion": "[[ ## "})
    @example(style="json", fields={"response": "\\", "emotion": "\ud83d"})
    @example(style="xml", fields={"response": "&amp;lt;<", "emotion": "\r"})
    def test_what_is_known_only_grows_and_ends_as_dspy_reads_it(self, style: Style, fields: dict[str, str]) -> None:
        """At each character of an answer in the adapter's own form, and whatever the fields hold."""
        answer, read = answer_of(style, fields)
        known = check_growth(style, answer)
        assert {name: field.text for name, field in known.items()} == read

    @unhurried
    @given(fields=values, ascii_only=st.booleans(), indent=st.sampled_from([None, 0, 2]))
    def test_any_way_to_write_json_reads_the_same(
        self, fields: dict[str, str], ascii_only: bool, indent: int | None
    ) -> None:
        """With escapes or without, in one line or several."""
        answer = json.dumps(fields, ensure_ascii=ascii_only, indent=indent)
        known = check_growth("json", answer)
        assert {name: field.text for name, field in known.items()} == parsed("json", answer) == fields
        assert all(field.complete for field in known.values())

    @unhurried
    @given(style=styles, fields=values, cuts=st.lists(st.integers(0, 10_000), max_size=8))
    def test_however_an_answer_is_cut_its_pieces_make_the_reply(
        self, style: Style, fields: dict[str, str], cuts: list[int]
    ) -> None:
        """What a stream gives out of each field, joined, is the field."""
        answer, read = answer_of(style, fields)
        stream = FieldStream(style, NAMES)
        given_out = [new for piece in pieces_of(answer, cuts) for new in stream.feed(piece)] + stream.finish(read)
        assert joined(given_out) == stream.said == {name: text for name, text in read.items() if text}
        assert all(text for _name, text in given_out)

    @unhurried
    @given(style=styles, text=texts)
    def test_any_text_at_all_is_read(self, style: Style, text: str) -> None:
        """What is no answer in good form is no error."""
        assert set(partial_fields(text, style, NAMES)) <= set(NAMES)


class TestChat:
    def test_the_beginning_of_a_field_is_known_before_its_end(self) -> None:
        """Leading white space is dropped, and the last field seen is not complete."""
        found = partial_fields("[[ ## response ## ]]\n\n  Forty", "chat", NAMES)
        assert found == {"response": PartialField("Forty", complete=False)}

    @pytest.mark.parametrize("tail", [" ", "\n", "\n\n[", "\n[[ ## emo", "\n  [[ #", "\r\n[[ ## emotion ## ]", "\r"])
    def test_what_may_be_no_part_of_the_field_is_held_back(self, tail: str) -> None:
        """White space at the end, and the beginning of a header, wait."""
        text = "[[ ## response ## ]]\nForty gold." + tail
        assert partial_fields(text, "chat", NAMES) == {"response": PartialField("Forty gold.", complete=False)}

    @pytest.mark.parametrize(
        ("tail", "known"),
        [
            *(("\n[x", "\n[x"), ("\n[[ ##  ", "\n[[ ##"), ("\n[[ ## a b", "\n[[ ## a b"), (" [[ ## emo", " [[ ## emo")),
            *(("\n[[ ## emotion ## ]\n[", "\n[[ ## emotion ## ]"), ("\n[[\n", "\n[["), ("\n[ [", "\n[ [")),
        ],
    )
    def test_what_turns_out_to_be_no_header_is_text(self, tail: str, known: str) -> None:
        """A header stands at the start of a line, in one exact form."""
        text = "[[ ## response ## ]]\nForty." + tail
        assert partial_fields(text, "chat", NAMES) == {"response": ("Forty." + known, False)}

    @pytest.mark.parametrize("header", ["completed", "emotion", "aside"])
    def test_the_next_header_completes_a_field(self, header: str) -> None:
        """Whatever its name is; a field that nobody asked for is passed over."""
        found = partial_fields(f"[[ ## response ## ]]\nForty.\n\n[[ ## {header} ## ]]", "chat", ["response"])
        assert found == {"response": PartialField("Forty.", complete=True)}

    def test_the_first_occurrence_counts(self) -> None:
        """A field that comes a second time changes nothing, as in DSPy."""
        text = "[[ ## response ## ]]\none\n[[ ## emotion ## ]]\ncalm\n[[ ## response ## ]]\ntwo"
        assert partial_fields(text, "chat", NAMES)["response"] == ("one", True)
        assert parsed("chat", text)["response"] == "one"

    @pytest.mark.parametrize(
        "line", ["  [[ ## response ## ]] Hello", "[[ ## response ## ]]Hello  ", " [[ ## response ## ]]"]
    )
    def test_a_value_beside_its_header_is_cut_as_dspy_cuts_it(self, line: str) -> None:
        """DSPy leaves some of an indented header in the value; so it is here, where both must be equal."""
        text = f"Well:\n{line}\nthere\n[[ ## emotion ## ]] calm"
        read = parsed("chat", text)
        assert {name: field.text for name, field in check_growth("chat", text).items()} == read


class TestJSON:
    @pytest.mark.parametrize("tail", ["\\", "\\u", "\\u00e", "\\ud83d", "\\ud83d\\", "\\ud83d\\u", "\\ud83d\\udd2"])
    def test_half_an_escape_is_held_back(self, tail: str) -> None:
        """Half of a character outside the first 65,536 is half an escape."""
        assert partial_fields('{"response": "Hot' + tail, "json", NAMES) == {"response": ("Hot", False)}

    def test_a_whole_escape_is_text(self) -> None:
        """A pair of escapes is one character; a half that nothing follows is what DSPy makes of it."""
        assert partial_fields(r'{"response": "\ud83d\udd28', "json", NAMES)["response"].text == "🔨"
        assert partial_fields(r'{"response": "\\ud83d', "json", NAMES)["response"].text == r"\ud83d"
        assert partial_fields(r'{"response": "\ud83d!', "json", NAMES)["response"].text == "\ud83d!"

    @pytest.mark.parametrize("before", ["```json\n", "Here you are:\n\n", "In {braces}: ", ""])
    @pytest.mark.parametrize("after", ["\n```", " That is all.", ', "response": "no"', ""])
    def test_what_stands_around_the_object_is_passed_over(self, before: str, after: str) -> None:
        """Fences and words before and after change nothing."""
        answer = before + '{"response": "Forty.", "emotion": "calm"}' + after
        known = check_growth("json", answer)
        assert known == {"response": ("Forty.", True), "emotion": ("calm", True)}

    def test_nothing_is_read_after_the_object(self) -> None:
        """What an LM adds may look like a field."""
        text = '{"response": "Forty."}\n"emotion": "calm"}'
        assert partial_fields(text, "json", NAMES) == {"response": ("Forty.", True)}

    @pytest.mark.parametrize("value", ["40", "-1.5", "true", "null", '["a", {"b": []}]', '{"a": "é"}'])
    def test_a_value_that_is_no_string_is_known_when_it_is_whole(self, value: str) -> None:
        """It is given as compact JSON text."""
        for end in range(len(value) + 1):
            assert partial_fields('{"response": ' + value[:end], "json", NAMES) == {}
        found = partial_fields('{"response": ' + value + ",", "json", NAMES)
        assert found == {"response": (value.replace(", ", ",").replace(": ", ":"), True)}

    def test_a_string_is_complete_when_something_follows_it(self) -> None:
        """LMs forget to escape quotes: what looks like the end of a string may be none."""
        assert partial_fields('{"response": "So"', "json", NAMES) == {"response": ("So", False)}
        assert partial_fields('{"response": "So" he', "json", NAMES) == {"response": ("So", False)}
        assert partial_fields('{"response": "So" }', "json", NAMES) == {"response": ("So", True)}

    def test_lines_inside_a_string_are_text(self) -> None:
        """LMs write them, JSON forbids them, DSPy reads them."""
        answer = '{"response": "a\nb\tc", "emotion": ""}'
        assert {name: field.text for name, field in check_growth("json", answer).items()} == parsed("json", answer)

    def test_what_cannot_be_decoded_ends_what_is_known(self) -> None:
        """The rest of such an answer is not guessed at."""
        assert partial_fields(r'{"response": "it\'s", "emotion": "calm"}', "json", NAMES) == {"response": ("it", False)}
        assert partial_fields('{"response": ' + "[" * 100_000, "json", NAMES) == {}

    def test_the_first_of_doubled_keys_counts(self) -> None:
        """What was given out cannot be taken back, though DSPy takes the last."""
        known = check_growth("json", '{"response": "one", "response": "two"}')
        assert known == {"response": ("one", True)}


class TestXML:
    @pytest.mark.parametrize("tail", ["&", "&am", "&lt", "&#3", "<", "</", "</respons", "\n</response", " \r"])
    def test_half_an_entity_and_half_a_closing_tag_are_held_back(self, tail: str) -> None:
        """So is white space."""
        assert partial_fields("<response>\nHot" + tail, "xml", NAMES) == {"response": ("Hot", False)}

    @pytest.mark.parametrize("text", ["&amp;lt;", "&lt;b&gt;", "&quot;&apos;&#39;&#x1F528;", "a\r\nb\rc", "a&#13;b"])
    def test_text_is_decoded_as_dspy_decodes_it(self, text: str) -> None:
        """Entities and ends of lines."""
        answer = f"<response>{text}</response>\n\n<emotion>\n{text}\n</emotion>"
        assert {name: field.text for name, field in check_growth("xml", answer).items()} == parsed("xml", answer)

    @pytest.mark.parametrize("answer", ["<response/><emotion />", "<response></response ><emotion a='b'>\n</emotion>"])
    def test_tags_may_be_empty(self, answer: str) -> None:
        """An empty field is complete."""
        assert check_growth("xml", answer) == {"response": ("", True), "emotion": ("", True)}
        assert parsed("xml", answer) == {"response": "", "emotion": ""}

    def test_what_has_tags_inside_is_known_when_it_is_whole(self) -> None:
        """Up to the first tag a field is text; the rest follows at its end, as it was written."""
        answer = "<response>Say <b>please</b> &amp; wait</response>"
        assert partial_fields(answer[:-2], "xml", NAMES) == {"response": ("Say", False)}
        assert check_growth("xml", answer) == {"response": ("Say <b>please</b> &amp; wait", True)}

    def test_a_field_inside_of_another_is_none(self) -> None:
        """Only what stands on the outside is a field, as in DSPy."""
        answer = "<thinking><response>no</response></thinking><response>yes</response>"
        assert check_growth("xml", answer) == {"response": ("yes", True)}


class TestFieldStream:
    def test_pieces_come_in_the_order_of_the_answer(self) -> None:
        """The order of the signature and of the names does not matter."""
        stream = FieldStream("json", ["response", "emotion"])
        assert stream.feed('{"emotion": "calm", "response": "For') == [("emotion", "calm"), ("response", "For")]
        assert stream.feed("ty") == [("response", "ty")]
        assert stream.said == {"emotion": "calm", "response": "Forty"}

    def test_only_the_named_fields_are_given_out(self) -> None:
        """Others are passed over, in the stream and at its end."""
        stream = FieldStream("chat", ["response"])
        assert stream.feed("[[ ## reasoning ## ]]\nHm.\n[[ ## response ## ]]\nForty") == [("response", "Forty")]
        assert stream.finish({"reasoning": "Hm.", "response": "Forty."}) == [("response", ".")]

    def test_the_end_gives_what_is_missing(self) -> None:
        """An answer that was cut off, one in another form, and fields that were never seen."""
        stream = FieldStream("chat", NAMES)
        stream.feed("[[ ## response ## ]]\nForty\n[")
        reply = {"emotion": "calm", "response": "Forty\n["}
        assert stream.finish(reply) == [("response", "\n["), ("emotion", "calm")]
        assert stream.finish(reply) == []

    def test_a_field_that_the_reply_has_not_is_left_as_it_is(self) -> None:
        """Where several answers made the reply, each stream ends with its own fields; one that is no text, too."""
        stream = FieldStream("json", NAMES)
        stream.feed('{"response": "' + "-" * 2000)
        stream.feed('",')
        stream.feed('"emotion": 4')
        assert stream.feed("}") == stream.finish({}) == []
        assert stream.finish({"emotion": 4}) == [("emotion", "4")]

    def test_what_was_given_out_otherwise_is_left_as_it_is(self) -> None:
        """A reply that does not begin with it, or is no text, adds nothing."""
        stream = FieldStream("json", NAMES)
        stream.feed('{"response": "one", "emotion": 4, "response": "two"}')
        assert stream.finish({"response": "two", "emotion": 4}) == []
        assert stream.said == {"response": "one", "emotion": "4"}

    def test_a_long_answer_is_looked_at_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The looks together cost some hundred times the answer's length, not its square; nothing is lost."""
        read = 0

        def counted(text: str, style: Style, names: Any) -> dict[str, PartialField]:
            nonlocal read
            read += len(text)
            return partial_fields(text, style, names)

        monkeypatch.setattr(partial, "partial_fields", counted)
        stream = FieldStream("json", NAMES)
        words = '{"response": "' + "Mind the sparks. " * 4000
        given_out = [new for piece in pieces_of(words, list(range(0, len(words), 2))) for new in stream.feed(piece)]
        whole = {"response": words[14:]}
        assert joined(given_out + stream.finish(whole)) == whole
        assert read < 600 * len(words)

    def test_a_short_answer_is_not_delayed(self) -> None:
        """Each piece is given out as it comes."""
        stream = FieldStream("chat", NAMES)
        stream.feed("[[ ## response ## ]]\n")
        assert [stream.feed(letter) for letter in "Forty"] == [[("response", letter)] for letter in "Forty"]


CALL = {
    "chat": ("[[ ## tool_call ## ]]\n{}\n\n[[ ## response ## ]]\n", "For", "ty\n\n[[ ## completed ## ]]"),
    "json": ('{{"tool_call": {}, "response": "', "For", 'ty"}'),
    "xml": ("<tool_call>\n{}\n</tool_call>\n<response>\n", "For", "ty\n</response>"),
}


class TestHolding:
    @pytest.mark.parametrize("style", list(CALL))
    @pytest.mark.parametrize("empty", ["null", '""', "{{}}", "[]"])
    def test_an_empty_call_lets_the_others_through(self, style: Style, empty: str) -> None:
        """They stream from then on; the call itself is not given out."""
        start, first, rest = CALL[style]
        stream = FieldStream(style, ["tool_call", "response"], hold="tool_call")
        assert stream.feed(start.format(empty.format())) == []
        assert stream.feed(first) == [("response", "For")]
        stream.feed(rest)
        stream.finish({"tool_call": None, "response": "Forty"})
        assert stream.said == {"response": "Forty"}

    @pytest.mark.parametrize("style", list(CALL))
    @pytest.mark.parametrize("call", ['{{"name": "open_door", "args": {{}}}}', '"open_door"'])
    def test_a_call_keeps_the_others_back(self, style: Style, call: str) -> None:
        """What an LM says beside its call is not said to the player, not at the end either."""
        start, first, rest = CALL[style]
        stream = FieldStream(style, ["response"], hold="tool_call")
        assert [stream.feed(piece) for piece in (start.format(call.format()), first, rest)] == [[], [], []]
        assert stream.finish({"tool_call": {"name": "open_door"}, "response": "Forty"}) == []
        assert stream.said == {}

    def test_what_came_before_the_call_is_kept_and_given_out_at_once(self) -> None:
        """The call may come last."""
        stream = FieldStream("json", NAMES, hold="tool_call")
        assert stream.feed('{"response": "Forty", "emotion": "calm", "tool_call": nul') == []
        assert stream.feed("l}") == [("response", "Forty"), ("emotion", "calm")]

    def test_the_beginning_of_a_call_opens_nothing(self) -> None:
        """A call that is still empty may become one."""
        stream = FieldStream("chat", NAMES, hold="tool_call")
        assert stream.feed("[[ ## response ## ]]\nForty\n[[ ## tool_call ## ]]\nnull") == []
        assert stream.feed("\n[[ ## completed ## ]]") == [("response", "Forty")]

    @pytest.mark.parametrize(("call", "said"), [(None, {"response": "Forty"}), ({"name": "open_door"}, {})])
    def test_the_reply_decides_where_the_answer_did_not(self, call: Any, said: dict[str, str]) -> None:
        """An answer that ends before its call was complete."""
        stream = FieldStream("chat", NAMES, hold="tool_call")
        assert stream.feed("[[ ## response ## ]]\nForty\n[[ ## tool_call ## ]]\n") == []
        stream.finish({"tool_call": call, "response": "Forty"})
        assert stream.said == said

    @pytest.mark.parametrize("value", ["", " \n", "null", "None", "none", '"null"', '""', "{}", "[]", None, {}, [], ()])
    def test_many_things_say_that_there_is_nothing(self, value: Any) -> None:
        """Values and texts."""
        assert is_empty(value)

    @pytest.mark.parametrize("value", ["no", "0", "[1]", "{null}", 0, False, {"name": None}, [None]])
    def test_anything_else_is_something(self, value: Any) -> None:
        """Zero and false are values."""
        assert not is_empty(value)


@pytest.mark.parametrize(
    ("adapter", "style"),
    [
        (None, "chat"),
        (dspy.ChatAdapter(), "chat"),
        (dspy.JSONAdapter(), "json"),
        (BAMLAdapter(), "json"),
        (dspy.XMLAdapter(), "xml"),
        (dspy.TwoStepAdapter(dspy.LM("demos/demos", cache=False)), None),
        (object(), None),
    ],
)
def test_each_adapter_has_its_form(adapter: Any, style: Style | None) -> None:
    """An adapter whose answers have no form that is known here has none."""
    assert style_of(adapter) == style
