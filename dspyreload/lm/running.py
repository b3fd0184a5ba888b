"""One run of a program with DSPy, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from dspyreload.errors import MaxIterationsReached
from dspyreload.lm.marking import harmless
from dspyreload.lm.pool import ThreadPool
from dspyreload.lm.programs import Program
from dspyreload.lm.react import Running
from dspyreload.lm.reply import ToolCall, Usage
from dspyreload.lm.streaming import Sender
from dspyreload.lm.tools import Toolbox, Wanted, wanted
from dspyreload.model.faults import shown

__all__ = ["Run", "Spent", "with_tools"]


@attrs.define(eq=False)
class Spent:
    """What a call has cost so far.

    :ivar trackers: DSPy's, one for each run.
    :ivar chosen: the language model of the call, or "" before it is known.
    :ivar speaking: the same while it is waited for.
    """

    trackers: list[Any] = attrs.field(factory=list)
    speaking: str = ""
    chosen: str = ""

    def usage(self, latency: float) -> Usage:
        """Return it in sum."""
        entries = [entry for tracker in self.trackers for found in tracker.usage_data.values() for entry in found]
        return Usage(
            input_tokens=sum(int(entry.get("prompt_tokens") or 0) for entry in entries),
            output_tokens=sum(int(entry.get("completion_tokens") or 0) for entry in entries),
            requests=len(entries),
            latency=latency,
        )


class Run:
    """Runs a program, once or, in the tool loop, again and again.

    :param sender: takes what the language model says while it says it.
    """

    def __init__(
        self, dspy: Any, program: Program, model: Any, spent: Spent, pool: ThreadPool | None, sender: Sender | None
    ) -> None:
        self._dspy, self._program, self._model = dspy, program, model
        self._spent, self._pool, self._sender = spent, pool, sender

    async def once(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run the program; return its output fields."""
        from dspy.utils.exceptions import AdapterParseError

        streams = self._sender is not None and self._sender.begin(self._dspy, self._model)
        try:
            prediction = await self._run(inputs, {"send_stream": self._sender} if streams else {})
        except AdapterParseError:
            adapter = self._dspy.settings.adapter
            chats = adapter is None or type(adapter) is self._dspy.ChatAdapter
            heard = self._sender is not None and self._sender.heard
            if not streams or heard or not chats or len(self._program.spoken) != 1:
                raise
            # DSPy asks once more by itself, in JSON, but not after a piece of a stream, though nobody heard one.
            prediction = await self._run(inputs, {"adapter": self._dspy.JSONAdapter()})
        fields = _fields(prediction)
        if self._sender is not None:
            self._sender.finish(fields)
        return fields

    async def _run(self, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        from dspy.utils.usage_tracker import UsageTracker

        dspy, program = self._dspy, self._program
        tracker, outer = UsageTracker(), dspy.settings.usage_tracker
        self._spent.trackers.append(tracker)
        adapter = dspy.settings.adapter
        given = {name: harmless(value, adapter, program.names) for name, value in inputs.items()}
        # No history, and a trace that ends with the run: DSPy's own would keep every player's words, in three places,
        # for as long as we run. And no warning of a type that is not the field's: it would write them into the log.
        with dspy.context(
            lm=self._model,
            disable_history=True,
            trace=[],
            warn_on_type_mismatch=False,
            usage_tracker=tracker,
            **options,
        ):
            try:
                if program.is_async:
                    return await program.runner.acall(**given)
                assert self._pool is not None
                return await self._pool.run(lambda: program.runner(**given))
            finally:
                if outer is not None:
                    for name, entries in tracker.usage_data.items():
                        outer.usage_data[name].extend(entries)

    async def with_tools(self, inputs: Mapping[str, Any], toolbox: Toolbox, game: Running, most: int) -> dict[str, Any]:
        """Ask, run the tool that is asked for, tell what came of it, and ask again.

        :raises MaxIterationsReached: where ``most`` answers each ask for a tool.
        """
        for _ in range(most):
            fields = await self.once(with_tools(inputs, toolbox, game.trail))
            want = wanted(fields.get("tool_call"))
            if want is None:
                return fields
            game.trail.append(await _used(toolbox, want, game))
        raise MaxIterationsReached(self._program.version.module_id, tuple(game.trail))


async def _used(toolbox: Toolbox, want: Wanted, game: Running) -> ToolCall:
    """Run a tool; what goes wrong is what the language model is told."""
    fault = want.fault or toolbox.fault(want.name, want.args)
    if fault is not None:
        return ToolCall(want.name, want.args, error=fault)
    try:
        result = await game.on_reactor(want.name, toolbox.bound(want.name, want.args, game.context))
    except Exception as error:
        return ToolCall(want.name, want.args, error=shown(f"{type(error).__name__}: {error}", 500))
    return ToolCall(want.name, want.args, result)


def with_tools(inputs: Mapping[str, Any], toolbox: Toolbox, trail: Sequence[ToolCall]) -> dict[str, Any]:
    """Return the inputs of a turn of the tool loop: what is offered, and what is known so far."""
    context = inputs.get("context")
    known = context if isinstance(context, dict) else {"given": context} if context else {}
    if trail:
        known = {**known, "tool_results": [_told(done) for done in trail]}
    return {**inputs, "available_tools": toolbox.offered(), "context": known}


def _told(done: ToolCall) -> dict[str, Any]:
    outcome = {"error": done.error} if done.error is not None else {"result": done.result}
    return {"name": done.name, "args": done.args, **outcome}


def _fields(prediction: Any) -> dict[str, Any]:
    if isinstance(prediction, Mapping) or hasattr(prediction, "items"):
        return {str(name): value for name, value in prediction.items()}
    raise TypeError(f"the program returned {type(prediction).__name__}, not a dspy.Prediction")
