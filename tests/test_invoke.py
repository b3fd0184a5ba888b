"""``engine.invoke`` from end to end: a file, DSPy, a language model and a running reactor."""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import dspy
import pytest
import pytest_twisted
from dspy.clients import base_lm
from dspy.lm15 import Message, Response, Usage
from twisted.internet import reactor as installed
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue, gatherResults
from twisted.internet.threads import deferToThread

from dspyreload import DSPyEngine, HotReloadConfig, Reply
from dspyreload.errors import (
    EngineClosed,
    InvokeTimeout,
    LMFailed,
    MissingInput,
    NoLM,
    NotReady,
    UnknownInput,
    UnknownModule,
    WrongThread,
)
from dspyreload.model.events import ModuleChanged, ModuleDeleted, ReloadError
from dspyreload.testing import Prompt, ScriptedLM
from tests.conftest import Save, module_text
from tests.freed import freed_in_reactor
from tests.left import Before

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])
MakeEngine = Callable[..., DSPyEngine]

AYE = {"response": "Aye.", "emotion": "calm"}
HELLO: Any = {"player_message": "Hello"}
speaker: contextvars.ContextVar[str] = contextvars.ContextVar("speaker", default="nobody")


def in_reactor(test: Test) -> Test:
    """Run a coroutine function as a test in the reactor."""
    return cast(Test, pytest_twisted.ensureDeferred(test))


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """Give up waiting after 20 s: a test that would hang fails."""
    return deferred.addTimeout(20, reactor)


async def fields_of(call: Deferred[Reply]) -> dict[str, Any]:
    """Wait for a reply; returns its output fields."""
    reply = await soon(call)
    return {**reply}


async def failure_of(deferred: Deferred[Any], kind: type[Exception]) -> Any:
    """Wait for a Deferred to fail with this kind of error; returns the error."""
    with pytest.raises(kind) as caught:
        await soon(deferred)
    return caught.value


@attrs.define
class Held:
    """One call that an LM has not answered yet.

    :ivar program: what DSPy runs, as the LM sees it.
    """

    request: Any
    program: Any
    context: contextvars.Context
    ended: Deferred[str] = attrs.field(factory=Deferred)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop)
    _go: asyncio.Event = attrs.field(factory=asyncio.Event)

    def answer(self) -> None:
        """Let the LM answer. Reactor thread."""
        self._loop.call_soon_threadsafe(self._go.set)

    async def wait(self) -> None:
        """Wait for ``answer``. The loop's thread."""
        try:
            await self._go.wait()
        except asyncio.CancelledError:
            reactor.callFromThread(self.ended.callback, "cancelled")
            raise
        reactor.callFromThread(self.ended.callback, "answered")


class HeldLM:
    """An LM whose calls wait until the test lets them go.

    :ivar calls: a queue of :class:`Held`, in the order in which they came.
    :ivar most: how many were under way at once.
    """

    def __init__(self, hold: bool = True) -> None:
        self.hold, self.most, self._now = hold, 0, 0
        self.calls: DeferredQueue[Held] = DeferredQueue()
        self.lm = dspy.LM("held/lm", engine=_Never(), async_engine=self, cache=False, num_retries=0)

    async def complete(self, request: Any) -> Any:
        """Wait, then answer."""
        held = Held(request, dspy.settings.caller_modules[0], contextvars.copy_context())
        self._now += 1
        self.most = max(self.most, self._now)
        reactor.callFromThread(self.calls.put, held)
        try:
            if self.hold:
                await held.wait()
        finally:
            self._now -= 1
        text = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in AYE.items())
        usage = Usage(input_tokens=1, output_tokens=1)
        return Response(id=None, model="held", message=Message.assistant(text), finish_reason="stop", usage=usage)

    async def next(self) -> Held:
        """Wait for the next call to reach the LM."""
        return await soon(self.calls.get())


class _Never:
    def complete(self, request: Any) -> Any:
        raise AssertionError("calls are asynchronous")


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make engines of the modules directory; they are closed when the test is over."""
    made: list[DSPyEngine] = []

    def make(lm: Any = None, **options: Any) -> DSPyEngine:
        made.append(DSPyEngine(modules, lm, **options))
        return made[-1]

    yield make
    for one in made:
        await soon(one.close())
    assert not [thread for thread in threading.enumerate() if thread.name == "dspyreload-lm"]


@pytest.fixture
def smith(save: Save) -> Path:
    """The file of the module ``npc.smith``."""
    return save("smith.json", module_text())


@pytest.mark.usefixtures("smith")
class TestAReply:
    @in_reactor
    async def test_it_is_the_lms_answer_with_stamps(self, engine: MakeEngine) -> None:
        """The output fields come back, with the module, its version, the generation and the LM."""
        game = engine(ScriptedLM(AYE).lm)
        reply = await soon(game.invoke("npc.smith", player_message="Hello"))
        assert isinstance(reply, Reply)
        assert {**reply} == AYE
        assert reply.module_id == "npc.smith"
        assert re.fullmatch("[0-9a-f]{64}", reply.version)
        assert reply.version == game.snapshot["npc.smith"].version
        assert reply.generation == game.snapshot.generation == 1
        assert reply.lm == "scripted/lm"

    @in_reactor
    async def test_it_fires_on_the_reactors_thread(self, engine: MakeEngine) -> None:
        """A game's callback runs where its game runs."""
        where = engine(ScriptedLM(AYE).lm).invoke("npc.smith", **HELLO)
        assert await soon(where.addCallback(lambda _: threading.get_ident())) == threading.get_ident()

    @pytest.mark.parametrize("predictor_type", ["predict", "chain_of_thought"])
    @in_reactor
    async def test_the_lm_reads_what_the_file_says(self, engine: MakeEngine, save: Save, predictor_type: Any) -> None:
        """Instruction, descriptions, demonstrations and the player's words stand in the prompt."""
        save("smith.json", module_text(predictor_type=predictor_type))
        lm = ScriptedLM({"reasoning": "He is friendly.", **AYE})
        reply = await soon(engine(lm.lm).invoke("npc.smith", player_message="Have you a sword?"))
        (prompt,) = lm.prompts
        assert "You are a smith." in prompt.system
        assert "What the character answers" in prompt.system
        roles = [role for role, _text in prompt.turns]
        shown, answered, asked = [text for _role, text in prompt.turns]
        assert roles == ["user", "assistant", "user"]
        assert "Good day!" in shown
        assert "Is it? Mind the sparks." in answered
        assert "annoyed" in answered
        assert "Have you a sword?" in asked
        assert reply["response"] == "Aye."
        assert ("reasoning" in reply) == (predictor_type == "chain_of_thought")

    @in_reactor
    async def test_the_demos_lm_answers_and_says_so(self, engine: MakeEngine) -> None:
        """With ``lm="demos"``, a demonstration answers, and the reply is marked with it."""
        reply = await soon(engine("demos").invoke("npc.smith", player_message="good day"))
        assert {**reply} == {"response": "Is it? Mind the sparks.", "emotion": "annoyed"}
        assert reply.lm == "demos"

    @in_reactor
    async def test_the_small_form_is_enough(self, engine: MakeEngine, save: Save) -> None:
        """An instruction alone is a module; the conversation so far may be given or left out."""
        save("npc/bard.json", '{"instruction": "You are a bard."}')
        lm = ScriptedLM({"response": "La la."})
        game = engine(lm.lm)
        assert await fields_of(game.invoke("npc.bard", player_message="Sing!")) == {"response": "La la."}
        await soon(game.invoke("npc.bard", player_message="More!", conversation_history="Sing! La la."))
        assert "You are a bard." in lm.prompts[0].system
        assert "Sing! La la." in lm.prompts[1].turns[-1][1]

    @in_reactor
    async def test_a_registered_signature_makes_a_waiting_module_speak(self, engine: MakeEngine, save: Save) -> None:
        """A module without a signature block is live once its class is registered; its defaults count."""
        save("quest.json", module_text("quest", signature_name="quest", signature=None, demos=None))
        lm = ScriptedLM({"reward": "7"})
        game = engine(lm.lm)
        await failure_of(game.invoke("quest", hero="Ann"), UnknownModule)
        fields = {
            "hero": (str, dspy.InputField()),
            "place": (str, dspy.InputField(default="the old mill")),
            "foe": (str | None, dspy.InputField()),
            "reward": (int, dspy.OutputField()),
        }
        game.signatures.register("quest", dspy.Signature(fields, "The class's words."))
        reply = await soon(game.invoke("quest", hero="Ann"))
        assert reply["reward"] == 7
        assert "the old mill" in lm.prompts[0].turns[-1][1]
        assert "You are a smith." in lm.prompts[0].system
        assert "The class's words." not in lm.prompts[0].system

    @in_reactor
    async def test_the_manifest_chooses_temperature_and_length(self, engine: MakeEngine, save: Save) -> None:
        """What a manifest's entry says of the LM is in the request that the LM gets."""
        entry: dict[str, Any] = {"path": "smith.json", "hash": None, "tags": [], "temperature": 0.25, "max_tokens": 77}
        save("manifest.json", json.dumps({"version": "1.0", "modules": {"npc.smith": entry}}))
        lm = HeldLM(hold=False)
        await soon(engine(lm.lm).invoke("npc.smith", **HELLO))
        config = (await lm.next()).request.config
        assert (config.temperature, config.max_tokens) == (0.25, 77)


@pytest.mark.usefixtures("smith")
class TestInputs:
    @in_reactor
    async def test_fields_named_like_options_go_into_the_mapping(self, engine: MakeEngine, save: Save) -> None:
        """A field named ``timeout`` is given in ``inputs``, beside fields that are keywords."""
        names = ("timeout", "key", "context", "fallback", "module_id", "inputs", "who")
        signature = {"inputs": [{"name": name} for name in names], "outputs": [{"name": "response"}]}
        save("bomb.json", module_text("bomb", signature=signature, demos=None))
        lm = ScriptedLM({"response": "Tick."})
        given = {
            "timeout": "in three turns",
            "key": "a brass one",
            "context": "a cellar",
            "fallback": "to the stairs",
            "module_id": "B-1",
            "inputs": "two wires",
        }
        before = dict(given)
        reply = await soon(engine(lm.lm).invoke("bomb", given, timeout=20.0, who="Ann"))
        assert reply["response"] == "Tick."
        assert all(value in lm.prompts[0].turns[-1][1] for value in (*given.values(), "Ann"))
        assert given == before

    @in_reactor
    async def test_what_a_call_lacks_is_named(self, engine: MakeEngine) -> None:
        """A call without a required input fails with its name."""
        error = await failure_of(engine(ScriptedLM(AYE).lm).invoke("npc.smith"), MissingInput)
        assert error.fields == ("player_message",)

    @in_reactor
    async def test_what_a_call_has_too_much_is_named(self, engine: MakeEngine) -> None:
        """A call with an input that the signature has not fails with its name."""
        error = await failure_of(engine(ScriptedLM(AYE).lm).invoke("npc.smith", mood="sad", **HELLO), UnknownInput)
        assert error.fields == ("mood",)

    @in_reactor
    async def test_an_unknown_id_has_a_suggestion(self, engine: MakeEngine) -> None:
        """A mistyped id fails with the id that is nearest, as a ``KeyError`` too."""
        error = await failure_of(engine(ScriptedLM(AYE).lm).invoke("npc.smiht", **HELLO), UnknownModule)
        assert issubclass(UnknownModule, KeyError)
        assert error.suggestion == "npc.smith"
        assert str(error) == "no live module has the id 'npc.smiht'; did you mean 'npc.smith'?"

    @pytest.mark.parametrize(
        "name",
        ["signature", "demos", "config", "lm", "new_signature", "prediction", "completions", "instance", "_trace"],
    )
    @in_reactor
    async def test_names_that_dspy_takes_for_itself_are_rejected_in_the_file(
        self, engine: MakeEngine, save: Save, name: Any
    ) -> None:
        """Such a field is refused when the file is read, by name and place, and the good version serves on."""
        lm = ScriptedLM(AYE)
        game = engine(lm.lm)
        signature = {"inputs": [{"name": "player_message"}, {"name": name}], "outputs": [{"name": "response"}]}
        save("smith.json", module_text(signature=signature, demos=None))
        (event,) = await soon(game.reload_all())
        assert isinstance(event, ReloadError)
        assert f'"{name}"' in str(event)
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert reply.generation == 1


@pytest.mark.usefixtures("smith")
class TestWhichLM:
    @in_reactor
    async def test_the_call_then_the_engine_then_the_caller(self, engine: MakeEngine) -> None:
        """The call's LM speaks, else the engine's, else the one of the caller's ``dspy.context``."""
        call, own, host = ScriptedLM(AYE), ScriptedLM(AYE), ScriptedLM(AYE)
        game, plain = engine(own.lm), engine()
        with dspy.context(lm=host.lm):
            replies = [game.invoke("npc.smith", lm=call.lm, **HELLO), game.invoke("npc.smith", **HELLO)]
            replies.append(plain.invoke("npc.smith", **HELLO))
        await soon(gatherResults(replies))
        assert [len(lm.prompts) for lm in (call, own, host)] == [1, 1, 1]

    @in_reactor
    async def test_without_any_the_error_says_so(self, engine: MakeEngine) -> None:
        """No LM is ever chosen in silence, and least of all the demonstrations."""
        with dspy.context(lm=None):
            call = engine().invoke("npc.smith", **HELLO)
        await failure_of(call, NoLM)

    @in_reactor
    async def test_the_callers_context_is_seen_by_the_lm(self, engine: MakeEngine) -> None:
        """An LM sees the context variables of whoever called ``invoke``."""
        lm = HeldLM(hold=False)
        game = engine(lm.lm)
        for name in ("Ann", "Ben"):
            token = speaker.set(name)
            call = game.invoke("npc.smith", **HELLO)
            speaker.reset(token)
            await soon(call)
            assert (await lm.next()).context[speaker] == name

    @in_reactor
    async def test_a_warmed_engine_answers(self, engine: MakeEngine) -> None:
        """``warm`` fires, and calls go on as ever."""
        game = engine("demos")
        await soon(game.warm())
        assert (await soon(game.invoke("npc.smith", **HELLO))).lm == "demos"


@pytest.mark.usefixtures("smith")
class TestFailing:
    @in_reactor
    async def test_an_lm_that_raises_fails_the_call(self, engine: MakeEngine) -> None:
        """The error has the module, the LM and the cause; the next call is answered."""
        game = engine(ScriptedLM(OSError("no route to host"), AYE).lm)
        error = await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert (error.module_id, error.lm) == ("npc.smith", "scripted/lm")
        assert isinstance(error.__cause__, Exception)
        assert "no route to host" in error.reason
        assert await fields_of(game.invoke("npc.smith", **HELLO)) == AYE

    @in_reactor
    async def test_nonsense_fails_the_call(self, engine: MakeEngine) -> None:
        """An answer without the output fields is no reply."""
        await failure_of(engine(ScriptedLM("Grmbl.").lm).invoke("npc.smith", **HELLO), LMFailed)

    @in_reactor
    async def test_a_timeout_cancels_the_call(self, engine: MakeEngine) -> None:
        """After ``timeout`` seconds the call fails, and the LM's task is told."""
        lm = HeldLM()
        game = engine(lm.lm)
        await soon(game.warm())
        call = game.invoke("npc.smith", timeout=0.5, **HELLO)
        held = await lm.next()
        error = await failure_of(call, InvokeTimeout)
        assert error.timeout == 0.5
        assert await soon(held.ended) == "cancelled"

    @in_reactor
    async def test_cancelling_cancels_the_call(self, engine: MakeEngine) -> None:
        """Who cancels the Deferred has it fail at once, and the LM's task is told."""
        lm = HeldLM()
        game = engine(lm.lm)
        call = game.invoke("npc.smith", **HELLO)
        held = await lm.next()
        call.cancel()
        await failure_of(call, CancelledError)
        assert await soon(held.ended) == "cancelled"

    @in_reactor
    async def test_a_call_that_hangs_holds_up_no_other(self, engine: MakeEngine) -> None:
        """A reload and other calls go on beside an LM that does not answer."""
        lm = HeldLM()
        game = engine(lm.lm)
        hanging = game.invoke("npc.smith", **HELLO)
        held = await lm.next()
        assert await fields_of(game.invoke("npc.smith", lm=ScriptedLM(AYE).lm, **HELLO)) == AYE
        await soon(game.reload_all())
        assert not hanging.called
        held.answer()
        assert await fields_of(hanging) == AYE

    @in_reactor
    async def test_before_the_first_reading_it_is_not_ready(self, engine: MakeEngine) -> None:
        """An engine made with ``load=False`` says so until its service has read the modules."""
        game = engine(ScriptedLM(AYE).lm, load=False)
        await failure_of(game.invoke("npc.smith", **HELLO), NotReady)
        handle = await soon(game.enable_hot_reload(HotReloadConfig(debounce=0.01)))
        assert await fields_of(game.invoke("npc.smith", **HELLO)) == AYE
        await soon(handle.stop())

    @in_reactor
    async def test_it_belongs_to_the_reactors_thread(self, engine: MakeEngine) -> None:
        """On another thread ``invoke`` raises, with what to do instead."""
        game = engine(ScriptedLM(AYE).lm)
        error = await failure_of(deferToThread(game.invoke, "npc.smith", **HELLO), WrongThread)
        assert "callFromThread" in str(error)


@pytest.mark.usefixtures("smith")
class TestClosing:
    @in_reactor
    async def test_calls_under_way_are_cancelled(self, engine: MakeEngine) -> None:
        """They fail with ``EngineClosed``, and the LM's tasks are told."""
        lm = HeldLM()
        game = engine(lm.lm)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(3)]
        held = [await lm.next() for _ in calls]
        closing = game.close()
        for call in calls:
            await failure_of(call, EngineClosed)
        assert [await soon(one.ended) for one in held] == ["cancelled"] * 3
        await soon(closing)

    @in_reactor
    async def test_a_closed_engine_says_so(self, engine: MakeEngine) -> None:
        """After ``close``, ``invoke`` and ``warm`` fail; what is served can still be read."""
        game = engine(ScriptedLM(AYE).lm)
        await soon(game.invoke("npc.smith", **HELLO))
        await soon(game.close())
        await soon(game.close())
        await failure_of(game.invoke("npc.smith", **HELLO), EngineClosed)
        await failure_of(game.warm(), EngineClosed)
        assert game["npc.smith"].instruction == "You are a smith."

    @in_reactor
    async def test_the_thread_lives_from_the_first_call_to_close(self, engine: MakeEngine) -> None:
        """No thread before the first call, and none of ours after ``close``."""
        before = Before()
        game = engine(ScriptedLM(AYE).lm)
        assert before.threads() == set()
        await soon(game.invoke("npc.smith", **HELLO))
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "dspyreload-lm"] == [True]
        await soon(game.close())
        assert before.threads() == set()

    @in_reactor
    async def test_invoke_works_after_the_service_has_stopped(self, engine: MakeEngine) -> None:
        """The service ends watching, ``close`` ends speaking: between the two, calls are answered."""
        game = engine(ScriptedLM(AYE).lm)
        handle = await soon(game.enable_hot_reload(HotReloadConfig(debounce=0.01)))
        await soon(handle.stop())
        assert await fields_of(game.invoke("npc.smith", **HELLO)) == AYE

    @in_reactor
    async def test_a_closed_engine_is_freed(self, modules: Path) -> None:
        """Neither the reactor nor DSPy keeps an engine that was closed and forgotten."""
        game = DSPyEngine(modules, ScriptedLM(AYE).lm)
        await soon(game.invoke("npc.smith", **HELLO))
        await soon(game.close())
        kept = weakref.ref(game)
        del game
        assert await freed_in_reactor(kept)


@pytest.mark.usefixtures("smith")
class TestNewVersions:
    @in_reactor
    async def test_a_saved_file_speaks_in_the_next_call(self, engine: MakeEngine, save: Save) -> None:
        """After a reload, the new instruction is in the prompt and the new version on the reply."""
        lm = ScriptedLM(AYE)
        game = engine(lm.lm)
        first = await soon(game.invoke("npc.smith", **HELLO))
        save("smith.json", module_text(instruction="You are a tired smith."))
        event = await soon(game.reload_module("npc.smith"))
        assert isinstance(event, ModuleChanged)
        second = await soon(game.invoke("npc.smith", **HELLO))
        assert "You are a tired smith." in lm.prompts[1].system
        assert "You are a tired smith." not in lm.prompts[0].system
        assert (first.generation, second.generation) == (1, 2)
        assert first.version != second.version

    @in_reactor
    async def test_calls_under_way_end_with_the_version_they_began_with(self, engine: MakeEngine, save: Save) -> None:
        """A reload touches no program that is running: each call has its own version, from prompt to stamp."""
        lm = HeldLM()
        game = engine(lm.lm)
        old_version = game.snapshot["npc.smith"].version
        old_call = game.invoke("npc.smith", **HELLO)
        old = await lm.next()
        state = json.dumps(old.program.dump_state())

        save("smith.json", module_text(instruction="You are a tired smith.", demos=None))
        await soon(game.reload_module("npc.smith"))
        new_call = game.invoke("npc.smith", **HELLO)
        new = await lm.next()
        assert new.program is not old.program
        assert json.dumps(old.program.dump_state()) == state

        new.answer()
        old.answer()
        new_reply, old_reply = await soon(new_call), await soon(old_call)
        assert (old_reply.version, old_reply.generation) == (old_version, 1)
        assert (new_reply.version, new_reply.generation) == (game.snapshot["npc.smith"].version, 2)

    @in_reactor
    async def test_a_call_speaks_with_the_version_of_its_moment(self, engine: MakeEngine, save: Save) -> None:
        """What was live when ``invoke`` was called answers, even where the LM thread comes to it later."""
        entered: Deferred[None] = Deferred()
        release = threading.Event()

        def block(prompt: Prompt) -> dict[str, str]:
            reactor.callFromThread(entered.callback, None)
            assert release.wait(20)
            return AYE

        lm = ScriptedLM(block, AYE)
        game = engine(lm.lm)
        blocking = game.invoke("npc.smith", **HELLO)
        await soon(entered)
        late = game.invoke("npc.smith", **HELLO)
        save("smith.json", module_text(instruction="You are a tired smith."))
        await soon(game.reload_module("npc.smith"))
        newest = game.invoke("npc.smith", **HELLO)
        release.set()
        replies = await soon(gatherResults([blocking, late, newest]))
        assert [reply.generation for reply in replies] == [1, 1, 2]
        assert sorted("tired" in prompt.system for prompt in lm.prompts) == [False, False, True]  # in any order

    @in_reactor
    async def test_a_version_has_one_program(self, engine: MakeEngine) -> None:
        """All calls of a version run the same program."""
        lm = HeldLM()
        game = engine(lm.lm)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(10)]
        held = [await lm.next() for _ in calls]
        assert len({id(one.program) for one in held}) == 1
        for one in held:
            one.answer()
        await soon(gatherResults(calls))

    @in_reactor
    async def test_old_programs_are_freed(self, engine: MakeEngine, save: Save) -> None:
        """When a newer version has spoken and the old calls have ended, the old program is gone."""
        lm = HeldLM()
        game = engine(lm.lm)
        old_call = game.invoke("npc.smith", **HELLO)
        old = await lm.next()
        program = weakref.ref(old.program)
        save("smith.json", module_text(instruction="You are a tired smith."))
        await soon(game.reload_module("npc.smith"))
        new_call = game.invoke("npc.smith", **HELLO)
        (await lm.next()).answer()
        await soon(new_call)
        assert program() is not None
        old.answer()
        await soon(old_call)
        await soon(old.ended)
        del old
        await soon(game.invoke("npc.smith", lm=ScriptedLM(AYE).lm, **HELLO))
        assert await freed_in_reactor(program)

    @in_reactor
    async def test_the_program_of_a_deleted_module_is_freed(self, engine: MakeEngine, save: Save, smith: Path) -> None:
        """A module that is gone leaves no program behind."""
        save("bard.json", module_text("npc.bard"))
        lm = HeldLM(hold=False)
        game = engine(lm.lm)
        await soon(game.invoke("npc.smith", **HELLO))
        program = weakref.ref((await lm.next()).program)
        smith.unlink()
        events = await soon(game.reload_all())
        assert [type(event) for event in events] == [ModuleDeleted]
        await soon(game.invoke("npc.bard", **HELLO))
        await soon(game.invoke("npc.bard", lm=ScriptedLM(AYE).lm, **HELLO))
        assert await freed_in_reactor(program)


@pytest.mark.usefixtures("smith")
class TestMany:
    @in_reactor
    async def test_calls_run_at_the_same_time(self, engine: MakeEngine) -> None:
        """Two hundred calls are all with the LM before the first is answered."""
        lm = HeldLM()
        game = engine(lm.lm)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(200)]
        held = [await lm.next() for _ in calls]
        assert lm.most == 200
        for one in held:
            one.answer()
        assert [{**reply} for reply in await soon(gatherResults(calls))] == [AYE] * 200

    @in_reactor
    async def test_dspy_remembers_nothing(self, engine: MakeEngine) -> None:
        """After 300 calls, no history and no trace of DSPy's has grown."""
        lm = HeldLM(hold=False)
        game = engine(lm.lm)
        history, trace = len(base_lm.GLOBAL_HISTORY), len(dspy.settings.trace)
        for _ in range(6):
            await soon(gatherResults([game.invoke("npc.smith", **HELLO) for _ in range(50)]))
        programs = {id(held.program): held.program for held in [await lm.next() for _ in range(300)]}
        (program,) = programs.values()
        assert len(base_lm.GLOBAL_HISTORY) == history
        assert lm.lm.history == []
        assert program.history == []
        assert program.traces == []
        assert len(dspy.settings.trace) == trace

    @in_reactor
    async def test_engines_live_side_by_side(self, engine: MakeEngine) -> None:
        """Two engines speak at once, and closing one leaves the other."""
        one, other = engine(ScriptedLM({**AYE, "emotion": "one"}).lm), engine(ScriptedLM({**AYE, "emotion": "two"}).lm)
        replies = await soon(gatherResults([one.invoke("npc.smith", **HELLO), other.invoke("npc.smith", **HELLO)]))
        assert [reply["emotion"] for reply in replies] == ["one", "two"]
        await soon(one.close())
        assert (await soon(other.invoke("npc.smith", **HELLO)))["emotion"] == "two"
