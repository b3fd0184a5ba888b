"""One call: a module version, inputs and an LM give a reply."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs
import dspy
import pytest
from dspy.clients import base_lm
from dspy.lm15 import Message, Response, Usage

from dspyreload.errors import (
    DSPyNotInstalled,
    InvokeTimeout,
    LMFailed,
    MissingInput,
    NoLM,
    UnknownInput,
)
from dspyreload.lm.invoking import Invoking
from dspyreload.lm.reply import Reply
from dspyreload.model.faults import FaultError
from dspyreload.model.fitting import check_demos
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.testing import ScriptedLM
from tests.conftest import module_text
from tests.lm.conftest import call_of, invoke, invoking

AYE = {"response": "Aye.", "emotion": "calm"}


def version_of(text: str, **more: Any) -> ModuleVersion:
    """Make the version that a file with this text is."""
    data = text.encode()
    digest = hashlib.sha256(data).hexdigest()
    return ModuleVersion(module_id="npc.smith", path="smith.json", version=digest, data=data, **more)


SMITH = version_of(module_text())


@attrs.define
class Engine:
    """An engine of DSPy's: its answers come from a coroutine function of the request."""

    answer: Callable[[Any], Awaitable[dict[str, Any]]]
    requests: list[Any] = attrs.field(factory=list)

    async def complete(self, request: Any) -> Any:
        """Answer a request."""
        self.requests.append(request)
        fields = await self.answer(request)
        text = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items())
        usage = Usage(input_tokens=1, output_tokens=1)
        return Response(id=None, model="own", message=Message.assistant(text), finish_reason="stop", usage=usage)

    def lm(self, name: str = "own/lm") -> Any:
        """Return a ``dspy.LM`` of this engine."""
        return dspy.LM(name, engine=_Never(), async_engine=self, cache=False, num_retries=0)


class _Never:
    def complete(self, request: Any) -> Any:
        raise AssertionError("calls are asynchronous")


def run(
    calls: Invoking, version: ModuleVersion = SMITH, timeout: float | None = None, lm: Any = None, **fields: Any
) -> Reply:
    """Run one call to its end."""
    return invoke(calls, version, fields or {"player_message": "Hello"}, timeout=timeout, lm=lm)


def raises(calls: Invoking, kind: type[Any], **options: Any) -> Any:
    """Run one call that fails; returns the error."""
    with pytest.raises(kind) as caught:
        run(calls, **options)
    return caught.value


class TestWhichLM:
    def test_the_calls_comes_first(self) -> None:
        """The call's LM speaks before the engine's and the host's."""
        call, engine, host = ScriptedLM(AYE), ScriptedLM(AYE), ScriptedLM(AYE)
        with dspy.context(lm=host.lm):
            run(invoking(engine.lm), lm=call.lm)
        assert [len(lm.prompts) for lm in (call, engine, host)] == [1, 0, 0]

    def test_the_engines_comes_before_the_hosts(self) -> None:
        """What ``dspy.settings`` says counts only where the engine has none."""
        engine, host = ScriptedLM(AYE), ScriptedLM(AYE)
        with dspy.context(lm=host.lm):
            run(invoking(engine.lm))
        assert [len(lm.prompts) for lm in (engine, host)] == [1, 0]

    def test_the_hosts_serves_where_no_other_is_named(self) -> None:
        """An LM that the host configured needs not be named again."""
        host = ScriptedLM(AYE)
        with dspy.context(lm=host.lm):
            assert run(invoking()).lm == "scripted/lm"
        assert len(host.prompts) == 1

    def test_none_at_all_is_an_error_that_says_what_to_do(self) -> None:
        """Without any LM, the error names all three places to give one."""
        with dspy.context(lm=None):
            error = raises(invoking(), NoLM)
        assert all(word in str(error) for word in ("invoke", "DSPyEngine", "dspy.configure"))

    def test_the_settings_are_left_as_they_were(self) -> None:
        """A call changes nothing of what the host configured."""
        before = dspy.settings.config
        run(invoking(ScriptedLM(AYE).lm))
        assert dspy.settings.config == before

    def test_the_hosts_adapter_is_kept(self) -> None:
        """Only the LM, the history and the trace are ours to choose: another adapter writes the prompt."""
        lm = ScriptedLM(json.dumps(AYE))
        with dspy.context(adapter=dspy.JSONAdapter()):
            assert {**run(invoking(lm.lm))} == AYE
        assert "JSON" in lm.prompts[0].text


class TestLMsThatWeMake:
    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
        """Names and options of the LMs that are made, all of them scripted."""
        made: list[tuple[str, dict[str, Any]]] = []
        script = ScriptedLM(AYE).lm

        def make(name: str, **options: Any) -> Any:
            made.append((name, options))
            return script

        monkeypatch.setattr(dspy, "LM", make)
        return made

    def test_a_name_is_a_dspy_lm_without_a_cache(self, made: list[tuple[str, dict[str, Any]]]) -> None:
        """DSPy's cache would give every player one answer, and keep what they said on the disk."""
        assert run(invoking("openai/some-model")).lm == "openai/some-model"
        ((name, options),) = made
        assert name == "openai/some-model"
        assert options["cache"] is False

    def test_a_name_is_made_once(self, made: list[tuple[str, dict[str, Any]]]) -> None:
        """Calls share the LM of a name; another name is another LM."""
        calls = invoking("openai/a")
        for _ in range(3):
            run(calls)
        run(calls, lm="openai/b")
        assert [name for name, _options in made] == ["openai/a", "openai/b"]

    def test_warming_makes_the_engines(self, made: list[tuple[str, dict[str, Any]]]) -> None:
        """After ``warm``, the first call has nothing left to make."""
        calls = invoking("openai/a")
        asyncio.run(calls.warm())
        assert len(made) == 1
        run(calls)
        assert len(made) == 1

    def test_warming_without_an_lm_is_no_error(self, made: list[tuple[str, dict[str, Any]]]) -> None:
        """An engine whose calls name their LM, or whose host does, is warmed all the same."""
        asyncio.run(invoking().warm())
        assert made == []

    def test_a_name_that_dspy_does_not_take_fails_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that no LM can be made of is the LM's fault, with the name and the cause."""
        cause = ValueError("no such provider")

        def make(name: str, **options: Any) -> Any:
            raise cause

        monkeypatch.setattr(dspy, "LM", make)
        error = raises(invoking("nobody/knows"), LMFailed)
        assert error.lm == "nobody/knows"
        assert error.__cause__ is cause
        assert "no such provider" in str(error)


@attrs.define
class Closeable:
    """An LM that says when it is closed."""

    name: str
    closed: list[str]
    fails: bool = False

    async def aclose(self) -> None:
        """Close, or fail to."""
        self.closed.append(self.name)
        if self.fails:
            raise OSError("the connection was lost")


class TestClosing:
    def made(self, monkeypatch: pytest.MonkeyPatch, closed: list[str], failing: str = "") -> Invoking:
        """Return an ``Invoking`` that has made two LMs."""
        monkeypatch.setattr(dspy, "LM", lambda name, **options: Closeable(name, closed, name == failing))
        calls = invoking()
        for name in ("a", "b"):
            raises(calls, LMFailed, lm=name)  # DSPy can't call it, but it is made
        return calls

    def test_lms_that_we_made_are_closed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Closing closes each LM of a name, and closing again none."""
        closed: list[str] = []
        calls = self.made(monkeypatch, closed)
        asyncio.run(calls.models.close())
        asyncio.run(calls.models.close())
        assert closed == ["a", "b"]

    def test_lms_of_the_game_are_left_open(self) -> None:
        """An LM that was handed in is its owner's to close."""
        closed: list[str] = []
        theirs = Closeable("theirs", closed)
        calls = invoking(theirs)
        raises(calls, LMFailed)
        raises(calls, LMFailed, lm=Closeable("the call's", closed))
        asyncio.run(calls.models.close())
        assert closed == []

    def test_one_that_fails_keeps_no_other_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every LM is closed, even where the first can't be."""
        closed: list[str] = []
        calls = self.made(monkeypatch, closed, failing="a")
        asyncio.run(asyncio.wait_for(_quiet(calls.models.close()), 10))
        assert closed == ["a", "b"]


async def _quiet(close: Coroutine[Any, Any, None]) -> None:
    """Await what may raise: whether it does is not in question here."""
    try:
        await close
    except OSError:
        return


class TestInputs:
    def test_a_missing_input_is_named(self) -> None:
        """All inputs that a call lacks are in the error, and the LM is not asked."""
        lm = ScriptedLM(AYE)
        signature = {"inputs": [{"name": n} for n in ("who", "what", "why")], "outputs": [{"name": "response"}]}
        error = raises(invoking(lm.lm), MissingInput, version=_with(signature), what="a sword")
        assert error.fields == ("who", "why")
        assert "'who', 'why'" in str(error)
        assert "npc.smith" in str(error)
        assert not lm.prompts

    def test_an_unknown_input_is_named_with_those_that_there_are(self) -> None:
        """DSPy would drop it with a warning; a game learns of its mistake."""
        lm = ScriptedLM(AYE)
        error = raises(invoking(lm.lm), UnknownInput, player_message="Hello", mood="gruff")
        assert error.fields == ("mood",)
        assert error.known == ("player_message",)
        assert "'mood'" in str(error)
        assert "'player_message'" in str(error)
        assert not lm.prompts

    @pytest.mark.parametrize("name", ["instructions", "completions", "instance", "reasoning", "text", "items", "copy"])
    @pytest.mark.parametrize("predictor_type", ["predict", "chain_of_thought"])
    def test_an_input_that_a_file_may_have_reaches_the_lm(self, name: str, predictor_type: str) -> None:
        """A name is refused when the file is read, or it works."""
        signature = {"inputs": [{"name": name}], "outputs": [{"name": "response"}]}
        version = _with(signature, predictor_type=predictor_type)
        try:
            module = version.module()
            assert module.signature is not None
            check_demos(module, module.signature)
        except FaultError:
            return  # refused when the file is read
        given: dict[str, Any] = {name: "seven swords"}
        lm = ScriptedLM({"reasoning": "Hm.", **AYE})
        assert run(invoking(lm.lm), version=version, **given)["response"] == "Aye."
        assert "seven swords" in lm.prompts[0].text

    @pytest.mark.parametrize(
        ("field_type", "value", "text"),
        [
            ("string", "a sword", "a sword"),
            ("json", {"gold": [1, None]}, '{"gold": [1, null]}'),
            ("int", 7, "7"),
            ("float", 0.5, "0.5"),
            ("bool", True, "True"),
            ("list", ["a", "b"], "b"),
        ],
    )
    def test_values_of_each_type_are_in_the_prompt(self, field_type: str, value: Any, text: str) -> None:
        """An input of any field type reaches the LM as text."""
        lm = ScriptedLM(AYE)
        signature = {"inputs": [{"name": "thing", "field_type": field_type}], "outputs": [{"name": "response"}]}
        run(invoking(lm.lm), version=_with(signature), thing=value)
        assert text in lm.prompts[0].turns[-1][1].partition("Respond with")[0]


def _with(signature: dict[str, Any], **changes: Any) -> ModuleVersion:
    return version_of(module_text(signature=signature, demos=None, **changes))


class TestReplies:
    def test_a_reply_is_stamped(self) -> None:
        """It says which version of which module spoke, of which generation, and through which LM."""
        lm = Engine(_aye).lm("mine/own-model")
        reply = invoke(invoking(), SMITH, {"player_message": "Hello"}, generation=42, lm=lm)
        assert {**reply} == AYE
        assert (reply.module_id, reply.version) == ("npc.smith", SMITH.version)
        assert (reply.generation, reply.lm) == (42, "mine/own-model")

    def test_a_chain_of_thought_gives_its_reasoning_too(self) -> None:
        """What the LM thought is a field of the reply."""
        lm = ScriptedLM({"reasoning": "He greets me.", **AYE})
        reply = run(invoking(lm.lm), version=version_of(module_text(predictor_type="chain_of_thought")))
        assert {**reply} == {"reasoning": "He greets me.", **AYE}

    @pytest.mark.parametrize(
        ("field_type", "text", "value"),
        [
            ("string", "42", "42"),
            ("json", '{"name": "look", "args": {"at": [1, 2]}}', {"name": "look", "args": {"at": [1, 2]}}),
            ("json", "null", None),
            ("json", "[1, 2]", [1, 2]),
            ("int", "42", 42),
            ("float", "0.5", 0.5),
            ("float", "2", 2.0),
            ("bool", "True", True),
            ("bool", "false", False),
            ("list", '["a", 2]', ["a", 2]),
            ("list", "[]", []),
        ],
    )
    def test_each_field_type_comes_back_as_its_python_type(self, field_type: str, text: str, value: Any) -> None:
        """What the LM writes as text is a value of the field's type."""
        signature = {"inputs": [{"name": "q"}], "outputs": [{"name": "thing", "field_type": field_type}]}
        reply = run(invoking(ScriptedLM({"thing": text}).lm), version=_with(signature), q="?")
        assert reply["thing"] == value
        assert type(reply["thing"]) is type(value)

    def test_the_manifests_options_reach_the_lm(self) -> None:
        """Temperature and max_tokens of the manifest's entry are in the request that an LM gets."""
        engine = Engine(_aye)
        entry = ModuleEntry(path="smith.json", temperature=0.25, max_tokens=77)
        run(invoking(engine.lm()), version=version_of(module_text(), entry=entry))
        config = engine.requests[0].config
        assert (config.temperature, config.max_tokens) == (0.25, 77)


async def _aye(request: Any) -> dict[str, Any]:
    return AYE


class TestFailures:
    @pytest.mark.parametrize("error", [OSError("no route to host"), KeyError("x"), TimeoutError("slow"), ValueError()])
    def test_an_lm_that_raises_has_failed(self, error: Exception) -> None:
        """The error names the module and the LM, and what was raised is in the chain of its causes."""
        failed = raises(invoking(ScriptedLM(error).lm), LMFailed, timeout=30.0)
        assert (failed.module_id, failed.lm) == ("npc.smith", "scripted/lm")
        assert error in _causes(failed)
        assert failed.reason

    def test_a_timeout_of_the_lms_own_is_not_the_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A ``TimeoutError`` that comes before the call's ``timeout`` is a failure of the LM."""

        async def slow(*arguments: Any, **options: Any) -> Any:
            raise TimeoutError

        adapter = dspy.ChatAdapter()
        monkeypatch.setattr(adapter, "acall", slow)
        with dspy.context(adapter=adapter):
            failed = raises(invoking(ScriptedLM(AYE).lm), LMFailed, timeout=30.0)
        assert failed.reason == "TimeoutError"

    def test_an_lm_that_cancels_itself_has_failed(self) -> None:
        """A connection that breaks off by cancelling is the LM's failure, and not the caller's doing."""

        async def broken(request: Any) -> dict[str, Any]:
            raise asyncio.CancelledError

        raises(invoking(Engine(broken).lm()), LMFailed)

    @pytest.mark.parametrize("answer", ["", "Grmbl.", "[[ ## response ## ]]\nAye.", '{"response": "Aye."}', "[]"])
    def test_nonsense_is_a_failure_of_the_lm(self, answer: str) -> None:
        """An answer without all output fields is never a reply."""
        failed = raises(invoking(ScriptedLM(answer).lm), LMFailed)
        assert failed.__cause__ is not None

    def test_a_value_of_the_wrong_type_is_a_failure_of_the_lm(self) -> None:
        """A field that asks for a number is a number, or there is no reply."""
        signature = {"inputs": [{"name": "q"}], "outputs": [{"name": "gold", "field_type": "int"}]}
        raises(invoking(ScriptedLM({"gold": "plenty"}).lm), LMFailed, version=_with(signature), q="?")

    def test_what_is_no_lm_is_a_failure_of_the_lm(self) -> None:
        """An object that DSPy can't call is named by its type."""
        assert raises(invoking(), LMFailed, lm=3.5).lm == "float"

    def test_the_reason_is_one_short_line(self) -> None:
        """What an LM wrote can neither forge a line of the log nor fill it."""
        failed = raises(invoking(ScriptedLM(OSError("one\ntwo\x1b[31m" + "x" * 10_000)).lm), LMFailed)
        assert len(failed.reason) <= 500
        assert failed.reason.isprintable()

    def test_a_call_that_is_too_slow_times_out(self) -> None:
        """After ``timeout`` seconds the LM's task is cancelled, and the error says how long was waited."""
        ends: list[str] = []

        async def sleep(request: Any) -> dict[str, Any]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            return AYE

        error = raises(invoking(Engine(sleep).lm()), InvokeTimeout, timeout=1.5)
        assert issubclass(InvokeTimeout, TimeoutError)
        assert (error.module_id, error.timeout) == ("npc.smith", 1.5)
        assert "1.5 s" in str(error)
        assert ends == ["cancelled"]

    def test_a_call_in_time_has_no_timeout(self) -> None:
        """A limit that is not reached changes nothing."""
        assert {**run(invoking(ScriptedLM(AYE).lm), timeout=30.0)} == AYE

    def test_without_dspy_the_error_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where DSPy is not installed, the error is the command that installs it."""
        import sys

        monkeypatch.setitem(sys.modules, "dspy", None)
        error = raises(invoking("demos"), DSPyNotInstalled)
        assert "dspyreload[dspy]" in str(error)


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None:
        chain.append(step)
        step = step.__cause__ or step.__context__
    return chain


class TestNothingIsKept:
    def test_dspy_keeps_no_history_and_no_trace(self) -> None:
        """After 300 calls, DSPy remembers as much as before: nothing that a player said is kept."""
        predictors: set[Any] = set()

        async def answer(request: Any) -> dict[str, Any]:
            predictors.update(dspy.settings.caller_modules)
            return AYE

        engine = Engine(answer)
        lm = engine.lm()
        host_trace: list[Any] = []

        async def many() -> None:
            calls = invoking(lm)
            for _ in range(300):
                await calls.invoke(call_of(SMITH, {"player_message": "Hello"}))

        before = len(base_lm.GLOBAL_HISTORY)
        default_trace = len(dspy.settings.trace)
        with dspy.context(trace=host_trace):
            asyncio.run(many())
        assert len(engine.requests) == 300
        assert len(base_lm.GLOBAL_HISTORY) == before
        assert lm.history == []
        assert predictors
        assert all(predictor.history == [] for predictor in predictors)
        assert host_trace == []
        assert len(dspy.settings.trace) == default_trace

    def test_a_call_changes_nothing_in_the_program(self) -> None:
        """The program of a version is the same object with the same state, however many calls it has run."""
        states: set[tuple[int, str]] = set()

        async def answer(request: Any) -> dict[str, Any]:
            (program,) = dspy.settings.caller_modules
            states.add((id(program), json.dumps(program.dump_state())))
            return AYE

        lm = Engine(answer).lm()

        async def many() -> None:
            calls = invoking(lm)
            for number in range(20):
                await calls.invoke(call_of(SMITH, {"player_message": f"Hello {number}"}, generation=number))

        asyncio.run(many())
        assert len(states) == 1
