"""New versions under load: no reply mixes two, and what was replaced leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import dspy
import pytest
import pytest_twisted
from dspy.lm15 import Message, Response, Usage
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults
from twisted.internet.task import LoopingCall, deferLater

from dspyreload import DSPyEngine, HotReloadConfig, Reply
from dspyreload.lm.programs import Programs
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.templates import ProgramRegistry
from dspyreload.lm.tools import ToolRegistry
from dspyreload.model.snapshot import ModuleVersion
from tests.conftest import module_text
from tests.freed import freed_in_reactor

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])
MakeEngine = Callable[..., DSPyEngine]
Put = Callable[[bytes], None]

HELLO: Any = {"player_message": "Hello"}
NEVER: Any = SimpleNamespace(complete=lambda request: 1 / 0)  # an engine for calls that are not asynchronous
in_reactor = cast("Callable[[Test], Test]", pytest_twisted.ensureDeferred)  # runs a coroutine function as a test


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """Give up waiting after 30 s: a test that would hang fails."""
    return deferred.addTimeout(30, reactor)


class Talk(dspy.Module):  # type: ignore[misc]
    """A game's program: what it says depends on what it planned."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.Predict("player_message -> plan")
        self.speak = dspy.Predict("player_message, plan -> response")

    async def aforward(self, player_message: str) -> Any:
        planned = await self.plan.acall(player_message=player_message)
        said = await self.speak.acall(player_message=player_message, plan=planned.plan)
        return dspy.Prediction(plan=planned.plan, response=said.response)


def saved(program: Any, number: int) -> bytes:
    """Return what DSPy saves of a program of which every part names this version."""
    words = f"version {number}"
    for name, predictor in program.named_predictors():
        predictor.signature = predictor.signature.with_instructions(f"You {name} as {words}.")
        predictor.demos = [dict.fromkeys(predictor.signature.fields, f"As {words}.")]
    return json.dumps({**program.dump_state(), "metadata": {}}).encode()


def plain(number: int) -> bytes:
    return module_text("smith", instruction=f"You are a smith of version {number}.").encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class LM:
    """A language model that says which versions its prompt names.

    :param hold: which prompts wait for the test: what lets them go comes to ``asked``.
    :param delay: seconds that each answer takes.
    :ivar programs: weak references to what DSPy ran. ``most``: how many requests were under way at once.
    """

    def __init__(self, hold: Callable[[str], bool] = lambda prompt: False, *, delay: float = 0.0) -> None:
        self._hold, self._delay, self._now, self.most = hold, delay, 0, 0
        self.asked: DeferredQueue[Callable[[], object]] = DeferredQueue()
        self.programs: list[weakref.ref[Any]] = []
        self.lm = dspy.LM("held/lm", engine=NEVER, async_engine=self, cache=False, num_retries=0)

    async def complete(self, request: Any) -> Any:
        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        prompt = "\n".join([system, *(message.text or "" for message in request.messages)])
        self.programs.append(weakref.ref(dspy.settings.caller_modules[0]))
        self._now += 1
        self.most = max(self.most, self._now)
        if self._hold(prompt):
            go, loop = asyncio.Event(), asyncio.get_running_loop()
            reactor.callFromThread(self.asked.put, lambda: loop.call_soon_threadsafe(go.set))
            await go.wait()
        await asyncio.sleep(self._delay)
        self._now -= 1
        words = " and ".join(sorted(set(re.findall(r"version \d+", prompt))))
        text = "".join(f"[[ ## {name} ## ]]\n{words}\n\n" for name in ("plan", "response", "emotion"))
        usage = Usage(input_tokens=1, output_tokens=1)
        return Response(id=None, model="held", message=Message.assistant(text), finish_reason="stop", usage=usage)


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make engines of the modules directory; they are closed when the test is over."""
    made: list[DSPyEngine] = []

    def make(lm: LM, **options: Any) -> DSPyEngine:
        made.append(DSPyEngine(modules, lm.lm, **options))
        return made[-1]

    yield make
    for one in made:
        await soon(one.close())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dspyreload-")]


@pytest.fixture
def put(modules: Path, tmp_path: Path) -> Put:
    """Replace smith.json, which is the module ``smith``, as careful editors do."""

    def put(data: bytes) -> None:
        (tmp_path / "new").write_bytes(data)
        os.replace(tmp_path / "new", modules / "smith.json")

    return put


async def forgotten() -> None:
    """Let the reactor forget what it called, and the garbage collector what is in circles."""
    for _ in range(3):
        await soon(deferLater(reactor, 0))
    gc.collect()


@in_reactor
async def test_no_reply_mixes_versions_while_every_call_is_overtaken_by_new_ones(engine: MakeEngine, put: Put) -> None:
    """2,000 calls of a program with two predictors, and 200 swaps of its state: each call is of one version.

    Each goes on to its second predictor after a swap; all parts of both prompts name the version on its reply.
    """
    swaps, each = 200, 10
    texts = [saved(Talk(), number) for number in range(swaps + 1)]
    numbers = {digest(data): number for number, data in enumerate(texts)}
    put(texts[0])
    lm = LM(hold=lambda prompt: "You plan as" in prompt)
    game = engine(lm)
    game.programs.register("smith", Talk())
    handle = await soon(game.enable_hot_reload(HotReloadConfig(debounce=0.01)))
    calls: list[Deferred[Reply]] = []
    overtaken: list[bool] = []

    def answered(reply: Reply) -> Reply:
        overtaken.append(reply.version != game.snapshot["smith"].version)
        return reply

    for number in range(1, swaps + 1):
        put(texts[number])
        looked: Deferred[Any] = game.reload_module("smith") if number % 2 else game.reload_all()
        calls += [game.invoke("smith", **HELLO).addCallback(answered) for _ in range(each)]
        await soon(looked)
        assert game.snapshot["smith"].version == digest(texts[number])
        if number % 20 == 0:
            held = [await soon(lm.asked.get()) for _ in range(20 * each)]  # all of them at once
            for go_on in held:
                go_on()
    replies = await soon(gatherResults(calls))
    for reply in replies:
        words = f"version {numbers[reply.version]}"
        assert {**reply} == {"plan": words, "response": words}
    assert Counter(numbers[reply.version] for reply in replies) == dict.fromkeys(range(swaps), each)
    assert overtaken == [True] * len(calls)
    assert lm.most >= 20 * each
    await soon(handle.stop())


def objects() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())


def test_the_ten_thousandth_swap_costs_what_the_first_did_and_nothing_is_left() -> None:
    """Made from the pristine template each time: no slower beside a fixed piece of work, no more objects, one alive."""
    templates = ProgramRegistry()
    templates.register("smith", dspy.Predict("player_message -> response"))
    token = templates.registered()["smith"].token
    live: list[ModuleVersion] = []
    programs = Programs(SignatureRegistry(), templates, ToolRegistry(), lambda version: live[-1:] == [version])
    text = saved(dspy.Predict("player_message -> response"), 0)
    runners: weakref.WeakSet[Any] = weakref.WeakSet()

    def swap(number: int) -> None:
        data = text.replace(b"version 0", f"version {number}".encode())
        live[:] = [ModuleVersion(module_id="smith", path="", version=digest(data), data=data, registration=token)]
        programs.forget(("smith",))
        runner = programs.program(live[0]).runner
        assert f"version {number}." in runner.signature.instructions
        runners.add(runner)

    def cost(numbers: range) -> float:
        """Return the median cost of some swaps, in pieces of fixed work."""
        swaps, pieces = [], []
        for number in numbers:
            started = time.thread_time_ns()
            swap(number)
            between = time.thread_time_ns()
            sorted(range(1000), key=str)
            swaps.append(between - started)
            pieces.append(time.thread_time_ns() - between)
        return median(swaps) / median(pieces)

    def chunks(first: int) -> list[float]:
        return [cost(range(start, start + 100)) for start in range(first, first + 500, 100)]

    chunks(0)  # what DSPy and pydantic make once
    before = objects()
    first = chunks(500)
    for number in range(1000, 10_000):
        swap(number)
    last = chunks(10_000)
    after = objects()
    assert median(last) < 1.2 * median(first)
    assert {kind: count for kind, count in (after - before).items() if count > 200} == {}
    assert list(runners) == [programs.program(live[0]).runner]


@in_reactor
async def test_three_hundred_swaps_with_a_call_each_leave_one_program(engine: MakeEngine, put: Put) -> None:
    """The engine holds the program of the version that serves, and none that was replaced."""
    text = saved(dspy.Predict("player_message -> response"), 0)
    put(text)
    lm = LM()
    game = engine(lm)
    game.programs.register("smith", dspy.Predict("player_message -> response"))
    for number in range(1, 301):
        put(text.replace(b"version 0", f"version {number}".encode()))
        await soon(game.reload_module("smith"))
        assert (await soon(game.invoke("smith", **HELLO)))["response"] == f"version {number}"
    assert await freed_in_reactor(*lm.programs[:-1])
    assert lm.programs[-1]() is not None


@in_reactor
async def test_an_old_program_is_freed_when_the_last_lease_and_call_let_go(engine: MakeEngine, put: Put) -> None:
    """A lease alone keeps it, and so does a call alone; without both it is gone."""
    put(plain(0))
    lm = LM(hold=lambda prompt: "version 0" in prompt)
    game = engine(lm)
    lease = game.lease()
    call = lease.invoke("smith", **HELLO)
    answer = await soon(lm.asked.get())
    put(plain(1))
    await soon(game.reload_module("smith"))
    assert (await soon(game.invoke("smith", **HELLO)))["response"] == "version 1"
    answer()
    assert (await soon(call))["response"] == "version 0"
    await forgotten()
    program = lm.programs[0]
    assert program() is not None, "the lease holds it"

    call = lease.invoke("smith", **HELLO)
    answer = await soon(lm.asked.get())
    assert lm.programs[-1]() is program(), "the lease has one program for all of its turns"
    lease.end()
    await forgotten()
    assert program() is not None, "the call holds it"
    answer()
    assert (await soon(call))["response"] == "version 0"
    del call, answer
    assert await freed_in_reactor(program)


@in_reactor
async def test_a_thousand_calls_at_once_are_answered_while_the_reactor_goes_on(engine: MakeEngine, put: Put) -> None:
    """The language model takes 200 ms for each; timers of the game go on meanwhile."""
    put(plain(7))
    lm = LM(delay=0.2)
    game = engine(lm)
    await soon(game.warm())
    ticks: list[None] = []
    ticking = LoopingCall(ticks.append, None)
    over = ticking.start(0.01)
    replies = await soon(gatherResults([game.invoke("smith", **HELLO) for _ in range(1000)]))
    ticking.stop()
    await over
    assert Counter(reply["response"] for reply in replies) == {"version 7": 1000}
    assert len(ticks) > 20
