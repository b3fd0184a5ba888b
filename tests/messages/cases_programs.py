"""What DSPy's own ``save()`` writes."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from dspyreload.lm.programs import _load
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import PredictorShape, RegisteredProgram, Registrations
from dspyreload.model.snapshot import ModuleVersion
from tests.messages.case import Case, Checked, Group

__all__ = ["GROUPS"]


def _signature(inputs: str, outputs: str) -> SignatureDefinition:
    """Return a signature with the prefixes that DSPy gives its fields."""
    sides = [
        tuple(FieldDefinition(name=name, prefix=f"{name.replace('_', ' ').title()}:") for name in side.split())
        for side in (inputs, outputs)
    ]
    return SignatureDefinition(inputs=sides[0], outputs=sides[1])


_PLAN, _WRITE = _signature("topic", "outline"), _signature("outline", "text")
_PROGRAMS = {
    "quest": RegisteredProgram((PredictorShape("plan", _PLAN),), "program quest#1"),
    "riddle": RegisteredProgram((PredictorShape("", _PLAN),), "program riddle#1"),
    "saga": RegisteredProgram((PredictorShape("plan", _PLAN), PredictorShape("write", _WRITE)), "program saga#1"),
}
_WORDS = "Checked with `--setup`."
_HAS = (
    "The game has a program `quest` of one predictor, `plan` (`topic` → `outline`), a program `saga` of two, `plan` and"
    " `write` (`outline` → `text`), and a program `riddle` of one that has no name."
)
_GAME = Checked(words=_WORDS, registrations=Registrations(programs=_PROGRAMS, dspy="3.4.1"), complete=True)


class _Refusing:
    """Stands in for DSPy's predictor, which says such things of its own."""

    def __init__(self) -> None:
        self.signature, self.lm = SimpleNamespace(fields={}), None

    def load_state(self, state: object) -> None:
        raise ValueError("Decision configuration refers to unsupported outputs")


def _refuse(version: ModuleVersion) -> None:
    _load(_Refusing(), version.module().predictors["plan"], "plan")


def _predictor(shape: SignatureDefinition, **changes: Any) -> dict[str, Any]:
    fields = [
        {"prefix": field.prefix, "description": f"${{{field.name}}}"} for field in (*shape.inputs, *shape.outputs)
    ]
    state: dict[str, Any] = {
        "traces": [],
        "train": [],
        "demos": [],
        "signature": {"instructions": "Be brief.", "fields": fields},
        "lm": None,
    }
    return {key: value for key, value in {**state, **changes}.items() if value is not ...}


def _quest(plan: Any = None, dspy: str = "3.4.1", **more: Any) -> str:
    state = {
        "plan": plan or _predictor(_PLAN),
        "metadata": {"dependency_versions": {"python": "3.11", "dspy": dspy}},
        **more,
    }
    return _text({name: part for name, part in state.items() if part is not ...})


def _text(state: Any) -> str:
    """Return a state as DSPy indents it, and short: what fits in a line stands in one."""
    return "{\n" + ",\n".join(f'  "{key}": {_short(value)}' for key, value in state.items()) + "\n}\n"


def _short(value: Any) -> str:
    if not isinstance(value, dict) or len(json.dumps(value)) < 90:
        return json.dumps(value)
    return "{\n" + ",\n".join(f'    "{key}": {json.dumps(part)}' for key, part in value.items()) + "\n  }"


def _case(title: str, text: str, how: Checked = _GAME, note: str = "", path: str = "quest.json") -> Case:
    return Case(title, {path: text}, how, note)


_NO_FIELDS = {"instructions": "Be brief."}
_FORM: tuple[Case, ...] = (
    _case("A key that does not belong there", _quest(_predictor(_PLAN, config={"api_base": "http://localhost"}))),
    _case("A predictor that is a text", _quest(plan="Be brief.")),
    _case("No signature", _quest(_predictor(_PLAN, signature=...))),
    _case("A signature without instructions", _quest(_predictor(_PLAN, signature={"fields": []}))),
    _case("A signature without fields", _quest(_predictor(_PLAN, signature=_NO_FIELDS))),
    _case(
        "A field without its prefix",
        _quest(_predictor(_PLAN, signature={**_NO_FIELDS, "fields": [{"description": "x"}, {"description": "y"}]})),
    ),
    _case("No demonstrations", _quest(_predictor(_PLAN, demos=...))),
    _case("Demonstrations that are no list", _quest(_predictor(_PLAN, demos={}))),
    _case("A demonstration that is a text", _quest(_predictor(_PLAN, demos=["a lost cat"]))),
    _case("Decisions that are a list", _quest(_predictor(_PLAN, fields=[1]))),
)

_FITTING: tuple[Case, ...] = (
    _case("A program that only the game knows", _quest(), Checked()),
    _case("A program that the game does not know", _quest(), path="qeust.json"),
    Case(
        "A bare predictor whose signature the game does not know",
        {
            "manifest.json": '{"modules": {"plan": {"path": "plan.json", "signature_name": "plan",'
            ' "predictor_type": "predict"}}}\n',
            "plan.json": _text(_predictor(_PLAN)),
        },
        _GAME,
    ),
    _case("A predictor that is missing", _quest(), path="saga.json"),
    _case("A predictor that the program does not have", _quest(plant=_predictor(_PLAN))),
    _case("One with quite another name", _quest(chooser=_predictor(_PLAN))),
    _case("A part that is no predictor, where one should be", _quest(plan={"steps": 3})),
    _case("The program of one bare predictor, for one of several", _text(_predictor(_PLAN)), path="saga.json"),
    _case("The program of several, for one bare predictor", _quest(), path="riddle.json"),
    _case(
        "Fields that are fewer than the program's",
        _quest(_predictor(_PLAN, signature={**_NO_FIELDS, "fields": [{"prefix": "Topic:", "description": "x"}]})),
    ),
    _case(
        "Fields in another order",
        _quest(
            _predictor(
                _PLAN,
                signature={
                    **_NO_FIELDS,
                    "fields": [{"prefix": "Outline:", "description": "x"}, {"prefix": "Topic:", "description": "y"}],
                },
            )
        ),
    ),
    _case("A demonstration of something else", _quest(_predictor(_PLAN, demos=[{"riddle": "What has keys?"}]))),
    _case(
        "What DSPy itself refuses",
        _quest(_predictor(_PLAN, fields={"mood": {"threshold": 2}})),
        Checked(
            words=_WORDS,
            registrations=Registrations(programs=_PROGRAMS, dspy="3.4.1", prove=_refuse),
            complete=True,
        ),
    ),
)

_ODD: tuple[Case, ...] = (
    _case("A language model that was saved with it", _quest(_predictor(_PLAN, lm={"model": "openai/gpt-4o"}))),
    _case(
        "A prefix that is another one than the program's",
        _quest(
            _predictor(
                _PLAN,
                signature={
                    **_NO_FIELDS,
                    "fields": [{"prefix": "Topic:", "description": "x"}, {"prefix": "The Plan:", "description": "y"}],
                },
            )
        ),
        note="Some optimizers write their own.",
    ),
    _case(
        "Demonstrations with fields that the program does not have",
        _quest(_predictor(_PLAN, demos=[{"topic": "a cat", "outline": "It is lost.", "source": "row 7"}])),
    ),
    _case("Saved by another version of DSPy", _quest(dspy="3.3.0")),
    _case("Saved without the versions", _quest(metadata=...)),
    _case(
        "A part that is no predictor",
        _quest(memory={"traces": [], "train": [], "demos": [], "signature": {"instructions": "", "fields": []}}),
        Checked(
            words=_WORDS,
            registrations=Registrations(
                programs={"quest": RegisteredProgram(_PROGRAMS["quest"].predictors, "program quest#2", ("memory",))},
                dspy="3.4.1",
            ),
            complete=True,
        ),
        "The game's program has a part `memory`, which is none.",
    ),
)

GROUPS = (
    Group("Programs that DSPy saved: their form", f"Files that DSPy's own `save()` wrote. {_HAS}", _FORM),
    Group("Programs that DSPy saved: whether they fit the game's", _HAS, _FITTING),
    Group("Programs that DSPy saved: what is only odd", _HAS, _ODD),
)
