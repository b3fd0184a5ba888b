"""A copy of a program shares no predictor with it, and the game's objects are the very same."""

from __future__ import annotations

import functools
import gc
import threading
import types
import weakref
from collections import UserList, deque
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from dspyreload.lm.copying import Shared, copied

ASK = "question -> answer"


def predict() -> Any:
    """Return a new predictor."""
    return dspy.Predict(ASK)


class Made(dspy.Module):  # type: ignore[misc]  # DSPy is not annotated
    """A program with the attributes that it is given. None of these is ever run."""

    def __init__(self, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def own(self, what: str) -> str:
        return f"{id(self)} {what}"


class World:
    """A game's world."""

    def __init__(self, weather: str = "rain") -> None:
        self.weather = weather
        self.lock = threading.Lock()  # nothing that holds it can be deep-copied
        self.brain: Any = None

    def look(self, where: str) -> str:
        return f"{self.weather} over the {where}"


def predictors(program: Any) -> list[Any]:
    """Return all predictors that a program reaches through modules, lists, tuples and dicts."""
    return [part for _name, part in program.named_sub_modules(dspy.Predict)]


SHAPES: dict[str, Callable[[], Any]] = {
    "bare": predict,
    "chain of thought": lambda: dspy.ChainOfThought(ASK),
    "attribute": lambda: Made(say=predict()),
    "nested": lambda: Made(plan=Made(say=predict(), deeper=Made(say=dspy.ChainOfThought(ASK)))),
    "list": lambda: Made(many=[predict(), dspy.ChainOfThought(ASK)]),
    "tuple": lambda: Made(both=(predict(), predict())),
    "dict": lambda: Made(by={"a": predict(), "b": Made(say=predict())}),
    "dict with a lock": lambda: Made(by={"say": predict(), "lock": threading.Lock()}),
    "list of lists": lambda: Made(rows=[[predict()], [predict(), (predict(),)]]),
    "dict of lists": lambda: Made(by={"a": [predict()], "b": {"c": predict()}}),
    "ReAct": lambda: dspy.ReAct(ASK, tools=[World().look]),
    "nested ReAct": lambda: Made(agent=dspy.ReAct(ASK, tools=[World().look]), say=predict()),
}


class TestPredictors:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_none_is_shared(self, shape: str) -> None:
        """Every predictor of the copy is another one, in the same place, and the original has kept its own."""
        original = SHAPES[shape]()
        before = [(name, id(part)) for name, part in original.named_sub_modules(dspy.Predict)]
        copy = copied(original, check=True)
        assert before
        assert [name for name, _part in copy.named_sub_modules(dspy.Predict)] == [name for name, _id in before]
        assert {id(part) for part in predictors(copy)}.isdisjoint(number for _name, number in before)
        assert [(name, id(part)) for name, part in original.named_sub_modules(dspy.Predict)] == before

    @pytest.mark.parametrize("shape", SHAPES)
    def test_what_is_set_in_a_copy_stays_there(self, shape: str) -> None:
        """Instructions, demonstrations, options and criteria of a copy are not those of the original."""
        original = SHAPES[shape]()
        before = [part.signature.instructions for part in predictors(original)]
        for part in predictors(copied(original)):
            part.signature = part.signature.with_instructions("Other words.")
            part.demos.append({"question": "Q", "answer": "A"})
            part.traces.append("a trace")
            part.train.append("an example")
            part.config["temperature"] = 0.5
            part.fields["answer"] = {}
        assert [part.signature.instructions for part in predictors(original)] == before
        for part in predictors(original):
            assert (part.demos, part.traces, part.train, part.config, part.fields) == ([], [], [], {}, {})

    def test_their_state_is_copied(self) -> None:
        """What the game had set is in the copy."""
        original = dspy.Predict(dspy.Signature(ASK, "Answer as a smith."), temperature=0.25)
        original.demos = [{"question": "Q", "answer": "A"}]
        original.lm = object()
        copy = copied(original)
        assert copy.signature.instructions == "Answer as a smith."
        assert (copy.demos, copy.config, copy.lm) == (original.demos, {"temperature": 0.25}, original.lm)

    def test_two_names_of_one_are_two_names_of_its_copy(self) -> None:
        """Attributes, a list and a dict that name the same predictor still do; two names of one list, too."""
        one, rows = predict(), [predict()]
        copy = copied(Made(first=one, second=one, many=[one], by={"x": one}, inner=Made(say=one, rows=rows), rows=rows))
        assert copy.first is not one
        assert all(other is copy.first for other in (copy.second, copy.many[0], copy.by["x"], copy.inner.say))
        assert copy.rows is copy.inner.rows is not rows

    def test_frozen_parts_stay_frozen(self) -> None:
        """A part that an optimizer has finished is copied as such."""
        done = Made(say=predict())
        done._compiled = True
        copy = copied(Made(done=done, say=predict()))
        assert copy.done._compiled
        assert copy.done.say is not done.say
        assert [name for name, _part in copy.named_predictors()] == ["say"]

    def test_modules_that_name_each_other_are_copied_once(self) -> None:
        """A part that knows its whole knows the copy's."""
        whole = Made(part=Made(say=predict()))
        whole.part.whole = whole
        copy = copied(whole)
        assert copy.part is not whole.part
        assert copy.part.whole is copy

    def test_a_list_of_parts_that_know_it_is_copied_once(self) -> None:
        """A part that knows the list that it stands in knows the copy's list, as it did before."""
        parts: list[Any] = [Made(say=predict()), Made(say=predict())]
        for part in parts:
            part.siblings = parts
        copy = copied(Made(parts=parts))
        assert copy.parts is not parts
        assert all(part.siblings is copy.parts for part in copy.parts)


class TestTheGamesObjects:
    def test_a_tool_of_the_world_sees_it_as_it_is_now(self) -> None:
        """The object behind a ReAct's tool is the very same, so that later changes are seen."""
        world = World()
        copy = copied(dspy.ReAct(ASK, tools=[world.look]), check=True)
        assert copy.tools["look"].func.__self__ is world
        world.weather = "snow"
        assert copy.tools["look"](where="mill") == "snow over the mill"

    def test_a_tool_that_the_program_is_belongs_to_the_copy(self) -> None:
        """A method of the program itself is bound to the copy, bare, as a tool, and in a list."""
        original = Made(say=predict())
        original.agent = dspy.ReAct(ASK, tools=[original.own])
        original.bare, original.several = original.own, [original.own]
        copy = copied(original, check=True)
        assert copy.agent.tools["own"](what="x") == f"{id(copy)} x"
        assert copy.bare("x") == copy.several[0]("x") == f"{id(copy)} x"
        assert original.agent.tools["own"](what="x") == original.bare("x") == f"{id(original)} x"
        assert original.several[0]("x") == f"{id(original)} x"

    def test_a_partial_function_of_the_program_belongs_to_the_copy(self) -> None:
        """What a ``functools.partial`` has of the program is the copy's; the rest is as it was."""
        original = Made(say=predict())
        original.preset = functools.partial(original.own, what="x")
        original.given = functools.partial(isinstance, original.say)
        original.keyword = functools.partial(dict, say=original.say, world=7)
        copy = copied(original, check=True)
        assert copy.preset() == f"{id(copy)} x"
        assert copy.given.args == (copy.say,)
        assert copy.keyword() == {"say": copy.say, "world": 7}
        assert original.preset() == f"{id(original)} x"

    def test_tools_keep_their_description(self) -> None:
        """A tool that is bound to the copy is offered in the same words."""
        original = Made()
        original.agent = dspy.ReAct(ASK, tools=[dspy.Tool(original.own, name="which", desc="Say which.")])
        tool = copied(original).agent.tools["which"]
        assert (tool.name, tool.desc, tool.args) == ("which", "Say which.", {"what": {"type": "string"}})

    def test_plain_values_are_the_same(self) -> None:
        """A lock, a list of words, an object of the game and its method are neither cloned nor refused."""
        world, words, lock = World(), ["a", "b"], threading.Lock()
        preset = functools.partial(world.look, where="mill")
        parts = {"world": world, "words": words, "lock": lock, "by": {"lock": lock}, "preset": preset}
        copy = copied(Made(say=predict(), **parts), check=True)
        assert all(getattr(copy, name) is part for name, part in parts.items())

    def test_callbacks_are_kept_and_the_history_is_empty(self) -> None:
        """A copy reports to who listened to the original, and remembers none of its calls."""
        listener = dspy.utils.callback.BaseCallback()
        original = Made(say=dspy.Predict(ASK, callbacks=[listener]))
        original.callbacks.append(listener)
        for part in (original, original.say):
            part.history.append({"prompt": "of another player"})
        copy = copied(original)
        assert copy.callbacks == copy.say.callbacks == [listener]
        assert copy.callbacks is not original.callbacks
        assert copy.history == copy.say.history == []
        assert len(original.history) == len(original.say.history) == 1


class Slotted:
    """An object of the game that has no dictionary."""

    __slots__ = ("brain",)

    def __init__(self, brain: Any) -> None:
        self.brain = brain


def closed_over(thing: Any) -> Any:
    """Return a function that nothing but its closure ties to a thing."""
    return lambda question: thing(question=question)


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "an object": lambda part: types.SimpleNamespace(brain=part),
    "an object with slots": Slotted,
    "a set": lambda part: {part},
    "a frozenset": lambda part: frozenset({part}),
    "a deque": lambda part: deque([part]),
    "a list of another kind": lambda part: UserList([part]),
    "a mapping of another kind": lambda part: types.MappingProxyType({"a": part}),
    "a closure": closed_over,
}


class TestRefusals:
    @pytest.mark.parametrize("holder", HOLDERS)
    def test_a_predictor_that_would_be_shared_is_refused_by_place(self, holder: str) -> None:
        """A predictor inside of what can't be copied: the text says in which attribute of which class."""
        with pytest.raises(Shared, match=r"^Made\.helper "):
            copied(Made(say=predict(), helper=HOLDERS[holder](predict())), check=True)

    def test_an_attribute_may_have_any_name(self) -> None:
        """One that is called as a tool's function is, ``func``, is looked into like every other."""
        with pytest.raises(Shared, match=r"^Made\.func "):
            copied(Made(say=predict(), func=closed_over(predict())), check=True)

    @pytest.mark.parametrize("holder", HOLDERS)
    def test_a_second_way_to_an_own_predictor_is_refused(self, holder: str) -> None:
        """Such a thing would call the original's predictor, which never gets a version's state."""
        say = predict()
        with pytest.raises(Shared, match=r"^Made\.helper "):
            copied(Made(say=say, helper=HOLDERS[holder](say)), check=True)

    def test_the_place_is_named_through_lists_and_dicts(self) -> None:
        """The index and the key are in the text."""
        with pytest.raises(Shared, match=r"^Made\.parts\['x'\]\[1\] \(set\)"):
            copied(Made(say=predict(), parts={"x": ["plain", {predict()}]}), check=True)

    def test_a_tool_that_calls_an_own_predictor_is_refused_by_place(self) -> None:
        """A closure as a tool of a ReAct, over a predictor of the same program."""
        original = Made(say=predict())

        def ask(question: str) -> str:
            return str(original.say(question=question).answer)

        original.agent = dspy.ReAct(ASK, tools=[ask])
        with pytest.raises(Shared, match=r"^ReAct\.tools\['ask'\]\.func "):
            copied(original, check=True)

    def test_a_world_with_a_program_of_its_own_is_not_refused(self) -> None:
        """What the game keeps further off is the game's: another character's brain is none of this program."""
        world = World()
        world.brain = types.SimpleNamespace(of_the_smith=predict())
        agent = dspy.ReAct(ASK, tools=[world.look])
        assert copied(Made(agent=agent, world=world), check=True).world is world

    def test_a_character_whose_brain_has_its_method_as_a_tool_is_not_refused(self) -> None:
        """``npc.brain`` may be a ReAct with ``npc.look``: the usual way to write it."""
        npc = World()
        npc.brain = dspy.ReAct(ASK, tools=[npc.look])
        assert copied(npc.brain, check=True).tools["look"].func.__self__ is npc


class TestMemory:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_dropped_copy_is_freed(self, shape: str) -> None:
        """Nothing holds a copy but who asked for it: a thousand reloads are not a thousand programs."""
        original = SHAPES[shape]()
        copy = copied(original, check=True)
        alive = [weakref.ref(copy), *(weakref.ref(part) for part in predictors(copy))]
        del copy
        gc.collect()
        assert [reference() for reference in alive] == [None] * len(alive)

    def test_a_dropped_copy_that_is_its_own_tool_is_freed(self) -> None:
        """A tool that is bound to the copy does not keep it alive, nor does the world."""
        original = Made(say=predict())
        original.agent = dspy.ReAct(ASK, tools=[original.own, World().look])
        alive = weakref.ref(copied(original, check=True))
        gc.collect()
        assert alive() is None
