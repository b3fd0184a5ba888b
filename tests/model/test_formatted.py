"""One form for all module files: the same value, in an order and with breaks that anybody's tool would make again."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspyreload.model.dspy_state import is_dspy_state
from dspyreload.model.faults import FaultError
from dspyreload.model.formatted import formatted
from dspyreload.model.module_file import parse_module
from tests.conftest import MODULE

WIDTH = 100
KEYS = [
    "$schema", "module_id", "predictor_type", "signature_name", "signature", "include", "instruction_file",
    "instruction", "demos", "tool_enabled", "fallback", "metadata",
]  # fmt: skip


class Number(str):
    """A number, as it is written."""

    __slots__ = ()


def exact(text: str | bytes) -> Any:
    """Return a value in which each number is its own text, and each object the list of its keys in order too."""
    number = lambda digits: ("number", digits)  # noqa: E731
    return json.loads(text, parse_int=number, parse_float=number)


def in_order(text: str | bytes) -> Any:
    """Return a value in which each object is a list of its rows."""
    return json.loads(text, object_pairs_hook=lambda rows: [("key", *row) for row in rows])


def dumped(value: Any, gap: str) -> str:
    """Write a value as JSON, with some white space wherever it may stand."""
    if isinstance(value, Number):
        return str.__str__(value)
    if isinstance(value, list):
        return f"[{gap}" + f"{gap},{gap}".join(dumped(item, gap) for item in value) + f"{gap}]"
    if isinstance(value, dict):
        rows = [f"{json.dumps(key)}{gap}:{gap}{dumped(item, gap)}" for key, item in value.items()]
        return f"{{{gap}" + f"{gap},{gap}".join(rows) + f"{gap}}}"
    return json.dumps(value, ensure_ascii=len(gap) % 2 == 0)


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).map(Number)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    max_size=200, alphabet='ab \t\n"\\/:,{'
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
sides = st.dictionaries(st.sampled_from(["outputs", "inputs", "x"]), values, max_size=3)
fields = st.dictionaries(st.sampled_from(["field_type", "description", "name", "x"]), values, max_size=4)
parts = {
    "demos": st.lists(sides | values, max_size=3) | values,
    "signature": st.dictionaries(st.sampled_from(["outputs", "inputs", "x"]), st.lists(fields, max_size=3) | values),
    "metadata": st.dictionaries(st.sampled_from(["version", "x", "metric_score", "optimizer"]), values) | values,
}
rows = st.sampled_from([*KEYS, "mood", ""]).flatmap(lambda key: st.tuples(st.just(key), parts.get(key, values)))
files = st.lists(rows, max_size=8).map(lambda found: dict(reversed(found)))
gaps = st.sampled_from(["", " ", "\n ", "\r\n\t"])
modules = st.builds(
    lambda value, gap, bom: (bom + dumped(value, gap)).encode(), files, gaps, st.sampled_from(["", "\ufeff"])
)


@settings(deadline=None)
@given(modules)
def test_formatting_again_changes_nothing(data: bytes) -> None:
    """Whoever formats, and how often, a file is the same."""
    once = formatted(data)
    assert formatted(once.encode()) == once


@settings(deadline=None)
@given(modules)
def test_the_value_is_the_same(data: bytes) -> None:
    """To the last digit of each number, and the last sign of each text; only keys of objects change places."""
    assert exact(formatted(data)) == exact(data.removeprefix(b"\xef\xbb\xbf"))


@settings(deadline=None)
@given(modules)
def test_all_that_is_written_can_be_seen(data: bytes) -> None:
    """A blank without width, a mark that turns the writing, a control character: each is an escape."""
    hidden = [c for c in formatted(data) if c not in "\n\u200c\u200d" and not c.isprintable()]
    assert not [c for c in hidden if unicodedata.category(c) != "Zs"]


@settings(deadline=None)
@given(modules)
def test_a_line_is_long_only_where_it_can_not_be_broken(data: bytes) -> None:
    """Lists and objects that do not fit into a line have a line for each item."""
    for line in formatted(data).splitlines():
        bare = line.strip().removesuffix(",")
        if len(line) <= WIDTH or bare[-1] in "[{":
            continue
        value, end = json.JSONDecoder().raw_decode(bare)
        if bare[end : end + 2] == ": ":
            value = json.loads(bare[end + 2 :])
        assert not isinstance(value, (list, dict)) or not value


@settings(deadline=None)
@given(modules)
def test_each_key_of_the_module_has_a_line_and_known_ones_come_first(data: bytes) -> None:
    """In the order in which one reads them; what is not known stands after them as it stood."""
    text = formatted(data)
    keys = [key for _, key, _ in in_order(text)]
    known = [key for key in KEYS if key in keys]
    unknown = [key for _, key, _ in in_order(data.removeprefix(b"\xef\xbb\xbf")) if key not in KEYS]
    assert keys == [*known, *unknown]
    starts = [line for line in text.splitlines() if line.startswith('  "')]
    assert [json.JSONDecoder().raw_decode(line[2:])[0] for line in starts] == keys
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    "number",
    ["0", "-0", "1.0", "1.50", "1E5", "1e+05", "0.1000000000000000055511151231257827", "9007199254740993", "1" * 200],
)
def test_no_number_is_rounded(number: str) -> None:
    """Nor written in another way."""
    assert formatted(f'{{"x": {number}}}'.encode()) == f'{{\n  "x": {number}\n}}\n'


@pytest.mark.parametrize(
    ("sign", "escape"),
    [
        ("\u200b", r"\u200b"), ("\u200e", r"\u200e"), ("\u2028", r"\u2028"), ("\u202e", r"\u202e"),
        ("\x7f", r"\u007f"), ("\x85", r"\u0085"), ("\ufeff", r"\ufeff"), ("\U000e0041", r"\udb40\udc41"),
        ("\u00ad", r"\u00ad"), ("\ue000", r"\ue000"),
    ],
)  # fmt: skip
def test_what_can_not_be_seen_is_an_escape(sign: str, escape: str) -> None:
    """In a text and in a key."""
    text = f'{{"instruction": "a{sign}b", "{sign}": 1}}'
    assert formatted(text.encode()) == f'{{\n  "instruction": "a{escape}b",\n  "{escape}": 1\n}}\n'


@pytest.mark.parametrize("blank", ["\u00a0", "\u202f", "\u3000", "\u2009", "\u200c", "\u200d"])
def test_what_languages_are_written_with_is_itself(blank: str) -> None:
    """The spaces of French and Chinese, and the joiners of Persian and of emoji: nobody wants to read their escapes."""
    for written in (blank, json.dumps(blank)[1:-1]):
        assert formatted(f'{{"x": "a{written}b"}}'.encode()) == f'{{\n  "x": "a{blank}b"\n}}\n'


@pytest.mark.parametrize("letter", ["é", "ß", "ж", "中", "ع", "𐍈", "🐉", "“", "—", "/", "<"])
def test_what_can_be_seen_is_itself(letter: str) -> None:
    """However it was written before."""
    for written in (letter, json.dumps(letter)[1:-1]):
        assert formatted(f'{{"x": "{written}"}}'.encode()) == f'{{\n  "x": "{letter}"\n}}\n'


def test_a_module_has_one_form() -> None:
    """Keys in the order in which one reads them, as much on a line as fits."""
    demo = {"outputs": {"response": "Is it? Mind the sparks.", "emotion": "annoyed"}, "inputs": {"heard": "Good day!"}}
    module = {
        "notes": [], "metadata": {"judge": "me", "version": "1", "optimizer": "manual"},
        "fallback": [{"response": "No."}], "demos": [demo, {"why": 1, **demo}], "tool_enabled": False,
        "instruction": "You are a smith.", "include": ["a.md"],
        "signature": {"outputs": [{"field_type": "string", "name": "response"}], "inputs": [{"name": "heard"}]},
        "signature_name": "talk", "predictor_type": "predict", "module_id": "npc", "$schema": "../module.json",
    }  # fmt: skip
    assert (
        formatted(json.dumps(module).encode())
        == """\
{
  "$schema": "../module.json",
  "module_id": "npc",
  "predictor_type": "predict",
  "signature_name": "talk",
  "signature": {
    "inputs": [{"name": "heard"}],
    "outputs": [{"name": "response", "field_type": "string"}]
  },
  "include": ["a.md"],
  "instruction": "You are a smith.",
  "demos": [
    {
      "inputs": {"heard": "Good day!"},
      "outputs": {"response": "Is it? Mind the sparks.", "emotion": "annoyed"}
    },
    {
      "inputs": {"heard": "Good day!"},
      "outputs": {"response": "Is it? Mind the sparks.", "emotion": "annoyed"},
      "why": 1
    }
  ],
  "tool_enabled": false,
  "fallback": [{"response": "No."}],
  "metadata": {"optimizer": "manual", "version": "1", "judge": "me"},
  "notes": []
}
"""
    )


def test_fields_keep_their_order() -> None:
    """The model sees the fields of a signature, and the demonstrations, in the order of the file."""
    signature = {"inputs": [{"name": "z"}, {"name": "a"}], "outputs": [{"name": "y"}, {"name": "b"}]}
    demos = [{"inputs": {"z": 1, "a": 2}, "outputs": {"y": 3, "b": 4}}, {"inputs": {"a": 2, "z": 1}, "outputs": {}}]
    data = json.dumps({"instruction": "x", "signature": signature, "demos": demos}).encode()
    found = {key: value for _, key, value in in_order(formatted(data))}
    wanted = {key: value for _, key, value in in_order(data)}
    assert (found["signature"], found["demos"]) == (wanted["signature"], wanted["demos"])


def test_a_line_of_the_width_is_kept_and_one_more_is_broken() -> None:
    """The comma after it counts too."""
    for length, broken in ((WIDTH - len('  "x": [""],'), False), (WIDTH - len('  "x": [""],') + 1, True)):
        line = f'  "x": ["{"a" * length}"],'
        found = formatted(json.dumps({"x": ["a" * length], "y": 1}).encode()).splitlines()
        assert (line not in found) is broken
        assert ('  "x": [' in found) is broken


@pytest.mark.parametrize("program", [dspy.ChainOfThought("b, a -> z, y"), dspy.Predict("b, a -> z, y")])
def test_what_dspy_saved_keeps_its_order(program: Any, tmp_path: Any) -> None:
    """The order of its predictors says which comes first, and that of a demonstration what the model sees first."""
    predictor = program if isinstance(program, dspy.Predict) else program.predict
    predictor.demos = [dspy.Example(z="1", y="2", b="3", a="4")]
    program.save(tmp_path / "x.json")
    data = (tmp_path / "x.json").read_bytes()
    assert in_order(formatted(data)) == in_order(data)


def test_predictors_that_are_called_as_keys_keep_their_order() -> None:
    """A program's attributes are the game's to name: no order of a module's keys is for them."""
    part: dict[str, Any] = {
        "demos": [],
        "train": [],
        "traces": [],
        "signature": {"fields": [], "instructions": "x"},
        "lm": None,
    }
    state = {"metadata": {"version": 1}, "z": part, "instruction": part, "demos": part, "a": part}
    assert is_dspy_state(state)
    assert in_order(formatted(json.dumps(state).encode())) == in_order(json.dumps(state))


def test_marks_of_an_editor_are_dropped() -> None:
    """A byte order mark and the line ends of Windows between values; a line end inside a text is the writer's."""
    text = '\ufeff{\r\n\t"demos": [],\r\n\t"instruction": "a\\r\\nb"\r\n}\r\n'
    assert formatted(text.encode()) == '{\n  "instruction": "a\\r\\nb",\n  "demos": []\n}\n'


def test_the_same_module_is_served() -> None:
    """Not only the same JSON: what the reader makes of it."""
    data = json.dumps(dict(reversed(MODULE.items()))).encode()
    assert parse_module(formatted(data).encode(), "x").module == parse_module(data, "x").module


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"7", b"null", b"", b"{", b'{"a": 1, "a": 2}', b"\xff", b'{"a": NaN}'])
def test_what_is_no_module_is_refused(data: bytes) -> None:
    """With the fault that the reader has against it."""
    with pytest.raises(FaultError):
        formatted(data)


@pytest.mark.parametrize("depth", [150, 300, 600, 900, 1200, 5000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x": ', "}")])
def test_what_stands_too_deep_is_refused(depth: int, opening: str, closing: str) -> None:
    """At any depth a file is formatted, or refused in a writer's words; nothing else is raised."""
    text = '{"x": ' + opening * depth + "1" + closing * depth + "}"
    try:
        assert json.loads(formatted(text.encode())) == json.loads(text)
    except FaultError as fault:
        refusal = fault.message
    else:
        refusal = ""
    assert refusal == ("" if depth < 200 else refusal and "lists or objects stand too deep inside each other")


def test_an_empty_object_stays_one() -> None:
    """It is no good module; that is not for the form to say."""
    assert formatted(b" { } ") == "{}\n"
