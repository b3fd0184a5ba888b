"""Language models by name: which one a call gets, how it is made, and who closes it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import dspy
import pytest

from dspyreload.errors import LMFailed, NoLM
from dspyreload.lm.models import LanguageModels, is_lm_failure
from dspyreload.lmconfig import LMSettings
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.registrations import LMBounds
from dspyreload.testing import ScriptedLM

SMART = LMSettings(model="openai/gpt-4o", max_tokens=500, temperature=0.5, max_temperature=1.0)


@attrs.define
class Made:
    """A language model that was made, in place of ``dspy.LM``."""

    model: str
    options: dict[str, Any]
    closed: int = 0
    fails: bool = False

    async def aclose(self) -> None:
        """Close, or fail to."""
        self.closed += 1
        if self.fails:
            raise OSError("the connection was lost")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Made]:
    """The language models that are made, in order."""
    made: list[Made] = []

    def make(model: str, **options: Any) -> Made:
        made.append(Made(model, options))
        return made[-1]

    monkeypatch.setattr(dspy, "LM", make)
    return made


def chosen(models: LanguageModels, lm: Any = None) -> Any:
    """Return the language model of a call that asks for this one, or for none."""
    return models.choose(dspy, lm, "npc.smith")


class TestChoosing:
    def test_the_call_then_the_engine_then_the_host(self) -> None:
        """The first that names one is heard."""
        call, engine, host = (ScriptedLM().lm for _ in range(3))
        with dspy.context(lm=host):
            assert chosen(LanguageModels(engine, {}), call).model is call
            assert chosen(LanguageModels(engine, {})).model is engine
            assert chosen(LanguageModels(None, {})).model is host

    def test_none_at_all_is_an_error(self) -> None:
        """No language model is chosen in silence."""
        with dspy.context(lm=None), pytest.raises(NoLM):
            chosen(LanguageModels(None, {}))

    def test_a_configured_name_is_that_model(self, made: list[Made]) -> None:
        """Its name is what replies and the log call it, whatever it stands for."""
        own = ScriptedLM().lm
        models = LanguageModels("smart", {"smart": SMART, "own": own})
        assert (chosen(models).name, chosen(models).model.model) == ("smart", "openai/gpt-4o")
        assert (chosen(models, "own").name, chosen(models, "own").model) == ("own", own)

    def test_any_other_name_is_one_that_dspy_takes(self, made: list[Made]) -> None:
        """It needs no configuration."""
        one = chosen(LanguageModels("smart", {"smart": SMART}), "openai/gpt-4o-mini")
        assert (one.name, one.model.model) == ("openai/gpt-4o-mini", "openai/gpt-4o-mini")

    def test_an_object_is_called_by_its_model(self) -> None:
        """Or by its class, where it has none."""
        assert chosen(LanguageModels(None, {}), ScriptedLM().lm).name == "scripted/lm"
        assert chosen(LanguageModels(None, {}), object()).name == "object"

    @pytest.mark.parametrize(
        ("names", "default"),
        [(["default", "smart"], "default"), (["smart"], "smart"), (["smart", "small"], None), ([], None)],
    )
    def test_of_the_configured_the_default_or_the_only_one_is_the_engines(self, names: Any, default: Any) -> None:
        """Of several without a ``default``, none is."""
        assert LanguageModels(None, dict.fromkeys(names, SMART)).lm == default
        assert LanguageModels("demos", dict.fromkeys(names, SMART)).lm == "demos"

    def test_demos_are_no_model(self, made: list[Made]) -> None:
        """By that name, or as what a configured name stands for."""
        models = LanguageModels("demos", {"calm": LMSettings(model="demos")})
        assert [chosen(models, name).model.model for name in (None, "calm")] == ["demos/demos"] * 2
        assert [chosen(models, name).name for name in (None, "calm")] == ["demos", "calm"]


class TestMaking:
    def test_a_name_is_made_once(self, made: list[Made]) -> None:
        """When it is first needed; another name is another one, though its settings are the same."""
        models = LanguageModels(None, {"smart": SMART, "wise": SMART})
        assert made == []
        assert chosen(models, "smart").model is chosen(models, "smart").model
        assert chosen(models, "wise").model is not chosen(models, "smart").model
        assert len(made) == 2

    def test_no_cache_is_ever_used(self, made: list[Made]) -> None:
        """DSPy's would give every player one answer, and keep what they said on the disk."""
        models = LanguageModels("openai/a", {"smart": SMART})
        assert [chosen(models, name).model.options["cache"] for name in (None, "smart")] == [False, False]

    def test_it_has_its_settings(self, made: list[Made], monkeypatch: pytest.MonkeyPatch) -> None:
        """The key comes from the environment; what is not set is left to DSPy."""
        monkeypatch.setenv("SMART_KEY", "sk-secret")
        full = attrs.evolve(SMART, api_base="http://localhost:1/v1", api_key_env="SMART_KEY", timeout=9.0, retries=7)
        models = LanguageModels(None, {"full": full, "bare": LMSettings(model="openai/b")})
        assert chosen(models, "full").model.options == {
            "cache": False, "num_retries": 7, "api_base": "http://localhost:1/v1", "api_key": "sk-secret",
            "max_tokens": 500, "temperature": 0.5, "timeout": 9.0,
        }  # fmt: skip
        assert chosen(models, "bare").model.options == {"cache": False, "num_retries": 2}

    def test_a_server_of_ones_own_hears_no_other_key(self, made: list[Made]) -> None:
        """Without a key of its own it gets none: not the one that the model's usual server has in the environment."""
        models = LanguageModels(None, {"local": LMSettings(model="openai/b", api_base="http://localhost:1/v1")})
        assert chosen(models, "local").model.options["api_key"] == "none"

    def test_dspy_takes_all_of_these_options(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A setting that DSPy would not know must not be found out in the first call."""
        monkeypatch.setenv("SMART_KEY", "sk-secret")
        full = attrs.evolve(SMART, api_base="http://localhost:1/v1", api_key_env="SMART_KEY", timeout=9.0, retries=7)
        lm = chosen(LanguageModels(None, {"full": full}), "full").model
        assert (lm.model, lm.cache, lm.num_retries) == ("openai/gpt-4o", False, 7)
        assert (lm.kwargs["max_tokens"], lm.kwargs["temperature"]) == (500, 0.5)

    def test_one_that_can_not_be_made_fails_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With module, name and cause; the next call tries again."""
        cause = ValueError("no such provider")

        def make(model: str, **options: Any) -> Any:
            raise cause

        models = LanguageModels(None, {})
        with monkeypatch.context() as patch:
            patch.setattr(dspy, "LM", make)
            with pytest.raises(LMFailed) as caught:
                chosen(models, "nobody/knows")
        error = caught.value
        assert (error.module_id, error.lm, error.reason) == ("npc.smith", "nobody/knows", "no such provider")
        assert error.__cause__ is cause
        assert chosen(models, "nobody/knows").model.model == "nobody/knows"

    @pytest.mark.parametrize(("concurrency", "limit"), [(1, 1), (3, 3), (None, 100)])
    def test_a_limit_of_calls_is_shared_by_all_of_a_name(self, made: list[Made], concurrency: Any, limit: int) -> None:
        """The operator's ``concurrency`` holds for the language model; without, as many as DSPy has connections."""
        models = LanguageModels(None, {"small": LMSettings(model="openai/b", concurrency=concurrency)})
        places = chosen(models, "small").places
        assert places is chosen(models, "small").places

        async def take() -> int:
            taken = 0
            while not places.locked():
                await places.acquire()
                taken += 1
            return taken

        assert asyncio.run(take()) == limit


class TestBounds:
    def test_they_are_what_the_operator_allows(self) -> None:
        """By name, and of the engine's own under no name."""
        models = LanguageModels("smart", {"smart": SMART, "own": ScriptedLM().lm})
        bounds = LMBounds(max_tokens=500, max_temperature=1.0)
        assert models.bounds() == {"smart": bounds, "own": LMBounds(), "": bounds}

    @pytest.mark.parametrize("lm", [None, "openai/gpt-4o-mini", "demos"])
    def test_an_engines_own_that_is_not_configured_has_none(self, lm: Any) -> None:
        """A manifest can name only what the operator configured."""
        assert LanguageModels(lm, {"a": SMART, "b": SMART}).bounds().keys() == {"a", "b"}

    @pytest.mark.parametrize(
        ("asked", "allowed"),
        [
            ({"temperature": 0.25, "max_tokens": 77}, {"temperature": 0.25, "max_tokens": 77}),
            ({"temperature": 1.5, "max_tokens": 501}, {"temperature": 1.0, "max_tokens": 500}),
            ({"temperature": 0.0}, {"temperature": 0.0, "max_tokens": 500}),
            ({"max_tokens": 1}, {"temperature": 0.5, "max_tokens": 1}),
        ],
    )
    def test_an_entry_gets_what_it_asks_for_within_them(self, asked: Any, allowed: Any) -> None:
        """Also where a call runs it with another language model than the one that it was checked for."""
        models = LanguageModels(None, {"smart": SMART})
        one = chosen(models, "smart")
        lm = models.for_entry(one, ModuleEntry(path="smith.json", **asked))
        assert {name: lm.kwargs[name] for name in ("temperature", "max_tokens")} == allowed
        assert (one.model.kwargs["temperature"], one.model.kwargs["max_tokens"]) == (0.5, 500)

    def test_an_entry_that_asks_for_nothing_changes_nothing(self) -> None:
        """The very same language model speaks."""
        one = chosen(models := LanguageModels(None, {"smart": SMART}), "smart")
        assert models.for_entry(one, None) is one.model
        assert models.for_entry(one, ModuleEntry(path="smith.json", lm="smart")) is one.model


class TestClosing:
    def test_those_that_were_made_here_are_closed_once(self, made: list[Made]) -> None:
        """Those that the game handed in are its own to close."""
        theirs = Made("theirs", {})
        models = LanguageModels(theirs, {"smart": SMART, "own": theirs})
        for name in (None, "own", "smart", "openai/a"):
            chosen(models, name)
        asyncio.run(models.close())
        asyncio.run(models.close())
        assert [lm.closed for lm in made] == [1, 1]
        assert theirs.closed == 0

    def test_one_that_fails_keeps_no_other_open(self, made: list[Made]) -> None:
        """Every one is closed, and then the failure is raised."""
        models = LanguageModels(None, {})
        for name in "abc":
            chosen(models, name)
        made[0].fails = made[1].fails = True
        with pytest.raises(OSError, match="the connection was lost"):
            asyncio.run(models.close())
        assert [lm.closed for lm in made] == [1, 1, 1]


class TestReasons:
    @pytest.mark.parametrize(
        ("error", "words"),
        [(ValueError("no route"), "no route"), (ValueError(), "ValueError"), (KeyError("x"), "'x'")],
    )
    def test_it_is_what_the_error_says(self, error: Exception, words: str) -> None:
        """Or what it is, where it says nothing."""
        assert LanguageModels(None, {}).reason_of(error) == words

    def test_it_is_short_and_harmless(self) -> None:
        """A server may answer with a page, and with anything in it."""
        words = LanguageModels(None, {}).reason_of(ValueError("\x1b[2J" + "<html>" * 1000))
        assert len(words) <= 500
        assert "\x1b" not in words

    def test_it_has_no_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server may repeat what it was sent; players read what went wrong."""
        monkeypatch.setenv("SMART_KEY", "sk-secret")
        models = LanguageModels(None, {"smart": attrs.evolve(SMART, api_key_env="SMART_KEY")})
        assert models.reason_of(ValueError("401: bad key sk-secret, sk-secret!")) == "401: bad key ***, ***!"

    @pytest.mark.parametrize(
        ("error", "down"),
        [
            (dspy.utils.exceptions.LMError(message="429"), True),
            (TimeoutError(), True),
            (ConnectionRefusedError(), True),
            (ValueError("the program's own"), False),
            (dspy.utils.exceptions.AdapterParseError("ChatAdapter", dspy.Signature("q -> a"), "Grmbl."), False),
        ],
    )
    def test_an_error_is_the_models_or_the_programs(self, error: Exception, down: bool) -> None:
        """Only its own count against a language model; one that does not keep to the format has answered."""
        assert is_lm_failure(error) is down
