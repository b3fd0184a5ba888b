"""Programs that the game registered: :class:`ProgramRegistry`. They are copied, and never called or changed."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from dspyreload.errors import ProgramRefused
from dspyreload.lm.copying import Shared, copied
from dspyreload.lm.registry import definition_of
from dspyreload.model.module import TAKEN_BY_PREDICT, FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import PredictorShape, RegisteredProgram

__all__ = ["Inputs", "ProgramRegistry", "Template", "inputs_of", "runs_async"]


@attrs.frozen
class Inputs:
    """What a call of a program may bring: ``names`` (None for anything), and those that it must bring."""

    names: tuple[str, ...] | None
    required: tuple[str, ...]

    @classmethod
    def of(cls, definition: SignatureDefinition) -> Inputs:
        """Return those of a signature."""
        needed = tuple(field.name for field in definition.inputs if not field.optional)
        return cls(definition.input_names(), needed)


@attrs.frozen(eq=False)
class Template:
    """A pristine program, ours alone, what its calls may bring, and its predictors."""

    program: Any
    inputs: Inputs
    predictors: tuple[PredictorShape, ...] = ()

    def definition(self) -> SignatureDefinition:
        """Return what goes in, described as its predictors do; what comes out where there is one predictor."""
        described = {field.name: field for shape in reversed(self.predictors) for field in shape.definition.inputs}
        inputs = tuple(
            attrs.evolve(described.get(name, FieldDefinition(name=name)), optional=name not in self.inputs.required)
            for name in self.inputs.names or self.inputs.required
        )
        one = self.predictors[0].definition.outputs if len(self.predictors) == 1 else ()
        return SignatureDefinition(inputs=inputs, outputs=one)


class ProgramRegistry:
    """DSPy programs, by the name that the manifest uses (``program``); by default, the id of a module.

    :param changed: called with the name after each registration. ``check``: called before each, to refuse it.
    """

    def __init__(
        self, changed: Callable[[str], None] = lambda name: None, check: Callable[[], None] = lambda: None
    ) -> None:
        self._changed, self._check = changed, check
        self._templates: dict[str, Template] = {}
        self._registered: dict[str, RegisteredProgram] = {}
        self._numbers = itertools.count(1)
        self.dspy: str | None = None

    def register(self, name: str, program: Any) -> None:
        """Register a ``dspy.Module``; what is served are copies of it, as it is now.

        Modules that wait for it go live; a second registration replaces.

        :raises ProgramRefused: where it is no program, has no predictor, or a copy would share one with it.
        """
        self._check()
        if not isinstance(name, str) or not name:
            raise ProgramRefused(f"a program is registered under a name, not {name!r}")
        if isinstance(program, type) or not callable(getattr(program, "named_predictors", None)):
            raise ProgramRefused(f"{name!r}: a dspy.Module is needed, made and ready, not {program!r}")
        import dspy

        try:
            template = copied(program, check=True)
            parts = dict(template.named_parameters())
        except Shared as error:
            raise ProgramRefused(f"{name!r}: {error}") from None
        except RecursionError:
            raise ProgramRefused(f"{name!r}: its modules hold each other, which DSPy can't save") from None
        predictors = {part: value for part, value in parts.items() if isinstance(value, dspy.Predict)}
        if not predictors:
            raise ProgramRefused(f"{name!r}: the program has no predictor that DSPy sees")
        bare = isinstance(template, dspy.Predict)
        inputs = inputs_of(template)
        if taken := [field for field in inputs.names or () if field in TAKEN_BY_PREDICT and bare]:
            raise ProgramRefused(f"{name!r}: DSPy's Predict keeps the input name {taken[0]!r} for itself")
        token = f"program {name}#{next(self._numbers)}"
        thinking = {id(part.predict) for _, part in template.named_sub_modules(dspy.ChainOfThought)}
        shapes = tuple(
            PredictorShape("" if bare else part, _definition(value, id(value) in thinking))
            for part, value in predictors.items()
        )
        self._templates[token] = Template(template, inputs, shapes)  # an older one may still serve
        self._registered[name] = RegisteredProgram(
            shapes,
            token,
            tuple(part for part in parts if part not in predictors),
        )
        self.dspy = dspy.__version__
        self._changed(name)

    def contains(self, name: str) -> bool:
        """Say whether a program is registered under a name."""
        return name in self._registered

    __contains__ = contains

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._registered))

    def registered(self) -> Mapping[str, RegisteredProgram]:
        """Return the predictors of what is registered, by name."""
        return MappingProxyType(self._registered)

    def template(self, token: str) -> Template:
        """Return the template of one registration, by the token of its ``RegisteredProgram``."""
        return self._templates[token]


def _definition(predictor: Any, thinks: bool) -> SignatureDefinition:
    definition = definition_of(predictor.signature)
    if not thinks:
        return definition
    return attrs.evolve(  # a writer's demonstrations need not say how an answer was found
        definition,
        outputs=tuple(
            attrs.evolve(field, optional=field.optional or field.name == "reasoning") for field in definition.outputs
        ),
    )


def _runs_as(program: Any, kind: Any) -> bool:
    """Say whether a program is of a kind, and has the methods of that."""
    own = type(program)
    return isinstance(program, kind) and own.forward is kind.forward and own.aforward is kind.aforward


def runs_async(program: Any) -> bool:
    """Say whether a program runs by its ``aforward``: not where a child of that class overrides ``forward`` alone."""
    for kind in type(program).__mro__:
        if "aforward" in vars(kind):
            return True
        if "forward" in vars(kind):
            return False
    return hasattr(program, "aforward")


def inputs_of(program: Any) -> Inputs:
    """Return what calls of a program may bring: by its signature, or by the parameters of its ``forward``."""
    import dspy

    if isinstance(program, dspy.Predict):
        return Inputs.of(definition_of(program.signature))
    if _runs_as(program, dspy.ChainOfThought):
        return Inputs.of(definition_of(program.predict.signature))
    if _runs_as(program, dspy.ReAct):
        return Inputs.of(definition_of(program.signature))
    method = getattr(type(program), "aforward" if runs_async(program) else "forward", None)
    if method is None:
        return Inputs(None, ())
    parameters = list(inspect.signature(method).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    required = tuple(p.name for p in named if p.default is p.empty)
    return Inputs(None if anything else tuple(p.name for p in named), required)
