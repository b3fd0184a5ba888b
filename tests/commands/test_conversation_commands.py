"""The commands of a conversation: ``/both``, ``/prompt``, ``/set``, ``/module`` and what is no command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dspyreload.testing import Prompt, ScriptedLM
from tests.commands.talks import AYE, in_reactor, soon, talking
from tests.conftest import Save, module_text
from tests.talk.conftest import HeldLM

MESSAGE = {"name": "player_message"}


def of_inputs(*inputs: dict[str, Any], **changes: Any) -> str:
    """Return the text of ``npc.smith`` with these inputs and no demonstrations."""
    signature = {"inputs": inputs, "outputs": [{"name": "response"}, {"name": "emotion"}]}
    return module_text(**{"signature": signature, "demos": [], **changes})


def by_instruction(prompt: Prompt) -> dict[str, str]:
    """Answer with the last word of the instruction."""
    return {"response": prompt.system.split()[-1], "emotion": "calm"}


# /both


@in_reactor
async def test_both_shows_the_version_that_answered_beside_the_one_that_is_live(modules: Path, save: Save) -> None:
    """And again: what is compared stays the same until the next save."""
    save("smith.json", module_text(instruction="GRUFF", demos=[]))
    async with talking(modules, ScriptedLM(by_instruction).lm) as talk:
        assert "nothing was asked yet" in await talk.say("/both")
        await talk.say("Hello")
        assert "there is one version so far" in await talk.say("/both")
        old = talk.engine.snapshot["npc.smith"].version[:4]
        save("smith.json", module_text(instruction="KIND", demos=[]))
        await talk.saved()
        new = talk.engine.snapshot["npc.smith"].version[:4]
        for _ in range(2):
            said = await talk.say("/both")
            title = next(line for line in said.splitlines() if "before" in line)
            assert title.index(f"{old} before") < title.index(f"{new} now")
            words = next(line for line in said.splitlines() if "GRUFF" in line)
            assert words.index("GRUFF") < words.index("KIND")


@in_reactor
async def test_both_compares_with_the_version_before_where_the_question_was_asked_of_the_live_one(
    modules: Path, save: Save
) -> None:
    save("smith.json", module_text(instruction="GRUFF", demos=[]))
    async with talking(modules, ScriptedLM(by_instruction).lm) as talk:
        save("smith.json", module_text(instruction="KIND", demos=[]))
        await talk.saved()
        await talk.say("Hello")
        words = next(line for line in (await talk.say("/both")).splitlines() if "GRUFF" in line)
        assert words.index("GRUFF") < words.index("KIND")


@in_reactor
async def test_both_gives_each_version_the_inputs_that_it_has(modules: Path, save: Save) -> None:
    """An input that only the new version has is kept from the old one."""
    save("smith.json", of_inputs(MESSAGE, instruction="GRUFF"))
    async with talking(modules, ScriptedLM(by_instruction).lm) as talk:
        save("smith.json", of_inputs({"name": "mood"}, MESSAGE, instruction="KIND"))
        await talk.saved()
        await talk.say("/set mood merry")
        await talk.say("Hello")
        said = await talk.say("/both")
        assert "GRUFF" in said
        assert "KIND" in said


@in_reactor
async def test_where_one_side_of_both_lacks_a_field_none_is_asked(modules: Path, save: Save) -> None:
    """What is lacking is said; no call is left behind that would be paid for."""
    save("smith.json", of_inputs(MESSAGE, instruction="GRUFF"))
    lm = HeldLM()
    async with talking(modules, lm.lm) as talk:
        first = talk.typed("Hello")
        (await lm.next()).answer()
        await soon(first)
        save("smith.json", of_inputs(MESSAGE, {"name": "mood"}, instruction="KIND"))
        await talk.saved()
        assert await soon(talk.typed("/both"))
        assert "it needs mood: /set mood ..." in talk.screen
        assert lm.calls.pending == []


@in_reactor
async def test_where_one_side_of_both_fails_the_other_is_shown(modules: Path, save: Save) -> None:
    """The failure stands in the place of its answer."""
    save(
        "smith.json",
        '{"instruction": "GRUFF", "demos": [{"inputs": {"player_message": "Hi"}, "outputs": {"response": "Aye."}}]}',
    )
    async with talking(modules, "demos") as talk:
        await soon(talk.typed("Hi"))
        save("smith.json", '{"instruction": "KIND"}')
        await talk.saved()
        assert await soon(talk.typed("/both"))
        (line,) = [line for line in talk.screen.splitlines() if "Aye." in line]
        assert "no answer: it has no demonstrations" in talk.screen
        assert line.index("Aye.") < line.rindex("│")


@in_reactor
async def test_both_can_be_interrupted(modules: Path, save: Save) -> None:
    save("smith.json", module_text(instruction="GRUFF"))
    lm = HeldLM()
    async with talking(modules, lm.lm) as talk:
        first = talk.typed("Hello")
        (await lm.next()).answer()
        await soon(first)
        save("smith.json", module_text(instruction="KIND"))
        await talk.saved()
        both = talk.typed("/both")
        held = [await lm.next(), await lm.next()]
        assert talk.conversation.interrupt()
        assert await soon(both)
        assert talk.screen == "given up\n"
        assert [await soon(one.ended) for one in held] == ["cancelled", "cancelled"]


# Where the signature changes


@in_reactor
async def test_again_asks_what_a_changed_signature_has_and_says_what_it_lacks(modules: Path, save: Save) -> None:
    """An input that is gone is left out; one that is new has to be set first."""
    save("smith.json", of_inputs({"name": "mood"}, MESSAGE))
    lm = ScriptedLM(AYE)
    async with talking(modules, lm.lm) as talk:
        await talk.say("/set mood merry")
        await talk.say("Hello")
        save("smith.json", of_inputs({"name": "place"}, MESSAGE))
        await talk.saved()
        assert "/set place" in await talk.say("/again")
        assert len(lm.prompts) == 1
        await talk.say("/set place a cellar")
        assert "smith: Aye." in await talk.say("/again")
        words = lm.prompts[-1].turns[-1][1]
        assert "Hello" in words
        assert "a cellar" in words
        assert "merry" not in words


@in_reactor
async def test_the_question_is_asked_again_where_its_field_got_another_name(modules: Path, save: Save) -> None:
    save("smith.json", of_inputs(MESSAGE))
    lm = ScriptedLM(AYE)
    async with talking(modules, lm.lm) as talk:
        await talk.say("Is it hot?")
        save("smith.json", of_inputs({"name": "question"}))
        await talk.saved()
        assert "smith: Aye." in await talk.say("/again")
        assert "Is it hot?" in lm.prompts[-1].turns[-1][1]


# /prompt


@in_reactor
async def test_prompt_shows_what_the_language_model_gets_and_asks_nobody(modules: Path, save: Save) -> None:
    """Of the last question, or of one that is given; an instruction that was saved meanwhile is in it."""
    save("smith.json", module_text(instruction="You are gruff."))
    lm = ScriptedLM(AYE)
    async with talking(modules, lm.lm) as talk:
        said = await talk.say("/prompt Is it hot?")
        assert said.startswith("[system]\n")
        assert "You are gruff." in said
        assert said.index("[user]\n") < said.index("Good day!") < said.index("[assistant]\n") < said.index("Is it hot?")
        assert "[user]" in await talk.say("/prompt")
        assert lm.prompts == []
        await talk.say("Is it cold?")
        save("smith.json", module_text(instruction="You are kind."))
        await talk.saved()
        said = await talk.say("/prompt")
        assert "Is it cold?" in said
        assert "You are kind." in said
        assert len(lm.prompts) == 1


@in_reactor
async def test_a_prompt_can_be_shown_twice_and_is_no_question(modules: Path, save: Save) -> None:
    """After ``/prompt TEXT`` there is still nothing to ask again, and nothing in the history."""
    save("smith.json", json.dumps({"instruction": "You are a smith."}))
    lm = ScriptedLM({"response": "Aye."})
    async with talking(modules, lm.lm) as talk:
        assert await talk.say("/prompt Is it hot?") == await talk.say("/prompt Is it hot?")
        assert "nothing was asked yet" in await talk.say("/again")
        await talk.say("Hello")
        assert "Is it hot?" not in lm.prompts[-1].text


# /set


@in_reactor
async def test_set_shows_each_field_sets_it_and_lets_go_of_it(modules: Path, save: Save) -> None:
    mood = {"name": "mood", "description": "How it goes"}
    save("smith.json", of_inputs(mood, MESSAGE))
    lm = ScriptedLM(AYE)
    async with talking(modules, lm.lm) as talk:
        assert "it needs mood: /set mood ..." in talk.screen
        assert "it needs mood: /set mood ..." in await talk.say("Hello")
        assert await talk.say("/set") == (
            "  mood: not set: /set mood ...    [How it goes]\n  player_message: what you type\n"
        )
        assert await talk.say("/set mood  in good  spirits ") == "  mood: in good  spirits    [How it goes]\n"
        await talk.say("Hello")
        assert "in good  spirits" in lm.prompts[-1].turns[-1][1]
        assert "not set" in await talk.say("/set mood")
        assert "it needs mood" in await talk.say("Hello")


@in_reactor
@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/set year soon", "year is a whole number, such as 3"),
        ("/set moood x", 'there is no input "moood"; did you mean "mood"? (the inputs are mood, year, player_message)'),
        ("/set year 7", "  year: 7"),
    ],
)
async def test_a_wrong_value_or_name_is_said_in_words(modules: Path, save: Save, line: str, answer: str) -> None:
    save("smith.json", of_inputs({"name": "mood"}, {"name": "year", "field_type": "int"}, MESSAGE))
    async with talking(modules) as talk:
        assert await talk.say(line) == f"{answer}\n"


@in_reactor
async def test_a_module_that_takes_no_text_is_asked_once_its_fields_are_set(modules: Path, save: Save) -> None:
    """What the screen then says to do can be done."""
    save("smith.json", of_inputs({"name": "year", "field_type": "int"}))
    lm = ScriptedLM(AYE)
    async with talking(modules, lm.lm) as talk:
        await talk.say("/set year 7")
        assert "/again" in await talk.say("Hello")
        assert "smith: Aye." in await talk.say("/again")
        assert "7" in lm.prompts[-1].turns[-1][1]
