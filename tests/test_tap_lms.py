"""``twistd dspyreload``: language models by name, and what answers in their place."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dspyreload import LMSettings, tap
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text
from tests.test_tap import CASE, engine_of, made, parse

pytestmark = pytest.mark.usefixtures("elsewhere")

KEY = "sk-live-c0ffee-5ec2e7"
LMS = """
[smart]
model = "openai/gpt-4o-mini"
api_key_env = "DSPYRELOAD_TEST_KEY"
max_tokens = 300

[cheap]
model = "openai/llama"
api_base = "http://127.0.0.1:9/v1"
retries = 0
"""

Write = Callable[[str], str]


@pytest.fixture
def lms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write ``lms.toml`` and return its path; the key that it names is there."""
    monkeypatch.setenv("DSPYRELOAD_TEST_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def write(text: str) -> str:
        file = tmp_path / "lms.toml"
        file.write_text(text)
        return str(file)

    return write


def refused(*arguments: str) -> str:
    """Return the one line that twistd ends with, status 1, before anything is daemonized."""
    with pytest.raises(SystemExit) as caught:
        parse(*arguments, nodaemon=False)
    text = caught.value.code
    assert isinstance(text, str), "a text as code is printed, and the status is 1"
    assert text.isprintable()
    assert KEY not in text
    assert text.startswith("twistd dspyreload: ")
    assert text.endswith("; see twistd dspyreload --help")
    return text.removeprefix("twistd dspyreload: ").removesuffix("; see twistd dspyreload --help")


def wait(clock: ReactorClock, deferred: Any) -> Any:
    """Let the engine's thread work until a Deferred has fired."""
    while not deferred.called:
        clock.wait()
    return CASE.successResultOf(deferred)


def test_the_models_of_the_file_are_the_engines(modules: Path, lms: Write) -> None:
    """``--lm`` chooses one of them by its name; what a manifest entry may ask for is known of all."""
    arguments = ("--modules", str(modules), "--lm-config", lms(LMS), "--lm", "smart")
    assert parse(*arguments)["lms"]["smart"] == LMSettings(
        model="openai/gpt-4o-mini", api_key_env="DSPYRELOAD_TEST_KEY", max_tokens=300
    )
    engine = engine_of(made(*arguments))
    assert engine.lm == "smart"
    bounds = engine.registrations().lms
    assert {name: found.max_tokens for name, found in bounds.items()} == {"smart": 300, "cheap": None, "": 300}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('[smart]\nmodel = "openai/x"', "smart"),
        ('[smart]\nmodel = "openai/x"\n[default]\nmodel = "demos"', "default"),
        ('[smart]\nmodel = "openai/x"\n[cheap]\nmodel = "demos"', None),
    ],
    ids=["the only one", "default", "two"],
)
def test_without_lm_the_only_one_speaks(modules: Path, lms: Write, text: str, chosen: str | None) -> None:
    """Or the one that is called ``default``; of two others, none is chosen in silence."""
    assert engine_of(made("--modules", str(modules), "--lm-config", lms(text))).lm == chosen


@pytest.mark.parametrize("lm", ["demos", "openai/gpt-4o-mini", "cheap"])
def test_other_models_may_be_named_beside_the_file(modules: Path, lms: Write, lm: str) -> None:
    """The demonstrations, and any model with its provider."""
    assert engine_of(made("--modules", str(modules), "--lm-config", lms(LMS), "--lm", lm)).lm == lm


def test_a_relative_path_is_that_of_the_start(modules: Path, lms: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read before the process daemonizes and changes its working directory."""
    path = Path(lms(LMS))
    monkeypatch.chdir(path.parent)
    options = parse("--modules", "modules", "--lm-config", "lms.toml")
    path.unlink()
    monkeypatch.chdir("/")
    assert set(options["lms"]) == {"smart", "cheap"}
    tap.makeService(options)


@pytest.mark.parametrize(
    ("lm", "said"),
    [
        ("smrat", '--lm smrat: --lm-config has no LM of that name; did you mean "smart"?'),
        ("other", "--lm other: --lm-config has no LM of that name; it has cheap, smart"),
        ("SMART\x1b[2J", "--lm SMART\\x1b[2J: --lm-config has no LM of that name; it has cheap, smart"),
        ("", "--lm '': name a model, such as openai/gpt-4o-mini, or demos"),
    ],
)
def test_a_name_that_the_file_has_not_is_refused(modules: Path, lms: Write, lm: str, said: str) -> None:
    """A slip is found at the start, and not by the first player."""
    assert refused("--modules", str(modules), "--lm-config", lms(LMS), "--lm", lm) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[smart\n", ", line 1, column 7: not TOML: expected ']' at the end of a table declaration"),
        ("", ': holds no LM; one is a table such as [smart] with model = "openai/gpt-4o-mini"'),
        ("[smart]\n", ': [smart] needs "model", such as model = "openai/gpt-4o-mini"'),
        ('[smart]\nmodle = "x"', ': [smart] has "modle", which is not known; did you mean "model"?'),
        ('[smart]\nmodel = "x"\nretries = -1', ': [smart] "retries" must be a whole number, 0 or more, not -1'),
        (
            f'[smart]\nmodel = "x"\napi_key = "{KEY}"',
            ': [smart] has "api_key", and a key does not belong here; put it into an environment variable and name '
            'that in "api_key_env"',
        ),
        (
            '[demos]\nmodel = "openai/x"',
            ': [demos] must have model = "demos"; give another model another name',
        ),
    ],
)
def test_a_file_that_can_not_work_is_refused(modules: Path, lms: Write, text: str, said: str) -> None:
    """One line has the option, the file, the place and what is wrong there; a key in the wrong place is not shown."""
    path = lms(text)
    assert refused("--modules", str(modules), "--lm-config", path) == f"--lm-config {path}{said}"


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_key_that_is_missing_is_named(
    modules: Path, lms: Write, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """The line names the model and the environment variable, and what is the matter with that."""
    path = lms(LMS)
    monkeypatch.delenv("DSPYRELOAD_TEST_KEY")
    if value is not None:
        monkeypatch.setenv("DSPYRELOAD_TEST_KEY", value)
    state = "is not set" if value is None else "is empty"
    said = f"--lm-config {path}: [smart] needs the environment variable DSPYRELOAD_TEST_KEY, which {state}"
    assert refused("--modules", str(modules), "--lm-config", path) == said


@pytest.mark.parametrize("fallback", ["lines", "", "Demos", "none"])
def test_another_fallback_is_refused(modules: Path, fallback: str) -> None:
    """There is one kind that an operator can choose."""
    assert refused("--modules", str(modules), "--fallback", fallback) == f"--fallback {fallback}: it can be demos"


@pytest.mark.parametrize("option", ["lm", "lm-config", "fallback"])
def test_what_needs_dspy_says_so(modules: Path, lms: Write, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """Where it is not installed, the start ends with how to install it."""
    value = lms(LMS) if option == "lm-config" else "demos"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = f"--{option} needs DSPy: python -m pip install 'dspyreload[dspy]'"
    assert refused("--modules", str(modules), f"--{option}", value) == said


@pytest.mark.parametrize("fallback", [["--fallback", "demos"], []])
def test_the_fallback_answers_where_the_model_is_not_there(
    modules: Path, save: Save, lms: Write, fallback: list[str]
) -> None:
    """What was parsed is what runs: the chosen model is asked, and only with the option something else answers."""
    save("smith.json", module_text())
    engine = engine_of(made("--modules", str(modules), "--lm-config", lms(LMS), "--lm", "cheap", *fallback))
    clock = engine._reactor = ReactorClock()
    engine.passes.look_here()
    outcome = engine.invoke("npc.smith", player_message="Hello").addErrback(lambda failure: failure.value)
    said = wait(clock, outcome)
    assert "npc.smith: the LM cheap failed: " in (said.reason if fallback else str(said))
    assert getattr(said, "fallback", None) == ("demos" if fallback else None)
    wait(clock, engine.close())


@pytest.mark.parametrize("before", [None, "false"])
def test_prices_are_not_fetched(modules: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """DSPy uses the list of prices that it brings, unless the operator set the variable."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "restored afterwards")
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP")
    if before is not None:
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", before)
    made("--modules", str(modules))
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == (before or "true")
