"""What answers when the language model can't, and what the reply says of it: over HTTP, with DSPy's own client."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from twisted.internet.defer import Deferred

from dspyreload import Limits
from dspyreload.errors import (
    EngineBusy,
    InvokeTimeout,
    LimitExceeded,
    LMFailed,
    MissingInput,
    NoLM,
    ReplyRefused,
    UnknownInput,
    UnknownModule,
)
from dspyreload.testing import ChatServer, Die, Hang, Refuse
from tests.conftest import Save, module_text
from tests.talk import real
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, in_reactor, soon
from tests.talk.real import HeldServer, SetClock, settings

pytestmark = pytest.mark.usefixtures("smith")

alone, held, server = real.alone, real.held, real.server

DEMO = {"response": "Is it? Mind the sparks.", "emotion": "annoyed"}
"""What the module's only demonstration answers."""

FAILS: dict[str, tuple[Any, type[Exception], str]] = {
    "late": (Hang(), InvokeTimeout, "npc.smith did not answer within 0.1 s"),
    "stops in the middle": (Hang(1), InvokeTimeout, "npc.smith did not answer within 0.1 s"),
    "busy": (Refuse(429), LMFailed, "npc.smith: the LM real failed: [openai/anything] the server refuses to answer"),
    "broken": (Refuse(500), LMFailed, "the LM real failed: [openai/anything] the server refuses to answer"),
    "no such key": (Refuse(401, "bad key"), LMFailed, "the LM real failed: [openai/anything] bad key"),
    "dies": (Die(), LMFailed, "the LM real failed: [openai/anything] server closed connection"),
    "dies in the middle": (Die(1), LMFailed, "the LM real failed: [openai/anything] connection closed"),
    "nonsense": ("Grmbl.", LMFailed, "the LM real failed: its answer does not keep to the format"),
    "half of it": ({"response": "Aye."}, LMFailed, "the LM real failed: "),
}
"""How a server fails, what that is without a fallback, and the words of it."""


def ask(game: Any, how: str, **options: Any) -> Deferred[Any]:
    """Ask, and wait a moment only for a server that says no more."""
    timeout = 0.1 if FAILS[how][1] is InvokeTimeout else None
    asked: Deferred[Any] = game.invoke("npc.smith", timeout=timeout, **options, **HELLO)
    return asked


class TestFailing:
    @pytest.mark.parametrize("how", FAILS)
    @in_reactor
    async def test_the_demonstrations_answer(self, engine: MakeEngine, server: ChatServer, how: str) -> None:
        """The reply has the words of the nearest demonstration, and says that it is one and why; nothing is spent."""
        game = engine(lms={"real": settings(server)}, fallback="demos")
        await soon(game.warm())
        server.answers = [FAILS[how][0]]
        reply = await soon(ask(game, how))
        assert ({**reply}, reply.fallback, reply.lm) == (DEMO, "demos", "demos")
        assert FAILS[how][2] in reply.reason
        assert reply.version == game.snapshot["npc.smith"].version
        (stats,) = game.live.ledger.calls["npc.smith"].values()
        assert (stats.calls, stats.failures, stats.fallbacks) == (1, 1, 1)

    @pytest.mark.parametrize("fallback", [None, False])
    @pytest.mark.parametrize("how", FAILS)
    @in_reactor
    async def test_without_a_fallback_the_call_fails(
        self, engine: MakeEngine, server: ChatServer, how: str, fallback: Any
    ) -> None:
        """The error is of its kind and says what the server did; without lines None is no fallback, and False never."""
        game = engine(lms={"real": settings(server)})
        await soon(game.warm())
        answer, kind, words = FAILS[how]
        server.answers = [answer]
        error = await failure_of(ask(game, how, fallback=fallback), kind)
        assert words in str(error)
        assert error.module_id == "npc.smith"
        (stats,) = game.live.ledger.calls["npc.smith"].values()
        assert (stats.calls, stats.failures, stats.fallbacks) == (1, 1, 0)

    @in_reactor
    async def test_a_server_that_is_down_and_comes_back(self, engine: MakeEngine, server: ChatServer) -> None:
        """Below three failures, the next call asks again, and is answered by the model."""
        game = engine(lms={"real": settings(server)}, fallback="demos")
        assert (await soon(game.invoke("npc.smith", **HELLO))).fallback == ""
        await soon(server.go_down())
        for _ in range(2):
            reply = await soon(game.invoke("npc.smith", **HELLO))
            assert ({**reply}, reply.fallback) == (DEMO, "demos")
            assert "the LM real failed: [openai/anything]" in reply.reason
        await soon(server.come_back())
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert ({**reply}, reply.fallback, reply.reason) == (AYE, "", "")

    @in_reactor
    async def test_it_is_quick_beside_a_server_that_never_answers(self, engine: MakeEngine, server: Any) -> None:
        """What the fallback says comes after the call's time, and is not lost to it."""
        server.answers = [Hang()]
        game = engine(lms={"real": settings(server)}, fallback="demos", timeout=0.05)
        await soon(game.warm())
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert (reply.fallback, reply.reason) == ("demos", "npc.smith did not answer within 0.05 s")
        assert reply.usage.latency > 0


class TestNonsense:
    @pytest.mark.parametrize("answers", [["Grmbl."], ["Grmbl.", '{"response": 5}'], [{"response": "Aye."}], [""]])
    @pytest.mark.parametrize("fallback", ["demos", False])
    @in_reactor
    async def test_it_costs_at_most_one_more_request(
        self, engine: MakeEngine, server: ChatServer, answers: list[Any], fallback: Any
    ) -> None:
        """However many retries are allowed, an answer that does not keep to the format is asked for once more."""
        server.answers = answers
        game = engine(lms={"real": settings(server, retries=3)}, fallback=fallback)
        if fallback:
            assert (await soon(game.invoke("npc.smith", **HELLO))).fallback == "demos"
        else:
            await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert len(server.requests) == 2

    @in_reactor
    async def test_the_second_answer_may_keep_to_it(self, engine: MakeEngine, server: ChatServer) -> None:
        """Then it is the reply, as if nothing had been; both are paid for."""
        server.answers = ["Grmbl.", AYE]
        game = engine(lms={"real": settings(server)}, fallback="demos")
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert ({**reply}, reply.fallback, reply.usage.requests) == (AYE, "", 2)
        assert "JSON" in server.prompts[1].text

    @in_reactor
    async def test_it_is_paid_for(self, engine: MakeEngine, server: ChatServer) -> None:
        """What the model said in vain counts in the usage of the reply, and for the module."""
        server.answers = ["Grmbl."]
        game = engine(lms={"real": settings(server)}, fallback="demos")
        reply = await soon(game.invoke("npc.smith", **HELLO))
        tokens = sum(len(prompt.text) // 4 for prompt in server.prompts)
        assert (reply.usage.requests, reply.usage.input_tokens) == (2, tokens)
        (stats,) = game.live.ledger.calls["npc.smith"].values()
        assert stats.input_tokens == tokens


class TestLines:
    @pytest.mark.parametrize("fallback", ["demos", None])
    @in_reactor
    async def test_the_modules_own_lines_come_before_its_demonstrations(
        self, engine: MakeEngine, server: ChatServer, save: Save, fallback: Any
    ) -> None:
        """One after the other, then from the first again; also where the game asked for no fallback."""
        lines = [{"response": "Not now."}, {"response": "Later!", "emotion": "busy"}]
        save("smith.json", module_text(fallback=lines))
        server.answers = [Refuse(500, "no room")]
        game = engine(lms={"real": settings(server)}, fallback=fallback)
        said = [await soon(game.invoke("npc.smith", **HELLO)) for _ in range(3)]
        assert [{**reply} for reply in said] == [
            {"response": "Not now.", "emotion": ""},
            {"response": "Later!", "emotion": "busy"},
            {"response": "Not now.", "emotion": ""},
        ]
        assert {(reply.fallback, reply.lm) for reply in said} == {("lines", "fallback")}
        assert all("no room" in reply.reason for reply in said)

    @in_reactor
    async def test_false_forbids_them(self, engine: MakeEngine, server: ChatServer, save: Save) -> None:
        """Of the engine or of the call; a call may allow what the engine forbids."""
        save("smith.json", module_text(fallback=[{"response": "Not now."}]))
        server.answers = [Refuse(500)]
        game = engine(lms={"real": settings(server)}, fallback=False)
        await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert (await soon(game.invoke("npc.smith", fallback=None, **HELLO))).fallback == "lines"
        await failure_of(engine(lms={"real": settings(server)}).invoke("npc.smith", fallback=False, **HELLO), LMFailed)

    @in_reactor
    async def test_a_module_with_neither_fails_as_it_would(
        self, engine: MakeEngine, server: ChatServer, save: Save
    ) -> None:
        """What is told is what went wrong with the model, and not with the fallback."""
        save("smith.json", module_text(demos=None))
        server.answers = [Refuse(500, "no room")]
        game = engine(lms={"real": settings(server)}, fallback="demos")
        error = await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert (error.lm, "no room" in str(error)) == ("real", True)

    @in_reactor
    async def test_saved_lines_are_said_at_once(self, engine: MakeEngine, server: ChatServer, save: Save) -> None:
        """A save replaces what is said while the model is down."""
        server.answers = [Refuse(500)]
        game = engine(lms={"real": settings(server)}, fallback="demos")
        assert (await soon(game.invoke("npc.smith", **HELLO))).fallback == "demos"
        save("smith.json", module_text(fallback=[{"response": "We are closed."}]))
        await soon(game.reload_all())
        assert (await soon(game.invoke("npc.smith", **HELLO)))["response"] == "We are closed."


class TestOtherReasons:
    @in_reactor
    async def test_a_full_engine(self, engine: MakeEngine, held: HeldServer) -> None:
        """A call that finds no place is answered while the others still wait for the model."""
        game = engine(lms={"real": settings(held)}, fallback="demos", max_concurrency=1, max_queue=0)
        first = game.invoke("npc.smith", **HELLO)
        await held.next()
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert (reply.fallback, reply.reason) == ("demos", "1 calls run and 0 wait, as many as are allowed")
        await failure_of(game.invoke("npc.smith", fallback=False, **HELLO), EngineBusy)
        held.answer()
        assert (await soon(first)).fallback == ""
        assert len(held.requests) == 1

    @in_reactor
    async def test_a_limit_that_is_reached(self, engine: MakeEngine, server: ChatServer) -> None:
        """A player who asks too often hears the demonstrations, and costs nothing more."""
        game = engine(
            lms={"real": settings(server)}, fallback="demos", limits=Limits(calls_per_minute=1), reactor=SetClock()
        )
        assert (await soon(game.invoke("npc.smith", key="ann", **HELLO))).fallback == ""
        reply = await soon(game.invoke("npc.smith", key="ann", **HELLO))
        assert ({**reply}, reply.fallback) == (DEMO, "demos")
        error = await failure_of(game.invoke("npc.smith", key="ann", fallback=False, **HELLO), LimitExceeded)
        assert reply.reason == str(error)
        assert (await soon(game.invoke("npc.smith", key="ben", **HELLO))).fallback == ""
        assert len(server.requests) == 2
        assert game.live.ledger.lms == {}, "a limit says nothing of the model"

    @in_reactor
    async def test_no_language_model_at_all(self, engine: MakeEngine) -> None:
        """A game in which nobody chose one speaks from the demonstrations, where it allowed that."""
        with dspy.context(lm=None):
            reply, refused = (engine().invoke("npc.smith", fallback=mode, **HELLO) for mode in ("demos", None))
        said = await soon(reply)
        assert ({**said}, said.fallback, said.reason) == (DEMO, "demos", str(NoLM()))
        await failure_of(refused, NoLM)

    @in_reactor
    async def test_a_reply_that_the_game_refuses(self, engine: MakeEngine, server: ChatServer) -> None:
        """The filter sees the fallback's reply, too; what it refuses of that nobody hears."""
        game = engine(lms={"real": settings(server)}, fallback="demos")
        seen: list[str] = []

        def clean(reply: Any) -> None:
            seen.append(reply["response"])
            if reply["response"] == AYE["response"]:
                raise ValueError("too short")

        game.reply_filters.add(clean)
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert ({**reply}, reply.fallback) == (DEMO, "demos")
        assert "too short" in reply.reason
        assert seen == [AYE["response"], DEMO["response"]]
        await failure_of(game.invoke("npc.smith", fallback=False, **HELLO), ReplyRefused)

    @in_reactor
    async def test_not_for_the_callers_mistakes(self, engine: MakeEngine, server: ChatServer) -> None:
        """A field that is missing, or that there is not, and a module that is not live, are errors all the same."""
        game = engine(lms={"real": settings(server)}, fallback="demos")
        await failure_of(game.invoke("npc.smith"), MissingInput)
        await failure_of(game.invoke("npc.smith", mood="odd", **HELLO), UnknownInput)
        await failure_of(game.invoke("npc.nobody", **HELLO), UnknownModule)
        assert server.requests == []
