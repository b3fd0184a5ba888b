"""Programs that the game registers: which are refused, what they have, and what their calls may bring."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import msgspec
import pytest

from dspyreload.errors import ProgramRefused
from dspyreload.lm.programs import Programs
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.templates import Inputs, ProgramRegistry, inputs_of
from dspyreload.lm.tools import ToolRegistry
from dspyreload.model.registrations import RegisteredProgram
from dspyreload.model.snapshot import ModuleVersion

ASK = "question -> answer"
FIELDS = {
    "hero": (str, dspy.InputField()),
    "place": (str, dspy.InputField(default="the mill")),
    "foe": (str | None, dspy.InputField()),
    "reward": (int, dspy.OutputField(desc="In gold")),
}


class Made(dspy.Module):  # type: ignore[misc]  # DSPy is not annotated
    """A program with the attributes that it is given."""

    def __init__(self, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def frozen(part: Any) -> Any:
    """Return a part as an optimizer leaves it when it is done."""
    part._compiled = True
    return part


def look(where: str) -> str:
    """Say what is seen."""
    return where


def of(name: str, program: Any) -> RegisteredProgram:
    """Register a program; return what the readers of files are told of it."""
    registry = ProgramRegistry()
    registry.register(name, program)
    return registry.registered()[name]


def refusal(program: Any, name: Any = "quest") -> str:
    """Return the words with which a program is refused."""
    with pytest.raises(ProgramRefused) as caught:
        ProgramRegistry().register(name, program)
    return str(caught.value)


class TestRefusals:
    @pytest.mark.parametrize("name", ["", None, 7])
    def test_a_name_is_a_text(self, name: Any) -> None:
        """Nothing is registered under no name."""
        assert refusal(dspy.Predict(ASK), name) == f"a program is registered under a name, not {name!r}"

    @pytest.mark.parametrize("thing", [None, "quest", 7, dspy.Predict, object(), dspy.Example(), look])
    def test_what_is_no_program_is_refused(self, thing: Any) -> None:
        """A class, a function, a text: the words show what it was."""
        assert refusal(thing) == f"'quest': a dspy.Module is needed, made and ready, not {thing!r}"

    @pytest.mark.parametrize(
        "program", [Made(), Made(rows=[[dspy.Predict(ASK)]]), Made(done=frozen(Made(say=dspy.Predict(ASK))))]
    )
    def test_a_program_without_a_predictor_is_refused(self, program: Any) -> None:
        """Where DSPy would save nothing, no file could say anything: empty, too deep, or frozen."""
        assert refusal(program) == "'quest': the program has no predictor that DSPy sees"

    def test_a_predictor_that_a_copy_would_share_is_refused_by_place(self) -> None:
        """The words say the program's name, where the predictor is held, and what to do."""
        words = refusal(Made(say=dspy.Predict(ASK), parts={dspy.Predict(ASK)}))
        assert words.startswith("'quest': Made.parts (set) holds a DSPy module that DSPy does not see there; make it")

    def test_modules_that_name_each_other_are_refused_in_words(self) -> None:
        """DSPy would look for their predictors for ever."""
        whole = Made(part=Made(say=dspy.Predict(ASK)))
        whole.part.whole = whole
        assert refusal(whole).startswith("'quest': ")

    def test_a_refused_program_replaces_none(self) -> None:
        """What was registered before serves on, and nobody is told of a change."""
        changed: list[str] = []
        registry = ProgramRegistry(changed.append)
        registry.register("quest", dspy.Predict(ASK))
        before = registry.registered()["quest"]
        with pytest.raises(ProgramRefused):
            registry.register("quest", Made())
        assert registry.registered()["quest"] is before
        assert changed == ["quest"]

    def test_the_check_comes_first(self) -> None:
        """On a wrong thread nothing is looked at."""

        def check() -> None:
            raise KeyError("wrong thread")

        registry = ProgramRegistry(check=check)
        with pytest.raises(KeyError):
            registry.register("", None)
        assert registry.names() == ()


class TestRegistering:
    def test_it_is_known_by_its_name(self) -> None:
        """Names are sorted, and nobody can change what is registered but by registering."""
        registry = ProgramRegistry()
        registry.register("quest", dspy.Predict(ASK))
        registry.register("npc", dspy.Predict(ASK))
        assert registry.names() == ("npc", "quest")
        assert "npc" in registry
        assert registry.contains("quest")
        assert "bard" not in registry
        assert registry.dspy == dspy.__version__
        with pytest.raises(TypeError):
            registry.registered()["bard"] = registry.registered()["npc"]  # type: ignore[index]

    def test_the_change_is_told_when_it_is_made(self) -> None:
        """Who is told finds the program there."""
        found: list[bool] = []
        registry = ProgramRegistry(lambda name: found.append(name in registry))
        registry.register("quest", dspy.Predict(ASK))
        assert found == [True]

    def test_a_second_registration_has_another_token(self) -> None:
        """So that versions are made anew; the first template is still there for versions that have it."""
        registry = ProgramRegistry()
        program = dspy.Predict(ASK)
        registry.register("quest", program)
        first = registry.registered()["quest"].token
        registry.register("quest", program)
        second = registry.registered()["quest"].token
        assert first != second
        assert registry.template(first).program is not registry.template(second).program

    def test_it_serves_the_program_as_it_was(self) -> None:
        """What the game does with its own object afterwards changes no template."""
        registry = ProgramRegistry()
        program = dspy.Predict(dspy.Signature(ASK, "Answer."))
        registry.register("quest", program)
        program.signature = program.signature.with_instructions("Do not answer.")
        program.demos.append({"question": "Q", "answer": "A"})
        template = registry.template(registry.registered()["quest"].token).program
        assert template is not program
        assert (template.signature.instructions, template.demos) == ("Answer.", [])


PROGRAMS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "Predict": (lambda: dspy.Predict(dspy.Signature(FIELDS)), [""]),
    "ChainOfThought": (lambda: dspy.ChainOfThought(dspy.Signature(FIELDS)), ["predict"]),
    "ReAct": (lambda: dspy.ReAct(ASK, tools=[look]), ["react", "extract.predict"]),
    "nested": (
        lambda: Made(plan=dspy.ChainOfThought(ASK), deep=Made(say=dspy.Predict(ASK))),
        ["plan.predict", "deep.say"],
    ),
    "list": (lambda: Made(many=[dspy.Predict(ASK), dspy.ChainOfThought(ASK)]), ["many[0]", "many[1].predict"]),
    "dict": (lambda: Made(by={"x": dspy.Predict(ASK)}), ["by['x']"]),
    "frozen part": (lambda: Made(say=dspy.Predict(ASK), done=frozen(dspy.ChainOfThought(ASK))), ["say"]),
}


class TestShapes:
    @pytest.mark.parametrize("kind", PROGRAMS)
    def test_the_predictors_are_those_that_dspy_saves(self, kind: str) -> None:
        """Their names, fields, prefixes and descriptions are in the order of a saved state."""
        make, names = PROGRAMS[kind]
        program = make()
        state = program.dump_state()
        saved = {"": state} if names == [""] else state
        shapes = of("quest", program).predictors
        assert [shape.name for shape in shapes] == names == list(saved)
        for shape in shapes:
            fields = [{"prefix": field.prefix, "description": field.description} for field in shape.fields()]
            assert fields == saved[shape.name]["signature"]["fields"]

    def test_fields_have_their_types(self) -> None:
        """Inputs with a default, or that may be None, may be left out; prefixes are those that DSPy makes."""
        (shape,) = of("quest", dspy.Predict(dspy.Signature(FIELDS))).predictors
        inputs, outputs = shape.definition.inputs, shape.definition.outputs
        assert [(field.name, field.optional) for field in inputs] == [("hero", False), ("place", True), ("foe", True)]
        assert [(field.name, field.field_type, field.prefix) for field in outputs] == [("reward", "int", "Reward:")]

    @pytest.mark.parametrize("program", [dspy.ChainOfThought(ASK), Made(plan=dspy.ChainOfThought(ASK))])
    def test_a_demonstration_may_lack_reasoning_that_dspy_added(self, program: Any) -> None:
        """Writers need not say how an answer was found."""
        (shape,) = of("quest", program).predictors
        assert {field.name: field.optional for field in shape.definition.outputs} == {
            "reasoning": True,
            "answer": False,
        }

    def test_an_output_of_that_name_of_a_plain_predictor_is_needed(self) -> None:
        """``reasoning`` that the game asks for itself is an output like every other."""
        (shape,) = of("quest", dspy.Predict("question -> reasoning, answer")).predictors
        assert [field.optional for field in shape.definition.outputs] == [False, False]

    def test_parts_that_are_no_predictors_are_named(self) -> None:
        """DSPy saves them too, so a state that has them is no wrong one."""
        assert of("quest", Made(say=dspy.Predict(ASK), find=dspy.Retrieve(k=3))).others == ("find",)

    def test_a_shape_is_plain_data(self) -> None:
        """It can be handed to the threads that read files."""
        shape = of("quest", dspy.ReAct(ASK, tools=[look]))
        assert msgspec.json.decode(msgspec.json.encode(shape), type=RegisteredProgram) == shape


class Sync(Made):
    def forward(self, topic: str, mood: str = "calm", *, length: int) -> Any: ...


class Both(Made):
    def forward(self, topic: str) -> Any: ...
    async def aforward(self, topic: str, mood: str) -> Any: ...


class Anything(Made):
    async def aforward(self, topic: str, **more: Any) -> Any: ...


class Loud(dspy.ChainOfThought):  # type: ignore[misc]  # DSPy is not annotated
    def forward(self, question: str, volume: int = 11) -> Any:
        """Answer, and say it loudly."""
        return super().forward(question=question)


class TestInputs:
    @pytest.mark.parametrize("kind", ["Predict", "ChainOfThought"])
    def test_of_a_predictor_they_are_its_signatures(self, kind: str) -> None:
        """Those with a default, or that may be None, need not be given."""
        program = getattr(dspy, kind)(dspy.Signature(FIELDS))
        assert inputs_of(program) == Inputs(("hero", "place", "foe"), ("hero",))

    def test_of_a_react_they_are_the_signatures_without_its_trajectory(self) -> None:
        """What its predictors need beside is its own affair."""
        assert inputs_of(dspy.ReAct("hero, foe -> plan", tools=[look])) == Inputs(("hero", "foe"), ("hero", "foe"))

    def test_of_a_program_they_are_the_parameters_of_forward(self) -> None:
        """Those without a default must be given."""
        assert inputs_of(Sync(say=dspy.Predict(ASK))) == Inputs(("topic", "mood", "length"), ("topic", "length"))

    def test_aforward_comes_before_forward(self) -> None:
        """It is what is run."""
        assert inputs_of(Both(say=dspy.Predict(ASK))) == Inputs(("topic", "mood"), ("topic", "mood"))

    def test_a_program_that_takes_anything_is_given_anything(self) -> None:
        """With ``**more``, no input is unknown; those that are named must be there."""
        assert inputs_of(Anything(say=dspy.Predict(ASK))) == Inputs(None, ("topic",))

    def test_a_program_without_either_takes_anything(self) -> None:
        """It is its own call that fails, and not the check before."""
        assert inputs_of(Made(say=dspy.Predict(ASK))) == Inputs(None, ())

    def test_a_forward_of_its_own_comes_before_an_aforward_that_it_inherits(self, tmp_path: Path) -> None:
        """A subclass of DSPy's that writes ``forward`` anew means that to be run, as ``program(...)`` would."""
        program, registry = Loud(ASK), ProgramRegistry()
        registry.register("loud", program)
        program.save(str(tmp_path / "loud.json"))
        data, token = (tmp_path / "loud.json").read_bytes(), registry.registered()["loud"].token
        digest = hashlib.sha256(data).hexdigest()
        version = ModuleVersion(module_id="loud", path="loud.json", version=digest, data=data, registration=token)
        made = Programs(SignatureRegistry(), registry, ToolRegistry(), lambda version: True).program(version)
        assert made.inputs == Inputs(("question", "volume"), ("question",))
        assert not made.is_async
