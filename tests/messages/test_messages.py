"""``docs/messages.md`` has every message that a writer can meet, as it is printed, in a writer's words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.messages.document import Output, Said, document, outputs
from tests.messages.templates import IN_A_LINE, Template, templates
from tests.messages.together import together

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

_HERE = Path(__file__).parent
_DOCUMENT = _HERE.parent.parent / "docs" / "messages.md"
_TOGETHER = _HERE / "check.txt"

EXEMPT = {
    "it waits with manifest.json, which waits for other files": "told to the game's code alone, by reload_module",
    "it waits: ...": "told to the game's code alone, by reload_module",
    "the file can't be served": "stands in for a fault, and each rejected file has one",
    "... is not what is expected here": "stands in for words of the decoder that it does not have today",
    "demo ...... is empty": "the words are those of a fallback; a demonstration can't be empty",
    "the file has more than ... bytes, which are allowed; make it smaller": "the file must grow while it is read",
    "the file may not be read here (permission denied); change its permissions": "root may read everything",
    "the file can't be read: ...; ask who keeps this machine": "a disk that fails",
    'a name in double quotes is expected here; is the ... to line ...... missing before it, or is "demos" to be a list,'
    " in [ ]?": "demonstrations have a name, which is told",
    "the folder can't be listed: ...": "root may list everything",
    "a path is too long": "it takes four thousand letters",
    "give the file a shorter one": "it takes four thousand letters",
    "its ending is not watched any more": "a server whose settings change; the file counts as gone, and nobody is told",
    "it is there already, and is never written over": "another program must write it in that moment",
    "it was saved while it was formatted; run this again": "an editor must save it in that moment",
    "there is one version so far: change the file, save it, then /both": "an answer must come first",
    "it says that it is ...": "a state file that another program changed",
    "its id or its path can't be one": "a state file that another program changed",
    "it is not what was written": "a state file that another program changed",
    "its version is no SHA-256": "a state file that another program changed",
    "its entry is that of another file": "a state file that another program changed",
    "talk needs ...: python -m pip install 'dspyreload[talk]'": "tests have it installed",
}
"""Texts that the document can't have, each with the reason."""

SAYS_IT_ITSELF = (
    "must be ",
    "is missing here",
    "is missing before",
    "is missing between",
    "is expected here",
    "has no closing quote",
    "the game refuses it: ",  # the words are the game's
    "the manifest waits for ",  # it names the files
    "name the module ",
    "name a model, such as",
    "needs DIR, where it writes",
)
"""Phrases that tell what to do, where neither a mend nor a second half of the message does."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PYTHON = re.compile(
    r"\b(str|int|float|bool|dict|tuple|bytes object|NoneType|None|True|False|Traceback|list object)\b"
    r"|\b[A-Z]\w*(Error|Exception|Warning)\b|\blist\[|<class|\bobject at 0x"
)
_PROGRAMMERS = re.compile(r"\$\.|\[\d+\]|(?<![\w.~/])/[\w.-]+/\S|\b0x[0-9a-f]{4,}")


def _lines() -> list[tuple[str, str]]:
    """Return what is printed beside the lines of files, with the case."""
    shown = re.compile(r" {2,}\d* *\| ")
    return [(title, line) for title, found in outputs() for line in found.text.splitlines() if not shown.match(line)]


def _said(level: str = "") -> list[tuple[str, Said]]:
    return [(title, said) for title, found in outputs() for said in found.said if level in said.level]


def _stands_in(template: Template, messages: set[str], lines: list[str]) -> bool:
    pattern = re.compile(template.pattern, re.DOTALL)
    if template.call in IN_A_LINE:
        return any(pattern.search(line) for line in lines)
    if template.call == "ReadFault":  # a command puts the file before it
        return any(pattern.search(text) for text in (*messages, *lines))
    return any(pattern.fullmatch(message) for message in messages)


class TestTheDocument:
    def test_it_is_what_the_commands_print(self) -> None:
        """Nothing in it is written by hand but its introduction."""
        assert _DOCUMENT.exists(), "make it: python -m tests.messages > docs/messages.md"
        assert _DOCUMENT.read_text(encoding="utf-8") == document(), (
            "the messages are others now; make it anew: python -m tests.messages > docs/messages.md"
        )

    def test_one_folder_has_every_fault_of_a_file(self) -> None:
        """The kept output of one check, of all files that can lie in one folder."""
        assert _TOGETHER.exists(), "make it: python -m tests.messages check > tests/messages/check.txt"
        assert _TOGETHER.read_text(encoding="utf-8") == together(), (
            "the messages are others now; make it anew: python -m tests.messages check > tests/messages/check.txt"
        )

    def test_each_case_has_a_title_of_its_own(self) -> None:
        """Within its group; a link to it finds it."""
        titles = [title for title, _found in outputs()]
        assert sorted(set(titles)) == sorted(titles)

    def test_it_knows_no_machine(self) -> None:
        """No path of the machine that made it."""
        assert str(Path.home()) not in document() or str(Path.home()) == "/"
        assert "/tmp/" not in document()
        assert str(_HERE.parent.parent) not in document()


class TestEveryMessageStandsInIt:
    def test_each_text_of_the_source_does(self) -> None:
        """The source is read: what is handed to a fault, a warning or an error of a command stands in the document."""
        messages = {text for _title, said in _said() for text in (said.message, said.mend)}
        lines = [line for _title, line in _lines()]
        missing = {
            template.words: template.where for template in templates() if not _stands_in(template, messages, lines)
        }
        assert {words: where for words, where in missing.items() if words not in EXEMPT} == {}, (
            "write a case that causes these, in tests/messages/cases*.py"
        )
        assert sorted(EXEMPT.keys() - missing.keys()) == [], "these are no exemptions any more"

    def test_the_source_is_found(self) -> None:
        """There are as many texts as there should be: one that reads nothing would find nothing missing."""
        found = templates()
        calls = {template.call for template in found}
        assert calls >= {"FaultError", "Fault", "Warned", "Waits", "ReadFault", "HotReloadFailed", "DSPyReloadError"}
        assert "problems" in calls
        assert "a comma is missing here" in {template.words for template in found}
        assert len(found) > 150


class TestAWritersWords:
    @pytest.mark.parametrize("pattern", [_PYTHON, _PROGRAMMERS], ids=["python", "programmers"])
    def test_none_of_python_and_of_programmers(self, pattern: re.Pattern[str]) -> None:
        """No name of a type, no traceback, no ``$.demos[2]``, no absolute path; what is quoted is the writer's own."""
        found = [
            (title, line)
            for title, line in _lines()
            if not line.startswith("$ ") and pattern.search(_QUOTED.sub('""', line))
        ]
        assert found == []

    @pytest.mark.parametrize(
        "text",
        [
            "expected str, got int",
            "must be of type dict",
            "ValueError: no",
            "at $.demos[2]",
            "demos[2]",
            "/srv/game/a.json is missing",
            "Traceback (most recent call last):",
            "NoneType has no",
            "<class 'list'>",
        ],
    )
    def test_such_words_would_be_found(self, text: str) -> None:
        """Each of these is what the test above looks for."""
        assert _PYTHON.search(text) or _PROGRAMMERS.search(text)

    def test_each_fault_says_what_to_do(self) -> None:
        """In its mend, behind a semicolon, or by itself."""
        assert [(title, said.message) for title, said in _said("fault") if not _tells(said)] == []

    def test_so_does_each_line_of_a_command_that_gives_up(self) -> None:
        """Who reads it sees no file beside it."""
        failed = [(title, line) for title, line in _lines() if line.startswith("dspyreload: ")]
        assert failed
        assert [(title, line) for title, line in failed if not _tells(Said(line, "", "fault"))] == []

    def test_no_phrase_is_listed_in_vain(self) -> None:
        """Each phrase that tells what to do by itself is still in use."""
        text = "\n".join(line for _title, line in _lines())
        assert [phrase for phrase in SAYS_IT_ITSELF if phrase not in text] == []


def _tells(said: Said) -> bool:
    return bool(said.mend) or "; " in said.message or any(phrase in said.message for phrase in SAYS_IT_ITSELF)


def test_a_case_is_run_in_a_folder_of_its_own() -> None:
    """Each gives the same when it is run again: nothing of another is left."""
    (title, first), *_others = outputs()
    assert isinstance(first, Output)
    assert title
    assert "0 faults, 0 warnings" in first.text
