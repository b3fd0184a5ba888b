"""What answers in place of a language model: the module's own lines, else its demonstrations."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lm.demos import make_demos_lm
from dspyreload.lm.pool import ThreadPool
from dspyreload.lm.programs import Program, with_lm
from dspyreload.lm.react import no_tools
from dspyreload.lm.running import Run, Spent, with_tools
from dspyreload.lm.tools import Toolbox

__all__ = ["Fallback"]

LINES = "lines"

_LIMIT = 10.0  # seconds; the demonstrations answer in a hundredth of one
_BLANK: dict[str, Any] = {"string": "", "list": []}


class Fallback:
    """For one thread, the LM loop's."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}
        self._demos: Any = None
        self._pool: ThreadPool | None = None

    def has(self, program: Program, mode: Any) -> bool:
        """Say whether there is anything to answer from."""
        return mode is not False and (mode == DEMOS or bool(program.module.fallback))

    async def answer(
        self, dspy: Any, program: Program, mode: Any, inputs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], str, str] | None:
        """Return the output fields, where they are from, and the name of what spoke; None where there is nothing.

        :param mode: of the call: ``"demos"``, None for the module's own lines alone, False for nothing.
        """
        if not self.has(program, mode):
            return None
        if program.module.fallback:
            return self._line(program), LINES, "fallback"
        try:
            async with asyncio.timeout(_LIMIT):
                return await self._from_demos(dspy, program, inputs), DEMOS, DEMOS
        except Exception:  # it has none, or they do not fit: what went wrong before is what matters
            return None

    def _line(self, program: Program) -> dict[str, Any]:
        """Return the next of the module's lines; what it does not say of the outputs is blank."""
        lines, module_id = program.module.fallback, program.version.module_id
        turn = self._turns.get(module_id, 0)
        self._turns[module_id] = turn + 1
        blank = {name: _BLANK.get(kind) for name, kind in program.outputs.items()}
        return copy.deepcopy({**blank, **lines[turn % len(lines)]})

    async def _from_demos(self, dspy: Any, program: Program, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._demos = self._demos or make_demos_lm()
        self._pool = self._pool or ThreadPool(8)
        no_tools()
        given = dict(inputs)
        if program.module.tool_enabled:
            given = with_tools(given, Toolbox({}), ())
        demos = self._demos
        fields = await Run(dspy, with_lm(program, lambda _lm: demos), demos, Spent(), self._pool, None).once(given)
        if program.module.tool_enabled:
            fields["tool_call"] = None  # no tool runs for a reply that nobody thought of
        return fields
