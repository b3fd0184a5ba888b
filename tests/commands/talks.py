"""A conversation whose screen is a list of texts, on an engine of a directory in the running reactor."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

from dspyreload import DSPyEngine
from dspyreload.commands.conversation import Conversation
from dspyreload.commands.saves import Line, line_of
from dspyreload.commands.screen import Screen
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.model.events import HotReloadEvent
from dspyreload.talk.leases import Lease

__all__ = ["AYE", "Talk", "in_reactor", "reactor", "soon", "talking"]

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])

AYE = {"response": "Aye.", "emotion": "calm"}


def in_reactor(test: Test) -> Test:
    """Run a coroutine function as a test in the reactor."""
    return cast(Test, pytest_twisted.ensureDeferred(test))


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """Give up waiting after 20 s: a test that would hang fails."""
    return deferred.addTimeout(20, reactor)


class Talk:
    """A writer at a conversation.

    :ivar printed: what the screen was given since the last line that was typed.
    """

    def __init__(self, engine: DSPyEngine, module_id: str | None, lm_name: str) -> None:
        self.engine = engine
        self.printed: list[str] = []
        self.conversation = Conversation(engine, Screen(self.printed.append, terminal=False), module_id, lm_name)
        self.conversation.greet()

    @property
    def screen(self) -> str:
        """All that is printed."""
        return "".join(self.printed)

    def typed(self, text: str) -> Deferred[bool]:
        """Type a line; fires with whether the conversation goes on."""
        self.printed.clear()
        return Deferred.fromCoroutine(self.conversation.take(text))

    async def say(self, text: str) -> str:
        """Type a line, and wait for what it does; returns what was printed."""
        assert await soon(self.typed(text))
        return self.screen

    async def looked(self) -> tuple[HotReloadEvent, ...]:
        """Have the engine look at the files, and tell nobody."""
        return await soon(self.engine.reload_all())

    async def saved(self) -> Line | None:
        """Have the engine look at the files, and tell of it as a session does."""
        line = line_of(await self.looked(), (), self.conversation.module_id, {}, set())
        if line is not None:
            self.conversation.tell(line)
        return line

    def leases(self) -> int:
        """Count the leases that are alive."""
        gc.collect()
        return sum(isinstance(thing, Lease) for thing in gc.get_objects())


@asynccontextmanager
async def talking(
    directory: Path, lm: Any = DEMOS, module_id: str | None = None, **options: Any
) -> AsyncIterator[Talk]:
    """Talk to who is in a directory; the engine is closed at the end."""
    engine = DSPyEngine(directory, lm, **options)
    try:
        yield Talk(engine, module_id, DEMOS if lm == DEMOS else "scripted")
    finally:
        await soon(engine.close())
