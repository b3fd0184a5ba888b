"""Whom one talks to: ``/module``, how a module is introduced, and what is no command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dspyreload.commands.conversation import COMMANDS
from dspyreload.testing import ScriptedLM
from tests.commands.talks import AYE, in_reactor, soon, talking
from tests.commands.test_conversation_commands import MESSAGE, of_inputs
from tests.conftest import Save, module_text


@in_reactor
async def test_who_takes_another_field_than_usual_is_introduced_with_it(modules: Path, save: Save) -> None:
    """What is typed goes into the last text; where that is the usual one, nothing is said."""
    save("bard.json", of_inputs(MESSAGE, module_id="npc.bard"))
    save("smith.json", of_inputs({"name": "mood"}, {"name": "question"}, {"name": "year", "field_type": "int"}))
    async with talking(modules) as talk:
        assert "what you type" not in talk.screen
        assert "what you type is its question\n" in await talk.say("/module smith")


@in_reactor
async def test_who_takes_no_text_is_introduced_with_what_to_do(modules: Path, save: Save) -> None:
    save("smith.json", of_inputs({"name": "year", "field_type": "int"}))
    async with talking(modules) as talk:
        assert "it has no input for what you type: /set its fields, then /again\n" in talk.screen
        assert "it needs year: /set year ...\n" in talk.screen


@in_reactor
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("smiht", 'there is no character "smiht"; did you mean "npc.smith"?'),
        ("NPC.Smiht", 'there is no character "NPC.Smiht"; did you mean "npc.smith"?'),
        ("dragon", 'there is no character "dragon"; /module shows them'),
        ("\x1b[2J", 'there is no character "\\u001b[2J"; /module shows them'),
    ],
)
async def test_a_character_that_there_is_not_is_told_in_one_line(
    modules: Path, save: Save, typed: str, words: str
) -> None:
    """The end of an id is enough to be near to it; and one goes on talking to who was talked to."""
    save("bard.json", module_text("npc.bard"))
    save("smith.json", module_text("npc.smith"))
    async with talking(modules) as talk:
        assert await talk.say(f"/module {typed}") == f"{words}\n"
        assert talk.conversation.module_id == "npc.bard"


@in_reactor
async def test_whether_a_question_had_no_answer_is_known_at_the_end(modules: Path, save: Save) -> None:
    """What is wrong with a command, or lacks a field, is no question."""
    save("smith.json", of_inputs({"name": "mood"}, MESSAGE))
    async with talking(modules, ScriptedLM(AYE).lm) as talk:
        for line in ("/both", "/module dragon", "/promt", "Hello", "/set mood merry", "Hello"):
            await talk.say(line)
        assert not talk.conversation.failed
    async with talking(modules) as talk:
        await talk.say("/set mood merry")
        assert "no answer: " in await talk.say("Hello")
        assert talk.conversation.failed


@in_reactor
async def test_a_module_is_named_by_its_id_its_end_or_its_file(modules: Path, save: Save) -> None:
    """An end that several have says which; a name that nobody has says which was perhaps meant."""
    save("a/smith.json", module_text("npc.smith"))
    save("bard.json", module_text("npc.bard"))
    save("other.json", module_text("town.bard"))
    async with talking(modules) as talk:
        listed = (await talk.say("/module")).splitlines()
        assert [line[:11] for line in listed] == ["* npc.bard ", "  npc.smith", "  town.bard"]
        for name in ("npc.smith", "smith", "a/smith.json"):
            assert (await talk.say(f"/module {name}")).startswith("npc.smith "), name
        assert await talk.say("/module bard") == "bard is the end of npc.bard, town.bard; say which\n"
        said = await talk.say("/module smit")
        assert "smit" in said
        assert "npc.smith" in said or "no live module" in said
        assert "did you mean" in await talk.say("/module npc.smth")
        assert talk.conversation.module_id == "npc.smith"


@in_reactor
async def test_another_module_is_told_nothing_of_what_was_said_to_the_one_before(modules: Path, save: Save) -> None:
    save("bard.json", json.dumps({"instruction": "You sing."}))
    save("smith.json", json.dumps({"instruction": "You forge."}))
    lm = ScriptedLM({"response": "Aye."})
    async with talking(modules, lm.lm, "bard") as talk:
        await talk.say("My name is Mira.")
        await talk.say("/module smith")
        assert "nothing was asked yet" in await talk.say("/again")
        await talk.say("Who am I?")
        assert "Mira" not in lm.prompts[-1].text


@in_reactor
async def test_what_is_no_command_is_said_and_every_command_has_its_line_of_help(modules: Path, save: Save) -> None:
    save("smith.json", module_text())
    async with talking(modules) as talk:
        assert '"/again"' in await talk.say("/agian")
        assert "/help shows them" in await talk.say("/\x1b[2J")
        assert "\x1b" not in talk.screen
        assert await talk.say("  ") == ""
        said = await talk.say("/help")
        assert all(f"{name} " in said for name in COMMANDS)
        for leaving in ("/quit", " /exit "):
            assert await soon(talk.typed(leaving)) is False


@in_reactor
async def test_commands_and_fields_and_ids_are_completed(modules: Path, save: Save) -> None:
    save("smith.json", module_text())
    async with talking(modules) as talk:
        completions = talk.conversation.completions
        assert completions("/module") == [("npc.smith", "")]
        assert completions("/set") == [("player_message", "What the player said")]
        assert completions("/again") == []
