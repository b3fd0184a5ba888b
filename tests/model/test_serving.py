"""What serves a module: its own block, a registered signature, or a registered program; and which LM it may ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspyreload.disk.placing import faults_of, warnings_of
from dspyreload.model.dspy_state import is_dspy_state
from dspyreload.model.faults import FaultError
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.module import SignatureDefinition
from dspyreload.model.module_file import ModuleDraft, parse_module
from dspyreload.model.registrations import (
    LMBounds,
    PredictorShape,
    Registered,
    RegisteredProgram,
    Registrations,
    shape_of,
)
from dspyreload.model.serving import Served, Waits, check_lm, judged_by, serve
from tests.conftest import module_text
from tests.model.test_saved_state import BARE, QUEST, TITLE, bare, fields, predictor, quest

NAMES = Registered(TITLE.definition, "signature names#1")
STATE = json.dumps(quest())
MODULE = json.dumps(
    {
        "module_id": "quest",
        "predictor_type": "predict",
        "signature_name": "names",
        "instruction": "Name it.",
        "demos": [{"inputs": {"plan": "p", "mood": "m"}, "outputs": {"title": "t"}}],
    }
)


def entry(**values: Any) -> ModuleEntry:
    return ModuleEntry(path="quest.json", **values)


def drafted(text: str, listed: ModuleEntry | None = None) -> ModuleDraft:
    name, kind = (listed.signature_name, listed.predictor_type) if listed is not None else (None, None)
    return parse_module(text.encode(), "quest", signature_name=name, predictor_type=kind)


def served(text: str, listed: ModuleEntry | None = None, **registered: Any) -> Served:
    draft = drafted(text, listed)
    return serve(draft, draft.module, listed, Registrations(**registered))


def waits(text: str, listed: ModuleEntry | None = None, **registered: Any) -> str:
    with pytest.raises(Waits) as raised:
        served(text, listed, **registered)
    return str(raised.value)


def refused(text: str, listed: ModuleEntry | None = None, **registered: Any) -> list[str]:
    with pytest.raises(FaultError) as raised:
        served(text, listed, **registered)
    return [fault.message for fault in (raised.value, *raised.value.others)]


class TestWhatDecides:
    @pytest.mark.parametrize(
        ("text", "listed", "names"),
        [
            (module_text(), None, ["signature npc.dialogue"]),
            ('{"instruction": "x"}', None, ["defaults"]),
            (STATE, None, ["program quest"]),
            (STATE, entry(), ["program quest"]),
            (STATE, entry(program="tale"), ["program tale"]),
            (STATE, entry(signature_name="names", predictor_type="predict"), ["program quest", "signature names"]),
            (MODULE, entry(program="tale"), ["program tale"]),
            (MODULE, entry(signature_name="other"), ["signature other"]),
        ],
    )
    def test_each_name_is_told_with_its_token(self, text: str, listed: ModuleEntry | None, names: list[str]) -> None:
        """A saved program is served by the one of its id, or of its entry; a module by what it or its entry names.

        One that names nothing is served by the defaults.
        """
        draft = drafted(text, listed)
        assert judged_by(draft, listed, Registrations()) == tuple((name, "") for name in names)
        all_of_it = Registrations(
            programs=dict.fromkeys(("quest", "tale"), QUEST),
            signatures=dict.fromkeys(("names", "other", "npc.dialogue"), NAMES),
            defaults_token="defaults#1",
        )
        tokens = {"program": QUEST.token, "signature": NAMES.token, "defaults": "defaults#1"}
        expected = tuple((name, tokens[name.partition(" ")[0]]) for name in names)
        assert judged_by(draft, listed, all_of_it) == expected


class TestASavedProgram:
    def test_it_waits_for_the_program_of_its_id(self) -> None:
        """The words say what to register; a signature alone is not enough, if the entry does not name both."""
        words = 'it is a saved DSPy program, and no program is registered as "quest"'
        assert waits(STATE) == words
        assert waits(STATE, entry(), signatures={"quest": NAMES}) == words
        assert waits(STATE, entry(signature_name="names"), signatures={"names": NAMES}) == words
        assert waits(STATE, entry(program="tale"), programs={"quest": QUEST}) == words.replace("quest", "tale")

    def test_the_program_of_its_entry_or_of_its_id_serves(self) -> None:
        """Its token is remembered."""
        assert served(STATE, programs={"quest": QUEST}).registration == QUEST.token
        assert served(STATE, entry(program="tale"), programs={"tale": QUEST}).registration == QUEST.token

    @pytest.mark.parametrize(
        ("kind", "state"),
        [
            ("predict", predictor(TITLE, "Name it.")),
            ("chain_of_thought", {"predict": predictor(shape_of("chain_of_thought", TITLE.definition), "Name it.")}),
        ],
    )
    def test_without_a_program_a_named_signature_and_type_serve(self, kind: Any, state: dict[str, Any]) -> None:
        """As the bare Predict or ChainOfThought that they make; the other of the two is told apart."""
        listed = entry(signature_name="names", predictor_type=kind)
        text = json.dumps(state)
        assert waits(text, listed) == 'the signature "names" is not registered'
        assert served(text, listed, signatures={"names": NAMES}).registration == NAMES.token
        other = "predict" if kind == "chain_of_thought" else "chain_of_thought"
        faults = refused(text, entry(signature_name="names", predictor_type=other), signatures={"names": NAMES})
        assert faults == [
            'the program "names" is one predictor without a name, and the file has "predict"'
            if other == "predict"
            else 'the file holds one predictor without a name, and the program "names" has "predict"'
        ]

    @pytest.mark.parametrize("outputs", [("reasoning", "title"), ("title", "reasoning")])
    def test_a_signature_may_have_a_reasoning_of_its_own(self, outputs: tuple[str, ...]) -> None:
        """DSPy thinks in that one, and saves it once, before the other outputs."""
        definition = SignatureDefinition(inputs=fields("plan"), outputs=fields(*outputs))
        shape = shape_of("chain_of_thought", definition)
        assert [field.name for field in shape.fields()] == ["plan", "reasoning", "title"]

    def test_a_program_goes_before_a_signature(self) -> None:
        """Where both are registered, the program serves: it can do more."""
        listed = entry(signature_name="names", predictor_type="predict")
        both: Any = {"programs": {"quest": BARE}, "signatures": {"names": NAMES}}
        assert served(json.dumps(bare()), listed, **both).registration == BARE.token


class TestAModuleOfOursServedByAProgram:
    ONE = RegisteredProgram((TITLE,), "program one#1")

    def test_it_waits_for_it(self) -> None:
        """The signature that the file names does not serve instead."""
        listed = entry(program="one")
        assert waits(MODULE, listed, signatures={"names": NAMES}) == 'no program is registered as "one"'

    def test_one_predictor_takes_its_instruction_and_demos(self) -> None:
        """The demonstrations are held against that predictor's fields."""
        assert served(MODULE, entry(program="one"), programs={"one": self.ONE}) == Served(self.ONE.token)
        wrong = MODULE.replace('"mood": "m"', '"weather": "m"')
        assert refused(wrong, entry(program="one"), programs={"one": self.ONE}) == [
            'demo 1 has "weather", which is no input of the signature ("plan", "mood")',
            'demo 1 lacks "mood"',
        ]

    def test_several_predictors_are_too_many(self) -> None:
        """Nobody could say which one the instruction is for; the words say what to do."""
        assert refused(MODULE, entry(program="two"), programs={"two": QUEST}) == [
            'the program "two" has 2 predictors ("plan.predict", "title"), and a module in this format speaks for one;'
            " save the program with DSPy's save() instead"
        ]

    def test_its_own_signature_must_be_that_of_the_program(self) -> None:
        """The difference is named."""
        own = {"inputs": [{"name": "plan"}, {"name": "weather"}], "outputs": [{"name": "title"}]}
        text = json.dumps({**json.loads(MODULE), "signature": own, "demos": []})
        assert refused(text, entry(program="one"), programs={"one": self.ONE}) == [
            'its signature differs from that of the program "one": inputs "weather" only in the file;'
            ' inputs "mood" only in the registered one'
        ]

    def test_a_thought_may_be_left_out(self) -> None:
        """A demonstration need not say how an answer was found."""
        shape = PredictorShape("predict", shape_of("chain_of_thought", TITLE.definition).definition)
        program = RegisteredProgram((shape,), "program one#2")
        assert served(MODULE, entry(program="one"), programs={"one": program}).registration == "program one#2"

    def test_odd_values_are_warnings(self) -> None:
        """As beside a registered signature."""
        text = MODULE.replace('"title": "t"', '"title": 7')
        (warning,) = served(text, entry(program="one"), programs={"one": self.ONE}).warnings
        assert warning.path == ("demos", 0, "outputs", "title")


class TestTheLMOfAnEntry:
    LMS = {"": LMBounds(100, 1.0), "smart": LMBounds(500, 0.5), "cheap": LMBounds()}  # noqa: RUF012  # a constant

    @staticmethod
    def fault(lms: Any, **values: Any) -> str | None:
        try:
            assert list(check_lm(entry(**values), Registrations(lms=lms))) == []
        except FaultError as error:
            return error.message.removeprefix("its entry in manifest.json has ")
        return None

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"lm": "smart", "max_tokens": 500, "temperature": 0.5}, None),
            ({"lm": "smart", "max_tokens": 501}, '"max_tokens": 501; the LM "smart" allows 500'),
            ({"lm": "smart", "temperature": 0.6}, '"temperature": 0.6; the LM "smart" allows 0.5'),
            ({"lm": "cheap", "max_tokens": 10**6, "temperature": 2.0}, None),
            ({"max_tokens": 100, "temperature": 1.0}, None),
            ({"max_tokens": 101}, '"max_tokens": 101; the LM allows 100'),
            ({"temperature": 1.1}, '"temperature": 1.1; the LM allows 1'),
            ({"lm": "smrat"}, '"lm": "smrat", and there is no LM of that name; did you mean "smart"?'),
            (
                {"lm": "openai/gpt-4o"},
                '"lm": "openai/gpt-4o", and there is no LM of that name; there are "cheap", "smart"',
            ),
        ],
    )
    def test_it_is_one_that_the_operator_allows(self, values: dict[str, Any], words: str | None) -> None:
        """Its name, and no more tokens and no higher temperature than that one, or the default one, may have."""
        assert self.fault(self.LMS, **values) == words

    def test_without_bounds_anything_goes(self) -> None:
        """A default LM that the operator gave no settings is asked for what the entry says."""
        assert self.fault({}, max_tokens=10**6, temperature=2.0) is None
        assert self.fault({}, lm="smart") == '"lm": "smart", and there is no LM of that name; there are none'

    def test_offline_only_the_server_knows(self) -> None:
        """``check`` without ``--lm-config`` says so, and refuses nothing."""
        (warning,) = check_lm(entry(lm="smart", max_tokens=10**6), Registrations())
        assert warning.message == 'its entry in manifest.json has "lm": "smart", which only the server knows'
        assert list(check_lm(entry(max_tokens=10**6), Registrations())) == []


# Whatever a file says

KEYS = st.text(max_size=4) | st.sampled_from(
    ["demos", "signature", "fields", "instructions", "prefix", "description", "lm", "metadata", "config", "title",
     "plan.predict", "traces", "train", "forward", "augmented", "dependency_versions", "dspy", "module_id", "plan"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name the path of each value inside of a state."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*path, key)
        yield from places(part, (*path, key))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Draw a real state in which up to four things were replaced, deleted, added or turned around."""
    state = draw(st.sampled_from([quest, bare]))()
    for _ in range(draw(st.integers(1, 4))):
        target: Any = state
        *above, last = draw(st.sampled_from([*places(state)] or [("title",)]))
        for part in above:
            target = target[part]
        what = draw(st.sampled_from(["replace", "delete", "add", "reverse"]))
        if what == "delete" and len(target) > 1:
            del target[last]
        elif what == "add" and isinstance(target, dict):
            target[draw(KEYS)] = draw(JSON)
        elif what == "reverse" and isinstance(target, list):
            target.reverse()
        else:
            target[last] = draw(JSON)
    return state


@given(state=mutated(), program=st.sampled_from([QUEST, BARE]))
@settings(max_examples=300, deadline=None)
def test_no_state_raises_anything_but_a_fault(state: Any, program: RegisteredProgram) -> None:
    """What is wrong is said, with a place in the file; what is served is instructions, fields and demonstrations."""
    data = json.dumps(state, indent=1).encode()
    fault: FaultError | None = None
    try:
        draft = parse_module(data, "quest")
        served = serve(draft, draft.module, None, Registrations(programs={"quest": program}, dspy="3.4.1"))
    except FaultError as error:
        fault = error
    except Waits:  # it is taken for a module of ours by now
        assert not is_dspy_state(state)
        return
    if fault is not None:
        assert all(each.message and each.line and each.column for each in faults_of(fault, data))
        return
    assert all(each.message and each.line and each.column for each in warnings_of(served.warnings, data))
    shapes = {shape.name: shape for shape in program.predictors}
    assert draft.state is None or draft.module.predictors.keys() == shapes.keys()
    for name, saved in draft.module.predictors.items():
        known = {field.name for field in shapes[name].fields()}
        assert isinstance(saved.instructions, str)
        assert len(saved.fields) == len(known)
        assert all(isinstance(text, str) for pair in saved.fields for text in pair)
        assert all(isinstance(demo, dict) and known & demo.keys() for demo in saved.demos)
        assert isinstance(saved.decisions, dict)
