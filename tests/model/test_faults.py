"""What is wrong with a file, in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspyreload.model.faults import FaultError, Path, counted, place_words, quoted, raise_first, shown


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("npc/smith.json", "npc/smith.json"),
        ("häuser/☃.json", "häuser/☃.json"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\r\nlines", "two\\r\\nlines"),
        ("nul\x00", "nul\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("not utf-8 \udce9", "not utf-8 \\udce9"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, harmless: str) -> None:
    """Control characters, changes of direction and lone surrogates of a file name come out as escapes."""
    assert shown(text) == harmless


@given(st.text(st.characters(), max_size=400), st.integers(2, 300))
def test_any_text_is_shown_harmless_and_short(text: str, limit: int) -> None:
    """Whatever stands in a file, what is shown of it is printable, encodable and within the limit."""
    result = shown(text, limit)
    assert len(result) <= limit
    assert result.isprintable()
    result.encode()


def test_a_long_text_ends_in_an_ellipsis() -> None:
    """What was cut off is marked."""
    assert shown("x" * 201) == "x" * 199 + "…"
    assert shown("x" * 200) == "x" * 200


@pytest.mark.parametrize(
    ("value", "text"),
    [("emotion", '"emotion"'), ('say "hi"', '"say \\"hi\\""'), ("é", '"é"'), ("a\nb", '"a\\nb"')],
)
def test_a_name_is_quoted_as_json_would(value: str, text: str) -> None:
    """Writers see a name as it stands in their file."""
    assert quoted(value) == text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ((), ""),
        (("instruction",), '"instruction"'),
        (("demos", 2), "demo 3"),
        (("demos", 2, "inputs"), 'demo 3, "inputs"'),
        (("demos", 0, "outputs", "mood"), 'demo 1, "outputs", "mood"'),
        (("include", 1), "include 2"),
        (("fallback", 0), "fallback 1"),
        (("signature", "inputs", 0, "name"), '"signature", input 1, "name"'),
        (("signature", "outputs", 4), '"signature", output 5'),
        (("modules", "npc", "tags", 0), '"modules", "npc", "tags" item 1'),
        (("demos", 0, "inputs", "words", 1), 'demo 1, "inputs", "words" item 2'),
    ],
)
def test_a_place_is_named_as_a_person_would(path: Path, words: str) -> None:
    """Lists count from 1 and are named for what is in them."""
    assert place_words(path) == words


def test_the_first_fault_carries_the_others() -> None:
    """One exception brings all faults of a file, in order."""
    first, second, third = (FaultError(word) for word in ("one", "two", "three"))
    with pytest.raises(FaultError) as raised:
        raise_first([first, second, third])
    assert raised.value is first
    assert raised.value.others == [second, third]


def test_no_fault_raises_nothing() -> None:
    """An empty list of faults is no fault."""
    faults: list[FaultError] = []
    raise_first(faults)
    assert faults == []


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 faults"), (1, "1 fault"), (2, "2 faults"), (12345, "12,345 faults")]
)
def test_things_are_counted_in_words(count: int, words: str) -> None:
    """One is singular, everything else is plural."""
    assert counted(count, "fault") == words
