"""What is no JSON is told by the mistake that was made, not by the place where a decoder gave up."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from dspyreload.disk.placing import faults_of
from dspyreload.model.faults import Fault, FaultError
from dspyreload.model.jsontext import parse
from dspyreload.model.manifest import parse_manifest
from dspyreload.model.syntax import LEAST_MODULE

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

PROSE = f'{LEAST_MODULE}; prose belongs into a .md file, which "instruction_file" names'
CURLY = "curly quotation marks; JSON wants straight ones"
CURLY_END = "a curly quotation mark, where the text ends perhaps; JSON wants straight ones"
INSIDE = r"a quotation mark too many, or one missing before this; inside a text it is written \""
UNCLOSED = r"the text has no closing quote on this line; a line break inside a text is written \n"
COMMENT = "a comment; JSON has none"
NO_COMMENT = 'delete it, or put it into "metadata"'
MISSING = "a comma is missing here"
NAME = "a name in double quotes is expected here"
VALUE = "a value is expected here: a text in double quotes, a number, true, false or null"
TOO_EARLY = "the file ends too early; is it half written, or a } or ] missing?"
TOO_DEEP = "lists or objects stand too deep inside each other"


def fault(data: bytes) -> Fault:
    """Return the one fault of a file that is no JSON, as a writer is told of it."""
    with pytest.raises(FaultError) as raised:
        parse(data)
    (found,) = faults_of(raised.value, data)
    return found


def at(text: str, mark: str = "^") -> tuple[str, int, int]:
    """Return a text without its one mark, and the line and column where that stood."""
    assert text.count(mark) == 1
    before = text.partition(mark)[0]
    return text.replace(mark, ""), before.count("\n") + 1, len(before) - before.rfind("\n")


# Each text has a ^ where its fault stands.
# fmt: off
BRACKETS = [
    ('{"demos": [{"inputs": {}, "outputs": {"b": 2}^]}', "a ] too many, or the } to line 1 is missing before it", ""),
    ('{\n"demos": [\n{"inputs": {},\n "outputs": {"b": 2}\n^]\n}',
     "a ] too many, or the } to line 3 is missing before it", ""),
    ('{"demos": [{"inputs": {"a": 1,\n "outputs": {"b": 2}}^]}',
     "a ] too many, or the } to line 1 is missing before it", ""),
    ('{\n"demos": [{"inputs": {\n"a": 1}, ^{"outputs": {}}]}', f"{NAME}; is the }} to line 2 missing before it?", ""),
    ('{"demos": {^{"inputs": {}}}}',
     f'{NAME}; is the }} of "demos" (line 1) missing before it, or is "demos" to be a list, in [ ]?', ""),
    ('{"signature": {^[]}}', f'{NAME}; is the }} of "signature" (line 1) missing before it?', ""),
    ('{\n"include": ["a.md", ^"instruction": "x"}', 'the ] of "include" (line 2) is missing before this', ""),
    ('{"include": ["a.md"^}', 'a } too many, or the ] of "include" (line 1) is missing before it', ""),
    ('{"include": ["a.md"]^]}', "a ] too many, or the } to line 1 is missing before it", ""),
    ('{"a": [1, 2, [3]^}, "b": {"c": 1}}', 'a } too many, or the ] of "a" (line 1) is missing before it', ""),
    ('{"a": "[{", "b": [1^}', 'a } too many, or the ] of "b" (line 1) is missing before it', ""),
    ('{"a": "\\"[{", "b": [1^}', 'a } too many, or the ] of "b" (line 1) is missing before it', ""),
    ('{"instruction": "x"} ^}', "the file goes on after its end; is there one } too many?", ""),
    ('{"instruction": "x"^', TOO_EARLY, ""),
    ('{"demos": [{"inputs": {}}^\n\n', TOO_EARLY, ""),
]
QUOTES = [
    ("{^“instruction”: “x”}", CURLY, ""),
    ('{"instruction": ^“x”}', CURLY, ""),
    ('{"instruction": ^„x“}', CURLY, ""),
    ('{"instruction": ^«x»}', CURLY, ""),
    ('{"instruction": ^“one\ntwo”}', CURLY, ""),
    ('{"instruction": "x^”,\n "demos": []}', CURLY_END, ""),
    ('{\n "instruction": "say “x” and go^”,\n "demos": []}', CURLY_END, ""),
    ('{"instruction": "x,^\n "demos": []}', UNCLOSED, ""),
    ('{"instruction": "one^\r\ntwo"}', UNCLOSED, ""),
    ('{"instruction": "You are a smith.}^\n', UNCLOSED, ""),
    ('{"instruction": "x^”}\n', CURLY_END, ""),
    ('{"instruction": "say "^hello" to all"}', INSIDE, ""),
    ('{"instruction": "say \\"hello" ^to all"}', INSIDE, ""),
    ("{^'instruction': 'x'}", "single quotes; JSON wants double quotes", ""),
]
COMMAS = [
    ('{"a": "x"^\n\n"b": 1}', MISSING, ""),
    ('{"a": {"b": 1}^\n"c": 2}', MISSING, ""),
    ('["a"^ "b"]', MISSING, ""),
    ('{"a": 1^,\n}', "a comma too many before the closing }", "delete it"),
    ('{"a": 1,^, "b": 2}', "a comma too many", "delete it"),
    ('{^,}', "a comma too many", "delete it"),
    ('{"a": "x"^; "b": 1}', "a semicolon; JSON wants a comma", ""),
    ('{"a"^: }', "a value is missing after the colon", "write one, or delete the name"),
    ('{"a"^:\n}', "a value is missing after the colon", "write one, or delete the name"),
    ('{"a" ^= 1}', "a colon is missing between a name and its value", ""),
]
OTHERS = [
    ("^", "the file is empty", LEAST_MODULE),
    ("^You are a smith.", "this is not JSON", PROSE),
    ("^}", "this is not JSON", PROSE),
    ("^# Smith\nYou are a smith.", COMMENT, NO_COMMENT),
    ('{"a": "x", ^// mine\n"b": 1}', COMMENT, NO_COMMENT),
    ('{"a": ^True}', VALUE, ""),
    ('{"a": ^nul}', VALUE, ""),
    ('{"a": "^\\x41"}', r"a backslash inside a text; write it as \\", ""),
]
# fmt: on


@pytest.mark.parametrize(("marked", "message", "mend"), [*BRACKETS, *QUOTES, *COMMAS, *OTHERS])
def test_a_mistake_is_named_where_it_was_made(marked: str, message: str, mend: str) -> None:
    """Which bracket, with the name and the line of the one that it belongs to; which quote; which comma."""
    text, line, column = at(marked)
    assert fault(text.encode()) == Fault(message, line, column, mend)


@pytest.mark.parametrize("text", ['{"a": "say “hello” twice"}', '{"a": "\\"[{"}', '{"a": "x; // y # z, }"}'])
def test_inside_a_text_all_of_that_may_stand(text: str) -> None:
    """Curly quotes are the way to quote there; brackets and commas are only letters."""
    assert list(parse(text.encode())) == ["a"]


def test_a_manifest_is_told_what_a_manifest_can_be() -> None:
    """And not what a module can be."""
    with pytest.raises(FaultError) as raised:
        parse_manifest(b"")
    assert (raised.value.message, raised.value.mend) == (
        "the file is empty",
        'the least that a manifest can be is {"modules": {}}',
    )


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04\x14\x00\x06\x00", b"{\\rtf1\\ansi x}", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"]
)
def test_the_file_of_a_word_processor_is_named_as_that(data: bytes) -> None:
    """Of a new one, of an old one, or in the format that they share: its writer saves it as plain text."""
    words = "this is the file of a word processor, not plain text; save it as plain text"
    assert fault(data) == Fault(words, 1, 1)


def test_a_long_file_with_a_bracket_too_many_is_told_soon() -> None:
    """The work grows with the file, not with its square: a server that plays meanwhile does not notice."""
    text = "[" + "[],\n" * 100_000 + "1}"
    before = time.process_time()
    found = fault(text.encode())
    assert time.process_time() - before < 4
    assert found == Fault("a } too many, or the ] to line 1 is missing before it", 100_001, 2)


@pytest.mark.parametrize("rest", ["1abc9", "x9", "1e9e9", "NaN", "1" * 5000, '"\\ud800"', "}", '"x', "nul", ""])
def test_at_the_edge_of_what_is_too_deep_it_is_a_fault_all_the_same(rest: str) -> None:
    """Whichever of two decoders gives up first, and at whichever depth."""
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit()):
        with pytest.raises(FaultError):
            parse(("[" * depth + rest).encode())


DEEP = """
import resource
from dspyreload.disk.placing import faults_of
from dspyreload.model.faults import FaultError
from dspyreload.model.module_file import parse_module

with open("/proc/self/statm") as file:
    held = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 200 * 2**20,) * 2)
for opening, closing in (("[", "]"), ('{"a": ', "}"), ("[", "")):
    data = (opening * 100_000 + "1" + closing * 100_000).encode()
    try:
        parse_module(data, "x")
    except FaultError as error:
        print([(fault.message, fault.line, fault.column, fault.mend) for fault in faults_of(error, data)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_a_hundred_thousand_nested_brackets_are_one_fault_in_little_memory() -> None:
    """To name the place of each of them would take some 40 GB."""
    run = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == [str([(TOO_DEEP, 1, 1, "put fewer inside each other")])] * 3
