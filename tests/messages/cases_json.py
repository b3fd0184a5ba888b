"""What JSON itself does not allow."""

from __future__ import annotations

from pathlib import Path

from tests.messages.case import Case, Group, Made, one

__all__ = ["GROUPS"]


def _bytes(words: str, data: bytes, shown: str = "") -> Made:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return Made(words, make, shown)


_DEEP = _bytes("a file with 100,000 lists inside each other", b'{"demos": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
_LONG = _bytes("a file with a number of 400 digits", b'{"metadata": {"metric_score": 1' + b"0" * 400 + b"}}")
_UTF16 = _bytes("a file that Windows Notepad saved as UTF-16", '{"instruction": "Hello"}'.encode("utf-16"))
_LATIN = _bytes(
    "a file that was saved as Latin-1",
    '{"instruction": "You run the café."}'.encode("latin-1"),
    '{"instruction": "You run the café."}',
)

_RTF = _bytes("a file that a word processor saved", b"{\\rtf1\\ansi You are a smith.}")

_COMMAS: tuple[Case, ...] = (
    one(
        "A comma is missing",
        '{\n  "instruction": "You are a smith."\n  "demos": []\n}\n',
        note="The place is the end of the line before, where the comma belongs.",
    ),
    one("A comma too many at the end of an object", '{\n  "instruction": "You are a smith.",\n}\n'),
    one(
        "A comma too many at the end of a list",
        '{\n  "instruction": "You are a smith.",\n  "include": ["town.md",]\n}\n',
    ),
    one("Two commas", '{\n  "instruction": "You are a smith.",,\n  "demos": []\n}\n'),
    one("A semicolon", '{\n  "instruction": "You are a smith.";\n  "demos": []\n}\n'),
    one("A colon is missing", '{\n  "instruction" "You are a smith."\n}\n'),
)

_QUOTES: tuple[Case, ...] = (
    one("A name without quotes", '{\n  instruction: "You are a smith."\n}\n'),
    one("A text without quotes", '{\n  "instruction": You are a smith.\n}\n'),
    one("Single quotes", "{\n  \"instruction\": 'You are a smith.'\n}\n"),
    one("Curly quotes, as word processors write them", '{\n  "instruction": “You are a smith.”\n}\n'),
    one(
        "A curly quotation mark at the end of a text",
        '{\n  "instruction": "You are a smith.”,\n  "demos": []\n}\n',
    ),
    one(
        "A quotation mark inside a text",
        '{\n  "instruction": "You say "hot iron" a lot."\n}\n',
        note='Write it as `\\"`, or use curly or single ones inside the text.',
    ),
    one(
        "The closing quote is missing",
        '{\n  "instruction": "You are a smith.,\n  "demos": []\n}\n',
    ),
    one("The closing quote is missing in the last line", '{"instruction": "You are a smith.}'),
    one(
        "A text that goes on in the next line",
        '{\n  "instruction": "You are a smith.\nYou are gruff."\n}\n',
        note="For long texts there is `instruction_file`, a text file with lines as you like.",
    ),
    one("A tab inside a text", '{\n  "instruction": "You are\ta smith."\n}\n'),
    one("A backslash inside a text", '{\n  "instruction": "You know C:\\quests by heart."\n}\n'),
    one("A \\u without its four digits", '{\n  "instruction": "A caf\\u00e."\n}\n'),
    one("Half of a character that is written with two \\u", '{\n  "instruction": "A dragon: \\ud83d."\n}\n'),
)

_VALUES: tuple[Case, ...] = (
    one("A value is missing", '{\n  "instruction": "You are a smith.",\n  "demos":\n}\n'),
    one("A bracket that does not match", '{\n  "instruction": "You are a smith.",\n  "demos": [}\n'),
    one(
        "A brace too many in a list",
        '{\n  "instruction": "You are a smith.",\n  "demos": [\n    {"inputs": {}}}\n  ]\n}\n',
    ),
    one(
        "A demonstration without its last brace",
        '{\n  "instruction": "You are a smith.",\n  "demos": [\n'
        '    {"inputs": {"player_message": "Hi"}, "outputs": {"response": "Hm."}\n  ]\n}\n',
    ),
    one(
        "A demonstration without its last brace, and another one",
        '{\n  "instruction": "You are a smith.",\n  "demos": [\n'
        '    {"inputs": {"player_message": "Hi"}, "outputs": {"response": "Hm."},\n'
        '    {"inputs": {"player_message": "Bye"}, "outputs": {"response": "Hm."}}\n  ]\n}\n',
    ),
    one(
        "A field too deep",
        '{\n  "instruction": "You are a smith.",\n  "metadata": {\n    {"optimizer": "hand"}\n  }\n}\n',
    ),
    one(
        "Demonstrations in braces",
        '{\n  "instruction": "You are a smith.",\n  "demos": {\n'
        '    {"inputs": {"player_message": "Hi"}, "outputs": {"response": "Hm."}}\n  }\n}\n',
    ),
    one("A list that is not closed", '{\n  "include": ["town.md",\n  "instruction": "You are a smith."\n}\n'),
    one(
        "A demonstration in square brackets",
        '{\n  "instruction": "You are a smith.",\n  "demos": [\n    ["inputs": {}, "outputs": {}]\n  ]\n}\n',
    ),
    one(
        "A list inside of a list that is not closed",
        '{\n  "instruction": "You are a smith.",\n  "demos": [\n    ["inputs", "outputs": {}]\n  ]\n}\n',
    ),
    one("True with a capital letter", '{\n  "instruction": "You are a smith.",\n  "tool_enabled": True\n}\n'),
    one("NaN", '{\n  "instruction": "You are a smith.",\n  "metadata": {"metric_score": NaN}\n}\n'),
    one("Infinity", '{\n  "instruction": "You are a smith.",\n  "metadata": {"metric_score": -Infinity}\n}\n'),
    one(
        "A number that is too large",
        '{\n  "instruction": "You are a smith.",\n  "metadata": {"metric_score": 1e999}\n}\n',
    ),
    one("A number of too many digits", _LONG),
    one("A key that stands twice", '{\n  "instruction": "You are a smith.",\n  "instruction": "You are a baker."\n}\n'),
    one("A comment", '{\n  // who she is\n  "instruction": "You are a smith."\n}\n'),
    one("A comment with #", '{\n  "instruction": "You are a smith.", # gruff\n  "demos": []\n}\n'),
)

_WHOLE: tuple[Case, ...] = (
    one("An empty file", ""),
    one("A file that ends too early", '{\n  "instruction": "You are a smith.",\n  "demos": [\n'),
    one("A brace too many", '{\n  "instruction": "You are a smith."\n}\n}\n'),
    one("A list instead of an object", '["You are a smith."]\n'),
    one("A text that is no JSON at all", "You are a smith.\n"),
    one(
        "What git leaves behind when two people changed a file",
        '{\n<<<<<<< HEAD\n  "instruction": "You are a gruff smith."\n=======\n'
        '  "instruction": "You are a kind smith."\n>>>>>>> kind\n}\n',
    ),
    one("Too many lists inside each other", _DEEP),
    one("The file of a word processor", _RTF),
    one("UTF-16", _UTF16),
    one("Letters that are not UTF-8", _LATIN),
)

GROUPS = (
    Group("Commas and colons", "", _COMMAS),
    Group("Quotes and texts", "", _QUOTES),
    Group("Values", "", _VALUES),
    Group("The file as a whole", "", _WHOLE),
)
