"""Tools that a module's language model may use: :class:`Tool`, :class:`ToolRegistry`, and what they are called with."""

from __future__ import annotations

import fnmatch
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from dspyreload.errors import DSPyNotInstalled, ToolRefused
from dspyreload.model.faults import shown

__all__ = ["Tool", "ToolRegistry", "Toolbox", "Wanted", "wanted"]

_NOTHING: tuple[Any, ...] = ("", "null", "none", "None", "{}", "[]", None)


@attrs.frozen
class Tool:
    """Something that a character can do.

    :ivar name: what the language model calls it.
    :ivar description: when and why to use it, for the language model.
    :ivar parameters: the JSON Schema of its arguments, an object with ``properties``.
    :ivar execute: ``execute(**arguments)``, called on the reactor thread; plain, ``async def``, or returns a Deferred.
        What it returns is told to the language model; what it raises too. Where it has a parameter ``context``, that is
        what ``invoke(context=...)`` was given: the language model can neither see nor set it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    execute: Callable[..., Any] = attrs.field(repr=False)


@attrs.frozen(eq=False)
class _Entry:
    tool: Any
    modules: str
    takes_context: bool
    validator: Any


class ToolRegistry:
    """The tools of a game. They are offered to tool-enabled modules and to ReAct programs.

    :param changed: called after each registration. ``check``: called before each, to refuse the thread.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None, check: Callable[[], None] = lambda: None) -> None:
        self._changed, self._check = changed, check
        self._entries: dict[str, _Entry] = {}

    def register(self, tool: Any, modules: str = "*") -> None:
        """Register a :class:`Tool`, or anything with its attributes; a second one of the same name replaces it.

        :param modules: the ids of the modules that may use it, as a pattern: ``npc.*``.
        :raises ToolRefused: where its name or its schema can't be used.
        :raises DSPyNotInstalled: where the extra ``dspy`` is not installed, which brings what checks arguments.
        """
        self._check()
        name, parameters = getattr(tool, "name", None), getattr(tool, "parameters", None)
        if not isinstance(name, str) or not name.isidentifier() or name == "finish":
            raise ToolRefused(f"{name!r} can't name a tool; use letters, digits and _, and not 'finish'")
        if not callable(getattr(tool, "execute", None)) or not isinstance(getattr(tool, "description", None), str):
            raise ToolRefused(f"the tool {name!r} needs a description and a function execute(**arguments)")
        if (
            not isinstance(parameters, Mapping)
            or not isinstance(parameters.get("properties", {}), Mapping)
            or parameters.get("type", "object") != "object"
        ):
            raise ToolRefused(f"the tool {name!r}: its parameters must be a JSON Schema of an object with properties")
        if "context" in parameters.get("properties", {}):
            raise ToolRefused(f"the tool {name!r}: the argument 'context' is the game's; call it something else")
        entry = _Entry(tool, modules, _takes_context(tool.execute), _validator(name, parameters))
        self._entries = {**self._entries, name: entry}  # another thread may be going through the old one
        self._changed()

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def of(self, module_id: str) -> Toolbox:
        """Return the tools that a module may use."""
        entries = self._entries.items()
        return Toolbox({name: e for name, e in entries if fnmatch.fnmatchcase(module_id, e.modules)})


def _takes_context(execute: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(execute).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "context" or p.kind is p.VAR_KEYWORD for p in parameters)


def _validator(name: str, parameters: Mapping[str, Any]) -> Any:
    try:
        import jsonschema
    except ModuleNotFoundError:
        raise DSPyNotInstalled from None
    schema = {"type": "object", "additionalProperties": False, **parameters}
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ToolRefused(f"the tool {name!r}: its parameters are no JSON Schema: {error.message}") from None
    return jsonschema.Draft202012Validator(schema)


@attrs.frozen
class Toolbox:
    """The tools that one module may use."""

    _entries: Mapping[str, _Entry]

    def offered(self) -> list[dict[str, Any]]:
        """Return what the language model is told of them: name, description, parameters."""
        return [
            {"name": name, "description": entry.tool.description, "parameters": dict(entry.tool.parameters)}
            for name, entry in self._entries.items()
        ]

    def tools(self) -> dict[str, Any]:
        """Return them by name."""
        return {name: entry.tool for name, entry in self._entries.items()}

    def fault(self, name: str, args: Any) -> str | None:
        """Say what is wrong with a call, for the language model; None where nothing is."""
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(self._entries) or "none"
            return f"there is no tool {shown(str(name))!r}; the tools are: {known}"
        if not isinstance(args, dict):
            return "the args must be an object"
        if "context" in args:
            return "the args: 'context' is no argument"
        errors = sorted(entry.validator.iter_errors(args), key=lambda error: list(map(str, error.path)))
        if not errors:
            return None
        place = ".".join(["args", *(str(part) for part in errors[0].path)])
        return f"{place}: {shown(errors[0].message, 300)}"

    def bound(self, name: str, args: Mapping[str, Any], context: Any) -> Callable[[], Any]:
        """Return a call of a tool, to be made on the reactor thread."""
        entry = self._entries[name]
        extra = {"context": context} if entry.takes_context else {}
        return lambda: entry.tool.execute(**args, **extra)


@attrs.frozen
class Wanted:
    """A tool call that a language model asks for; ``fault`` where it can't be read."""

    name: str = ""
    args: Any = None
    fault: str | None = None


def wanted(tool_call: Any) -> Wanted | None:
    """Read the output ``tool_call``: an object, or JSON text of one; None where no tool is asked for."""
    if isinstance(tool_call, str):
        text = tool_call.strip()
        if text in _NOTHING:
            return None
        try:
            tool_call = json.loads(text)
        except (ValueError, RecursionError):
            return Wanted(fault='tool_call is not JSON; write null, or {"name": ..., "args": {...}}')
    if hasattr(tool_call, "model_dump"):
        tool_call = tool_call.model_dump()
    if not tool_call or (isinstance(tool_call, dict) and tool_call.get("name", "?") in (None, "")):
        return None
    if not isinstance(tool_call, dict) or not isinstance(tool_call.get("name"), str):
        return Wanted(fault='tool_call must be null, or an object {"name": ..., "args": {...}}')
    return Wanted(tool_call["name"], tool_call.get("args") or {})
