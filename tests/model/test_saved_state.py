"""What DSPy saved is checked before it comes near a program: each fault by predictor and field, at its line."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.including import Source
from dspyreload.disk.judge import judge
from dspyreload.model.dspy_state import is_dspy_state
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import PredictorShape, RegisteredProgram, Registrations
from tests.conftest import Save

State = dict[str, Any]
Read = Callable[..., Finding]
GONE = object()


def fields(*names: str) -> tuple[FieldDefinition, ...]:
    return tuple(FieldDefinition(name=name, prefix=f"{name.capitalize()}:") for name in names)


PLAN = PredictorShape("plan.predict", SignatureDefinition(inputs=fields("topic"), outputs=fields("reasoning", "steps")))
TITLE = PredictorShape("title", SignatureDefinition(inputs=fields("plan", "mood"), outputs=fields("title")))
QUEST = RegisteredProgram((PLAN, TITLE), "program quest#1")
BARE = RegisteredProgram((PredictorShape("", TITLE.definition),), "program quest#2")
VERSIONS = {"dependency_versions": {"python": "3.11", "dspy": "3.4.1", "cloudpickle": "3.1"}}


def predictor(shape: PredictorShape, instructions: str, *demos: State) -> State:
    """Write one predictor as DSPy 3.4.1 does."""
    saved = [{"prefix": field.prefix, "description": f"${{{field.name}}}"} for field in shape.fields()]
    signature = {"instructions": instructions, "fields": saved}
    return {"traces": [], "train": [], "demos": [*demos], "signature": signature, "lm": None}


def quest() -> State:
    """A whole state of :data:`QUEST`."""
    title = predictor(TITLE, "Name it.", {"plan": "Slay it.", "mood": "grim", "title": "The Slaying"})
    return {"plan.predict": predictor(PLAN, "Plan."), "title": title, "metadata": copy.deepcopy(VERSIONS)}


def bare() -> State:
    """A whole state of :data:`BARE`: its keys lie at the top."""
    return {**predictor(TITLE, "Name it."), "metadata": copy.deepcopy(VERSIONS)}


def put(state: State, path: str, value: Any) -> State:
    """Set what is at a path such as ``title/demos/0``, or delete it where the value is :data:`GONE`."""
    *above, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    target: Any = state
    for part in above:
        target = target[part]
    if value is GONE:
        del target[last]
    elif isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value
    return state


@pytest.fixture
def read(modules: Path, save: Save) -> Read:
    """Save a state as quest.json and judge it beside a template."""

    def judged(state: State, program: RegisteredProgram = QUEST, dspy: str | None = "3.4.1") -> Finding:
        save("quest.json", json.dumps(state, indent=1))
        registrations = Registrations(programs={"quest": program}, dspy=dspy)
        source = Source(str(modules), 4 << 20)
        return judge("quest.json", source, module_id=None, entry=None, last_id=None, registrations=registrations)

    return judged


def at(state: State, words: str, where: str) -> Fault:
    """Return a fault at the line and column of the ``^`` in a part of the text, which stands there once.

    :param words: the message, and after `` = `` the mend where there is one.
    """
    text, part = json.dumps(state, indent=1), where.replace("^", "")
    assert text.count(part) == 1, f"{part!r} stands there {text.count(part)} times"
    offset = text.index(part) + where.index("^")
    message, _, mend = words.partition(" = ")
    return Fault(message, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset), mend)


def all_faults(found: Finding) -> list[Fault]:
    assert (found.kind, found.version) == (Kind.BROKEN, None)
    assert found.fault is not None
    return [found.fault, *found.more]


@pytest.mark.parametrize(("state", "program"), [(quest(), QUEST), (bare(), BARE)], ids=["named", "bare"])
def test_a_state_that_fits_is_good(read: Read, state: State, program: RegisteredProgram) -> None:
    """It is served by the template, with nothing to remark, and all of it is in the module."""
    found = read(state, program)
    assert (found.kind, found.fault, found.warnings) == (Kind.GOOD, None, ())
    assert found.version is not None
    assert (found.version.module_id, found.version.registration) == ("quest", program.token)
    module = found.version.module()
    assert [*module.predictors] == [shape.name for shape in program.predictors]
    saved = module.predictors[program.predictors[-1].name]
    assert (saved.instructions, saved.fields[1]) == ("Name it.", ("Mood:", "${mood}"))
    assert saved.demos == tuple(state.get("title", state)["demos"])


# fmt: off
T, NO = 'the predictor "title"', "which a saved program may not set; delete it"
AGAIN = " = save the program again, with DSPy's save()"
NO_SIGNATURE = f'{T} lacks "signature", with "instructions" and "fields"{AGAIN}'
NO_INSTRUCTIONS = f'{T}: "signature" lacks "instructions", a text{AGAIN}'
NO_DEMOS = f'{T}: "demos" must be a list{AGAIN}'
NO_PREDICTOR = f'"title" is not what DSPy saves of a predictor, an object in {{ }}{AGAIN}'
ODD_FIELD = f'{T}: field 2 must have "prefix" and "description", both texts{AGAIN}'
NO_NAME = (f'{T}: demo 1 has none of the predictor\'s fields ("mood", "plan", "title")'
           " = delete it, or give it the program's fields")
PLAN_AND_TITLE = '"plan.predict", "title"'
OTHER = 'is none of the program "quest"'
PLAN_PREFIX = '{\n     "prefix": "Plan:"'

FAULTS = [
    ("title/config", {"api_base": "http://evil"}, f'{T} has "config", {NO}', '^"config"'),
    ("title/forward", "boom", f'{T} has "forward", {NO}', '^"forward"'),
    ("title/__class__", "boom", f'{T} has "__class__", {NO}', '^"__class__"'),
    ("title/stage", None, f'{T} has "stage", {NO}', '^"stage"'),
    ("title", [1], NO_PREDICTOR, '"title": ^['),
    ("title", None, NO_PREDICTOR, '"title": ^null'),
    ("title/signature", GONE, NO_SIGNATURE, '"title": ^{'),
    ("title/signature", "plan -> title", NO_SIGNATURE, '"title": ^{'),
    ("title/signature/instructions", GONE, NO_INSTRUCTIONS, f'^{{\n   "fields": [\n    {PLAN_PREFIX}'),
    ("title/signature/instructions", ["x"], NO_INSTRUCTIONS, '^{\n   "instructions": [\n    "x"'),
    ("title/signature/fields", {"x": "Y:"}, f'{T}: "signature" lacks "fields", a list{AGAIN}',
     '^{\n   "instructions": "Name it."'),
    ("title/signature/fields/1", "Mood:", ODD_FIELD, '^"Mood:"'),
    ("title/signature/fields/1/prefix", GONE, ODD_FIELD, '^{\n     "description": "${mood}"'),
    ("title/signature/fields/1/description", 7, ODD_FIELD, '^{\n     "prefix": "Mood:"'),
    ("title/demos", "notalist", NO_DEMOS, '^"notalist"'),
    ("title/demos", None, NO_DEMOS, '"demos": ^null'),
    ("title/demos", GONE, f'{T} lacks "demos"{AGAIN}', '"title": ^{'),
    ("title/demos/1", "Slay it.", f"{T}: demo 2 must be an object in {{ }}{AGAIN}", '^"Slay it."\n'),
    ("title/fields", ["x"], f'{T}: "fields" must be an object in {{ }}{AGAIN}', '"fields": ^[\n   "x"'),
    ("title/signature/fields/1", GONE,
     f'{T} has 2 fields, and 3 in the program "quest"{AGAIN}', f"^[\n    {PLAN_PREFIX}"),
    ("title/signature/fields/3", {"prefix": "X:", "description": ""},
     f'{T} has 4 fields, and 3 in the program "quest"{AGAIN}', f"^[\n    {PLAN_PREFIX}"),
    ("title/signature/fields", [{"prefix": "Plan:", "description": ""}],
     f'{T} has 1 field, and 3 in the program "quest"{AGAIN}', f"^[\n    {PLAN_PREFIX}"),
    ("title/signature/fields/2/prefix", "Plan:",
     f'{T}: field 3 is "title", and has the prefix of "plan"; were the fields reordered since it was saved?',
     '^"Plan:",\n     "description": "${title}"'),
    ("title", GONE, f'{T} of the program "quest" is missing{AGAIN}', '^{\n "plan.predict"'),
    ("tittle", predictor(TITLE, "More."), f'the predictor "tittle" {OTHER}; did you mean "title"?', '^"tittle"'),
    ("xyz", predictor(TITLE, "More."), f'the predictor "xyz" {OTHER}; it has "plan.predict", "title"', '^"xyz"'),
    ("title/demos", [{"q": "1 + 1?", "augmented": True}], NO_NAME, '^{\n    "q"'),
    ("title/demos", [{}], NO_NAME, "^{}"),
]
# fmt: on


@pytest.mark.parametrize(("path", "value", "words", "where"), FAULTS)
def test_each_fault_is_rejected_where_it_stands(read: Read, path: str, value: Any, words: str, where: str) -> None:
    """Words, predictor, field, line and column; and nothing else is wrong."""
    state = put(quest(), path, value)
    assert all_faults(read(state)) == [at(state, words, where)]


def test_reordered_fields_are_named_each(read: Read) -> None:
    """DSPy pairs them by position, and would label each as the other, without a word."""
    state = quest()
    saved = state["title"]["signature"]["fields"]
    saved[0], saved[1] = saved[1], saved[0]
    assert [(fault.message.partition(";")[0], fault.line) for fault in all_faults(read(state))] == [
        (f'{T}: field 1 is "plan", and has the prefix of "mood"', at(state, "", '^"Mood:"').line),
        (f'{T}: field 2 is "mood", and has the prefix of "plan"', at(state, "", '^"Plan:"').line),
    ]


def test_all_faults_of_a_file_are_named(read: Read) -> None:
    """Those of each predictor, in the order of the file."""
    state = put(put(put(quest(), "plan.predict/config", {}), "title/forward", 0), "title/demos", 7)
    assert [fault.message.partition(",")[0] for fault in all_faults(read(state))] == [
        'the predictor "plan.predict" has "config"',
        f'{T} has "forward"',
        f'{T}: "demos" must be a list',
    ]


def test_a_bare_state_is_for_a_bare_template(read: Read) -> None:
    """And one of named predictors for a template that has these names; the fault says which of the two it is."""
    assert [fault.message for fault in all_faults(read(bare(), QUEST))] == [
        f'the file holds one predictor without a name, and the program "quest" has {PLAN_AND_TITLE}'
    ]
    assert [fault.message for fault in all_faults(read(quest(), BARE))] == [
        f'the program "quest" is one predictor without a name, and the file has {PLAN_AND_TITLE}'
    ]


# fmt: off
BARE_FAULTS = [
    ("config", {"api_base": "http://evil"}, f'the predictor has "config", {NO}', '^"config"'),
    ("title", predictor(TITLE, "More."), f'the predictor has "title", {NO}', '^"title": {'),
    ("demos", "notalist", NO_DEMOS.replace(T, "the predictor"), '^"notalist"'),
    ("demos", [{"x": 1}], NO_NAME.replace(T, "the predictor"), '^{\n   "x"'),
    ("signature", {"fields": []}, NO_INSTRUCTIONS.replace(T, "the predictor"), '^{\n  "fields"'),
    ("signature", "plan -> title", NO_SIGNATURE.replace(T, "the predictor"), '^{\n "traces"'),
]
# fmt: on


@pytest.mark.parametrize(("path", "value", "words", "where"), BARE_FAULTS)
def test_a_bare_predictors_faults_are_told_of_it(read: Read, path: str, value: Any, words: str, where: str) -> None:
    """It has no name, and its keys are not taken for names of predictors."""
    state = put(bare(), path, value)
    assert at(state, words, where) in all_faults(read(state, BARE))
    assert not [fault for fault in all_faults(read(state, BARE)) if '"traces"' in fault.message]


# fmt: off
NO_METADATA = 'DSPy writes "metadata" with the versions of its parts; it is missing here'
WARNINGS = [
    ("title/lm", {"model": "openai/x", "azure_endpoint": "http://evil"},
     f"{T} was saved with an LM; it is not used, the server's is", '^"lm": {'),
    ("title/signature/fields/2/prefix", "Behold the title:",  # as COPRO does
     f'{T}: the prefix of "title" is "Behold the title:" here', '^"prefix": "Behold'),
    ("title/demos", [{"plan": "x", "split": "dev", "id": 7}, {"mood": "z", "id": 8}],  # as LabeledFewShot does
     f'{T} has no field "id", "split"; left out of its demonstrations, from demo 1 on', '"demos": [\n   ^{'),
    ("metadata", GONE, NO_METADATA, '^{\n "plan.predict"'),
    ("metadata", 3, NO_METADATA, '^{\n "plan.predict"'),
    ("metadata/dependency_versions", [], NO_METADATA, '^{\n "plan.predict"'),
    ("metadata/dependency_versions/dspy", "2.6.0", 'it was saved by DSPy "2.6.0", and 3.4.1 is installed', '^"dspy"'),
]
# fmt: on


@pytest.mark.parametrize(("path", "value", "words", "where"), WARNINGS)
def test_what_is_odd_is_a_warning_and_is_served(read: Read, path: str, value: Any, words: str, where: str) -> None:
    """Each has its place."""
    state = put(quest(), path, value)
    found = read(state)
    assert (found.kind, found.fault) == (Kind.GOOD, None)
    assert found.warnings == (at(state, words, where),)


@pytest.mark.parametrize(
    ("path", "value"), [("title/demos/0/augmented", True), ("title/fields", {}), ("title/signature/instructions", "")]
)
def test_what_dspy_writes_is_no_warning(read: Read, path: str, value: Any) -> None:
    """BootstrapFewShot marks its demonstrations, and DSPy 3.4 may name decisions."""
    found = read(put(quest(), path, value))
    assert (found.kind, found.warnings) == (Kind.GOOD, ())


def test_nobody_is_told_of_versions_that_nobody_knows(read: Read) -> None:
    """Where no template was registered, the installed DSPy was never asked for its version."""
    assert read(quest(), dspy=None).warnings == ()
    assert read(quest(), dspy="9.9").warnings[0].message == 'it was saved by DSPy "3.4.1", and 9.9 is installed'


def test_a_part_that_is_no_predictor_is_not_used(read: Read) -> None:
    """DSPy saves such parts too; what the file says of one that the template has is dropped with a warning."""
    state = {"search": {"k": 3}, **quest()}
    found = read(state, RegisteredProgram((PLAN, TITLE), "program quest#3", others=("search",)))
    assert found.kind is Kind.GOOD, found.fault
    assert found.warnings == (at(state, '"search" is no predictor; what was saved of it is not used', '^"search"'),)
    assert '"search"' in all_faults(read(state))[0].message  # one that the template has not is refused


@pytest.mark.parametrize("name", ["instruction", "instruction_file", "module_id", "signature", "demos", "fields"])
def test_a_predictor_may_be_called_as_a_key_is(read: Read, name: str) -> None:
    """A program's attributes are the game's to name; what DSPy saved of them is no module of ours."""
    state = {name: predictor(TITLE, "Name it."), "metadata": VERSIONS}
    assert is_dspy_state(state)
    found = read(state, RegisteredProgram((PredictorShape(name, TITLE.definition),), "program quest#4"))
    assert found.kind is Kind.GOOD, found.fault


def test_a_thousand_faults_are_placed_in_a_moment(read: Read) -> None:
    """A whole training set of other fields is one bad file, and holds up no other."""
    demos = [{"text": "x" * 100, "label": index} for index in range(1000)]
    began = time.process_time()
    assert all_faults(read(put(quest(), "title/demos", demos)))[0].line
    assert time.process_time() - began < 2.0
