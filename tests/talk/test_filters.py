"""Reply filters: what the game makes of a reply before anybody hears it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from dspyreload import Reply
from dspyreload.errors import InvokeTimeout, ReplyRefused, WrongThread
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, fields_of, in_reactor, reactor, soon

pytestmark = pytest.mark.usefixtures("smith")

Filter = Callable[[Reply], object]
LATER = {"response": "Later!", "emotion": "tired"}


def in_each_way(result: Any) -> dict[str, Filter]:
    """Return filters that give this, or raise it: at once, from a coroutine, with a Deferred."""

    def plain(reply: Reply) -> Any:
        made = result(reply) if callable(result) else result
        if isinstance(made, Exception):
            raise made
        return made

    async def coroutine(reply: Reply) -> Any:
        await deferLater(reactor, 0, lambda: None)
        return plain(reply)

    def deferred(reply: Reply) -> Deferred[Any]:
        return deferLater(reactor, 0, plain, reply)

    def fired(reply: Reply) -> Deferred[Any]:
        try:
            return succeed(plain(reply))
        except Exception as error:
            return fail(error)

    return {"plain": plain, "coroutine": coroutine, "deferred": deferred, "fired": fired}


WAYS: Any = pytest.mark.parametrize("way", ["plain", "coroutine", "deferred", "fired"])


class TestChanges:
    @WAYS
    @pytest.mark.parametrize(
        "result",
        [
            lambda reply: reply.evolve(response=reply["response"].upper()),
            lambda reply: {"response": reply["response"].upper()},
        ],
    )
    @in_reactor
    async def test_a_reply_or_a_mapping_of_fields_changes_it(self, engine: MakeEngine, way: str, result: Any) -> None:
        """What the filter does not name stays, the stamps too."""
        game = engine(ScriptedLM(AYE).lm)
        plain = await soon(game.invoke("npc.smith", **HELLO))
        game.reply_filters.add(in_each_way(result)[way])
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert {**reply} == {"response": "AYE.", "emotion": "calm"}
        for stamp in ("module_id", "version", "generation", "lm", "fallback", "reason", "tool_calls"):
            assert getattr(reply, stamp) == getattr(plain, stamp)
        assert reply.usage.total_tokens == plain.usage.total_tokens > 0

    @WAYS
    @in_reactor
    async def test_none_leaves_it(self, engine: MakeEngine, way: str) -> None:
        """A filter that only looks."""
        seen: list[dict[str, Any]] = []
        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(in_each_way(lambda reply: seen.append({**reply}))[way])
        assert await fields_of(game.invoke("npc.smith", **HELLO)) == AYE
        assert seen == [AYE]

    @in_reactor
    async def test_each_gets_what_the_one_before_made(self, engine: MakeEngine) -> None:
        """In the order in which they were added, on the reactor thread."""
        game = engine(ScriptedLM(AYE).lm)
        threads: list[threading.Thread] = []

        def adding(word: str) -> Filter:
            def filtered(reply: Reply) -> Mapping[str, str]:
                threads.append(threading.current_thread())
                return {"response": f"{reply['response']} {word}"}

            return filtered

        for word in ("one", "two", "three"):
            game.reply_filters.add(adding(word))
        assert (await soon(game.invoke("npc.smith", **HELLO)))["response"] == "Aye. one two three"
        assert threads == [threading.current_thread()] * 3

    @in_reactor
    async def test_it_knows_whose_reply_it_is(self, engine: MakeEngine) -> None:
        """Module, version and language model stand on what it is given."""
        game = engine(ScriptedLM(AYE).lm)
        seen: list[Reply] = []
        game.reply_filters.add(seen.append)
        reply = await soon(game.invoke("npc.smith", **HELLO))
        (given,) = seen
        assert (given.module_id, given.version, given.generation, given.lm, given.fallback) == (
            "npc.smith",
            reply.version,
            1,
            "scripted/lm",
            "",
        )

    @in_reactor
    async def test_one_that_is_slow_holds_up_no_other_call(self, engine: MakeEngine) -> None:
        """Nor does it hold a place: the language model speaks for the next one meanwhile."""
        game = engine(ScriptedLM(AYE).lm, max_concurrency=1)
        waiting: list[Deferred[None]] = []

        def slow(reply: Reply) -> Deferred[None]:
            waiting.append(Deferred())
            if len(waiting) == 3:
                all_there.callback(None)
            return waiting[-1]

        all_there: Deferred[None] = Deferred()
        game.reply_filters.add(slow)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(3)]
        await soon(all_there)
        for one in waiting:
            one.callback(None)
        await soon(gatherResults(calls))


class TestRefusals:
    @WAYS
    @in_reactor
    async def test_any_exception_refuses_it(self, engine: MakeEngine, way: str) -> None:
        """The call fails with ``ReplyRefused``, and the exception is its cause."""
        bug = ZeroDivisionError("a bug of the game")
        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(in_each_way(bug)[way])
        error = await failure_of(game.invoke("npc.smith", **HELLO), ReplyRefused)
        assert str(error) == "npc.smith: the game refused the reply: a bug of the game"
        assert error.__cause__ is bug

    @WAYS
    @in_reactor
    async def test_a_reason_of_its_own_is_told(self, engine: MakeEngine, way: str) -> None:
        """A filter may raise ``ReplyRefused`` itself; those that come after are not asked."""
        refused = ReplyRefused("too rude")
        game = engine(ScriptedLM(AYE).lm)
        later: list[Reply] = []
        game.reply_filters.add(in_each_way(refused)[way])
        game.reply_filters.add(later.append)
        error = await failure_of(game.invoke("npc.smith", **HELLO), ReplyRefused)
        assert str(error) == "too rude"
        assert later == []

    @pytest.mark.parametrize("result", ["Hush.", 7, True, [("response", "Hush.")]])
    @in_reactor
    async def test_what_is_no_reply_refuses_it(self, engine: MakeEngine, result: Any) -> None:
        """A filter that gives nonsense is a bug of the game, and the player does not hear what it let through."""
        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(lambda reply: result)
        error = await failure_of(game.invoke("npc.smith", **HELLO), ReplyRefused)
        assert str(error) == f"npc.smith: a reply filter gave {type(result).__name__}, and no reply"

    @in_reactor
    async def test_an_error_without_words_has_its_name(self, engine: MakeEngine) -> None:
        """The reason is never blank."""
        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(in_each_way(KeyError())["plain"])
        error = await failure_of(game.invoke("npc.smith", **HELLO), ReplyRefused)
        assert "KeyError" in str(error)

    @in_reactor
    async def test_a_fallback_answers_in_its_place(self, engine: MakeEngine, save: Save) -> None:
        """The reply says why; what the refused one cost is counted."""
        save("smith.json", module_text(fallback=[LATER]))
        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(in_each_way(lambda reply: None if reply.fallback else ReplyRefused("too rude"))["plain"])
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert {**reply} == LATER
        assert (reply.fallback, reply.reason, reply.lm) == ("lines", "too rude", "fallback")
        assert reply.usage.output_tokens > 0
        await failure_of(game.invoke("npc.smith", fallback=False, **HELLO), ReplyRefused)

    @in_reactor
    async def test_a_fallback_passes_through_them_too(self, engine: MakeEngine) -> None:
        """What no language model said is heard by the same filters, once."""
        game = engine(ScriptedLM(OSError("no route")).lm, fallback="demos")
        seen: list[str] = []

        def loud(reply: Reply) -> Mapping[str, str]:
            seen.append(reply.fallback)
            return {"response": reply["response"].upper()}

        game.reply_filters.add(loud)
        assert (await soon(game.invoke("npc.smith", **HELLO)))["response"] == "IS IT? MIND THE SPARKS."
        assert seen == ["demos"]

    @in_reactor
    async def test_a_fallback_may_be_refused(self, engine: MakeEngine) -> None:
        """Then the call fails, and nobody hears anything."""
        game = engine(ScriptedLM(AYE).lm, fallback="demos")
        seen: list[str] = []
        game.reply_filters.add(lambda reply: seen.append(reply.fallback))
        game.reply_filters.add(in_each_way(ReplyRefused("no"))["plain"])
        await failure_of(game.invoke("npc.smith", **HELLO), ReplyRefused)
        assert seen == ["", "demos"]


class TestTheirTime:
    @in_reactor
    async def test_the_calls_time_counts(self, engine: MakeEngine) -> None:
        """A filter that never ends ends with the call's timeout, and its Deferred is cancelled."""
        ended: Deferred[str] = Deferred()
        game = engine(ScriptedLM(AYE).lm)
        await soon(game.invoke("npc.smith", **HELLO))  # the next one needs next to nothing of its time
        game.reply_filters.add(lambda reply: Deferred(lambda _deferred: ended.callback("cancelled")))
        await failure_of(game.invoke("npc.smith", timeout=1.0, **HELLO), InvokeTimeout)
        assert await soon(ended) == "cancelled"

    @in_reactor
    async def test_a_fallback_has_no_time_without_end_either(self, engine: MakeEngine) -> None:
        """A filter that never ends does not leave a call waiting for ever because a fallback came to it."""
        game = engine(ScriptedLM(OSError("no route")).lm, fallback="demos")
        game.reply_filters.add(lambda reply: Deferred())
        call = game.invoke("npc.smith", timeout=0.05, **HELLO)
        with pytest.raises(InvokeTimeout):
            await soon(call)

    @in_reactor
    async def test_cancelling_the_call_cancels_it(self, engine: MakeEngine) -> None:
        """A filter that waits for something is told."""
        begun: Deferred[None] = Deferred()
        ended: Deferred[str] = Deferred()

        def slow(reply: Reply) -> Deferred[None]:
            begun.callback(None)
            return Deferred(lambda _deferred: ended.callback("cancelled"))

        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(slow)
        call = game.invoke("npc.smith", **HELLO)
        await soon(begun)
        call.cancel()
        await failure_of(call, CancelledError)
        assert await soon(ended) == "cancelled"


class TestRegistering:
    @in_reactor
    async def test_one_that_is_removed_is_not_asked(self, engine: MakeEngine) -> None:
        """``add`` returns what removes it; others stay, and twice does no harm."""
        game = engine(ScriptedLM(AYE).lm)
        first, second = list[Reply](), list[Reply]()
        remove = game.reply_filters.add(first.append)
        game.reply_filters.add(second.append)
        await soon(game.invoke("npc.smith", **HELLO))
        remove()
        remove()
        await soon(game.invoke("npc.smith", **HELLO))
        assert (len(first), len(second)) == (1, 2)

    @in_reactor
    async def test_the_same_one_twice_is_removed_once(self, engine: MakeEngine) -> None:
        """Each ``add`` has its own removal."""
        game = engine(ScriptedLM(AYE).lm)
        seen: list[Reply] = []
        look = seen.append
        remove = game.reply_filters.add(look)
        game.reply_filters.add(look)
        remove()
        remove()
        await soon(game.invoke("npc.smith", **HELLO))
        assert len(seen) == 1

    @in_reactor
    async def test_what_is_no_function_is_refused(self, engine: MakeEngine) -> None:
        """And so is another thread."""
        game = engine(ScriptedLM(AYE).lm)
        wrong: Any = {"response": "Hush."}
        with pytest.raises(TypeError, match="a reply filter is a function of a reply"):
            game.reply_filters.add(wrong)
        await failure_of(deferToThread(game.reply_filters.add, print), WrongThread)
