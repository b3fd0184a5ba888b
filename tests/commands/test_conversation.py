"""What is typed in a conversation, and what a save does to it: real files, DSPy and a language model of the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy

from dspyreload import Tool
from dspyreload.commands.saves import Line
from dspyreload.testing import ScriptedLM
from tests.commands.talks import in_reactor, soon, talking
from tests.conftest import Save, module_text
from tests.faults.game import until
from tests.talk.conftest import HeldLM, ours


def small(instruction: str, **more: Any) -> str:
    """Return the text of a module in the small form: it takes the default signature, with a history."""
    return json.dumps({"instruction": instruction, **more})


def field(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def signature(*inputs: dict[str, Any], outputs: tuple[str, ...] = ("response", "emotion")) -> dict[str, Any]:
    return {"inputs": list(inputs), "outputs": [field(name) for name in outputs]}


def last_words(lm: ScriptedLM) -> str:
    """Return the last turn of the last prompt."""
    return lm.prompts[-1].turns[-1][1]


@in_reactor
async def test_who_speaks_first_is_introduced_and_the_others_are_named(modules: Path, save: Save) -> None:
    """With no module named, the first by id is spoken to; its version and its fields are said."""
    save("bard.json", module_text("npc.bard"))
    save("smith.json", module_text("npc.smith"))
    async with talking(modules) as talk:
        version = talk.engine.snapshot["npc.bard"].version[:4]
        assert f"npc.bard {version} (player_message → response, emotion)" in talk.screen
        assert "also here: npc.smith" in talk.screen


@in_reactor
async def test_an_empty_directory_says_what_to_do_and_the_first_save_is_spoken_to(modules: Path, save: Save) -> None:
    async with talking(modules) as talk:
        assert "nobody speaks yet: save a module" in talk.screen
        assert "nobody speaks yet" in await talk.say("Hello")
        save("smith.json", module_text())
        await talk.saved()
        assert "smith: Is it? Mind the sparks.\n" in await talk.say("Good day!")


@in_reactor
async def test_an_answer_says_which_version_and_which_lm_gave_it(modules: Path, save: Save) -> None:
    """The first field follows the name of who speaks; the others come below it, by name."""
    save("smith.json", module_text())
    async with talking(modules) as talk:
        version = talk.engine.snapshot["npc.smith"].version[:4]
        said = await talk.say("Good day!")
        assert said == f"[{version} demos] smith: Is it? Mind the sparks.\n  emotion: annoyed\n"


@in_reactor
async def test_what_was_said_is_handed_on_until_it_is_forgotten(modules: Path, save: Save) -> None:
    save("smith.json", small("You are a smith."))
    lm = ScriptedLM({"response": "Aye."}, {"response": "Nay."}, {"response": "What?"}, {"response": "Who?"})
    async with talking(modules, lm.lm) as talk:
        await talk.say("Is it hot?")
        assert "Is it hot?" in last_words(lm)
        await talk.say("Is it cold?")
        assert "Player: Is it hot?\nsmith: Aye." in last_words(lm)
        await talk.say("/forget")
        await talk.say("Is it dark?")
        assert "hot" not in last_words(lm)
        assert "Nay." not in last_words(lm)


@in_reactor
async def test_again_asks_the_version_that_is_live_now_with_what_was_said_before_it(modules: Path, save: Save) -> None:
    """The question goes with the history that it had, and the newest answer takes the place of the older one."""
    save("smith.json", small("You are gruff."))
    lm = ScriptedLM(*({"response": word} for word in ("One.", "Two.", "Three.", "Four.")))
    async with talking(modules, lm.lm) as talk:
        await talk.say("First?")
        await talk.say("Second?")
        save("smith.json", small("You are kind."))
        await talk.saved()
        version = talk.engine.snapshot["smith"].version[:4]
        assert f"[{version} scripted] smith: Three." in await talk.say("/again")
        assert "You are kind." in lm.prompts[-1].system
        assert "Second?" in last_words(lm)
        assert "smith: One." in last_words(lm)
        assert "Two." not in last_words(lm)
        await talk.say("Third?")
        assert "Player: Second?\nsmith: Three." in last_words(lm)
        assert "Two." not in last_words(lm)


@in_reactor
async def test_what_was_forgotten_is_not_handed_on_by_again(modules: Path, save: Save) -> None:
    save("smith.json", small("You are a smith."))
    lm = ScriptedLM({"response": "Aye."})
    async with talking(modules, lm.lm) as talk:
        await talk.say("My name is Mira.")
        await talk.say("Who am I?")
        await talk.say("/forget")
        await talk.say("/again")
        assert "Who am I?" in last_words(lm)
        assert "Mira" not in last_words(lm)


@in_reactor
async def test_the_history_has_what_was_answered_and_not_what_was_thought(modules: Path, save: Save) -> None:
    """A chain of thought gives its reasoning first; a player never hears it, and the character did not say it."""
    save("smith.json", small("You are a smith.", predictor_type="chain_of_thought", module_id="smith",
                             signature_name="talk", signature=signature(
                                 field("player_message"), field("conversation_history", optional=True),
                                 outputs=("response",))))  # fmt: skip
    lm = ScriptedLM({"reasoning": "He is rude.", "response": "Aye."})
    async with talking(modules, lm.lm) as talk:
        await talk.say("Hello")
        await talk.say("And now?")
        assert "smith: Aye." in last_words(lm)
        assert "He is rude." not in last_words(lm)


@in_reactor
async def test_a_tool_is_named_with_its_result_and_the_history_has_the_answer(modules: Path, save: Save) -> None:
    """The module's ``tool_call`` comes first among its outputs, and is nothing that anybody says."""
    inputs = (field("player_message"), field("conversation_history", optional=True),
              field("context", field_type="json"), field("available_tools", field_type="json"))  # fmt: skip
    outputs = [field("tool_call", field_type="json"), field("response")]
    save("smith.json", module_text(demos=[], tool_enabled=True, signature={"inputs": inputs, "outputs": outputs}))
    call = {"name": "look", "args": {}}
    lm = ScriptedLM({"tool_call": json.dumps(call), "response": ""}, {"tool_call": "null", "response": "A hammer."})
    async with talking(modules, lm.lm) as talk:
        talk.engine.tools.register(Tool("look", "See.", {"properties": {}}, lambda: ["a hammer"]))
        said = await talk.say("What is there?")
        assert "smith: A hammer.\n" in said
        assert '(used look: ["a hammer"])' in said
        await talk.say("What else?")
        assert "smith: A hammer." in last_words(lm)
        assert "None" not in last_words(lm)


@in_reactor
async def test_a_registered_program_is_talked_to_as_a_module_is(modules: Path) -> None:
    """Its inputs and what it says are those of its own signature."""
    program = dspy.Predict("place, topic -> verse")
    program.save(str(modules / "bard.json"))
    lm = ScriptedLM({"verse": "Oh, the sea."})
    async with talking(modules, lm.lm) as talk:
        assert "nobody speaks yet" in talk.screen
        talk.engine.programs.register("bard", program)
        await talk.looked()
        talk.conversation.tell(Line("bard is live", changed=frozenset({"bard"})))
        assert "it needs place: /set place" in await talk.say("the sea")
        await talk.say("/set place a ship")
        assert "bard: Oh, the sea.\n" in await talk.say("the sea")
        assert "a ship" in last_words(lm)


@in_reactor
async def test_a_module_that_vanishes_ends_no_conversation(modules: Path, save: Save) -> None:
    """Every command says so in words, and whoever is left can be talked to."""
    file = save("smith.json", module_text())
    save("bard.json", module_text("npc.bard"))
    async with talking(modules, module_id="npc.smith") as talk:
        await talk.say("Good day!")
        save("smith.json", module_text(instruction="Other."))
        await talk.saved()
        file.unlink()
        await talk.saved()
        for line in ("Good day!", "/again", "/both", "/prompt", "/prompt Hello", "/set", "/set player_message x"):
            said = await talk.say(line)
            assert "npc.smith does not speak" in said, line
        assert "npc.bard" in await talk.say("/module")
        assert "npc.bard" in await talk.say("/module bard")
        assert "bard: Is it?" in await talk.say("Good day!")


@in_reactor
async def test_a_module_that_is_live_can_be_talked_to_before_its_save_is_told_of(modules: Path, save: Save) -> None:
    """A line of a save comes a moment after the commit."""
    save("smith.json", module_text())
    async with talking(modules) as talk:
        save("bard.json", module_text("npc.bard"))
        await talk.looked()
        await talk.say("/module npc.bard")
        assert "bard: Is it?" in await talk.say("Good day!")


@in_reactor
async def test_the_screen_says_how_the_answer_failed_and_what_would_help(modules: Path, save: Save) -> None:
    """The demonstrations can't answer for a module that has none; a language model can."""
    save("smith.json", module_text(demos=[]))
    async with talking(modules) as talk:
        said = await talk.say("Hello")
        assert said.startswith("no answer: ")
        assert "it has no demonstrations to answer from; give it some, or begin with --lm" in said
        assert "--lm openai/gpt-4o-mini" in said
        assert talk.conversation.failed
        assert "Error" not in said
        save("smith.json", module_text())
        await talk.saved()
        assert "smith: Is it?" in await talk.say("/again")


@in_reactor
async def test_an_answer_that_hangs_is_given_up_and_the_next_question_is_answered(modules: Path, save: Save) -> None:
    save("smith.json", module_text())
    lm = HeldLM()
    async with talking(modules, lm.lm) as talk:
        assert not talk.conversation.interrupt()
        waiting = talk.typed("Hello")
        held = await lm.next()
        assert talk.conversation.interrupt()
        assert await soon(waiting)
        assert talk.screen.endswith("given up\n")
        assert await soon(held.ended) == "cancelled"
        assert not talk.conversation.interrupt()
        answered = talk.typed("And now?")
        (await lm.next()).answer()
        await soon(answered)
        assert "smith: Aye.\n" in talk.screen
    assert "dspyreload-lm" not in ours()


@in_reactor
async def test_a_save_while_an_answer_is_said_is_told_after_it_and_does_not_change_it(
    modules: Path, save: Save
) -> None:
    save("smith.json", module_text())
    lm = HeldLM()
    async with talking(modules, lm.lm) as talk:
        old = talk.engine.snapshot["npc.smith"].version[:4]
        waiting = talk.typed("Hello")
        held = await lm.next()
        save("smith.json", module_text(instruction="You are kind."))
        await talk.saved()
        assert "is live" not in talk.screen
        held.answer()
        await soon(waiting)
        answer, _, told = talk.screen.partition("-- ")
        assert answer.startswith(f"[{old} scripted] smith: Aye.")
        assert told.startswith(f"npc.smith is live: {talk.engine.snapshot['npc.smith'].version[:4]}")


@in_reactor
async def test_many_saves_keep_no_lease_and_no_snapshot_but_the_last_ones(modules: Path, save: Save) -> None:
    save("smith.json", module_text())
    async with talking(modules) as talk:
        counts = []
        for number in range(30):
            save("smith.json", module_text(instruction=f"You are smith {number}."))
            await talk.saved()
            await talk.say("/both" if number % 3 == 2 else "Good day!")
            counts.append(talk.leases())
        assert counts[2] <= 4
        await until(lambda: talk.leases() <= counts[2])  # a thread may hold the last one for a moment
        assert not talk.engine._leases._timers
