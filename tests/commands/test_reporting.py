"""What a check found, in the words of people, of GitHub and of programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dspyreload.commands.excerpt import Excerpts
from dspyreload.commands.reporting import as_github, as_json, as_text, summary
from dspyreload.disk.check import Remark, Report
from tests.conftest import Save


def fault(path: str = "a.json", line: int = 1, column: int = 1, message: str = "wrong", **more: Any) -> Remark:
    return Remark(path, line, column, "fault", message, **more)


def warning(path: str = "a.json", line: int = 1, column: int = 1, message: str = "odd", **more: Any) -> Remark:
    return Remark(path, line, column, "warning", message, **more)


def report(*remarks: Remark, modules: int = 3, defaults: dict[str, tuple[str, ...]] | None = None) -> Report:
    return Report(remarks, tuple(f"{number}.json" for number in range(modules)), frozenset(), defaults or {})


def text(directory: Path, *remarks: Remark, **more: Any) -> list[str]:
    return as_text(report(*remarks, **more), Excerpts(str(directory), 1000))


class TestForPeople:
    def test_where_nothing_is_wrong_there_is_one_line(self, modules: Path) -> None:
        """How many modules were looked at, and that nothing was found."""
        assert text(modules) == ["3 modules checked: 0 faults, 0 warnings"]

    def test_where_no_module_is_found_it_says_what_to_name(self, modules: Path) -> None:
        """Nothing wrong is no good news then; a fault, such as of the manifest, tells more."""
        assert text(modules, modules=0) == [
            "0 modules checked: 0 faults, 0 warnings; no module is here: name the directory that has them"
        ]
        assert text(modules, fault("manifest.json"), modules=0)[-1].endswith("1 fault in 1 file, 0 warnings")

    def test_a_fault_is_shown_with_its_line_a_mark_and_its_mend(self, modules: Path, save: Save) -> None:
        """Place and message, the line, the mark under the place, what to do; then the sum."""
        save("a.json", '{"a": 7}')
        assert text(modules, fault(column=7, mend="put it in double quotes"), modules=1) == [
            "a.json:1:7: wrong",
            '    1 | {"a": 7}',
            "      |       ^",
            "      = put it in double quotes",
            "",
            "1 module checked: 1 fault in 1 file, 0 warnings",
        ]

    def test_a_fault_of_a_whole_file_has_no_mark(self, modules: Path, save: Save) -> None:
        """Its first character is not what is wrong."""
        save("a.json", "{}")
        assert text(modules, fault(placed=False, mend="do this"))[:3] == ["a.json:1:1: wrong", "      = do this", ""]

    def test_faults_come_before_warnings(self, modules: Path) -> None:
        """What has to be mended is read first; within both, by file and place."""
        found = [warning("a.json", 1), fault("a.json", 2), warning("b.json", 1), fault("b.json", 2), fault("b.json", 3)]
        assert text(modules, *found)[:5] == [
            "a.json:2:1: wrong",
            "b.json:2:1: wrong",
            "b.json:3:1: wrong",
            "a.json:1:1: warning: odd",
            "b.json:1:1: warning: odd",
        ]

    def test_several_files_are_summed_up_each_on_a_line(self, modules: Path) -> None:
        """By name, the counts under each other; then all of them."""
        found = [fault("npc/smith.json"), fault("npc/smith.json"), warning("npc/smith.json"), warning("a.json")]
        assert text(modules, *found)[4:] == [
            "",
            "  a.json          1 warning",
            "  npc/smith.json  2 faults, 1 warning",
            "3 modules checked: 2 faults in 1 file, 2 warnings in 2 files",
        ]

    def test_defaults_that_were_used_are_told_with_who_takes_them(self, modules: Path) -> None:
        """At most five by name."""
        many = tuple(f"npc.{letter}" for letter in "abcdefg")
        defaults = {"the default signature: a → b": many, 'the game\'s default: "quest"': ("x",)}
        assert text(modules, defaults=defaults) == [
            "7 modules take the default signature: a → b (npc.a, npc.b, npc.c, npc.d, npc.e and 2 more)",
            '1 module takes the game\'s default: "quest" (x)',
            "3 modules checked: 0 faults, 0 warnings",
        ]
        assert "and" not in text(modules, defaults={"those": many[:5]})[0]

    def test_names_do_nothing_to_the_terminal(self, modules: Path) -> None:
        """Control characters of paths and ids are escapes, in the remark and in the sums, and a line is a line."""
        found = [fault("\x1b[2J\n.json"), warning("b\udcff.json")]
        lines = text(modules, *found, defaults={"those": ("\x1b[31m",)})
        assert all(line.isprintable() for line in lines)
        assert r"\x1b[2J\n.json:1:1: wrong" in lines
        assert [line for line in lines if "1 fault" in line and "checked" not in line] == [r"  \x1b[2J\n.json  1 fault"]

    def test_the_sum_counts_each_file_once(self) -> None:
        """And large numbers have commas."""
        found = report(*(fault(line=line) for line in range(1, 1_501)), modules=12_000)
        assert summary(found) == "12,000 modules checked: 1,500 faults in 1 file, 0 warnings"


class TestForPrograms:
    def test_remarks_are_a_list_of_objects(self) -> None:
        """Each has all keys, in the order of the report, whatever is in its words."""
        found = report(warning("\x1b界.json", 1, 2, 'odd "é"\n'), fault("b.json", 3, 4, mend="do this", placed=False))
        assert json.loads(as_json(found)) == [
            {"path": "\x1b界.json", "line": 1, "column": 2, "level": "warning", "message": 'odd "é"\n', "mend": ""},
            {"path": "b.json", "line": 3, "column": 4, "level": "fault", "message": "wrong", "mend": "do this"},
        ]
        assert as_json(found).isascii()

    def test_where_nothing_is_wrong_the_list_is_empty(self) -> None:
        """It is a list still."""
        assert json.loads(as_json(report())) == []


class TestForGitHub:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run where the repository lies; its modules are in game/modules."""
        (tmp_path / "game" / "modules").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)

    def test_a_remark_is_a_command(self) -> None:
        """An error or a warning at file, line and column; the mend follows the message."""
        found = report(
            fault(line=2, column=3, mend="do this"), warning("npc/b.json", message='odd; is it "x"?', mend="y")
        )
        assert as_github(found, "game/modules") == [
            "::error file=game/modules/a.json,line=2,col=3::wrong; do this",
            '::warning file=game/modules/npc/b.json,line=1,col=1::odd; is it "x"? y',
        ]
        assert as_github(report(), "game/modules") == []

    @pytest.mark.parametrize(
        ("directory", "file"),
        [
            ("game/modules/", "game/modules/a.json"),
            ("./game/../game/modules", "game/modules/a.json"),
            ("{here}/game/modules", "game/modules/a.json"),
            (".", "a.json"),
            ("..", "../a.json"),
        ],
    )
    def test_the_file_is_named_from_where_the_command_runs(self, tmp_path: Path, directory: str, file: str) -> None:
        """GitHub finds it only so, however the directory was named."""
        (command,) = as_github(report(fault()), directory.format(here=tmp_path))
        assert command == f"::error file={file},line=1,col=1::wrong"

    @pytest.mark.parametrize(
        ("character", "in_path", "in_message"),
        [
            ("%", "%25", "%25"),
            ("\n", "%0A", "%0A"),
            ("\r", "%0D", "%0D"),
            (":", "%3A", ":"),
            (",", "%2C", ","),
            ("é", "é", "é"),
            ("%0A", "%250A", "%250A"),
            ("\udcff", "?", "?"),
        ],
    )
    def test_what_would_end_a_command_is_escaped(self, character: str, in_path: str, in_message: str) -> None:
        """As GitHub reads it: a percent sign first, and commas and colons in a file's name alone."""
        found = report(fault(f"a{character}b.json", message=f"a{character}b", mend=f"c{character}d"))
        (command,) = as_github(found, "game")
        assert command == (f"::error file=game/a{in_path}b.json,line=1,col=1::a{in_message}b; c{in_message}d")

    def test_no_message_can_begin_another_command(self) -> None:
        """A file can't say something that GitHub obeys."""
        found = report(fault("x\n::stop-commands::y.json", message="a\r\n::error::b"))
        (command,) = as_github(found, ".")
        assert len(command.splitlines()) == 1
