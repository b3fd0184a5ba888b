"""A line of a file as a terminal shows it, with a mark under the very character that is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from dspyreload.commands.excerpt import Excerpts
from tests.conftest import Save

ELLIPSIS = "…"


def excerpts(directory: Path) -> Excerpts:
    return Excerpts(str(directory), 10_000_000)


def over(lines: list[str]) -> str:
    """Return what a terminal shows over the mark, to the end of the line."""
    text, mark = lines
    assert mark.endswith("^")
    cells = cell_len(mark) - 1
    shown = next(count for count in range(len(text) + 1) if cell_len(text[:count]) >= cells)
    assert cell_len(text[:shown]) == cells, "the mark stands in the middle of a character"
    return text[shown:]


def test_a_line_has_its_number_and_a_mark_under_the_place(modules: Path, save: Save) -> None:
    """The number stands in a gutter, which goes on over the mark."""
    save("a.json", '{\n "instruction": 7\n}')
    assert excerpts(modules).at("a.json", 2, 17) == ['    2 |  "instruction": 7', "      |                 ^"]


@pytest.mark.parametrize(
    ("text", "column", "rest"),
    [
        ("\t\t7,", 3, "7,"),
        ('"a\tb": 7', 8, "7"),
        ('"鍛冶屋": 7', 8, "7"),
        ('"👋👋", 7', 7, "7"),
        ('"鍛冶屋": 7', 3, '冶屋": 7'),
        ('"e\u0301e\u0301": 7', 9, "7"),
        ('"\x1b[31m": 7', 10, "7"),
        ('"\u202egnol\u200b": 7', 11, "7"),
        ("\ufeff7", 1, "7"),
        ("7\r", 1, "7"),
        ('{"a": 7}', 1, '{"a": 7}'),
        ('{"a": 7', 8, ""),
        ("\xa0\xa07", 3, "7"),
    ],
)
def test_the_mark_stands_under_the_character_that_is_meant(
    modules: Path, save: Save, text: str, column: int, rest: str
) -> None:
    """With tabs, wide and combining characters, escapes, a BOM, and line ends of Windows; also at the very end."""
    save("a.json", f"{text}\nmore")
    assert over(excerpts(modules).at("a.json", 1, column)) == rest


@pytest.mark.parametrize("column", [1, 2, 50, 51, 52, 100, 101, 150, 2_000, 3_948, 3_949, 3_999, 4_000])
@pytest.mark.parametrize("letter", ["a", "界"])
def test_of_a_long_line_there_is_what_stands_around_the_place(
    modules: Path, save: Save, column: int, letter: str
) -> None:
    """At most a hundred characters; where something is left out, there is an ellipsis."""
    text = letter * (column - 1) + "!" + letter * (4_000 - column)
    save("a.json", text)
    lines = excerpts(modules).at("a.json", 1, column)
    assert over(lines).startswith("!")
    body = lines[0].removeprefix("    1 | ")
    assert len(body.strip(ELLIPSIS)) <= 100
    assert len(body) > 50
    assert body.startswith(ELLIPSIS) == (column > 51)
    assert body.endswith(ELLIPSIS) == (column < 3_951)


@pytest.mark.parametrize(("length", "cut"), [(100, False), (101, True)])
def test_a_line_of_a_hundred_characters_is_whole(modules: Path, save: Save, length: int, cut: bool) -> None:
    """Nothing is left out of it."""
    save("a.json", "a" * length)
    (text, _mark) = excerpts(modules).at("a.json", 1, 1)
    assert text == "    1 | " + "a" * 100 + (ELLIPSIS if cut else "")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.text("a\t界👋\x1b\u202e\xad é\r", max_size=150), after=st.text("b\t界\x1b", max_size=150))
def test_whatever_stands_before_it(modules: Path, before: str, after: str) -> None:
    """Any mixture is harmless, on one line, and the mark under the place."""
    (modules / "a.json").write_bytes(f"{before}!{after}".encode())
    lines = excerpts(modules).at("a.json", 1, len(before) + 1)
    assert over(lines).startswith("!")
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("line", [7, 12_345, 123_456])
def test_the_mark_keeps_step_with_large_numbers(modules: Path, save: Save, line: int) -> None:
    """The gutter grows with them."""
    save("a.json", "\n" * (line - 1) + "ab!")
    lines = excerpts(modules).at("a.json", line, 3)
    assert lines[0].split(" | ") == [f"{line:>5}", "ab!"]
    assert over(lines) == "!"
    assert lines[0].index("|") == lines[1].index("|")


def test_lines_of_windows_are_counted_as_an_editor_does(modules: Path) -> None:
    """CR LF is one end of a line, and nothing of it is shown."""
    (modules / "a.json").write_bytes(b'{\r\n "a": 7,\r\n}\r\n')
    shown = excerpts(modules)
    assert shown.at("a.json", 2, 7) == ['    2 |  "a": 7,', "      |       ^"]
    assert over(shown.at("a.json", 3, 1)) == "}"


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"", 1), (b"\n", 1), (b"  \t\r\n7", 1), (b"7", 2), (b"7\n", 2), (b"7", 0), ("{}".encode("utf-16"), 1)],
)
def test_where_there_is_nothing_to_see_nothing_is_shown(modules: Path, data: bytes, line: int) -> None:
    """An empty file or line, a line that is not there, and bytes that are no text."""
    (modules / "a.json").write_bytes(data)
    assert excerpts(modules).at("a.json", line, 1) == []


@pytest.mark.parametrize("kind", ["vanished", "folder", "outside", "fifo", "large"])
def test_what_can_not_be_read_now_is_not_shown(modules: Path, kind: str) -> None:
    """The place is told all the same: the file may have gone since it was checked."""
    place = modules / "a.json"
    if kind == "folder":
        place.mkdir()
    elif kind == "outside":
        (modules.parent / "secret.json").write_text("secret")
        place.symlink_to("../secret.json")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "large":
        place.write_text("x" * 11)
    assert Excerpts(str(modules), 10).at("a.json", 1, 1) == []


def test_bytes_that_are_no_utf8_do_not_move_the_mark(modules: Path) -> None:
    """Each is shown as one character, as it is counted."""
    (modules / "a.json").write_bytes(b'"caf\xe9\xe9": 7')
    assert over(excerpts(modules).at("a.json", 1, 10)) == "7"


def test_a_file_is_read_once_for_all_that_is_said_of_it(modules: Path, save: Save) -> None:
    """All its lines are those of one moment; of another directory by a link too."""
    file = save("a.json", "one\ntwo")
    (modules.parent / "link").symlink_to(modules)
    shown = excerpts(modules.parent / "link")
    shown.at("a.json", 1, 1)
    file.unlink()
    assert over(shown.at("a.json", 2, 1)) == "two"
