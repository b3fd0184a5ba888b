"""``twistd dspyreload``: its options, and the service that they make."""

from __future__ import annotations

import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import MultiService
from twisted.python import usage
from twisted.trial import unittest as trial

from dspyreload import HotReloadConfig, HotReloadService, tap
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text
from tests.left import Before

pytestmark = pytest.mark.usefixtures("elsewhere")

CASE = trial.SynchronousTestCase()


def parse(*arguments: str, nodaemon: bool | None = True) -> tap.Options:
    """Parse a command line as twistd would; ``nodaemon=None``: without twistd around it."""
    options = tap.Options()
    if nodaemon is not None:
        parent = usage.Options()
        parent["nodaemon"] = nodaemon
        options.parent = parent
    options.parseOptions(list(arguments))
    return options


def made(*arguments: str, nodaemon: bool | None = True) -> MultiService:
    service = tap.makeService(parse(*arguments, nodaemon=nodaemon))
    assert isinstance(service, MultiService)
    return service


def kinds(service: MultiService) -> list[str]:
    return [type(child).__name__ for child in service]


def reloading(service: MultiService) -> HotReloadService:
    (found,) = [child for child in service if isinstance(child, HotReloadService)]
    return found


def engine_of(service: MultiService) -> Any:
    return reloading(service).engine


# Options


def test_a_directory_is_all_that_is_needed(modules: Path) -> None:
    """The defaults are those of HotReloadConfig."""
    options = parse("--modules", str(modules))
    assert options["config"] == HotReloadConfig()
    assert options["modules"] == str(modules)
    assert (options["lm"], options["setup"], options["lms"], options["fallback"]) == (None, None, {}, None)


def test_the_options_reach_the_config(modules: Path) -> None:
    """Seconds and the flag for polling."""
    options = parse("-m", str(modules), "--debounce", "0.5", "--rescan", "60", "--poll", "--lm", "demos")
    assert options["config"] == HotReloadConfig(debounce=0.5, rescan_interval=60.0, polling=True)
    assert options["lm"] == "demos"


def test_the_directory_is_made_absolute_at_once(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemonizing changes the working directory to /."""
    monkeypatch.chdir(modules.parent)
    options = parse("--modules", "modules")
    monkeypatch.chdir("/")
    assert options["modules"] == str(modules)
    assert engine_of(tap.makeService(options)).directory == str(modules)  # type: ignore[arg-type]


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a Python module of the game into the working directory."""
    here = tmp_path / "game_server"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(path: str, text: str) -> None:
        file = here / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("game_"):
            del sys.modules[name]


BAD: dict[str, tuple[str, ...]] = {
    "no directory": (),
    "a directory that is not there": ("--modules", "{tmp}/nowhere"),
    "a file": ("--modules", "{tmp}/file"),
    "seconds that are no number": ("--modules", "{tmp}", "--debounce", "soon"),
    "seconds below zero": ("--modules", "{tmp}", "--debounce", "-1"),
    "seconds that are not finite": ("--modules", "{tmp}", "--debounce", "nan"),
    "no seconds between looks": ("--modules", "{tmp}", "--rescan", "0"),
    "endless seconds": ("--modules", "{tmp}", "--rescan", "inf"),
    "a model without a name": ("--modules", "{tmp}", "--lm", "openai/"),
    "an empty model": ("--modules", "{tmp}", "--lm", " "),
    "a config of models that is not there": ("--modules", "{tmp}", "--lm-config", "{tmp}/lms.toml"),
    "a config of models that is a directory": ("--modules", "{tmp}", "--lm-config", "{tmp}"),
    "an empty config of models": ("--modules", "{tmp}", "--lm-config", "{tmp}/file"),
    "no config of models": ("--modules", "{tmp}", "--lm-config", ""),
    "a fallback that there is not": ("--modules", "{tmp}", "--fallback", "lines"),
    "no fallback": ("--modules", "{tmp}", "--fallback", ""),
    "a setup that is not there": ("--modules", "{tmp}", "--setup", "no_such_game_module"),
    "a setup in a package that is not there": ("--modules", "{tmp}", "--setup", "no_such_game.setup"),
    "an empty setup": ("--modules", "{tmp}", "--setup", ""),
    "a relative setup": ("--modules", "{tmp}", "--setup", ".setup"),
    "waiting for what has to be checked": ("--modules", "{tmp}", "--wait", "--strict"),
    "a state file that is a folder": ("--modules", "{tmp}", "--state", "{tmp}"),
    "a state file in a folder that is not there": ("--modules", "{tmp}", "--state", "{tmp}/nowhere/state"),
    "an empty state file": ("--modules", "{tmp}", "--state", " "),
    "an option that is not known": ("--modules", "{tmp}", "--no-such-option"),
    "an argument that is no option": ("--modules", "{tmp}", "extra"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_one_line_and_exit_status_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before anything is daemonized; the help is not printed around it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as caught:
        parse(*(part.replace("{tmp}", str(tmp_path)) for part in BAD[name]))
    text = caught.value.code
    assert isinstance(text, str), "a text as code is printed, and the status is 1"
    assert text.startswith("twistd dspyreload: ")
    assert "\n" not in text
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "option", ["--debounce", "--rescan", "--modules", "--setup", "--lm", "--lm-config", "--fallback"]
)
def test_a_bad_value_names_its_option(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator finds the place on the command line."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match=option.strip("-")):
        parse("--modules", str(tmp_path), option, "no_such/")


def test_a_directory_without_its_option_is_told_of_it(modules: Path) -> None:
    """What everybody types first."""
    with pytest.raises(SystemExit, match="modules: name the directory with --modules; see"):
        parse("modules")


def test_control_characters_of_a_bad_value_are_escaped(tmp_path: Path) -> None:
    """A name from elsewhere does not reach the terminal as it is."""
    with pytest.raises(SystemExit) as caught:
        parse("--modules", str(tmp_path / "\x1b[2J"))
    assert str(caught.value.code).isprintable()


def test_a_setup_whose_package_raises_ends_the_start(modules: Path, game: Callable[[str, str], None]) -> None:
    """The package runs when the service starts; what it raises is named together with the setup."""
    game("game_broken/__init__.py", "raise RuntimeError('no database')\n")
    game("game_broken/setup.py", "def setup(engine): pass\n")
    service = made("--modules", str(modules), "--setup", "game_broken.setup")
    with pytest.raises(SystemExit, match=r"game_broken\.setup.*no database"):
        next(iter(service)).startService()


@pytest.mark.parametrize("name", ["game_plain", "game_package.setup"])
def test_the_setup_is_imported_when_the_service_starts(
    modules: Path, game: Callable[[str, str], None], name: str
) -> None:
    """Not before: the process may still fork, and drop its privileges. That holds for its package too."""
    game("game_plain.py", "import os\nos.environ['GAME_RAN'] = '1'\ndef setup(engine): pass\n")
    game("game_package/__init__.py", "import os\nos.environ['GAME_RAN'] = '1'\n")
    game("game_package/setup.py", "def setup(engine): pass\n")
    os.environ.pop("GAME_RAN", None)
    try:
        made("--modules", str(modules), "--setup", name)
        assert "GAME_RAN" not in os.environ
    finally:
        os.environ.pop("GAME_RAN", None)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows what works, and ends well."""
    with pytest.raises(SystemExit) as caught:
        parse("--help", nodaemon=None)
    assert not caught.value.code
    text = capsys.readouterr().out
    for option in ("--modules", "--debounce", "--rescan", "--poll", "--setup", "--lm", "--lm-config", "--fallback"):
        assert option in text
    for option in ("--state", "--wait", "--strict"):
        assert option in text


# The service


def test_making_the_service_reads_nothing(modules: Path, save: Save) -> None:
    """Privileges that --uid drops are gone only when it runs; no thread may live before the fork."""
    save("smith.json", module_text())
    options = parse("--modules", str(modules))
    modules.rename(modules.with_name("away"))
    before = Before()
    service = tap.makeService(options)
    assert isinstance(service, MultiService)
    assert engine_of(service).snapshot.generation == 0
    assert before.threads() == set()


def test_the_config_and_the_model_reach_the_service(modules: Path) -> None:
    """What was parsed is what runs."""
    service = made("--modules", str(modules), "--debounce", "0.7", "--lm", "demos")
    assert reloading(service).config.debounce == 0.7
    assert engine_of(service).lm == "demos"


def test_sighup_is_ours_only_when_daemonized(modules: Path) -> None:
    """A terminal that closes sends one too: there it must end the process, as ever."""
    arguments = ("--modules", str(modules))
    daemonized = len(kinds(made(*arguments, nodaemon=False)))
    assert daemonized == len(kinds(made(*arguments, nodaemon=True))) + 1
    assert daemonized == len(kinds(made(*arguments, nodaemon=None))) + 1


def test_sighup_looks_at_everything_and_is_given_back(modules: Path, save: Save) -> None:
    """The signal leads to a pass on the reactor; after the stop the handler from before is in place."""
    save("smith.json", module_text())
    before = signal.getsignal(signal.SIGHUP)
    service = made("--modules", str(modules), nodaemon=False)
    engine = engine_of(service)
    clock = engine._reactor = ReactorClock()
    (hangup,) = [child for child in service if type(child).__name__ == "_Hangup"]
    hangup.startService()
    try:
        assert signal.getsignal(signal.SIGHUP) != before
        os.kill(os.getpid(), signal.SIGHUP)
        while engine.snapshot.generation == 0:
            clock.wait()
    finally:
        hangup.stopService()
    assert list(engine.snapshot) == ["npc.smith"]
    assert signal.getsignal(signal.SIGHUP) == before


def run_setup(modules: Path, setup: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start only the part that runs the game's setup, and return the engine."""
    module = types.ModuleType("game_setup")
    if setup is not None:
        module.setup = setup  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "game_setup", module)
    monkeypatch.setattr("dspyreload.setups.importlib.util.find_spec", lambda name: object())
    service = made("--modules", str(modules), "--setup", "game_setup")
    next(iter(service)).startService()
    return engine_of(service)


def test_setup_gets_the_engine(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There it registers signatures, before the first pass."""
    engines: list[Any] = []
    engine = run_setup(modules, engines.append, monkeypatch)
    assert engines == [engine]


def _raises(engine: object) -> None:
    raise ValueError("no such table")


@pytest.mark.parametrize(("setup", "word"), [(_raises, "no such table"), (None, "setup")])
def test_a_setup_that_fails_ends_the_start(
    modules: Path, monkeypatch: pytest.MonkeyPatch, setup: Any, word: str
) -> None:
    """It names the module and what it raised, or that it has no function setup."""
    with pytest.raises(SystemExit, match=f"game_setup.*{word}"):
        run_setup(modules, setup, monkeypatch)


def test_the_stop_closes_the_engine(modules: Path) -> None:
    """The process is ours: with the service the engine ends."""
    service = made("--modules", str(modules))
    first = next(iter(service))
    engine_of(service)._reactor = ReactorClock()
    first.startService()
    CASE.successResultOf(first.stopService())
    assert "closed" in str(CASE.failureResultOf(engine_of(service).invoke("npc.smith")).value)
