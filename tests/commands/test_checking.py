"""``dspyreload check DIR``: what is printed where, the exit status, and what is said again and again with --watch."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dspyreload.__main__ import main
from dspyreload.commands import checking
from dspyreload.disk import check
from dspyreload.disk.scan import look
from tests.conftest import Save

Output = pytest.CaptureFixture[str]

GOOD = '{"instruction": "x"}'
ODD = '{"instruction": "x", "mood": 1}'
BAD = '{"instruction": "x",}'
TAKEN = "1 module takes the default signature: the fields player_message, conversation_history → response (a)\n"
FORMATS = ["text", "github", "json"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


MakeTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> MakeTerminal:
    """Put terminals of 40 columns, which know colours, in the place of streams: ``terminal("stdout")``."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")

    def make(*streams: str) -> Terminal:
        found = Terminal()
        for name in streams:
            monkeypatch.setattr(sys, name, found)
        return found

    return make


class TestWhatIsPrinted:
    def test_people_get_the_whole_report_on_the_standard_output(
        self, modules: Path, save: Save, capsys: Output
    ) -> None:
        """The fault, its line, its mend, and the sum; nothing on the standard error."""
        save("a.json", BAD)
        assert main(["check", str(modules)]) == 1
        assert capsys.readouterr() == (
            "a.json:1:20: a comma too many before the closing }\n"
            '    1 | {"instruction": "x",}\n'
            "      |                    ^\n"
            "      = delete it\n"
            "\n"
            "1 module checked: 1 fault in 1 file, 0 warnings\n",
            "",
        )

    def test_where_all_is_well_they_hear_what_serves_their_modules(
        self, modules: Path, save: Save, capsys: Output
    ) -> None:
        """Which defaults were taken, and the sum."""
        save("a.json", GOOD)
        assert main(["check", str(modules)]) == 0
        assert capsys.readouterr() == (TAKEN + "1 module checked: 0 faults, 0 warnings\n", "")

    def test_github_gets_commands_and_people_the_sum(
        self, modules: Path, save: Save, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Names are escaped; the sum is on the standard error, where it disturbs no program."""
        monkeypatch.chdir(modules.parent)
        save("100%,a:b.json", BAD)
        assert main(["check", "modules", "--format", "github"]) == 1
        assert capsys.readouterr() == (
            "::error file=modules/100%25%2Ca%3Ab.json,line=1,col=20::a comma too many before the closing };"
            " delete it\n",
            "1 module checked: 1 fault in 1 file, 0 warnings\n",
        )

    @pytest.mark.parametrize("options", [["--json"], ["--format", "json"], ["--format=json"]])
    def test_programs_get_one_json_value(self, modules: Path, save: Save, capsys: Output, options: list[str]) -> None:
        """And nothing beside it."""
        save("a.json", ODD)
        assert main(["check", str(modules), *options]) == 0
        out, err = capsys.readouterr()
        (remark,) = json.loads(out)
        assert (remark["path"], remark["level"], err) == ("a.json", "warning", "")

    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize(("text", "status"), [(GOOD, 0), (ODD, 0), (BAD, 1)])
    def test_the_status_says_whether_there_is_a_fault(
        self, modules: Path, save: Save, text: str, status: int, form: str
    ) -> None:
        """A warning alone is none, in whatever form it is told."""
        save("a.json", text)
        assert main(["check", str(modules), "--format", form]) == status

    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("there", [False, True])
    def test_what_is_no_directory_is_told_in_one_line(
        self, tmp_path: Path, capsys: Output, form: str, there: bool
    ) -> None:
        """For programs it is a remark too; the line says what it is and what to do."""
        place = tmp_path / "none"
        if there:
            place.write_text("x")
        assert main(["check", str(place), "--format", form]) == 1
        out, err = capsys.readouterr()
        words = (
            "is a file; name the directory that it lies in"
            if there
            else "is not there; correct its name, or make it with dspyreload init"
        )
        assert err == f"dspyreload: {place} {words}\n"
        if form == "json":
            (remark,) = json.loads(out)
            assert (remark["path"], remark["level"], remark["line"]) == (str(place), "fault", 1)
        else:
            assert out == ""

    def test_an_output_that_knows_few_letters_is_no_crash(
        self, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In an old locale what it can't say is written otherwise, and the status is that of the check."""
        save("a.json", GOOD)
        data = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="latin-1"))
        assert main(["check", str(modules)]) == 0
        assert b"1 module checked: 0 faults, 0 warnings" in data.getvalue()

    @pytest.mark.parametrize("options", [["--format", "xml"], ["--format"], ["--watch=1"]])
    def test_an_option_that_there_is_not_shows_the_usage(
        self, modules: Path, capsys: Output, options: list[str]
    ) -> None:
        """With exit status 2."""
        with pytest.raises(SystemExit) as raised:
            main(["check", str(modules), *options])
        assert raised.value.code == 2
        assert "usage: dspyreload check" in capsys.readouterr().err


class TestOnATerminal:
    def test_faults_are_red_warnings_yellow_and_mends_green(
        self, modules: Path, save: Save, terminal: MakeTerminal
    ) -> None:
        """And only there; no line is broken, however narrow it is."""
        save("a.json", '{"instruction": "x",\n "mood": 1}')
        save("b.json", BAD)
        screen = terminal("stdout")
        main(["check", str(modules)])
        lines = screen.getvalue().splitlines()
        assert "\x1b[31mb.json:1:20: a comma too many before the closing }\x1b[0m" in lines
        assert '\x1b[33ma.json:2:2: warning: "mood" is not known and is ignored\x1b[0m' in lines
        assert "\x1b[32m      = delete it\x1b[0m" in lines

    def test_nothing_in_a_file_is_taken_for_a_style(self, modules: Path, save: Save, terminal: MakeTerminal) -> None:
        """Square brackets and names between colons are printed as they stand."""
        save("[bold]:smile:.json", '{"instruction": "x", "[red]:smile:[/red]": 1}')
        screen = terminal("stdout")
        main(["check", str(modules)])
        assert '[bold]:smile:.json:1:22: warning: "[red]:smile:[/red]" is not' in screen.getvalue()

    def test_a_quick_check_has_no_bar(
        self, modules: Path, save: Save, terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing flickers for what is over at once."""
        monkeypatch.setattr(checking, "_PATIENCE", 60)
        save("a.json", GOOD)
        stdout, stderr = terminal("stdout"), terminal("stderr")
        assert main(["check", str(modules)]) == 0
        assert (stderr.getvalue(), "1 module checked" in stdout.getvalue()) == ("", True)

    def test_one_that_takes_a_while_has_a_bar_that_goes_away(
        self, modules: Path, save: Save, terminal: MakeTerminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is drawn on the standard error, and its line is cleared before the report is read."""
        monkeypatch.setattr(checking, "_PATIENCE", -1)
        stdout, stderr = terminal("stdout"), terminal("stderr")
        for number in range(4):
            save(f"{number}.json", GOOD)
        assert main(["check", str(modules)]) == 0
        drawn = stderr.getvalue()
        assert re.search(r"checking.*\d+%", drawn)
        assert drawn.endswith(("\x1b[2K", "\x1b[?25h\r\x1b[1A\x1b[2K"))
        assert "checking" not in stdout.getvalue()
        assert "4 modules checked" in stdout.getvalue()

    def test_the_bar_is_gone_when_the_check_fails(
        self, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch, terminal: MakeTerminal
    ) -> None:
        """The cursor is visible again."""
        monkeypatch.setattr(checking, "_PATIENCE", -1)
        save("a.json", GOOD)

        def broken(*args: object) -> object:
            look(*args)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr(check, "look", broken)
        stderr = terminal("stderr")
        with pytest.raises(KeyboardInterrupt):
            main(["check", str(modules)])
        shown = stderr.getvalue()
        assert 0 <= shown.rfind("\x1b[?25l") < shown.rfind("\x1b[?25h")

    def test_elsewhere_there_is_none(
        self, modules: Path, save: Save, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that the standard error goes to holds words alone."""
        monkeypatch.setattr(checking, "_PATIENCE", -1)
        save("a.json", GOOD)
        assert main(["check", str(modules)]) == 0
        assert capsys.readouterr().err == ""
