"""``engine.stream``: what is heard of a reply while the language model says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from twisted.internet.defer import CancelledError, Deferred

from dspyreload import DSPyEngine, Reply, Tool
from dspyreload.errors import InvokeTimeout, LMFailed, MissingInput, ReplyRefused
from dspyreload.lm.reply import Chunk
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import AYE, HELLO, HeldLM, MakeEngine, failure_of, in_reactor, reactor, serve, soon

pytestmark = pytest.mark.usefixtures("smith")

LONG = 'He looks up. "Again?" he says;\n\nthen, to the fire: [[ what ]] {a} "fool\\s" <errand>, né & Söhne ' * 3
SAID = {"response": LONG.strip(), "emotion": "somewhere between tired and amused"}
PLAIN = {"response": "Is it you again, and so early? " * 5 + "Sit.", "emotion": "tired & amused"}
BROKEN = OSError("no route to host")


def xml(fields: dict[str, str]) -> str:
    """Write output fields as DSPy's XML adapter asks a model to."""
    return "\n".join(f"<{name}>\n{value}\n</{name}>" for name, value in fields.items())


async def heard_of(game: DSPyEngine, module_id: str = "npc.smith", **options: Any) -> tuple[list[Chunk], Reply]:
    """Iterate over a stream; returns the pieces, and the reply."""
    items = await soon(Deferred.fromCoroutine(_items(game, module_id, options)))
    assert isinstance(items[-1], Reply)
    assert all(isinstance(item, Chunk) for item in items[:-1])
    return items[:-1], items[-1]


async def _items(game: DSPyEngine, module_id: str, options: Any) -> list[Any]:
    return [item async for item in game.stream(module_id, **HELLO, **options)]


def joined(chunks: list[Chunk], predictor: str | None = None) -> dict[str, str]:
    """Put the pieces of each field together, in the order in which the fields began."""
    fields: dict[str, str] = {}
    for chunk in chunks:
        if predictor in (None, chunk.predictor):
            fields[chunk.field] = fields.get(chunk.field, "") + chunk
    return fields


class TestPieces:
    @pytest.mark.parametrize(
        ("adapter", "answer", "said"),
        [
            (None, SAID, SAID),
            (dspy.ChatAdapter(), SAID, SAID),
            (dspy.JSONAdapter(), SAID, SAID),
            (dspy.JSONAdapter(), json.dumps(SAID, indent=2), SAID),
            (dspy.XMLAdapter(), xml(PLAIN).replace("&", "&amp;"), PLAIN),
        ],
    )
    @in_reactor
    async def test_they_join_to_the_reply(self, engine: MakeEngine, adapter: Any, answer: Any, said: Any) -> None:
        """Field by field, in many pieces, as the adapter in use writes; the reply comes last."""
        game = engine(ScriptedLM(answer).lm)
        with dspy.context(adapter=adapter):
            heard = heard_of(game)
            deferred = Deferred.fromCoroutine(heard)
        chunks, reply = await soon(deferred)
        assert {**reply} == said
        assert joined(chunks) == said
        assert list(joined(chunks)) == ["response", "emotion"]
        assert len([chunk for chunk in chunks if chunk.field == "response"]) > 5
        assert {chunk.predictor for chunk in chunks} == {""}

    @in_reactor
    async def test_they_come_while_the_lm_still_speaks(self, engine: MakeEngine) -> None:
        """The first words are heard before the last one is said, on the reactor thread."""
        game = engine(ScriptedLM(SAID).lm)
        heard: list[Any] = []
        stream = game.stream("npc.smith", on_chunk=lambda chunk: heard.append(stream.called), **HELLO)
        reply = await soon(stream)
        assert {**reply} == SAID
        assert len(heard) > 10
        assert not any(heard)

    @in_reactor
    async def test_reasoning_is_not_heard(self, engine: MakeEngine, save: Save) -> None:
        """What a model thinks is in the reply, and in no piece of it."""
        save("smith.json", module_text(predictor_type="chain_of_thought"))
        thinks = {"reasoning": "He greets me. " * 10, **SAID}
        chunks, reply = await heard_of(engine(ScriptedLM(thinks).lm))
        assert reply["reasoning"].startswith("He greets me.")
        assert joined(chunks) == SAID

    @in_reactor
    async def test_what_is_no_text_is_not_heard(self, engine: MakeEngine, save: Save) -> None:
        """A number is in the reply alone."""
        outputs = [{"name": "response"}, {"name": "price", "field_type": "int"}]
        signature = {"inputs": [{"name": "player_message"}], "outputs": outputs}
        save("smith.json", module_text(signature=signature, demos=None))
        chunks, reply = await heard_of(engine(ScriptedLM({"response": "Seven.", "price": 7}).lm))
        assert reply["price"] == 7
        assert joined(chunks) == {"response": "Seven."}

    @in_reactor
    async def test_an_lm_that_does_not_stream_is_heard_all_at_once(self, engine: MakeEngine) -> None:
        """Field by field, before the reply."""
        lm = HeldLM()
        game = engine(lm.lm)
        deferred = Deferred.fromCoroutine(heard_of(game))
        (await lm.next()).answer()
        chunks, reply = await soon(deferred)
        assert [(chunk.field, chunk.text) for chunk in chunks] == list(AYE.items()) == list(reply.items())

    @in_reactor
    async def test_a_program_that_is_not_async_is_heard_all_at_once(self, engine: MakeEngine) -> None:
        """Its LM is asked for a whole answer."""

        class Sync(dspy.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.answer = dspy.Predict("player_message -> response, emotion")

            def forward(self, player_message: str) -> Any:
                return self.answer(player_message=player_message)

        game = engine(ScriptedLM(SAID).lm)
        serve(game, "sync", Sync())
        chunks, _reply = await heard_of(game, "sync")
        assert [(chunk.field, chunk.text) for chunk in chunks] == list(SAID.items())

    @in_reactor
    async def test_usage_counts_as_without_a_stream(self, engine: MakeEngine) -> None:
        """Tokens and requests are those of the same call by ``invoke``."""
        game = engine(ScriptedLM(SAID).lm)
        _chunks, streamed = await heard_of(game)
        plain = await soon(game.invoke("npc.smith", **HELLO))
        assert (streamed.usage.input_tokens, streamed.usage.output_tokens, streamed.usage.requests) == (
            plain.usage.input_tokens,
            plain.usage.output_tokens,
            1,
        )
        assert plain.usage.output_tokens > 50

    @in_reactor
    async def test_several_predictors_are_told_apart(self, engine: MakeEngine) -> None:
        """Each piece says whose it is; a field that two of them have is heard from both."""

        class Two(dspy.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.plan = dspy.Predict("player_message -> plan, emotion")
                self.speak = dspy.ChainOfThought("player_message, plan -> response, emotion")

            async def aforward(self, player_message: str) -> Any:
                plan = (await self.plan.acall(player_message=player_message)).plan
                return await self.speak.acall(player_message=player_message, plan=plan)

        plans = {"plan": "First listen, then speak. " * 3 + "End.", "emotion": "calm"}
        game = engine(ScriptedLM(plans, {"reasoning": "Well.", **SAID}).lm)
        serve(game, "two", Two())
        chunks, reply = await heard_of(game, "two")
        assert joined(chunks, "plan") == plans
        assert joined(chunks, "speak.predict") == SAID == {name: reply[name] for name in SAID}
        assert {chunk.predictor for chunk in chunks} == {"plan", "speak.predict"}


PARAMETERS = {"type": "object", "properties": {"where": {"type": "string"}}}
CALL = {"name": "look", "args": {"where": "north"}}
ANSWER = "There is a river, and beyond it " + "a forest and " * 10 + "a hill."


class TestTools:
    @pytest.mark.parametrize("adapter", [None, dspy.JSONAdapter()])
    @pytest.mark.parametrize("order", [["tool_call", "response"], ["response", "tool_call"]])
    @in_reactor
    async def test_a_turn_that_asks_for_a_tool_is_not_heard(
        self, engine: MakeEngine, save: Save, order: list[str], adapter: Any
    ) -> None:
        """Whatever comes first, only the turn that answers is heard, and its ``tool_call`` is not."""
        kinds = {"tool_call": "json", "response": "string"}
        signature = {
            "inputs": [
                {"name": "player_message"},
                {"name": "context"},
                {"name": "available_tools", "field_type": "json"},
            ],
            "outputs": [{"name": name, "field_type": kinds[name]} for name in order],
        }
        save("smith.json", module_text(signature=signature, demos=None, tool_enabled=True))
        write: Callable[[Any], Any] = json.dumps if adapter is None else lambda value: value
        asks = {"tool_call": write(CALL), "response": "Let me have a look at that for you, sir, if I may."}
        says = {"tool_call": write(None), "response": ANSWER}
        game = engine(ScriptedLM(*({name: turn[name] for name in order} for turn in (asks, says))).lm)
        game.tools.register(Tool("look", "Looks.", PARAMETERS, lambda where: "a river"))
        with dspy.context(adapter=adapter):
            deferred = Deferred.fromCoroutine(heard_of(game))
        chunks, reply = await soon(deferred)
        assert len(reply.tool_calls) == 1
        assert joined(chunks) == {"response": ANSWER} == {"response": reply["response"]}

    @in_reactor
    async def test_react_is_heard_when_it_answers(self, engine: MakeEngine) -> None:
        """Its thoughts are not."""

        def look(where: str) -> str:
            """Looks around."""
            return "a river"

        thinks = {"next_thought": "Where? " * 9, "next_tool_name": "look", "next_tool_args": '{"where": "north"}'}
        ends = {"next_thought": "So be it.", "next_tool_name": "finish", "next_tool_args": "{}"}
        game = engine(ScriptedLM(thinks, ends, {"reasoning": "I looked. " * 9, "response": ANSWER}).lm)
        serve(game, "guide", dspy.ReAct("player_message -> response", tools=[look]))
        chunks, reply = await heard_of(game, "guide")
        assert joined(chunks) == {"response": ANSWER} == {"response": reply["response"]}


class TestFilters:
    @in_reactor
    async def test_nothing_is_heard_before_it_passed(self, engine: MakeEngine) -> None:
        """Then what the filter made of the reply is heard, and not what the LM said."""
        game = engine(ScriptedLM(SAID).lm)
        heard: list[Chunk] = []
        asked: Deferred[Reply] = Deferred()
        passed: Deferred[Any] = Deferred()

        def hold(reply: Reply) -> Deferred[Any]:
            asked.callback(reply)
            return passed

        game.reply_filters.add(hold)
        stream = game.stream("npc.smith", on_chunk=heard.append, **HELLO)
        assert (await soon(asked))["response"] == SAID["response"]
        assert heard == []
        reactor.callLater(0.02, passed.callback, {"response": "Hush."})
        reply = await soon(stream)
        assert joined(heard) == {**SAID, "response": "Hush."} == {**reply}

    @in_reactor
    async def test_of_a_refused_reply_nothing_is_heard(self, engine: MakeEngine) -> None:
        """Not one word."""
        game = engine(ScriptedLM(SAID).lm)
        heard: list[Chunk] = []
        game.reply_filters.add(lambda reply: 1 / 0)
        await failure_of(game.stream("npc.smith", on_chunk=heard.append, **HELLO), ReplyRefused)
        assert heard == []


class TestWhatGoesWrong:
    @in_reactor
    async def test_the_fallback_is_heard(self, engine: MakeEngine) -> None:
        """Where the LM says nothing, the demonstration that answers in its place is heard, all at once."""
        chunks, reply = await heard_of(engine(ScriptedLM(BROKEN).lm), fallback="demos")
        assert reply.fallback == "demos"
        assert [(chunk.field, chunk.text) for chunk in chunks] == list(reply.items())

    @in_reactor
    async def test_an_answer_that_breaks_off_is_followed_by_the_fallback(self, engine: MakeEngine) -> None:
        """What was said stays said: the pieces are the beginning, and then the fallback's fields, each whole."""
        half = "[[ ## response ## ]]\nI was about to say that"
        chunks, reply = await heard_of(engine(ScriptedLM(half).lm), fallback="demos")
        assert reply.fallback == "demos"
        assert "".join(chunks[:-2]).startswith("I was about to say")
        assert [(chunk.field, chunk.text) for chunk in chunks[-2:]] == list(reply.items())

    @in_reactor
    async def test_an_answer_out_of_form_costs_one_more_call(self, engine: MakeEngine) -> None:
        """As with ``invoke``: nothing of the first answer was a field, so nothing was heard of it."""
        lm = ScriptedLM("I just talk.", SAID)
        chunks, reply = await heard_of(engine(lm.lm))
        assert len(lm.prompts) == 2
        assert joined(chunks) == SAID == {**reply}

    @in_reactor
    async def test_errors_are_those_of_invoke(self, engine: MakeEngine) -> None:
        """The Deferred fails, and so does the iteration."""
        game = engine(ScriptedLM(BROKEN).lm)
        await failure_of(game.stream("npc.smith", **HELLO), LMFailed)
        await failure_of(game.stream("npc.smith"), MissingInput)
        await failure_of(Deferred.fromCoroutine(_items(game, "npc.smith", {})), LMFailed)
        await failure_of(engine(HeldLM().lm).stream("npc.smith", timeout=0.05, **HELLO), InvokeTimeout)

    @in_reactor
    async def test_cancelling_cancels_the_call(self, engine: MakeEngine) -> None:
        """The LM is told, and the place is free."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=0)
        stream = game.stream("npc.smith", **HELLO)
        held = await lm.next()
        stream.cancel()
        await failure_of(stream, CancelledError)
        assert await soon(held.ended) == "cancelled"
        second = game.stream("npc.smith", **HELLO)
        (await lm.next()).answer()
        assert (await soon(second))["response"] == "Aye."
