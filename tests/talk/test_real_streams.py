"""A reply while it is said, over HTTP: what is heard when, and what becomes of a stream that breaks off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from dspyreload import Chunk
from dspyreload.errors import InvokeTimeout, LMFailed
from dspyreload.lm.reply import Reply
from dspyreload.testing import ChatServer, Die, Hang
from dspyreload.testing.answers import pieces
from tests.conftest import Save, module_text
from tests.talk import real
from tests.talk.conftest import HELLO, MakeEngine, failure_of, in_reactor, soon
from tests.talk.real import DOWN, Game, settings

pytestmark = pytest.mark.usefixtures("smith")

alone, server = real.alone, real.server

SAID = {
    "response": "Aye, what a fine evening it is for a walk.\n\nMind the \u2014 anvil.",
    "emotion": "quite calm",
}
DEMO = {"response": "Is it? Mind the sparks.", "emotion": "annoyed"}
TEXT = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in SAID.items()) + "[[ ## completed ## ]]"
HALF = next(n for n in range(len(TEXT)) if "evening" in "".join(pieces(TEXT)[:n]))
"""After how many pieces of the answer the evening was mentioned."""


class Ear:
    """Hears a stream.

    :ivar chunks: what came. ``first``: fires with the first of it.
    """

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.first: Deferred[Chunk] = Deferred()

    def __call__(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if not self.first.called:
            self.first.callback(chunk)

    def text(self, field: str, chunks: list[Chunk] | None = None) -> str:
        """Return what was said of a field."""
        return "".join(chunk for chunk in (self.chunks if chunks is None else chunks) if chunk.field == field)


def listen(game: Any, ear: Ear, **options: Any) -> Any:
    return game.stream("npc.smith", on_chunk=ear, **options, **HELLO)


class TestHearing:
    @in_reactor
    async def test_the_chunks_are_the_reply(self, engine: MakeEngine, server: ChatServer) -> None:
        """Joined by field they are the reply, in its order; each is a part of one field; tokens are counted."""
        server.answers = [SAID]
        game, ear = engine(lms={"real": settings(server)}), Ear()
        reply = await soon(listen(game, ear))
        assert {name: ear.text(name) for name in SAID} == {**reply} == SAID
        assert [chunk.field for chunk in ear.chunks] == sorted((c.field for c in ear.chunks), reverse=True)
        assert len(ear.chunks) > 10
        assert (reply.lm, reply.fallback, reply.usage.requests) == ("real", "", 1)
        assert reply.usage.output_tokens > 0
        assert server.requests[0]["stream"] is True

    @in_reactor
    async def test_they_come_before_the_reply_is_complete(self, engine: MakeEngine, server: ChatServer) -> None:
        """What a server said is heard while it says no more: its answer has no end yet."""
        server.answers = [Hang(HALF, TEXT)]
        game, ear = engine(lms={"real": settings(server)}), Ear()
        stream = listen(game, ear)
        await soon(ear.first)
        await real.until(lambda: "evening" in ear.text("response"))
        assert not stream.called
        assert SAID["response"].startswith(ear.text("response"))
        assert ear.text("emotion") == ""
        stream.cancel()
        await failure_of(stream, CancelledError)

    @in_reactor
    async def test_as_an_iterator_it_ends_with_the_reply(self, engine: MakeEngine, server: ChatServer) -> None:
        """``async for`` gives the chunks, and the ``Reply`` last."""
        server.answers = [SAID]
        game = engine(lms={"real": settings(server)})
        items = [item async for item in game.stream("npc.smith", **HELLO)]
        assert {type(item) for item in items[:-1]} == {Chunk}
        assert isinstance(items[-1], Reply)
        assert {name: Ear().text(name, items[:-1]) for name in SAID} == {**items[-1]} == SAID

    @in_reactor
    async def test_streams_beside_each_other_do_not_mix(self, engine: MakeEngine, server: ChatServer) -> None:
        """Twenty players hear twenty answers, each their own."""
        server.answers = [lambda prompt: {"response": prompt.turns[-1][1].splitlines()[1], "emotion": "calm"}]
        game = engine(lms={"real": settings(server)})
        said = [f"My name is number {number}, and I am here to buy." for number in range(20)]
        ears = [Ear() for _ in said]
        streams = [
            game.stream("npc.smith", on_chunk=ear, player_message=words) for ear, words in zip(ears, said, strict=True)
        ]
        replies = await soon(gatherResults(streams))
        assert [ear.text("response") for ear in ears] == [reply["response"] for reply in replies] == said

    @in_reactor
    async def test_thinking_is_not_heard(self, engine: MakeEngine, server: ChatServer, save: Save) -> None:
        """Of a module that thinks first, the thought is in the reply and in no chunk."""
        save("smith.json", module_text(predictor_type="chain_of_thought"))
        server.answers = [{"reasoning": "He wants something.", **SAID}]
        game, ear = engine(lms={"real": settings(server)}), Ear()
        reply = await soon(listen(game, ear))
        assert reply["reasoning"] == "He wants something."
        assert {chunk.field for chunk in ear.chunks} == {"response", "emotion"}
        assert ear.text("response") == SAID["response"]

    @in_reactor
    async def test_a_json_answer_is_heard_as_its_fields(self, engine: MakeEngine, server: ChatServer) -> None:
        """A host that uses DSPy's JSON adapter hears words, and no braces or escapes."""
        import dspy

        server.answers = [json.dumps(SAID)]
        game, ear = engine(lms={"real": settings(server)}), Ear()
        with dspy.context(adapter=dspy.JSONAdapter()):
            stream = listen(game, ear)
        assert {**await soon(stream)} == SAID
        assert {name: ear.text(name) for name in SAID} == SAID
        assert len(ear.chunks) > 10


class TestBreakingOff:
    @pytest.mark.parametrize("retries", [0, 2])
    @in_reactor
    async def test_a_stream_that_dies_in_its_middle_fails(
        self, engine: MakeEngine, server: ChatServer, retries: int
    ) -> None:
        """What was heard stays heard, and is no reply; whatever retries are allowed, nothing is said twice."""
        server.answers = [Die(HALF, TEXT), SAID]
        game, ear = engine(lms={"real": settings(server, retries=retries)}), Ear()
        error = await failure_of(listen(game, ear), LMFailed)
        assert (error.module_id, error.lm) == ("npc.smith", "real")
        assert "connection closed" in error.reason
        assert "evening" in ear.text("response")
        assert SAID["response"].startswith(ear.text("response"))
        assert len(server.requests) == 1

    @in_reactor
    async def test_an_iterator_raises_after_the_last_chunk(self, engine: MakeEngine, server: ChatServer) -> None:
        """``async for`` gives what was said, then fails."""
        server.answers = [Die(HALF, TEXT)]
        game = engine(lms={"real": settings(server)})
        items: list[Any] = []

        async def iterate() -> None:
            async for item in game.stream("npc.smith", **HELLO):
                items.append(item)

        await failure_of(Deferred.fromCoroutine(iterate()), LMFailed)
        assert "evening" in Ear().text("response", items)
        assert not [item for item in items if isinstance(item, Reply)]

    @pytest.mark.parametrize(
        ("answer", "heard"),
        [
            (DOWN, ""),
            (Die(), ""),
            ("Grmbl, and that is all.", ""),
            (Die(HALF, TEXT), "evening"),
            (Hang(HALF, TEXT), "evening"),
        ],
        ids=["refuses", "dies", "nonsense", "dies in its middle", "stops in its middle"],
    )
    @in_reactor
    async def test_a_fallback_is_heard(self, engine: MakeEngine, server: ChatServer, answer: Any, heard: str) -> None:
        """Whole, after what was said until then; the reply is the fallback's alone, and says so."""
        game, ear = engine(lms={"real": settings(server)}, fallback="demos"), Ear()
        await soon(game.warm())
        server.answers = [answer]
        reply = await soon(listen(game, ear, timeout=2.0 if isinstance(answer, Hang) else None))
        assert ({**reply}, reply.fallback, reply.lm) == (DEMO, "demos", "demos")
        assert reply.reason
        assert {chunk.field: chunk.text for chunk in ear.chunks[-2:]} == DEMO
        before = ear.text("response", ear.chunks[:-2])
        assert heard in before
        assert SAID["response"].startswith(before)
        assert len(server.requests) <= 2

    @in_reactor
    async def test_lines_of_its_own_are_heard_too(self, engine: MakeEngine, server: ChatServer, save: Save) -> None:
        """Also by who iterates, and of the fields only those that say something."""
        save("smith.json", module_text(fallback=[{"response": "Not now."}]))
        server.answers = [DOWN]
        items = [item async for item in engine(lms={"real": settings(server)}).stream("npc.smith", **HELLO)]
        assert [(item, getattr(item, "field", "")) for item in items[:-1]] == [("Not now.", "response")]
        assert items[-1].fallback == "lines"

    @in_reactor
    async def test_streams_are_failures_of_the_model_as_calls_are(self, engine: MakeEngine, server: ChatServer) -> None:
        """Three that die, and the next is answered without a request; one that is whole has the model up again."""
        game = Game(engine, server)
        server.answers = [Die(HALF, TEXT)]
        for _ in range(4):
            await soon(listen(game.engine, Ear()))
        assert (len(server.requests), game.state.healthy) == (3, False)
        server.answers, ear = [SAID], Ear()
        game.clock.now += 1
        assert {**await soon(listen(game.engine, ear))} == SAID
        assert (ear.text("response"), game.state.healthy) == (SAID["response"], True)


class TestGoing:
    @pytest.mark.parametrize("after", [0, HALF])
    @pytest.mark.parametrize("kind", ["stream", "call"])
    @in_reactor
    async def test_cancelling_closes_the_connection(
        self, engine: MakeEngine, server: ChatServer, kind: str, after: int
    ) -> None:
        """The server need not say the rest, nor does anybody pay for it; the engine goes on."""
        server.answers = [Hang(after, TEXT), SAID]
        game, ear = engine(lms={"real": settings(server)}), Ear()
        call = listen(game, ear) if kind == "stream" else game.invoke("npc.smith", **HELLO)
        factory: Any = server._factory
        await real.until(lambda: server.requests)
        if kind == "stream" and after:
            await soon(ear.first)
        assert len(factory.channels) == 1
        heard = len(ear.chunks)
        call.cancel()
        await failure_of(call, CancelledError)
        await real.until(lambda: not factory.channels)
        assert len(ear.chunks) == heard, "who goes hears no more"
        assert game.live.ledger.lms == {}, "who goes says nothing of the model"
        assert {**await soon(listen(game, Ear()))} == SAID

    @in_reactor
    async def test_who_goes_while_listening_hears_no_more(self, engine: MakeEngine, server: ChatServer) -> None:
        """A game may cancel from within ``on_chunk``: what was on its way by then is dropped."""
        server.answers = [SAID]
        game = engine(lms={"real": settings(server)})
        heard: list[Chunk] = []

        def hear(chunk: Chunk) -> None:
            heard.append(chunk)
            stream.cancel()

        stream = game.stream("npc.smith", on_chunk=hear, **HELLO)
        await failure_of(stream, CancelledError)
        assert {**await soon(listen(game, Ear()))} == SAID  # by then all of it has come
        assert len(heard) == 1

    @in_reactor
    async def test_leaving_an_iterator_closes_the_connection(self, engine: MakeEngine, server: ChatServer) -> None:
        """``aclose`` after a ``break`` ends the call."""
        server.answers = [Hang(HALF, TEXT)]
        stream = engine(lms={"real": settings(server)}).stream("npc.smith", **HELLO)
        async for _chunk in stream:
            break
        await stream.aclose()
        factory: Any = server._factory
        await real.until(lambda: not factory.channels)

    @in_reactor
    async def test_a_time_that_is_over_closes_the_connection(self, engine: MakeEngine, server: ChatServer) -> None:
        """A stream that stops has the call's time, and no more."""
        server.answers = [Hang(HALF, TEXT)]
        game, ear = engine(lms={"real": settings(server)}), Ear()
        await soon(game.warm())
        error = await failure_of(listen(game, ear, timeout=0.1), InvokeTimeout)
        assert error.timeout == 0.1
        factory: Any = server._factory
        await real.until(lambda: not factory.channels)
        assert SAID["response"].startswith(ear.text("response"))


class TestFilters:
    @in_reactor
    async def test_what_the_game_refuses_nobody_hears(self, engine: MakeEngine, server: ChatServer) -> None:
        """With a filter the chunks come when it has seen the whole, and are what it made of it."""
        server.answers = [SAID]
        game, ear = engine(lms={"real": settings(server)}, fallback="demos"), Ear()
        remove = game.reply_filters.add(lambda reply: {"response": reply["response"].replace("anvil", "*****")})
        reply = await soon(listen(game, ear))
        assert ear.text("response") == reply["response"] == SAID["response"].replace("anvil", "*****")
        remove()

        def refuse(reply: Any) -> None:
            if "anvil" in reply["response"]:
                raise ValueError("a bad word")

        game.reply_filters.add(refuse)
        ear = Ear()
        reply = await soon(listen(game, ear))
        assert (reply.fallback, {name: ear.text(name) for name in DEMO}) == ("demos", DEMO)
