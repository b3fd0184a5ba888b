"""Calls of module versions without an engine around them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from dspyreload.config import Limits
from dspyreload.live.stats import Ledger
from dspyreload.lm.call import Call
from dspyreload.lm.health import Health
from dspyreload.lm.invoking import Invoking
from dspyreload.lm.limiting import Limiter
from dspyreload.lm.models import LanguageModels
from dspyreload.lm.programs import Programs
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.reply import Reply
from dspyreload.lm.templates import ProgramRegistry
from dspyreload.lm.tools import ToolRegistry
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["call_of", "invoke", "invoking", "make_programs"]


def make_programs(signatures: SignatureRegistry | None = None, tools: ToolRegistry | None = None) -> Programs:
    """Return programs with none made yet; each version that is asked for is taken to be live."""
    return Programs(signatures or SignatureRegistry(), ProgramRegistry(), tools or ToolRegistry(), lambda version: True)


def invoking(lm: Any = None, signatures: SignatureRegistry | None = None) -> Invoking:
    """Return an ``Invoking`` wired as an engine does it, with no limits and no tools.

    :param lm: the engine's. ``signatures``: what is registered; nothing without.
    """
    tools = ToolRegistry()
    return Invoking(
        make_programs(signatures, tools),
        LanguageModels(lm, {}),
        tools,
        Limiter(Limits(), time.monotonic),
        Health(time.monotonic, lambda name, state, retry_in: None),
        time.monotonic,
        Ledger().record,
        max_concurrency=256,
        max_iterations=5,
    )


def call_of(version: ModuleVersion, inputs: dict[str, Any], generation: int = 1, **options: Any) -> Call:
    """Return a call; it can reach no reactor."""
    return Call(version=version, generation=generation, inputs=inputs, on_reactor=_no_reactor, **options)


def invoke(calls: Invoking, version: ModuleVersion, inputs: dict[str, Any], **options: Any) -> Reply:
    """Run one call to its end, in a loop of its own."""
    return asyncio.run(calls.invoke(call_of(version, inputs, **options)))


def _no_reactor(name: str, function: Callable[[], Any]) -> Awaitable[Any]:
    raise AssertionError(f"there is no reactor to run {name} on")
