"""``dspyreload check DIR`` and ``dspyreload hash DIR``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dspyreload.__main__ import main
from dspyreload.model.manifest import MANIFEST, parse_manifest
from tests.conftest import Save, module_text

Output = pytest.CaptureFixture[str]


def test_a_good_directory_has_no_lines_but_a_count(modules: Path, save: Save, capsys: Output) -> None:
    """The standard output has one line, how much was checked, and the standard error none; the exit status is 0."""
    save("a.json", module_text("a"))
    assert main(["check", str(modules)]) == 0
    assert capsys.readouterr() == ("1 module checked: 0 faults, 0 warnings\n", "")


def test_each_fault_is_a_line_with_its_place(modules: Path, save: Save, capsys: Output) -> None:
    """``path:line:column: message``, the line itself with a mark, how to mend it, a count, and exit status 1."""
    save("npc/a.json", '{\n "instruction": 1,\n "demos": 2\n}')
    assert main(["check", str(modules)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        'npc/a.json:2:17: "instruction" must be text, not a whole number',
        '    2 |  "instruction": 1,',
        "      |                 ^",
        "      = put it in double quotes",
        'npc/a.json:3:11: "demos" must be a list, not a whole number',
        '    3 |  "demos": 2',
        "      |           ^",
        "",
        "1 module checked: 2 faults in 1 file, 0 warnings",
    ]


def test_a_warning_is_marked_and_no_failure(modules: Path, save: Save, capsys: Output) -> None:
    """What is only odd says so, and the exit status is 0."""
    save("a.json", '{"instruction": "x",\n "mood": 1}')
    assert main(["check", str(modules)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'a.json:2:2: warning: "mood" is not known and is ignored',
        '    2 |  "mood": 1}',
        "      |  ^",
        "      = delete it, or correct it",
        "",
        "1 module takes the default signature: the fields player_message, conversation_history → response (a)",
        "1 module checked: 0 faults, 1 warning in 1 file",
    ]


def test_programs_get_json(modules: Path, save: Save, capsys: Output) -> None:
    """With --json the remarks are a list of objects."""
    save("a.json", '{"instruction": "x",}')
    assert main(["check", "--json", str(modules)]) == 1
    (remark,) = json.loads(capsys.readouterr().out)
    assert remark.keys() == {"path", "line", "column", "level", "message", "mend"}
    assert (remark["path"], remark["line"], remark["level"]) == ("a.json", 1, "fault")
    assert remark["mend"] == "delete it"


@pytest.mark.parametrize("command", ["check", "hash"])
def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path, capsys: Output, command: str) -> None:
    """The fault goes to the standard error, without a traceback, with exit status 1."""
    assert main([command, str(tmp_path / "none")]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.startswith("dspyreload: ")) == ("", 1, True)


def test_a_hostile_name_does_nothing_to_the_terminal(modules: Path, save: Save, capsys: Output) -> None:
    """Control characters of names and texts are printed as escapes."""
    save("\x1b[31m\n.json", '{"instruction": "x", "\\u001b[2J": 1, "include": ["\\u001b[31m.md"]}')
    assert main(["check", str(modules)]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    remarks = [line for line in out.splitlines() if line.startswith("\\x1b[31m\\n.json:1:")]
    assert len(remarks) == 2  # the unknown key, and the include that is missing
    rest = [line for line in out.splitlines() if line not in remarks and not line.startswith("    ")]
    assert rest == ["", "1 module checked: 1 fault in 1 file, 1 warning in 1 file"]


def test_hash_writes_and_says_what_it_wrote(modules: Path, save: Save, capsys: Output) -> None:
    """Each listed file is a line; afterwards the check is content, and a changed file is not."""
    save("a.json", module_text("a"))
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    assert main(["hash", str(modules)]) == 0
    assert capsys.readouterr().out.startswith("a.json: sha256:")
    assert parse_manifest((modules / MANIFEST).read_bytes())["a"].hash
    assert main(["check", str(modules)]) == 0
    save("a.json", module_text("a", instruction="New."))
    assert main(["check", str(modules)]) == 1
    assert "run dspyreload hash" in capsys.readouterr().out
    assert main(["hash", str(modules)]) == 0
    assert main(["check", str(modules)]) == 0


def test_hash_refuses_what_it_can_not_read(modules: Path, save: Save, capsys: Output) -> None:
    """A listed file that is missing is one line on the standard error, and nothing is written."""
    manifest = save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    before = manifest.read_bytes()
    assert main(["hash", str(modules)]) == 1
    assert (
        capsys.readouterr().err
        == "dspyreload: a.json: the file is missing; make it, or delete its entry in manifest.json\n"
    )
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["chek", "x"], ["check"], ["hash"], ["check", "a", "b"]])
def test_a_wrong_call_shows_the_usage(arguments: list[str], capsys: Output) -> None:
    """What can't be understood runs nothing and exits with status 2."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: dspyreload" in capsys.readouterr().err


def test_it_runs_as_a_program(modules: Path, save: Save) -> None:
    """``python -m dspyreload`` is the command, and its exit status that of the check."""
    save("a.json", '{"instruction": "x",}')
    command = [sys.executable, "-m", "dspyreload", "check", str(modules)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (1, "")
    assert run.stdout.splitlines() == [
        "a.json:1:20: a comma too many before the closing }",
        '    1 | {"instruction": "x",}',
        "      |                    ^",
        "      = delete it",
        "",
        "1 module checked: 1 fault in 1 file, 0 warnings",
    ]
    save("a.json", '{"instruction": "x"}')
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_a_reader_that_stops_reading_is_no_crash(modules: Path, save: Save) -> None:
    """``dspyreload check DIR | head`` ends without a traceback."""
    for number in range(3000):
        save(f"{number}.json", "{")
    command = f'"{sys.executable}" -m dspyreload check "{modules}" | head -1'
    run = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.count("\n") == 1
    assert run.stderr == ""
