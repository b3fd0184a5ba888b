"""Module versions → DSPy programs. A version gets one program, made from a pristine one and never changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from dspyreload.errors import MissingInput, OtherInputs, UnknownInput
from dspyreload.lm.copying import copied
from dspyreload.lm.react import attach_tools
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.templates import Inputs, ProgramRegistry, runs_async
from dspyreload.lm.tools import ToolRegistry
from dspyreload.model.faults import FaultError, quoted, shown
from dspyreload.model.module import (
    FieldDefinition,
    FieldType,
    OptimizedModule,
    SavedPredictor,
    SignatureDefinition,
)
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Program", "Programs", "all_predictors", "with_lm"]

_TYPES: dict[FieldType, Any] = {"string": str, "json": Any, "int": int, "float": float, "bool": bool, "list": list}

_OF_TOOLS = ("context", "available_tools")  # the tool loop brings these itself


@attrs.frozen(eq=False)
class Program:
    """A DSPy program that belongs to one module version.

    :ivar version: that version. ``module``: what is in it; nobody may change it.
    :ivar runner: the ``dspy.Module``; never loaded into or changed.
    :ivar inputs: what a call may bring.
    :ivar is_async: whether it can run in the LM loop.
    :ivar outputs: type by name of what it is known to give.
    :ivar names: of all fields of all its predictors.
    :ivar spoken: by the id of a predictor: its name, and the output fields that a player may hear as they come.
    """

    version: ModuleVersion
    module: OptimizedModule
    runner: Any
    inputs: Inputs
    is_async: bool
    outputs: dict[str, FieldType]
    names: frozenset[str]
    spoken: dict[int, tuple[str, tuple[str, ...]]]

    def check(self, inputs: Mapping[str, Any]) -> None:
        """Hold what a call brings against what it may bring.

        :raises UnknownInput, MissingInput: or both at once, as ``OtherInputs``.
        """
        names, required, module_id = self.inputs.names, self.inputs.required, self.version.module_id
        if names is not None and inputs.keys() == set(names):
            return
        if self.module.tool_enabled:
            required = tuple(name for name in required if name not in _OF_TOOLS)
        unknown = tuple(name for name in inputs if name not in names) if names is not None else ()
        missing = tuple(name for name in required if name not in inputs)
        if unknown and missing:
            raise OtherInputs(module_id, unknown, missing, names or ())
        if unknown:
            raise UnknownInput(module_id, unknown, names or ())
        if missing:
            raise MissingInput(module_id, missing)


class Programs:
    """The programs of the versions that are in use. For one thread, the LM loop's.

    A live module keeps its newest one; an older one lives as long as a lease or a call holds it.

    :param is_live: whether a version is the one that serves; any thread.
    """

    def __init__(
        self,
        signatures: SignatureRegistry,
        templates: ProgramRegistry,
        tools: ToolRegistry,
        is_live: Callable[[ModuleVersion], bool],
    ) -> None:
        self._signatures, self._templates, self._tools, self._is_live = signatures, templates, tools, is_live
        self._latest: dict[str, Program] = {}
        self._all: weakref.WeakValueDictionary[int, Program] = weakref.WeakValueDictionary()

    def program(self, version: ModuleVersion) -> Program:
        """Return the program of a version, made now if there is none."""
        known = self._all.get(id(version))  # it holds its version: the id can be no other's
        if known is None:
            known = self._all[id(version)] = self._make(version)
        if self._latest.get(version.module_id) is not known and self._is_live(version):
            self._latest[version.module_id] = known
        return known

    def fields(self, version: ModuleVersion) -> SignatureDefinition:
        """Return what a call of a version brings, without what the tool loop brings, and what it gives. Any thread."""
        module = version.module()
        if version.registration.startswith("program "):
            definition = self._templates.template(version.registration).definition()
        elif version.registration:
            definition = self._signatures.definition(version.registration)
        else:
            assert module.signature is not None
            definition = module.signature
        if not module.tool_enabled:
            return definition
        own = tuple(field for field in definition.inputs if field.name not in _OF_TOOLS)
        return attrs.evolve(definition, inputs=own)

    def forget(self, module_ids: tuple[str, ...]) -> None:
        """Let go of the programs of modules that were replaced or are gone; leases and calls keep theirs."""
        for module_id in module_ids:
            self._latest.pop(module_id, None)

    def forget_all(self) -> None:
        """Make every program anew, for calls from now on."""
        self._latest.clear()
        self._all.clear()

    def prove(self, version: ModuleVersion) -> None:
        """Make the program of a version that a template or a saved state has a part in, and drop it. Any thread.

        :raises FaultError: where that fails.
        """
        if not version.registration:
            return
        if not version.registration.startswith("program ") and not version.module().predictors:
            return
        try:
            self._make(version)
        except FaultError:
            raise
        except Exception as error:
            words = shown(str(error), 300) or "it does not say why"
            raise FaultError(
                f"DSPy can't make a program of it: {words}", mend="ask who keeps the game, or save the program again"
            ) from error

    def _make(self, version: ModuleVersion) -> Program:
        module = version.module()
        if version.registration.startswith("program "):
            template = self._templates.template(version.registration)
            runner, inputs = copied(template.program), template.inputs
            attach = self._tools.of(version.module_id)
        else:
            definition, runner = self._predictor(version, module)
            inputs, attach = Inputs.of(definition), None
        _fill(runner, module, by_template=attach is not None)
        if attach is not None:
            attach_tools(runner, attach)
        return Program(
            version,
            module,
            runner,
            inputs,
            runs_async(runner),
            _outputs(runner),
            frozenset(name for predictor in all_predictors(runner) for name in predictor.signature.fields),
            _spoken(runner),
        )

    def _predictor(self, version: ModuleVersion, module: OptimizedModule) -> tuple[SignatureDefinition, Any]:
        import dspy

        if version.registration:
            definition = self._signatures.definition(version.registration)
            signature = self._signatures.signature_class(version.registration)
        else:
            assert module.signature is not None
            definition = module.signature
            signature = _signature(dspy, module, definition)
        if not module.predictors:
            signature = signature.with_instructions(module.instruction)
        kind = dspy.ChainOfThought if module.predictor_type == "chain_of_thought" else dspy.Predict
        return definition, kind(signature)


def _fill(runner: Any, module: OptimizedModule, *, by_template: bool) -> None:
    """Put a version's state into a fresh program."""
    import dspy

    predictors = dict(runner.named_predictors())
    if module.predictors:
        bare = isinstance(runner, dspy.Predict)
        for name, saved in module.predictors.items():
            predictor = runner if bare else predictors.get(name)
            if predictor is not None:
                _load(predictor, saved, name)
        return
    for predictor in predictors.values():
        predictor.demos = [_shown({**demo.inputs, **demo.outputs}) for demo in module.demos]
        if by_template:  # it has one predictor
            predictor.signature = predictor.signature.with_instructions(module.instruction)


def _shown(demo: dict[str, Any]) -> dict[str, Any]:
    """Return a demonstration with "null" for null: DSPy takes None for a hole, says so to the LM, and puts it first."""
    return {name: "null" if value is None else value for name, value in demo.items()}


def _load(predictor: Any, saved: SavedPredictor, name: str) -> None:
    try:
        _load_state(predictor, saved)
    except Exception as error:
        who, path = (f"the predictor {quoted(name)}", (name, "fields")) if name else ("the predictor", ("fields",))
        words = shown(str(error), 300) or "it does not say why"
        mend = "save the program again, with DSPy's save()"
        raise FaultError(f'{who}: DSPy refuses its "fields": {words}', path, mend=mend) from error


def _load_state(predictor: Any, saved: SavedPredictor) -> None:
    known = {*predictor.signature.fields, "augmented"}
    lm = predictor.lm
    predictor.load_state(
        {
            "traces": [],
            "train": [],
            "demos": [{name: value for name, value in demo.items() if name in known} for demo in saved.demos],
            "signature": {
                "instructions": saved.instructions,
                "fields": [{"prefix": prefix, "description": desc} for prefix, desc in saved.fields],
            },
            "lm": None,
            "fields": saved.decisions,
        }
    )
    predictor.lm = lm  # the template's own, if it has one


def all_predictors(runner: Any) -> list[Any]:
    """Return all predictors of a program, those of its frozen parts too, which have no state of their own."""
    import dspy

    return [predictor for _name, predictor in runner.named_sub_modules(dspy.Predict)]


def with_lm(program: Program, replace: Callable[[Any], Any]) -> Program:
    """Return a program of which no predictor has a language model of its own but what ``replace`` makes of it."""
    if not any(predictor.lm for predictor in all_predictors(program.runner)):
        return program
    runner = copied(program.runner)
    for predictor in all_predictors(runner):
        if predictor.lm is not None:
            predictor.lm = replace(predictor.lm)
    return attrs.evolve(program, runner=runner)


def _outputs(runner: Any) -> dict[str, FieldType]:
    import dspy

    if isinstance(runner, dspy.ReAct):
        fields = runner.signature.output_fields
    elif len(predictors := all_predictors(runner)) == 1:
        fields = predictors[0].signature.output_fields
    else:
        return {}
    names = {kind: name for name, kind in _TYPES.items()}
    return {name: names.get(info.annotation, "json") for name, info in fields.items()}


def _spoken(runner: Any) -> dict[int, tuple[str, tuple[str, ...]]]:
    import dspy

    # A ReAct's own predictor thinks, and chooses tools.
    silent = {id(getattr(react, "react", None)) for _, react in runner.named_sub_modules(dspy.ReAct)}
    found = {}
    for name, predictor in runner.named_sub_modules(dspy.Predict):
        if id(predictor) not in silent:
            outputs = predictor.signature.output_fields.items()
            texts = tuple(field for field, info in outputs if info.annotation is str and field != "reasoning")
            found[id(predictor)] = (name.removeprefix("self").removeprefix("."), texts)
    return found


def _signature(dspy: Any, module: OptimizedModule, definition: SignatureDefinition) -> Any:
    def described(field: FieldDefinition) -> dict[str, Any]:
        extra: dict[str, Any] = {"desc": field.description} if field.description else {}
        return {**extra, "default": ""} if field.optional else extra

    fields = {
        field.name: (_TYPES[field.field_type], dspy.InputField(**described(field))) for field in definition.inputs
    }
    fields |= {
        field.name: (_TYPES[field.field_type], dspy.OutputField(**described(field))) for field in definition.outputs
    }
    return dspy.Signature(fields, module.instruction)
