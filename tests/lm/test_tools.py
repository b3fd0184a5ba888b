"""Tools: how they are registered, what the language model is told of them, and what it may call them with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from dspy import ToolCalls

from dspyreload.errors import ToolRefused
from dspyreload.lm.tools import Tool, Toolbox, ToolRegistry, Wanted, wanted

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

PARAMETERS: dict[str, Any] = {
    "properties": {
        "where": {"type": "string", "description": "A place"},
        "how_far": {"type": "integer", "minimum": 1},
        "marks": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["where"],
}


def look(where: str, how_far: int = 1, marks: Any = ()) -> str:
    """Say what is seen."""
    return f"{where} {how_far} {list(marks)}"


def tool(name: str = "look", execute: Callable[..., Any] = look, **changes: Any) -> Tool:
    """Return a tool."""
    return Tool(name, changes.get("description", "Look around."), changes.get("parameters", PARAMETERS), execute)


def toolbox(*tools: Tool) -> Toolbox:
    """Return the tools that a module may use where these are registered."""
    registry = ToolRegistry()
    for one in tools or (tool(),):
        registry.register(one)
    return registry.of("npc.smith")


class OtherTool:
    """A tool as another library has it."""

    name = "wave"
    description = "Wave a hand."
    parameters: dict[str, Any] = {"type": "object", "properties": {}}  # noqa: RUF012 - as such libraries write it

    def execute(self) -> str:
        """Wave."""
        return "waved"


class TestRegistering:
    def test_a_registered_tool_is_known_by_its_name(self) -> None:
        """Names are sorted; anything with the attributes of a tool is one."""
        registry = ToolRegistry()
        registry.register(OtherTool())
        registry.register(tool())
        assert registry.names() == ("look", "wave")
        assert "look" in registry
        assert "bow" not in registry
        assert registry.of("npc").bound("wave", {}, None)() == "waved"

    def test_a_second_one_of_a_name_replaces_the_first(self) -> None:
        """Its pattern, too. A toolbox that was given out before is as it was: a call has one set of tools."""
        registry = ToolRegistry()
        registry.register(tool(execute=lambda where: "first"), "npc.*")
        before = registry.of("npc.smith")
        registry.register(tool(execute=lambda where: "second"), "quest.*")
        assert before.bound("look", {"where": "x"}, None)() == "first"
        assert registry.of("npc.smith").tools() == {}
        assert registry.of("quest.x").bound("look", {"where": "x"}, None)() == "second"

    def test_a_change_is_told_when_it_is_made(self) -> None:
        """Who is told finds the tool there."""
        found: list[bool] = []
        registry = ToolRegistry(lambda: found.append("look" in registry))
        registry.register(tool())
        assert found == [True]

    def test_the_check_comes_first(self) -> None:
        """On a wrong thread nothing is looked at."""

        def check() -> None:
            raise KeyError("wrong thread")

        with pytest.raises(KeyError):
            ToolRegistry(check=check).register(None)

    @pytest.mark.parametrize(
        ("pattern", "served"),
        [
            ("*", ["npc.smith", "npc.bard", "quest"]),
            ("npc.*", ["npc.smith", "npc.bard"]),
            ("npc.smith", ["npc.smith"]),
            ("NPC.*", []),
            ("npc", []),
            ("[nq]*[ht]", ["npc.smith", "quest"]),
        ],
    )
    def test_a_pattern_says_which_modules_may_use_it(self, pattern: str, served: list[str]) -> None:
        """It is of the whole id, and tells capitals from small letters."""
        registry = ToolRegistry()
        registry.register(tool(), pattern)
        assert [id for id in ("npc.smith", "npc.bard", "quest") if registry.of(id).tools()] == served


class TestRefusals:
    @pytest.mark.parametrize("name", ["", "look around", "look-around", "7up", None, 7, "finish"])
    def test_a_name_is_an_identifier(self, name: Any) -> None:
        """``finish`` is the name with which ReAct ends."""
        with pytest.raises(ToolRefused, match="can't name a tool; use letters, digits and _, and not 'finish'"):
            ToolRegistry().register(Tool(name, "Look.", PARAMETERS, look))

    @pytest.mark.parametrize("thing", [tool(execute="look"), tool(description=None)])  # type: ignore[arg-type]
    def test_it_has_a_description_and_a_function(self, thing: Any) -> None:
        """Without them no language model could use it."""
        with pytest.raises(ToolRefused, match="the tool 'look' needs a description and a function execute"):
            ToolRegistry().register(thing)

    def test_what_is_no_tool_is_refused(self) -> None:
        """A plain function has no schema."""
        with pytest.raises(ToolRefused, match="None can't name a tool"):
            ToolRegistry().register(look)

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            (None, "must be a JSON Schema of an object with properties"),
            (["where"], "must be a JSON Schema of an object with properties"),
            ({"properties": ["where"]}, "must be a JSON Schema of an object with properties"),
            ({"type": "string"}, "must be a JSON Schema of an object with properties"),
            ({"properties": {"where": {"type": "text"}}}, "no JSON Schema: 'text' is not valid"),
            ({"properties": {"where": {"pattern": "["}}}, "no JSON Schema: '\\['"),
            (
                {"properties": {"context": {"type": "string"}}},
                "the argument 'context' is the game's; call it something",
            ),
        ],
    )
    def test_its_parameters_are_the_schema_of_an_object(self, parameters: Any, words: str) -> None:
        """What is wrong is said when it is registered, and not to a language model in the night."""
        registry = ToolRegistry()
        with pytest.raises(ToolRefused, match=f"^the tool 'look': .*{words}"):
            registry.register(tool(parameters=parameters))
        assert registry.names() == ()


class TestWhatTheModelIsTold:
    def test_name_description_and_parameters(self) -> None:
        """These three and nothing else, as plain JSON."""
        box = toolbox(tool(), tool("bow", lambda context: None, description="Bow.", parameters={"properties": {}}))
        offered = box.offered()
        assert offered == [
            {"name": "look", "description": "Look around.", "parameters": PARAMETERS},
            {"name": "bow", "description": "Bow.", "parameters": {"properties": {}}},
        ]
        assert "context" not in json.dumps(offered)

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            ({"where": "mill"}, None),
            ({"where": "mill", "how_far": 2, "marks": ["x"]}, None),
            ({}, "args: 'where' is a required property"),
            ({"where": 7}, "args.where: 7 is not of type 'string'"),
            ({"where": "mill", "how_far": 0}, "args.how_far: 0 is less than the minimum of 1"),
            ({"where": "mill", "marks": ["x", None]}, "args.marks.1: None is not of type 'string'"),
            ({"where": "x", "who": "me"}, "args: Additional properties are not allowed ('who' was unexpected)"),
            ("mill", "the args must be an object"),
            (None, "the args must be an object"),
            (["mill"], "the args must be an object"),
            ({"where": "mill", "context": "me"}, "the args: 'context' is no argument"),
        ],
    )
    def test_a_call_that_does_not_fit_is_answered_in_words(self, args: Any, words: str | None) -> None:
        """Where in the arguments, and what is wrong: the model can mend it."""
        assert toolbox().fault("look", args) == words

    def test_a_long_fault_is_short_and_harmless(self) -> None:
        """What a model made up does not fill the next prompt, nor a log line."""
        words = toolbox().fault("look", {"where": ["\x1b[31m" * 1000]})
        assert words is not None
        assert len(words) < 400
        assert "\x1b" not in words

    def test_an_unknown_tool_is_answered_with_those_that_there_are(self) -> None:
        """In the words of a model's own tools."""
        assert toolbox().fault("lokk", {}) == "there is no tool 'lokk'; the tools are: look"
        assert ToolRegistry().of("npc").fault("look", {}) == "there is no tool 'look'; the tools are: none"

    def test_a_schema_may_allow_other_arguments(self) -> None:
        """Where the game says so, and only there."""
        box = toolbox(tool(parameters={**PARAMETERS, "additionalProperties": True}))
        assert box.fault("look", {"where": "x", "who": "me"}) is None


class TestContext:
    def test_it_is_handed_to_a_tool_that_takes_it(self) -> None:
        """By that name, or among any."""

        def plain(where: str) -> Any:
            return where

        def named(where: str, context: Any = None) -> Any:
            return where, context

        def anything(**given: Any) -> Any:
            return given

        box = toolbox(tool("plain", plain), tool("named", named), tool("anything", anything))
        assert box.bound("plain", {"where": "x"}, "Ann")() == "x"
        assert box.bound("named", {"where": "x"}, "Ann")() == ("x", "Ann")
        assert box.bound("anything", {"where": "x"}, "Ann")() == {"where": "x", "context": "Ann"}

    def test_a_model_can_never_set_it(self) -> None:
        """Not even where the schema allows arguments that it does not name."""
        box = toolbox(tool(execute=lambda where, context: None, parameters={"additionalProperties": True}))
        assert box.fault("look", {"context": "Mallory"}) == "the args: 'context' is no argument"

    def test_a_function_that_does_not_say_what_it_takes_is_called_without(self) -> None:
        """Some that are written in C do not."""

        class Silent:
            __signature__ = "unknown"

            def __call__(self, **given: Any) -> Any:
                return given

        assert toolbox(tool(execute=Silent())).bound("look", {"where": "x"}, "Ann")() == {"where": "x"}


CALL = {"name": "look", "args": {"where": "mill"}}


class TestWanted:
    @pytest.mark.parametrize("nothing", [None, "", " ", "null", " null\n", "None", "none", {}, [], "{}", "[]", False])
    def test_nothing_is_no_tool(self, nothing: Any) -> None:
        """However a model says that it wants none."""
        assert wanted(nothing) is None

    @pytest.mark.parametrize("name", [None, ""])
    @pytest.mark.parametrize("write", [dict, json.dumps])
    def test_a_tool_without_a_name_is_no_tool(self, write: Callable[..., Any], name: Any) -> None:
        """A model that fills in the form it was shown, with nothing: it has answered, and need not be asked again."""
        assert wanted(write({"name": name, "args": {}})) is None

    @pytest.mark.parametrize("call", [CALL, json.dumps(CALL), f"\n{json.dumps(CALL, indent=2)}\n"])
    def test_an_object_and_its_text_are_one_call(self, call: Any) -> None:
        """Models give the one or the other."""
        assert wanted(call) == Wanted("look", {"where": "mill"})

    def test_a_call_of_dspys_own_kind_is_read(self) -> None:
        """What DSPy makes of an answer where it knows the type."""
        assert wanted(ToolCalls.ToolCall(**CALL)) == Wanted("look", {"where": "mill"})

    @pytest.mark.parametrize("call", [{"name": "wait"}, {"name": "wait", "args": None}, {"name": "wait", "args": {}}])
    def test_a_tool_without_arguments_needs_none(self, call: Any) -> None:
        """``args`` may be left out."""
        assert wanted(call) == wanted(json.dumps(call)) == Wanted("wait", {})

    @pytest.mark.parametrize("text", ["look at the mill", '{"name": "look"', "```json\n{}", "[" * 100_000])
    def test_what_is_not_json_is_a_fault_in_words(self, text: str) -> None:
        """The words show the form that is asked for."""
        want = wanted(text)
        assert want is not None
        assert want.fault == 'tool_call is not JSON; write null, or {"name": ..., "args": {...}}'

    @pytest.mark.parametrize("call", [7, '"look"', [CALL], {"name": 7}, json.dumps([CALL]), {"tool": "x"}])
    def test_what_is_no_call_is_a_fault_in_words(self, call: Any) -> None:
        """Likewise."""
        want = wanted(call)
        assert want is not None
        assert want.fault == 'tool_call must be null, or an object {"name": ..., "args": {...}}'
