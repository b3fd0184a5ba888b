"""``dspyreload check --setup``: what the game registers, and what its operator configured, applied offline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dspy
import pytest

from dspyreload.__main__ import main
from tests.conftest import Save, module_text

Output = pytest.CaptureFixture[str]
Game = Callable[[str], str]

GOOD, BAD = "1 module checked: 0 faults, 0 warnings", "1 module checked: 1 fault in 1 file, 0 warnings"
ODD = "1 module checked: 0 faults, 1 warning in 1 file"

REGISTER = """
import dspy

def setup(engine):
    engine.signatures.register("npc.dialogue", dspy.Signature("player_message -> response, mood"))
    engine.programs.register("quest", dspy.ChainOfThought("topic -> title"))
"""


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Game]:
    """Write the game's setup module into the current directory; ``game(text)`` returns its name."""
    here = tmp_path / "game"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def write(text: str) -> str:
        (here / "gamesetup.py").write_text(text)
        return "gamesetup"

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("gamesetup"):
            del sys.modules[name]


def check(directory: Path, *options: str, capsys: Output) -> tuple[int, list[str], list[str]]:
    """Run the command; return its status and its lines, without those of the standard output that are set in."""
    status = main(["check", str(directory), *options])
    out, err = capsys.readouterr()
    return status, [line for line in out.splitlines() if line and not line.startswith("  ")], err.splitlines()


def saved(modules: Path, name: str = "quest.json", **changes: object) -> None:
    """Save a thinking program as DSPy does, with changes to its only predictor."""
    file = modules / name
    dspy.ChainOfThought("topic -> title").save(file)
    state = json.loads(file.read_text())
    state["predict"].update(changes)
    file.write_text(json.dumps(state, indent=1))


class TestWhatTheGameRegisters:
    def test_without_a_setup_what_needs_the_game_is_a_warning(self, modules: Path, save: Save, capsys: Output) -> None:
        """The status is 0: nothing is known to be wrong."""
        save("npc.json", module_text("npc", signature=None))
        saved(modules)
        status, out, err = check(modules, capsys=capsys)
        only = "what only the game knows is not checked"
        assert out == [
            'npc.json:1:1: warning: the signature "npc.dialogue" is not registered, and its file brings none; ' + only,
            f'quest.json:1:1: warning: it is a saved DSPy program, and no program is registered as "quest"; {only}',
            "2 modules checked: 0 faults, 2 warnings in 2 files",
        ]
        assert (status, err) == (0, [])

    def test_its_signatures_are_what_demonstrations_are_held_against(
        self, modules: Path, save: Save, capsys: Output, game: Game
    ) -> None:
        """A fault has its line, and the status is 1."""
        save("npc.json", module_text("npc", signature=None))
        status, out, _err = check(modules, "--setup", game(REGISTER), capsys=capsys)
        assert status == 1
        assert out == [
            'npc.json:11:18: demo 1 lacks "mood"',
            'npc.json:13:9: demo 1 has "emotion", which is no output of the signature ("response", "mood")',
            "1 module checked: 2 faults in 1 file, 0 warnings",
        ]

    def test_its_templates_are_what_saved_programs_are_held_against(
        self, modules: Path, capsys: Output, game: Game
    ) -> None:
        """With predictor, field and line."""
        saved(modules)
        assert check(modules, "--setup", game(REGISTER), capsys=capsys) == (0, [GOOD], [])
        saved(modules, demos=[{"question": "?"}], lm={"model": "openai/x"})
        status, out, _err = check(modules, "--setup", "gamesetup", capsys=capsys)
        place, _, fault = out[0].partition(": ")
        assert fault.startswith('the predictor "predict": demo 1 has none of the predictor\'s fields (')
        assert (status, place) == (1, "quest.json:6:4")

    def test_a_program_that_dspy_can_not_make_is_a_fault(self, modules: Path, capsys: Output, game: Game) -> None:
        """It is made once, as the server would."""
        saved(modules, fields={"title": {"threshold": 2}})
        status, (line, count), _err = check(modules, "--setup", game(REGISTER), capsys=capsys)
        assert (status, count) == (1, BAD)
        assert "Decision configuration refers to unsupported outputs" in line

    def test_what_is_still_not_registered_is_a_fault(self, modules: Path, capsys: Output, game: Game) -> None:
        """Nobody else will register it: the name in the file, or in the manifest, is wrong."""
        saved(modules, "other.json")
        status, (line, count), _err = check(modules, "--setup", game(REGISTER), capsys=capsys)
        assert (status, count) == (1, BAD)
        assert ': it is a saved DSPy program, and no program is registered as "other"' in line


class TestItsValidators:
    def test_what_they_refuse_is_a_fault(self, modules: Path, save: Save, capsys: Output, game: Game) -> None:
        """With their words, and of the modules of their pattern alone."""
        save("npc/rude.json", module_text("npc.rude", instruction="Be rude."))
        save("npc/kind.json", module_text("npc.kind"))
        save("quest.json", module_text("quest", instruction="Be rude."))
        name = game(
            "def polite(module):\n"
            "    if 'rude' in module.instruction:\n"
            "        raise ValueError(f'{module.module_id} is rude,\\nand long')\n"
            "def setup(engine):\n"
            "    engine.validators.add(polite, 'npc.*')\n"
        )
        status, out, err = check(modules, "--setup", name, capsys=capsys)
        assert (status, err) == (1, [])
        words = r"npc/rude.json:1:1: the game refuses it: npc.rude is rude,\nand long"
        assert out == [words, "3 modules checked: 1 fault in 1 file, 0 warnings"]

    def test_one_that_answers_later_can_not_be_asked_here(
        self, modules: Path, save: Save, capsys: Output, game: Game
    ) -> None:
        """No reactor runs: that is a warning, and one that answers at once is still heard."""
        save("npc.json", module_text("npc"))
        name = game(
            "from twisted.internet.defer import Deferred\n"
            "async def at_once(module): pass\n"
            "def setup(engine):\n"
            "    engine.validators.add(at_once)\n"
            "    engine.validators.add(lambda module: Deferred())\n"
        )
        words = "the game has a check of its own for it, which answers in the running server only"
        assert check(modules, "--setup", name, capsys=capsys)[:2] == (0, [f"npc.json:1:1: warning: {words}", ODD])

    def test_one_that_wants_a_thread_gets_it(self, modules: Path, save: Save, capsys: Output, game: Game) -> None:
        """Offline there is nobody to hold up: what it refuses is a fault here too."""
        save("npc.json", module_text("npc"))
        name = game(
            "def slow(module): raise ValueError('too dull')\n"
            "def setup(engine): engine.validators.add(slow, thread=True)\n"
        )
        status, out, _err = check(modules, "--setup", name, capsys=capsys)
        assert (status, out) == (1, ["npc.json:1:1: the game refuses it: too dull", BAD])


class TestTheSetupItself:
    def test_it_can_tell_that_only_files_are_checked(
        self, modules: Path, save: Save, capsys: Output, game: Game
    ) -> None:
        """It is true of ``engine.offline``, nothing is read yet; what the game prints is no part of the result."""
        save("npc.json", module_text("npc"))
        name = game(
            "def setup(engine):\n"
            "    print(engine.offline, engine.directory, len(engine.snapshot), engine.snapshot.generation)\n"
        )
        assert check(modules, "--setup", name, capsys=capsys) == (0, [GOOD], [f"True {modules} 0 0"])

    def test_it_may_change_the_directory(self, modules: Path, save: Save, capsys: Output, game: Game) -> None:
        """What is checked is what was named where the command was given."""
        save("npc.json", "{")
        name = game("import os\ndef setup(engine): os.chdir('/')\n")
        status, (line, _count), _err = check(Path("..", modules.name), "--setup", name, capsys=capsys)
        assert (status, line.partition(":")[0]) == (1, "npc.json")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("def setup(engine):\n    raise OSError('port 4000\\nis taken')\n",
             r"OSError: port 4000\nis taken (gamesetup.py, line 2)"),
            ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all' (gamesetup.py, line 1)"),
            ("x = = 1\n", "SyntaxError: invalid syntax (gamesetup.py, line 1)"),
            ("", "TypeError: the module has no function setup(engine)"),
            ("def setup(engine): engine.signatures.register('a', 1)\n",
             "SignatureRefused: 'a': a dspy.Signature class is needed, not 1 (gamesetup.py, line 1)"),
        ],
    )  # fmt: skip
    def test_one_that_fails_is_one_line(
        self, modules: Path, capsys: Output, game: Game, text: str, reason: str
    ) -> None:
        """On the standard error, without a traceback; no file is checked."""
        status, out, err = check(modules, "--setup", game(text), capsys=capsys)
        assert (status, out, err) == (1, [], [f"dspyreload: --setup gamesetup failed: {reason}"])

    @pytest.mark.parametrize(
        "name", ["nowhere_at_all", "nowhere_at_all.setup", "", ".gamesetup", "game-setup", "\x1b[2J"]
    )
    def test_one_that_is_not_there_is_one_line(self, modules: Path, capsys: Output, game: Game, name: str) -> None:
        """It says where it was looked for."""
        game(REGISTER)
        status, out, (line,) = check(modules, "--setup", name, capsys=capsys)
        assert (status, out) == (1, [])
        assert "there is no module" in line
        assert "\x1b" not in line

    def test_a_dotted_one_lies_in_a_package(self, modules: Path, save: Save, capsys: Output, game: Game) -> None:
        """Of the current directory."""
        game("")
        Path("gamesetup.py").unlink()
        (package := Path("gamesetup_pack")).mkdir()
        (package / "__init__.py").write_text("")
        (package / "port.py").write_text(REGISTER)
        saved(modules)
        assert check(modules, "--setup", "gamesetup_pack.port", capsys=capsys)[:2] == (0, [GOOD])
        (line,) = check(modules, "--setup", "gamesetup_pack.no", capsys=capsys)[2]
        reason = "ModuleNotFoundError: No module named 'gamesetup_pack.no'"
        assert line == f"dspyreload: --setup gamesetup_pack.no failed: {reason}"


class TestLMConfig:
    CONFIG = '[smart]\nmodel = "openai/gpt-4o"\nmax_tokens = 500\napi_key_env = "NOBODY_HAS_SET_THIS"\n'

    @pytest.fixture
    def asks(self, save: Save) -> Callable[[str], Path]:
        """Write a module whose manifest entry asks for something of an LM."""

        def write(asks: str) -> Path:
            save("npc.json", module_text("npc"))
            return save("manifest.json", f'{{"modules": {{"npc": {{"path": "npc.json", {asks}}}}}}}')

        return write

    @pytest.mark.parametrize("with_setup", [False, True])
    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ('"lm": "smart", "max_tokens": 500', None),
            ('"lm": "smrat"', 'there is no LM of that name; did you mean "smart"?'),
            ('"max_tokens": 501', '"max_tokens": 501; the LM allows 500'),
        ],
    )
    def test_entries_are_held_against_it(
        self, modules: Path, tmp_path: Path, capsys: Output, game: Game, asks: Callable[[str], Path], entry: str,
        words: str | None, with_setup: bool,
    ) -> None:  # fmt: skip
        """With a setup and without; the keys that it names need not be there: nothing is called."""
        asks(entry)
        (tmp_path / "lms.toml").write_text(self.CONFIG)
        options = ["--lm-config", str(tmp_path / "lms.toml")]
        if with_setup:
            options += ["--setup", game("def setup(engine): pass\n")]
        status, (*out, count), _err = check(modules, *options, capsys=capsys)
        assert (status, count) == ((0, GOOD) if words is None else (1, BAD))
        assert [words in line for line in out] == [True] if words is not None else out == []

    def test_without_it_only_the_server_knows(self, modules: Path, capsys: Output, asks: Callable[[str], Path]) -> None:
        """A name of an LM is a warning."""
        asks('"lm": "smart", "max_tokens": 9999')
        status, (line, count), _err = check(modules, capsys=capsys)
        words = 'npc.json:1:1: warning: its entry in manifest.json has "lm": "smart", which only the server knows'
        assert (status, line, count) == (0, words, ODD)

    @pytest.mark.parametrize("text", [None, "", "model = 1", '[smart]\nmodel = "x"\napi_key = "sk-secret"'])
    def test_one_that_can_not_be_used_is_one_line(
        self, modules: Path, tmp_path: Path, capsys: Output, text: str | None
    ) -> None:
        """It names the file, and shows no key."""
        if text is not None:
            (tmp_path / "lms.toml").write_text(text)
        status, out, (line,) = check(modules, "--lm-config", str(tmp_path / "lms.toml"), capsys=capsys)
        assert (status, out, "lms.toml" in line, "secret" in line) == (1, [], True, False)


def test_it_runs_as_a_program(modules: Path, save: Save, game: Game) -> None:
    """From the game's directory, all of it together, as a release script would call it."""
    name = game(REGISTER + "    assert engine.offline\n    engine.validators.add(lambda module: 1 / 0, 'npc')\n")
    save("npc.json", module_text("npc", signature=None, demos=[]))
    saved(modules, config={"api_base": "http://evil"})
    command = [sys.executable, "-m", "dspyreload", "check", str(modules), "--setup", name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.splitlines() == [
        "npc.json:1:1: the game refuses it: division by zero",
        'quest.json:24:3: the predictor "predict" has "config", which a saved program may not set; delete it',
        '   24 |   "config": {',
        "      |   ^",
        "",
        "  npc.json    1 fault",
        "  quest.json  1 fault",
        "2 modules checked: 2 faults in 2 files, 0 warnings",
    ]
    assert (run.returncode, run.stderr) == (1, "")
