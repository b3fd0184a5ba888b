"""One call: a module version, input fields and a language model → a reply."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

import attrs

from dspyreload.errors import (
    DSPyReloadError,
    EngineBusy,
    InvokeTimeout,
    LimitExceeded,
    LMFailed,
    MaxIterationsReached,
    NoLM,
    ReplyRefused,
)
from dspyreload.lm.call import Call
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lm.fallback import Fallback
from dspyreload.lm.health import Health
from dspyreload.lm.limiting import Limiter
from dspyreload.lm.models import Chosen, LanguageModels, import_dspy, is_lm_failure, is_out_of_form
from dspyreload.lm.pace import Pace
from dspyreload.lm.pool import ThreadPool
from dspyreload.lm.preview import Captured, capturing
from dspyreload.lm.programs import Program, Programs, with_lm
from dspyreload.lm.react import Running, no_tools, running
from dspyreload.lm.reply import Reply, Usage
from dspyreload.lm.running import Run, Spent, with_tools
from dspyreload.lm.streaming import Sender, whole_fields
from dspyreload.lm.tools import ToolRegistry

__all__ = ["Invoking"]

_held: contextvars.ContextVar[tuple[asyncio.Semaphore, ...]] = contextvars.ContextVar("dspyreload_held", default=())

_INSTEAD = (LMFailed, InvokeTimeout, EngineBusy, LimitExceeded, NoLM, MaxIterationsReached, ReplyRefused)
"""What a fallback answers for: not the mistakes of the caller."""


class Invoking:
    """Runs module versions. Everything here runs in the LM loop's thread.

    :param clock: seconds.
    :param record: called with module id, version and what a call cost, and ``failed=`` or ``fallback=``.
    """

    def __init__(
        self,
        programs: Programs,
        models: LanguageModels,
        tools: ToolRegistry,
        limiter: Limiter,
        health: Health,
        clock: Callable[[], float],
        record: Callable[..., None],
        *,
        max_concurrency: int,
        max_iterations: int,
    ) -> None:
        self._programs, self.models, self._tools = programs, models, tools
        self._limiter, self._health, self._clock, self._record = limiter, health, clock, record
        self._max_concurrency, self._max_iterations = max_concurrency, max_iterations
        self._fallback, self._pace = Fallback(), Pace()
        self._dspy: Any = None
        self._importing = asyncio.Lock()
        self._places: asyncio.Semaphore | None = None
        self._pool: ThreadPool | None = None

    async def warm(self) -> None:
        """Import DSPy and make the engine's LM, so that the first call need not wait for it."""
        dspy = await self._import()
        if self.models.lm is not None:
            self.models.choose(dspy, None, "")

    async def invoke(self, call: Call, busy: EngineBusy | None = None) -> Reply:
        """Run one call.

        :param busy: why it may not run; a fallback answers in its place.
        :raises DSPyReloadError: see ``DSPyEngine.invoke``.
        """
        started, spent = self._clock(), Spent()
        try:
            if busy is not None:
                raise busy
            reply = await self._in_time(call, spent)
        except _INSTEAD as error:
            self._count(call, spent, started, failed=True)
            reply = await self._instead(call, error)
            return attrs.evolve(reply, usage=spent.usage(self._clock() - started))
        except asyncio.CancelledError:
            self._limiter.spend(call.key, spent.usage(0.0).total_tokens)  # who gives up has spent them all the same
            raise
        return attrs.evolve(reply, usage=self._count(call, spent, started, failed=False))

    def _count(self, call: Call, spent: Spent, started: float, *, failed: bool) -> Usage:
        usage = spent.usage(self._clock() - started)
        self._limiter.spend(call.key, usage.total_tokens)
        self._record(call.version.module_id, call.version.version, usage, failed=failed)
        return usage

    async def _in_time(self, call: Call, spent: Spent) -> Reply:
        try:
            async with asyncio.timeout(call.timeout) as limit:
                return await self._admitted(call, spent)
        except TimeoutError:
            if limit.expired() and call.timeout is not None:
                error = InvokeTimeout(call.version.module_id, call.timeout)
                if spent.speaking:
                    self._health.failed(spent.speaking, str(error), call)
                raise error from None
            raise
        finally:
            self._health.ended(spent.chosen, call)

    async def _admitted(self, call: Call, spent: Spent) -> Reply:
        dspy = await self._import()
        module_id = call.version.module_id
        program = self._program(call)
        self._limiter.admit(module_id, call.key, call.inputs)
        chosen = self._choose(dspy, call)
        if (
            self._fallback.has(program, call.fallback)
            and (reason := self._health.down(chosen.health, call)) is not None
        ):
            raise LMFailed(module_id, chosen.name, reason)
        spent.chosen = chosen.health
        return await self._passed(call, await self._placed(dspy, call, program, chosen, spent))

    async def _passed(self, call: Call, reply: Reply, *, whole: bool = False) -> Reply:
        """Return what the game makes of a reply.

        :param whole: nothing of it was heard yet, as where the game has filters: it is heard now, field by field.
        """
        if call.filtered is not None:
            reply, whole = await call.filtered(reply), True
        if whole and call.on_chunk is not None:
            for chunk in whole_fields(reply, reply.fallback):
                call.on_chunk(chunk)
        return reply

    def _program(self, call: Call) -> Program:
        program = call.keep[call.version.module_id] = self._programs.program(call.version)
        program.check(call.inputs)
        return program

    def _choose(self, dspy: Any, call: Call) -> Chosen:
        entry = call.version.entry
        lm = call.lm if call.lm is not None else (entry.lm if entry is not None else None)
        return self.models.choose(dspy, lm, call.version.module_id)

    async def _placed(self, dspy: Any, call: Call, program: Program, chosen: Chosen, spent: Spent) -> Reply:
        """Wait for a place, and for one of the language model's own, and speak."""
        if self._places is None:
            self._places = asyncio.Semaphore(self._max_concurrency)
            self._pool = self._pool or ThreadPool(self._max_concurrency)
        # The model's own first: who waits for a slow one takes no place from those who ask another.
        # A call that a tool makes speaks in the places of the call that waits for the tool.
        held = _held.get()
        own = [place for place in (chosen.places, self._places) if place is not None and place not in held]
        async with contextlib.AsyncExitStack() as stack:
            for place in own:
                await stack.enter_async_context(place)
            _held.set((*held, *own))
            await self._pace.turn()
            return await self._spoken(dspy, call, program, chosen, spent)

    async def _spoken(self, dspy: Any, call: Call, program: Program, chosen: Chosen, spent: Spent) -> Reply:
        # What a filter has not seen nobody may hear.
        sender = Sender(program, call.on_chunk) if call.on_chunk is not None and call.filtered is None else None
        model = self.models.for_entry(chosen, call.version.entry)
        run = Run(dspy, program, model, spent, self._pool, sender)

        outside = contextvars.copy_context()  # what the caller set, and nothing of what DSPy sets for this run

        async def in_the_game(name: str, function: Callable[[], Any]) -> Any:
            speaking, spent.speaking = spent.speaking, ""  # a slow tool is not a slow LM
            try:
                result = await outside.copy().run(call.on_reactor, name, function)
            except Exception:
                spent.speaking = speaking
                raise
            spent.speaking = speaking
            return result

        tools = Running(asyncio.get_running_loop(), in_the_game, call.context)
        running.set(tools)
        spent.speaking = chosen.health
        try:
            if program.module.tool_enabled:
                toolbox = self._tools.of(call.version.module_id)
                fields = await run.with_tools(call.inputs, toolbox, tools, self._max_iterations)
            else:
                fields = await run.once(call.inputs)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise LMFailed(call.version.module_id, chosen.name, "it cancelled its own call") from error
        except DSPyReloadError:
            raise
        except Exception as error:
            if is_out_of_form(error):
                self._health.succeeded(chosen.health)
            elif is_lm_failure(error) and chosen.name != DEMOS:
                self._health.failed(chosen.health, self.models.reason_of(error), call)
            raise LMFailed(call.version.module_id, chosen.name, self.models.reason_of(error)) from error
        finally:
            tools.end()
        self._health.succeeded(chosen.health)
        spent.speaking = ""
        return Reply(
            fields,
            call.version.module_id,
            call.version.version,
            call.generation,
            chosen.name,
            tool_calls=tuple(tools.trail),
        )

    # In place of a reply

    async def _instead(self, call: Call, error: Exception) -> Reply:
        """Answer from the module's own lines or its demonstrations, or raise what went wrong."""
        dspy = await self._import()
        program = self._program(call)
        answer = await self._fallback.answer(dspy, program, call.fallback, call.inputs)
        if answer is None:
            raise error
        fields, source, lm = answer
        version = call.version
        reply = Reply(
            fields, version.module_id, version.version, call.generation, lm, fallback=source, reason=str(error)
        )
        try:
            async with asyncio.timeout(call.timeout):  # a filter has no more time for it than for any other
                reply = await self._passed(call, reply, whole=True)
        except TimeoutError:
            raise InvokeTimeout(version.module_id, call.timeout or 0.0) from error
        self._record(version.module_id, version.version, reply.usage, fallback=True)
        return reply

    async def preview(self, call: Call) -> list[dict[str, Any]]:
        """Return the messages of the first request that a call would send, and send none.

        :raises LMFailed: where the program asks no language model.
        """
        try:
            async with asyncio.timeout(call.timeout):
                dspy = await self._import()
                program, model = self._program(call), None
                with contextlib.suppress(NoLM):
                    model = self._choose(dspy, call).model
                return await self._captured(dspy, call, program, model)
        except TimeoutError:
            raise InvokeTimeout(call.version.module_id, call.timeout or 0.0) from None

    async def _captured(self, dspy: Any, call: Call, program: Program, model: Any) -> list[dict[str, Any]]:
        self._pool = self._pool or ThreadPool(self._max_concurrency)
        no_tools()
        inputs = dict(call.inputs)
        if program.module.tool_enabled:
            inputs = with_tools(inputs, self._tools.of(call.version.module_id), ())
        try:
            await Run(
                dspy,
                with_lm(program, lambda lm: capturing(dspy, lm)),
                capturing(dspy, model),
                Spent(),
                self._pool,
                None,
            ).once(inputs)
        except Captured as captured:
            return captured.messages
        except Exception as error:
            raise LMFailed(call.version.module_id, "preview", self.models.reason_of(error)) from error
        raise LMFailed(call.version.module_id, "preview", "the program asked no language model")

    async def _import(self) -> Any:
        """Import DSPy, which takes more than a second, beside the loop: other calls and time limits go on."""
        if self._dspy is None:
            async with self._importing:  # who waits goes on in order
                self._dspy = self._dspy or await asyncio.to_thread(import_dspy)
        return self._dspy
