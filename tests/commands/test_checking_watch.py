"""``dspyreload check DIR --watch``: what is said after each save, and how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dspyreload.__main__ import main
from dspyreload.commands import watching
from tests.commands.test_checking import BAD, GOOD, TAKEN, MakeTerminal, Output, terminal
from tests.conftest import Save

__all__ = ["terminal"]

Again = Callable[[bool], frozenset[str]]
Watch = Callable[[], Again]


class TestWatch:
    @pytest.fixture
    def watch(self, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> Watch:
        """Begin to watch a directory with one module; returns what is run after each save."""
        save("a.json", GOOD)
        found: list[Again] = []

        def watch(directory: str, config: object, again: Again) -> int:
            assert directory == str(modules)
            found.append(again)
            return 0

        def begin() -> Again:
            assert main(["check", "modules", "--watch"]) == 0
            return found.pop()

        monkeypatch.setattr(watching, "watch", watch)
        monkeypatch.chdir(modules.parent)
        return begin

    @pytest.mark.parametrize("options", [["--json"], ["--format", "json"], ["--format", "github"]])
    def test_it_is_for_people(self, modules: Path, capsys: Output, options: list[str]) -> None:
        """With a form for programs it is refused in one line, and nothing is watched."""
        assert main(["check", str(modules), "--watch", *options]) == 1
        out, err = capsys.readouterr()
        assert (out, err) == ("", "dspyreload: --watch is for people; use it without --format\n")

    def test_after_each_save_there_is_the_time_and_a_whole_report(
        self, save: Save, watch: Watch, capsys: Output
    ) -> None:
        """Though it says what the last one said; what the modules are made of is what to listen to next."""
        again = watch()
        report = re.compile(rf"-- \d\d:\d\d:\d\d\n{re.escape(TAKEN)}1 module checked: 0 faults, 0 warnings\n")
        for _ in range(2):
            assert again(True) == frozenset()
            assert report.fullmatch(capsys.readouterr().out)
        save("a.json", '{"instruction": "x", "include": ["town.md"]}')
        assert again(True) == {"town.md"}
        assert "is missing" in capsys.readouterr().out

    def test_without_a_save_only_news_are_told(self, save: Save, watch: Watch, capsys: Output) -> None:
        """A look of the timer that finds the same is silent."""
        again = watch()
        again(True)
        capsys.readouterr()
        again(False)
        assert capsys.readouterr() == ("", "")
        save("a.json", BAD)
        again(False)
        assert "a comma too many" in capsys.readouterr().out

    def test_a_directory_that_is_gone_is_told_once(self, modules: Path, watch: Watch, capsys: Output) -> None:
        """And what is in it, when it is there again."""
        again = watch()
        modules.rename(modules.parent / "away")
        assert again(False) == frozenset()
        assert "is not there" in capsys.readouterr().out.replace("\n", " ").replace("  ", " ")
        again(False)
        assert capsys.readouterr().out == ""
        (modules.parent / "away").rename(modules)
        again(False)
        assert "1 module checked" in capsys.readouterr().out

    def test_a_terminal_is_cleared_before_each_report(self, watch: Watch, terminal: MakeTerminal) -> None:
        """What is on it is of one moment; where there is nothing new, it stays."""
        screen = terminal("stdout")
        again = watch()
        for saved, clears in ((True, 1), (False, 1), (True, 2)):
            again(saved)
            assert screen.getvalue().count("\x1b[2J") == clears
        assert screen.getvalue().startswith("\x1b[2J")


def run(modules: Path) -> subprocess.Popen[str]:
    """Start a real one."""
    command = [sys.executable, "-m", "dspyreload", "check", str(modules), "--watch"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_real_one_reports_a_save_and_ends_with_control_c(modules: Path, save: Save) -> None:
    """In a process of its own: the first report, one for the save, and exit status 0 without a word."""
    save("a.json", GOOD)
    with run(modules) as process:
        assert process.stdout is not None
        for text, last in ((BAD, "1 module checked: 0 faults, 0 warnings\n"), ("", "1 fault in 1 file, 0 warnings\n")):
            assert any(line.endswith(last) for line in process.stdout)
            if text:
                save("a.json", text)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_a_real_one_ends_when_nobody_reads_it(modules: Path, save: Save) -> None:
    """``dspyreload check DIR --watch | head -1``: after the next save there is no process left, and no traceback."""
    save("a.json", GOOD)
    with run(modules) as process:
        assert process.stdout is not None
        assert any("checked" in line for line in process.stdout)
        process.stdout.close()
        save("a.json", BAD)
        try:
            process.wait(10)
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode != -signal.SIGKILL
