"""JSON is decoded strictly, and each fault has its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dspyreload.model.faults import FaultError, Path
from dspyreload.model.jsontext import Places, line_column, parse, text_of, walk
from tests.model.conftest import place

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TEXTS = st.builds(
    lambda value, indent, ascii_only, ends: json.dumps(value, indent=indent, ensure_ascii=ascii_only).replace(
        "\n", ends
    ),
    VALUES,
    st.sampled_from([None, 0, 2, "\t"]),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)


def inside(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths_of(item, (*path, index))


BAD: list[tuple[bytes, str, int, int]] = [
    (b"", "the file is empty", 1, 1),
    (b" \r\n\t\n", "the file is empty", 1, 1),
    (b"\xef\xbb\xbf", "the file is empty", 1, 1),
    (b'{"a": 1', "ends too early", 1, 8),
    (b'{\n  "a": [1, 2\n', "ends too early", 2, 13),
    (b'{"a":', "ends too early", 1, 6),
    (b'{"a": "Is it? Mi', "no closing quote", 1, 7),
    (b'{"a": "one,\n "b": 2}', "no closing quote on this line", 1, 12),
    (b'{"a": "one\ttwo"}', "a tab or control character", 1, 11),
    (b'{"a": 1,}', "a comma too many before the closing }", 1, 8),
    (b'{\r\n  "a": 1,\r\n}', "a comma too many before the closing }", 2, 9),
    (b"[1, 2, ]", "a comma too many before the closing ]", 1, 6),
    (b'{"a": 1,, "b": 2}', "a comma too many", 1, 9),
    (b"[,1]", "a comma too many", 1, 2),
    (b'{"a": 1 "b": 2}', "a comma is missing", 1, 8),
    (b'{\r\n"a": 1\r\n"b": 2}', "a comma is missing", 2, 7),
    (b'{"a" 1}', "a colon is missing", 1, 6),
    (b"{a: 1}", "a name in double quotes is expected", 1, 2),
    (b"{'a': 1}", "single quotes", 1, 2),
    (b"{\"a\": 'x'}", "single quotes", 1, 7),
    (b'// mine\n{"a": 1}', "a comment", 1, 1),
    (b'{"a": 1, // mine\n"b": 2}', "a comment", 1, 10),
    (b'{"a": 1 /* mine */}', "a comment", 1, 9),
    (b'{\n# mine\n"a": 1}', "a comment", 2, 1),
    (b'{"a": C:\\x}', "a value is expected", 1, 7),
    (b'{"a": "C:\\x"}', "a backslash inside a text", 1, 10),
    (b'{"a": "\\u12"}', "four hexadecimal digits", 1, 9),
    (b'{"a": True}', "a value is expected", 1, 7),
    (b'{"a": 1}}', "the file goes on after its end", 1, 9),
    (b'{"a": 1}\n{"a": 2}', "the file goes on after its end", 2, 1),
    (b'{"a": NaN}', "NaN is not JSON", 1, 7),
    (b'{"a":\n  Infinity}', "Infinity is not JSON", 2, 3),
    (b"[1, -Infinity]", "-Infinity is not JSON", 1, 5),
    (b'{"NaN": "NaN",\n "a": NaN}', "NaN is not JSON", 2, 7),
    (b'{"a": 1e999}', "a number that is too large", 1, 7),
    (b"[1, -1e999]", "a number that is too large", 1, 5),
    (b'{"a":\n' + b"1" * 5000 + b"}", "a number that is too large", 2, 1),
    (b"[" * 100_000, "too deep inside each other", 1, 1),
    (b"[" * 100_000 + b"]" * 100_000, "too deep inside each other", 1, 1),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too deep inside each other", 1, 1),
    (b'{"a": "\\ud800"}', "half of a \\u pair", 1, 8),
    (b'{"a": "x\\udc00"}', "half of a \\u pair", 1, 9),
    (b'["\\\\\\ud800"]', "half of a \\u pair", 1, 5),
    (b'["\\ud83d\\ude00 \\ud800"]', "half of a \\u pair", 1, 16),
    (b'["\\ud83d\\ude00",\n NaN]', "NaN is not JSON", 2, 2),
    (b'{"a": 1,\n "a": 2}', '"a" stands twice', 2, 2),
    (b'{"x": [0, {"b": 1,\r\n  "c": {}, "b": 1}]}', '"b" stands twice', 2, 12),
    (b'{"demo": 1, "d\\u0065mo": 2}', '"demo" stands twice', 1, 13),
    (b'{"a:": "::", "a:": ":"}', '"a:" stands twice', 1, 14),
    (b'{"a": 1, "a": "\\u003a"}', '"a" stands twice', 1, 10),
    (b'{"a": 1, "a": "\\u003A"}', '"a" stands twice', 1, 10),
    (b'{"a": 1,\n<<<<<<< HEAD\n"b": 2,\n=======\n"b": 3\n>>>>>>> mine\n}', "git conflict marker", 2, 1),
    (b'{"a": 1,\r\n=======\r\n"b": 3}', "git conflict marker", 2, 1),
    (b'{"a": 1,\n||||||| base\n"b": 3}', "git conflict marker", 2, 1),
    ('{"é": "ü", "b": }'.encode(), "a value is missing after the colon", 1, 15),
    (b'\xef\xbb\xbf{"a": }', "a value is missing after the colon", 1, 5),
    (b'{"a": "\xe9"}', "not UTF-8", 1, 8),
    ('{"ü":\n "é'.encode() + b'\xff"}', "not UTF-8", 2, 4),
    (b'\xef\xbb\xbf{"a": "\xe9"}', "not UTF-8", 1, 8),
]


@pytest.mark.parametrize(("data", "words", "line", "column"), BAD, ids=lambda value: repr(value)[:30])
def test_a_syntax_fault_is_named_at_its_place(data: bytes, words: str, line: int, column: int) -> None:
    """A writer is told what is wrong, in which line and in which column, both counted as editors do."""
    with pytest.raises(FaultError) as raised:
        parse(data)
    assert words in raised.value.message
    assert place(raised.value, data) == (line, column)


@pytest.mark.parametrize("data", [case[0] for case in BAD], ids=lambda value: repr(value)[:30])
def test_a_fault_speaks_to_writers(data: bytes) -> None:
    """No message names Python, a decoder or an offset."""
    with pytest.raises(FaultError) as raised:
        parse(data)
    for word in ("delimiter", "char ", "byte", "codec", "Error", "surrogate", "recursion", "msgspec"):
        assert word not in raised.value.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_rejected_by_name(encoding: str) -> None:
    """A file that an editor saved as UTF-16, with or without a BOM, is told so and what to do."""
    with pytest.raises(FaultError, match=r"UTF-16.*save it as UTF-8") as raised:
        parse('{"a": 1}'.encode(encoding))
    assert raised.value.offset == 0


def test_a_bom_is_accepted_and_dropped() -> None:
    """A file that an editor saved with a byte order mark is read as if it had none."""
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert text_of(b'\xef\xbb\xbf{"a": 1}') == '{"a": 1}'


@pytest.mark.parametrize(
    "text",
    [
        r'"\ud83d\ude00"',
        r'"\\ud800"',
        r'"\u003a"',
        r'{"a\u003a": ":", "a": "::"}',
        "[18446744073709551616, -9223372036854775809, -0.0, 1E5]",
        '{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}',
        '"======= <<<<<<<"',
        "[" * 100 + "]" * 100,
        " null\r\n",
    ],
)
def test_what_only_looks_wrong_is_accepted(text: str) -> None:
    """Whole pairs, escaped colons, large integers and equal keys of different objects are JSON."""
    assert parse(text.encode()) == json.loads(text)


@given(TEXTS)
def test_valid_documents_mean_what_json_says(text: str) -> None:
    """What Python's json makes of a valid document is what we make of it, types and all."""
    assert repr(parse(text.encode())) == repr(json.loads(text))


@given(TEXTS, st.data())
@example('{"a": 1}', None)
def test_a_damaged_document_is_refused_in_words_or_means_what_json_says(text: str, data: st.DataObject | None) -> None:
    """One replaced or deleted stretch of bytes never crashes the reader, and never makes it read something else."""
    raw = text.encode()
    if data is not None:
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 3)))
        raw = raw[:start] + data.draw(st.binary(max_size=3) | st.sampled_from([b",", b'"', b"}", b"\\"])) + raw[end:]
    body = raw.removeprefix(b"\xef\xbb\xbf")
    fault: FaultError | None = None
    value = None
    try:
        value = parse(raw)
    except FaultError as error:
        fault = error
    if fault is None:
        assert repr(value) == repr(json.loads(body))
    else:
        assert fault.offset is not None
        assert fault.offset <= len(body)


@given(st.lists(st.sampled_from("abc:"), min_size=1, max_size=5), st.booleans())
def test_every_key_that_stands_twice_is_found(keys: list[str], nested: bool) -> None:
    """An object is refused exactly when one of its keys stands twice, however deep it lies."""
    inner = "{" + ", ".join(f'"{key}": ":"' for key in keys) + "}"
    text = f'[{{"a": {inner}}}]' if nested else inner
    if len(set(keys)) == len(keys):
        assert parse(text.encode()) == json.loads(text)
    else:
        with pytest.raises(FaultError, match="stands twice"):
            parse(text.encode())


@given(TEXTS)
def test_walking_names_each_value_and_its_place(text: str) -> None:
    """The places of a text are those of its values, in order, and at each stands that value and its name."""
    value = json.loads(text)
    decode = json.JSONDecoder().raw_decode
    places = list(walk(text))
    assert [place.path for place in places] == list(paths_of(value))
    for found in places:
        item, end = decode(text, found.start)
        assert repr(item) == repr(inside(value, found.path))
        assert found.end == (-1 if isinstance(item, (dict, list)) else end)
        if found.path and isinstance(found.path[-1], str):
            assert found.key is not None
            assert decode(text, found.key)[0] == found.path[-1]
        else:
            assert found.key is None


@given(TEXTS)
def test_each_value_is_located(text: str) -> None:
    """A path leads to its value; one that leads further leads to the nearest value around it."""
    for found in walk(text):
        places = Places(text)
        assert places.offset(found.path) == found.start
        assert places.offset(found.path, key=True) == (found.start if found.key is None else found.key)
        assert places.offset((*found.path, "no such name")) == found.start


@given(st.text(st.sampled_from("ab\n\ré"), max_size=30), st.integers(0, 30))
def test_lines_and_columns_are_counted_as_editors_do(text: str, offset: int) -> None:
    """The line is the number of line ends before a place, the column the characters since the last; both from 1."""
    lines = text[:offset].split("\n")
    assert line_column(text, offset) == (len(lines), len(lines[-1]) + 1)
