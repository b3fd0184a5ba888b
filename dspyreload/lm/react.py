"""The tools of ReAct programs: run where the game's objects may be touched, and joined by those of the registry."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Literal

import attrs

from dspyreload.lm.marking import harmless
from dspyreload.lm.reply import ToolCall
from dspyreload.lm.tools import Toolbox
from dspyreload.model.faults import shown

__all__ = ["Running", "attach_tools", "no_tools", "running"]


@attrs.frozen(eq=False)
class Running:
    """What a tool that DSPy calls needs of the call that it is part of.

    :ivar on_reactor: runs a function on the reactor thread, and gives what it returns, or its Deferred fires with.
    :ivar context: what ``invoke(context=...)`` was given.
    :ivar trail: takes each tool that ran.
    """

    loop: asyncio.AbstractEventLoop
    on_reactor: Callable[[str, Callable[[], Any]], Awaitable[Any]]
    context: Any = None
    trail: list[ToolCall] = attrs.field(factory=list)
    _waited_for: list[concurrent.futures.Future[Any]] = attrs.field(factory=list)
    _over: threading.Event = attrs.field(factory=threading.Event)

    def end(self) -> None:
        """Let go of threads that wait for a tool: the call is over."""
        self._over.set()
        for future in tuple(self._waited_for):
            future.cancel()

    def run(self, name: str, args: Mapping[str, Any], function: Callable[[], Any], names: Collection[str]) -> Any:
        """Run a tool: in the LM loop a coroutine, which DSPy awaits; in a thread of its own, wait for it.

        :param names: of the fields of the prompt that its result goes into.
        """
        awaitable = self._awaited(name, args, function, names)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            future = asyncio.run_coroutine_threadsafe(awaitable, self.loop)
            self._waited_for.append(future)
            if self._over.is_set():
                future.cancel()
            try:
                return future.result()
            except (
                concurrent.futures.CancelledError
            ):  # not the asyncio one, which no program takes for a tool's failure
                raise asyncio.CancelledError from None
        return awaitable

    async def _awaited(
        self, name: str, args: Mapping[str, Any], function: Callable[[], Any], names: Collection[str]
    ) -> Any:
        """Return what a tool found out; what players wrote where it looked is data, too."""
        import dspy

        try:
            found = await self.on_reactor(name, function)
        except NoTools:
            raise
        except Exception as error:  # DSPy itself would tell the language model where it was raised, with our paths
            words = shown(f"{type(error).__name__}: {error}", 500)
            self.trail.append(ToolCall(name, args, error=words))
            found = f"Execution error in {name}: {words}"
        else:
            self.trail.append(ToolCall(name, args, found))
        return harmless(found, dspy.settings.adapter, names)


running: contextvars.ContextVar[Running | None] = contextvars.ContextVar("dspyreload_running", default=None)
"""The call that this task or thread is part of."""


class NoTools(RuntimeError):
    """A tool was asked for where none runs."""


async def _refuse(name: str, _function: Callable[[], Any]) -> Any:
    raise NoTools(f"the tool {name} does not run here")


def no_tools() -> None:
    """Have no tool run in this task: for a preview, and for a reply that nobody thought of."""
    running.set(Running(asyncio.get_running_loop(), _refuse))


def attach_tools(program: Any, toolbox: Toolbox) -> None:
    """Have every ReAct in a fresh copy run its tools on the reactor thread, and offer the game's to its LM."""
    import dspy

    for _name, part in program.named_sub_modules(dspy.Module):
        tools = getattr(part, "tools", None)
        if type(part) is not dspy.ReAct and type(tools) is dict and not hasattr(part, "react"):
            every = frozenset(field for one in part.predictors() for field in one.signature.fields)
            is_tool = [isinstance(tool, dspy.Tool) for tool in tools.values()]
            part.tools = {name: _on_reactor(tool, every) for name, tool in tools.items()} if all(is_tool) else tools
    for _name, react in program.named_sub_modules(dspy.ReAct):
        if not hasattr(react, "react"):  # a child that does it in its own way
            continue
        names = frozenset(field for part in react.predictors() for field in part.signature.fields) | {
            f"{what}_{turn}"
            for what in ("thought", "tool_name", "tool_args", "observation")
            for turn in range(react.max_iters)
        }
        own = {name: tool if name == "finish" else _on_reactor(tool, names) for name, tool in react.tools.items()}
        more = {name: _as_dspy(name, toolbox, names) for name in toolbox.tools() if name not in own}
        finish = {"finish": own.pop("finish")} if "finish" in own else {}
        react.tools = {**own, **more, **finish}
        if more:
            _offer(react, more)


def _on_reactor(tool: Any, names: Collection[str]) -> Any:
    function = tool.func

    def run(**args: Any) -> Any:
        call = running.get()
        if call is None:
            raise RuntimeError("a tool runs in an invoke only")
        return call.run(str(tool.name), args, lambda: function(**args), names)

    return tool.model_copy(update={"func": run})


def _as_dspy(name: str, toolbox: Toolbox, names: Collection[str]) -> Any:
    import dspy

    tool = toolbox.tools()[name]

    def run(**args: Any) -> Any:
        call = running.get()
        if call is None:
            raise RuntimeError("a tool runs in an invoke only")
        fault = toolbox.fault(name, args)
        if fault is not None:
            raise ValueError(fault)
        return call.run(name, args, toolbox.bound(name, args, call.context), names)

    properties = dict(tool.parameters.get("properties", {}))
    return dspy.Tool(run, name=name, desc=tool.description, args=properties, arg_types={})


def _offer(react: Any, more: dict[str, Any]) -> None:
    """Name further tools to the LM, as ReAct names its own."""
    signature = react.react.signature.with_updated_fields("next_tool_name", type_=Literal[tuple(react.tools)])
    lines = [f"({len(react.tools) - len(more) + index}) {tool}" for index, tool in enumerate(more.values(), 1)]
    react.react.signature = signature.with_instructions("\n".join([signature.instructions, "Further tools:", *lines]))
