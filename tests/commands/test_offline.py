"""What commands without a server share: the words for what is no directory, and the game's setup."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dspyreload.__main__ import main
from dspyreload.commands.offline import absent, check_directory_named
from dspyreload.errors import DSPyReloadError
from tests.conftest import Save
from tests.test_check_setup import Game, game

__all__ = ["game"]

Output = pytest.CaptureFixture[str]

LOUD = 'print("at import")\n\ndef setup(engine):\n    print("in setup")\n'


def test_a_directory_is_not_absent_a_link_to_one_neither(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (tmp_path, tmp_path / "link"):
        assert absent(str(place)) is None
        check_directory_named(str(place))


def test_what_is_no_directory_is_named_with_what_to_do(tmp_path: Path) -> None:
    """What is not there, a link that leads nowhere, a file; control characters are escaped."""
    (tmp_path / "hole").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    for name, words in (
        ("none", "none is not there; correct its name, or make it with dspyreload init"),
        ("hole", "hole is not there; correct its name, or make it with dspyreload init"),
        ("file", "file is a file; name the directory that it lies in"),
        ("\x1b[2J", "\\x1b[2J is not there; correct its name, or make it with dspyreload init"),
    ):
        assert absent(str(tmp_path / name)) == f"{tmp_path}/{words}"
        with pytest.raises(DSPyReloadError) as raised:
            check_directory_named(str(tmp_path / name))
        assert str(raised.value) == f"{tmp_path}/{words}"


@pytest.mark.parametrize("command", ["check", "fmt", "hash", "schema", "talk"])
def test_every_command_says_it_in_these_words(tmp_path: Path, capsys: Output, command: str) -> None:
    """With exit status 1, and nothing on the standard output."""
    place = str(tmp_path / "none")
    assert main([command, place]) == 1
    assert capsys.readouterr() == ("", f"dspyreload: {absent(place)}\n")


@pytest.mark.parametrize("arguments", [["check", "--json"], ["schema"]])
def test_what_the_game_prints_is_no_part_of_the_result(
    modules: Path, game: Game, capsys: Output, arguments: list[str]
) -> None:
    """At its import and in its setup: it goes to the standard error, and the result is one JSON value still."""
    name = game(LOUD)
    assert main([arguments[0], str(modules), *arguments[1:], "--setup", name]) == 0
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), (list, dict))
    assert err == "at import\nin setup\n"


class TestAnOutputThatCanNotBeWritten:
    @pytest.mark.parametrize("arguments", [["check"], ["check", "--json"], ["fmt", "--check"], ["schema"]])
    def test_it_is_told_with_exit_status_2(self, modules: Path, save: Save, arguments: list[str]) -> None:
        """A full disk: one line on the standard error, and no traceback; 1 would say that a file has a fault."""
        save("a.json", '{"instruction": "x"}')
        with open("/dev/full", "w") as full:
            run = subprocess.run(
                [sys.executable, "-m", "dspyreload", arguments[0], str(modules), *arguments[1:]],
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert run.stderr == "dspyreload: the result can't be written: No space left on device\n"
        assert run.returncode == 2

    def test_one_that_nobody_reads_ends_without_a_word(self, modules: Path, save: Save) -> None:
        """``dspyreload schema | true``."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            run = subprocess.run(
                [sys.executable, "-m", "dspyreload", "schema"],
                stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        finally:
            os.close(writing)
        assert (run.returncode, run.stderr) == (1, "")

    @pytest.mark.parametrize("name", ["stdout", "stderr"])
    def test_letters_that_it_does_not_know_are_escaped(
        self, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """In an old locale; on the standard error as well."""
        data = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(data, encoding="ascii", write_through=True))
        save("\u4f60.json", "{")
        if name == "stdout":
            assert main(["check", str(modules)]) == 1
        else:
            assert main(["check", str(modules / "\u4f60")]) == 1
        assert b"\\u4f60" in data.getvalue()
