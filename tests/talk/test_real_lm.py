"""Language models by name, through DSPy's own client and over HTTP: which one speaks, and what a setting does."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest
from twisted.internet.defer import CancelledError, gatherResults

from dspyreload.errors import InvokeTimeout, LMFailed
from dspyreload.testing import ChatServer, Hang, Refuse
from tests.conftest import Save
from tests.talk import real
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, in_reactor, soon
from tests.talk.real import KEY, HeldServer, serving, settings

pytestmark = pytest.mark.usefixtures("smith")

alone, held, server = real.alone, real.held, real.server


def listed(save: Save, **entry: Any) -> None:
    """Save a manifest with an entry for the module."""
    entries = {"npc.smith": {"path": "smith.json", **entry}}
    save("manifest.json", json.dumps({"version": "1.0", "modules": entries}))


def sent(server: ChatServer) -> dict[str, Any]:
    """Return what the last request asked for, beside the words."""
    return {name: value for name, value in server.requests[-1].items() if name not in ("model", "messages")}


class TestNames:
    @in_reactor
    async def test_a_model_that_is_named_answers(self, engine: MakeEngine, server: ChatServer) -> None:
        """The only one speaks, under its name here; the server hears of it under its own; tokens are counted."""
        game = engine(lms={"real": settings(server)})
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert ({**reply}, reply.lm, reply.fallback, reply.reason) == (AYE, "real", "", "")
        (request,), (prompt,) = server.requests, server.prompts
        assert (request["model"], sent(server)) == ("anything", {})
        assert "You are a smith." in prompt.system
        assert (reply.usage.requests, reply.usage.input_tokens) == (1, len(prompt.text) // 4)
        assert reply.usage.output_tokens > 0
        (stats,) = game.live.ledger.calls["npc.smith"].values()
        assert (stats.calls, stats.failures, stats.input_tokens) == (1, 0, reply.usage.input_tokens)

    @in_reactor
    async def test_the_call_then_the_entry_then_the_engine(
        self, engine: MakeEngine, server: ChatServer, save: Save
    ) -> None:
        """A call's ``lm`` speaks, else the manifest entry's, else the engine's."""
        async with serving(AYE) as second, serving(AYE) as third:
            lms = {"one": settings(server), "two": settings(second), "three": settings(third)}
            assert (await soon(engine("one", lms=lms).invoke("npc.smith", **HELLO))).lm == "one"
            listed(save, lm="two")
            game = engine("one", lms=lms)
            assert (await soon(game.invoke("npc.smith", **HELLO))).lm == "two"
            assert (await soon(game.invoke("npc.smith", lm="three", **HELLO))).lm == "three"
            assert [len(one.requests) for one in (server, second, third)] == [1, 1, 1]
            await soon(game.close())

    @in_reactor
    async def test_one_that_is_made_by_the_game_is_used_as_it_is(self, engine: MakeEngine, server: ChatServer) -> None:
        """A ``dspy.LM`` may have a name, too; it stays open when the engine closes."""
        lm = dspy.LM("openai/own", api_base=server.url, api_key=KEY, cache=False, temperature=0.3)
        game = engine(lms={"own": lm})
        assert (await soon(game.invoke("npc.smith", **HELLO))).lm == "own"
        assert (server.requests[0]["model"], sent(server)) == ("own", {"temperature": 0.3})
        await soon(game.close())
        assert (await soon(engine(lms={"own": lm}).invoke("npc.smith", **HELLO))).lm == "own"

    @in_reactor
    async def test_nothing_is_asked_twice_from_memory(self, engine: MakeEngine, server: ChatServer) -> None:
        """Two players who say the same are two requests: no cache answers."""
        game = engine(lms={"real": settings(server)})
        for _ in range(2):
            await soon(game.invoke("npc.smith", **HELLO))
        assert len(server.requests) == 2

    @in_reactor
    async def test_one_that_cannot_be_made_fails_by_name(self, engine: MakeEngine, server: ChatServer) -> None:
        """The error has the operator's name for it, and what DSPy has against it; the others go on."""
        odd = settings(server, model="openai/o3", max_tokens=5)
        game = engine("real", lms={"real": settings(server), "odd": odd})
        error = await failure_of(game.invoke("npc.smith", lm="odd", **HELLO), LMFailed)
        assert (error.lm, "max_tokens" in error.reason) == ("odd", True)
        assert (await soon(game.invoke("npc.smith", **HELLO))).lm == "real"

    @pytest.mark.parametrize("entry", [{}, {"temperature": 0.5}, {"max_tokens": 12}])
    @in_reactor
    async def test_calls_share_a_connection_until_the_engine_closes(
        self, engine: MakeEngine, server: ChatServer, save: Save, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any]
    ) -> None:
        """One that was opened for a call serves the next, whatever its module asks for, and ends with the engine."""
        listed(save, **entry)
        factory: Any = server._factory
        opened: list[Any] = []
        build = factory.buildProtocol

        def counted(address: Any) -> Any:
            opened.append(address)
            return build(address)

        monkeypatch.setattr(factory, "buildProtocol", counted)
        game = engine(lms={"real": settings(server)})
        for _ in range(5):
            await soon(game.invoke("npc.smith", **HELLO))
        assert (len(opened), len(factory.channels)) == (1, 1)
        await soon(game.close())
        await real.until(lambda: not factory.channels)


class TestWhatIsAskedFor:
    @in_reactor
    async def test_the_operators_settings_are_in_each_request(self, engine: MakeEngine, server: ChatServer) -> None:
        """Temperature and the most tokens of a reply."""
        game = engine(lms={"real": settings(server, temperature=0.25, max_tokens=77)})
        await soon(game.invoke("npc.smith", **HELLO))
        assert sent(server) == {"temperature": 0.25, "max_completion_tokens": 77}

    @in_reactor
    async def test_a_manifest_entry_goes_before_them(self, engine: MakeEngine, server: ChatServer, save: Save) -> None:
        """What the entry sets replaces the operator's, and what it does not stays; a save changes it at once."""
        listed(save, temperature=0.75)
        game = engine(lms={"real": settings(server, temperature=0.25, max_tokens=77)})
        await soon(game.invoke("npc.smith", **HELLO))
        assert sent(server) == {"temperature": 0.75, "max_completion_tokens": 77}
        listed(save, max_tokens=12)
        await soon(game.reload_all())
        await soon(game.invoke("npc.smith", **HELLO))
        assert sent(server) == {"temperature": 0.25, "max_completion_tokens": 12}

    @pytest.mark.parametrize("entry", [{"max_tokens": 78}, {"temperature": 1.5}, {"lm": "real", "max_tokens": 78}])
    @in_reactor
    async def test_an_entry_that_asks_for_more_is_not_served(
        self, engine: MakeEngine, server: ChatServer, save: Save, entry: dict[str, Any]
    ) -> None:
        """What the operator set is the most that a file may ask for."""
        listed(save, **entry)
        game = engine(lms={"real": settings(server, max_tokens=77, max_temperature=1.0)})
        assert "npc.smith" not in game

    @pytest.mark.parametrize("entry", [{"max_tokens": 500}, {"temperature": 1.5}])
    @in_reactor
    async def test_an_entry_gets_no_more_of_the_model_that_a_call_chooses(
        self, engine: MakeEngine, server: ChatServer, save: Save, entry: dict[str, Any]
    ) -> None:
        """An entry that fits the engine's model can't ask another one for more than the operator allows there."""
        listed(save, **entry)
        small = settings(server, max_tokens=77, max_temperature=1.0)
        game = engine("large", lms={"large": settings(server), "small": small})
        assert "npc.smith" in game
        call = game.invoke("npc.smith", lm="small", **HELLO)
        call.addErrback(lambda failure: failure.trap(LMFailed))  # to refuse the call would do as well
        await soon(call)
        for request in server.requests:
            assert request["max_completion_tokens"] <= 77
            assert request.get("temperature", 0) <= 1.0


class TestHowMany:
    @in_reactor
    async def test_a_model_is_asked_by_no_more_at_once_than_it_may(
        self, engine: MakeEngine, held: HeldServer, server: Any
    ) -> None:
        """Of six calls two at a time reach the server, and all are answered; other models are not held up by that."""
        game = engine("held", lms={"held": settings(held, concurrency=2), "real": settings(server)})
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(6)]
        for asked in (2, 4, 6):
            for _ in range(2):
                await held.next()
            await soon(game.invoke("npc.smith", lm="real", **HELLO))  # what is allowed to be sent is sent meanwhile
            assert len(held.requests) == asked
            held.answer()
        assert [{**reply} for reply in await soon(gatherResults(calls))] == [AYE] * 6

    @in_reactor
    async def test_who_goes_leaves_the_place_to_the_next(self, engine: MakeEngine, held: HeldServer) -> None:
        """Cancelling the call that is being answered, or one that waits, lets the next one ask; a wait has its end."""
        game = engine(lms={"real": settings(held, concurrency=1)})
        calls = [game.invoke("npc.smith", player_message=f"number {number}") for number in range(4)]
        await held.next()
        late = game.invoke("npc.smith", timeout=0.05, **HELLO)
        await failure_of(late, InvokeTimeout)
        for call in (calls[1], calls[0]):  # while the one is answered, the other one waits
            call.cancel()
            await failure_of(call, CancelledError)
        assert "number 2\n" in (await held.next()).text
        held.answer()
        await soon(calls[2])
        assert "number 3\n" in (await held.next()).text
        held.answer()
        await soon(calls[3])
        assert len(held.requests) == 3
        assert game.live.ledger.lms == {}, "who waited in vain for a place says nothing of the model"

    @in_reactor
    async def test_more_players_than_connections(self, engine: MakeEngine, server: ChatServer) -> None:
        """A hundred and fifty calls at once are all answered, though DSPy's client has fewer connections."""
        game = engine(lms={"real": settings(server)})
        replies = await soon(gatherResults([game.invoke("npc.smith", **HELLO) for _ in range(150)]))
        assert [reply.fallback for reply in replies] == [""] * 150
        assert len(server.requests) == 150


class TestRetries:
    @pytest.mark.parametrize(("retries", "requests"), [(0, 1), (1, 2), (2, 3)])
    @in_reactor
    async def test_as_many_attempts_follow_as_are_allowed(
        self, engine: MakeEngine, server: ChatServer, retries: int, requests: int
    ) -> None:
        """A server that is busy is asked again, so often and no more; to the breaker that is one failure."""
        server.answers = [Refuse(429, retry_after=0)]
        game = engine(lms={"real": settings(server, retries=retries)})
        await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert len(server.requests) == requests
        assert game.live.ledger.lms["real"].failures == 1

    @in_reactor
    async def test_an_attempt_that_succeeds_is_the_reply(self, engine: MakeEngine, server: ChatServer) -> None:
        """Who waits hears nothing of the attempts before; without a setting there are two more."""
        server.answers = [Refuse(503, retry_after=0), Refuse(429, retry_after=0), AYE]
        game = engine(lms={"real": {name: value for name, value in settings(server).items() if name != "retries"}})
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert ({**reply}, reply.usage.requests, len(server.requests)) == (AYE, 1, 3)
        assert game.live.ledger.lms == {}

    @pytest.mark.parametrize("status", [400, 401, 404])
    @in_reactor
    async def test_what_would_fail_again_is_not_tried_again(
        self, engine: MakeEngine, server: ChatServer, status: int
    ) -> None:
        """A request or a key that is refused is refused once."""
        server.answers = [Refuse(status)]
        game = engine(lms={"real": settings(server, retries=2)})
        error = await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert "the server refuses to answer" in error.reason
        assert len(server.requests) == 1

    @pytest.mark.parametrize("after", [0, 1])
    @in_reactor
    async def test_an_attempt_has_its_own_time(self, engine: MakeEngine, server: ChatServer, after: int) -> None:
        """A server that says nothing more is given up on after ``timeout`` seconds, whatever time the call has."""
        game = engine(lms={"real": settings(server, timeout=0.5)})
        await soon(game.invoke("npc.smith", **HELLO))  # the connection is open then
        server.answers = [Hang(after)]
        error = await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        assert "timed out" in error.reason
        assert len(server.requests) == 2
