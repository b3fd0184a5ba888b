"""``dspyreload talk`` as a writer sees it: a real process on a pseudo-terminal, files saved meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspyreload.__main__ import main
from tests.end_to_end.terminal import Terminal


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """What ``dspyreload init`` makes."""
    directory = tmp_path / "modules"
    assert main(["init", str(directory)]) == 0
    return directory


@pytest.fixture
def smith(modules: Path) -> Path:
    return modules / "npc" / "smith.json"


@pytest.fixture
def talk(modules: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A conversation with the smith, ready for a first question."""
    with Terminal.of_dspyreload("talk", str(modules), "npc.smith", home=tmp_path / "home") as terminal:
        terminal.until("npc.smith>")
        yield terminal


def save(path: Path, text: str) -> None:
    """Save as editors do: another file, renamed over the old one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    save(path, text.replace(old, new))


def shown(pattern: str, screen: str) -> str:
    found = re.search(pattern, screen)
    assert found is not None, f"{pattern!r} is not on the screen:\n{screen}"
    return found[1]


def test_a_save_is_heard_in_the_next_answer(talk: Terminal, smith: Path) -> None:
    """Each answer is shown with its version and language model; the save is one line, above what is being typed."""
    talk.enter("Good day!")
    first = shown(r"\[([0-9a-f]{4}) demos\] smith: Is it\? Mind the sparks\.", talk.until("sparks."))
    talk.keys("Good d")
    change(smith, "Is it? Mind the sparks.", "It was, until now.")
    screen = talk.until(f"(was {first})")
    second = shown(r"-- npc\.smith is live: ([0-9a-f]{4}) \(was", screen)
    assert second != first
    talk.enter("ay!")  # the line that was begun is still there
    talk.until(f"[{second} demos] smith: It was, until now.")
    talk.enter("/quit")
    assert talk.ended() == 0


def test_a_broken_save_says_what_is_wrong_and_what_still_speaks(talk: Terminal, smith: Path) -> None:
    """The version before answers until the file is mended."""
    good = smith.read_text(encoding="utf-8")
    talk.enter("Good day!")
    version = shown(r"\[([0-9a-f]{4}) demos\]", talk.until("sparks."))
    save(smith, good.replace('"outputs": {"response": "Close', '"outputs": {"respons": "Close'))
    screen = talk.until(f"{version} still speaks").replace("\n", " ")
    assert '!! npc/smith.json:9:59: demo 3 has "respons"' in screen
    assert 'did you mean "response"?' in screen
    talk.enter("Goodbye")
    talk.until(f"[{version} demos] smith: Close the door.")
    save(smith, good)
    talk.until("npc.smith is whole again")


def test_the_old_and_the_new_answer_stand_beside_each_other(talk: Terminal, smith: Path) -> None:
    """/both asks the last question of both versions; /again asks it of the new one."""
    talk.enter("/both")
    talk.until("nothing was asked yet")
    talk.enter("Goodbye")
    talk.until("smith: Close the door.")
    talk.enter("/both")
    talk.until("there is one version so far")
    change(smith, "Close the door.", "Leave it open.")
    talk.until("npc.smith is live")
    talk.enter("/both")
    talk.until("Leave it open.")
    beside = next(line for line in talk.text().splitlines() if "Leave it open." in line)
    assert "Close the door." in beside
    talk.enter("/again")
    talk.until("smith: Leave it open.")


def test_the_messages_are_shown_as_the_language_model_gets_them(modules: Path, tmp_path: Path) -> None:
    """/prompt shows roles, the instruction with what it includes, and the question."""
    with Terminal.of_dspyreload("talk", str(modules), "guide", home=tmp_path, rows=120) as talk:
        talk.until("npc.guide>")
        talk.enter("/prompt Where is the inn?")
        screen = talk.until("Where is the inn?")
        screen = talk.until("Respond with the corresponding")
        assert "[system]" in screen
        assert "The town is Harrow" in screen
        assert screen.index("The town is Harrow") < screen.index("You are Tam")


def test_a_shared_text_is_one_line_for_all_who_include_it(modules: Path, tmp_path: Path) -> None:
    """The character that is talked to is named, the others are counted."""
    (modules / "manifest.json").unlink()
    for number in range(20):
        save(modules / f"guest{number}.json", json.dumps({"include": ["town.md"], "instruction": "You are a guest."}))
    with Terminal.of_dspyreload("talk", str(modules), "guest7", home=tmp_path) as talk:
        talk.until("guest7>")
        save(modules / "town.md", "The town is Skerry.")
        screen = talk.until("and 20 more modules")
        assert screen.count(" live") == 2  # and the line of the greeting
        shown(r"-- guest7 is live: ([0-9a-f]{4}) \(was [0-9a-f]{4}\), and 20 more modules", screen)


def test_a_file_that_is_broken_from_the_start_speaks_once_it_is_mended(
    modules: Path, smith: Path, tmp_path: Path
) -> None:
    """What is wrong is said at once, and the first good save is live."""
    good = smith.read_text(encoding="utf-8")
    save(smith, good.replace('"response": "Is it?', '"response" "Is it?'))
    with Terminal.of_dspyreload("talk", str(modules), "npc/smith.json", home=tmp_path) as talk:
        screen = talk.until("npc.smith>")
        assert "npc.smith does not speak yet" in screen
        assert "!! npc/smith.json:4:" in screen
        talk.enter("Good day!")
        talk.until("mend it and save")
        save(smith, good)
        talk.until("npc.smith is live")
        talk.enter("Good day!")
        talk.until("smith: Is it? Mind the sparks.")


def test_other_fields_are_set_and_completed(modules: Path, tmp_path: Path) -> None:
    """A required field comes from the first demonstration, or from /set; Tab completes commands, fields and modules."""
    fields = {
        "inputs": [{"name": "mood", "description": "How the guard feels"}, {"name": "player_message"}],
        "outputs": [{"name": "response"}],
    }
    (modules / "manifest.json").unlink()
    save(modules / "guard.json", json.dumps({"instruction": "You guard.", "signature": fields}))
    with Terminal.of_dspyreload("talk", str(modules), "guard", home=tmp_path) as talk:
        talk.until("guard>")
        talk.enter("Hello")
        talk.until("it needs mood: /set mood ...")
        talk.keys("/se")
        talk.until("show the input fields")
        talk.keys("\t")
        talk.until("guard> /set")
        talk.keys(" mo")
        talk.until("How the guard feels")
        talk.keys("\t")
        talk.until("guard> /set mood")
        talk.enter(" grim")
        talk.until("mood: grim")
        talk.enter("/prompt Halt?")
        talk.until("marker for")
        talk.keys("/module npc.sm")
        talk.until("/module npc.sm\n" + " " * 22 + "npc.smith")
        talk.keys("\t")
        talk.until("/module npc.smith")
        talk.enter()
        talk.until("npc.smith>")


def test_earlier_lines_come_back(talk: Terminal, modules: Path, tmp_path: Path) -> None:
    """Also in the next conversation: the arrow brings them."""
    talk.enter("Good day!")
    talk.until("sparks.")
    talk.keys("\x1b[A")
    talk.until("npc.smith> Good day!", times=2)
    talk.keys("\x03")  # lets go of the line
    talk.keys("\x03")  # leaves
    assert talk.ended() == 0
    with Terminal.of_dspyreload("talk", str(modules), "npc.smith", home=tmp_path / "home") as again:
        again.until("npc.smith>")
        again.keys("\x1b[A")
        again.until("npc.smith> Good day!")
        again.keys("\x03\x04")  # end of input, on an empty line
        assert again.ended() == 0


def test_what_can_not_begin_is_one_line(modules: Path, tmp_path: Path) -> None:
    """A directory that is not there, a module that is not there, a file in place of a directory."""
    for arguments, words in (
        ([str(tmp_path / "none")], "is not there"),
        ([str(modules), "npc.smiht"], "did you mean"),
        ([str(modules / "manifest.json")], "name the directory that it lies in"),
        ([str(modules), "--lm", "openai/"], "name a model"),
        ([str(modules), "--lm-config", str(tmp_path / "none.toml")], "--lm-config"),
    ):
        with Terminal.of_dspyreload("talk", *arguments, home=tmp_path, columns=200) as talk:
            assert talk.ended() == 1
            lines = [line for line in talk.text().splitlines() if line.startswith("dspyreload: ")]
            assert len(lines) == 1
            assert words in lines[0]
            assert "Traceback" not in talk.text()


def test_it_ends_in_good_order_when_it_is_told_to(talk: Terminal) -> None:
    """SIGTERM, as a closing window sends: the terminal is given back, and the process ends."""
    talk.child.kill(signal.SIGTERM)
    assert talk.ended() == 0


def piped(modules: Path, home: Path, *arguments: str, typed: str) -> subprocess.CompletedProcess[str]:
    """Talk with lines from the standard input."""
    return subprocess.run(
        [sys.executable, "-m", "dspyreload", "talk", str(modules), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )


@pytest.mark.parametrize(("typed", "status"), [("Hello\n", 1), ("Hello\n/help\n", 1), ("/help\n/both\n", 0)])
def test_a_pipe_ends_with_1_where_a_question_had_no_answer(
    modules: Path, smith: Path, tmp_path: Path, typed: str, status: int
) -> None:
    """A script may ask whether all was answered."""
    save(smith, '{"instruction": "You are a smith."}')
    run = piped(modules, tmp_path, "smith", typed=typed)
    assert (run.returncode, run.stderr) == (status, "")
    assert ("no answer: it has no demonstrations" in run.stdout) == bool(status)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"instruction" "x"}', ["a colon is missing"]),
        (
            '{"demos": [],\n "signature": {"inputs": [], "outputs": []},\n "instruction": " "}',
            ['no "outputs"', "is empty"],
        ),
        (None, ["a pipe or a device"]),
    ],
)
def test_each_fault_is_said_once_at_the_beginning(
    modules: Path, smith: Path, tmp_path: Path, text: str | None, words: list[str]
) -> None:
    """Not when the greeting comes, and again when the watching begins."""
    if text is None:
        smith.unlink()
        os.mkfifo(smith)
    else:
        save(smith, text)
    with Terminal.of_dspyreload("talk", str(modules), "npc.smith", home=tmp_path, columns=200) as talk:
        talk.until("npc.smith>")
        save(modules / "npc" / "cook.json", '{"instruction": "You are kind."}')
        screen = talk.until("npc.cook is live")
    assert [screen.count(fault) for fault in words] == [1] * len(words)


def test_a_manifest_that_is_broken_mended_and_deleted_is_told(modules: Path, tmp_path: Path) -> None:
    """Each in its own words; what it let go of says so."""
    manifest = modules / "manifest.json"
    good = manifest.read_text(encoding="utf-8")
    with Terminal.of_dspyreload("talk", str(modules), "npc.smith", home=tmp_path, columns=200) as talk:
        talk.until("npc.smith>")
        save(manifest, good.rstrip()[:-1])
        talk.until("the manifest before it still counts")
        save(manifest, good)
        talk.until("-- manifest.json is whole again, as it was before")
        entries = json.loads(good)
        del entries["modules"]["npc.cook"]
        save(manifest, json.dumps(entries))
        talk.until("npc.cook is gone: manifest.json no longer lists it")
        manifest.unlink()
        talk.until("manifest.json is gone: every .json file is a module now")


def test_a_pipe_gives_a_transcript(modules: Path, tmp_path: Path) -> None:
    """Lines from the standard input are said one after the other, and printed with the answers."""
    run = piped(modules, tmp_path, "smith", typed="Good day!\nGoodbye\n")
    assert (run.returncode, run.stderr) == (0, "")
    said = [line.partition("] ")[2] for line in run.stdout.splitlines() if line.startswith("[")]
    assert said == ["smith: Is it? Mind the sparks.", "smith: Close the door."]
    assert "npc.smith> Good day!" in run.stdout
