"""What the tests of real language models share: the client that DSPy has for them, and a server of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.task import Clock, deferLater

from dspyreload.model.events import LMHealthChanged
from dspyreload.testing import ChatServer, Refuse
from tests.talk.conftest import AYE, HELLO, MakeEngine, reactor, soon

__all__ = [
    "DOWN",
    "KEY",
    "VARIABLE",
    "Game",
    "HeldServer",
    "SetClock",
    "alone",
    "held",
    "server",
    "serving",
    "settings",
    "until",
]

VARIABLE = "DSPYRELOAD_TEST_KEY"
KEY = "sk-live-c0ffee-5ec2e7"

DOWN = Refuse(500, "out of order")
"""What a server says that is no use."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep DSPy's requests on this machine, and all keys but the test's from them."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # it would fetch prices from the internet
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(VARIABLE, KEY)
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def settings(server: ChatServer, **changes: Any) -> dict[str, Any]:
    """Return the settings of a language model that this server is; one that fails is not asked again."""
    return {"model": "openai/anything", "api_base": server.url, "api_key_env": VARIABLE, "retries": 0, **changes}


@contextlib.asynccontextmanager
async def serving(*answers: Any, **options: Any) -> AsyncIterator[ChatServer]:
    """Run a server for the time of an ``async with`` block."""
    server = ChatServer(*answers, **options)
    await soon(server.start())
    try:
        yield server
    finally:
        await soon(server.stop())


@pytest_twisted.async_yield_fixture()
async def server(alone: None) -> AsyncIterator[ChatServer]:
    """A server that says the same to everybody."""
    async with serving(AYE) as server:
        yield server


@pytest_twisted.async_yield_fixture()
async def held(alone: None) -> AsyncIterator[HeldServer]:
    """A server whose answers wait until the test lets them go."""
    held = HeldServer()
    await soon(held.start())
    yield held
    await soon(held.stop())


async def until(condition: Callable[[], object]) -> None:
    """Wait for what only shows when one looks."""
    end = reactor.seconds() + 20
    while not condition():
        assert reactor.seconds() < end, "it does not become so"
        await soon(deferLater(reactor, 0.005, lambda: None))


class SetClock:
    """The running reactor, but for its clock: that stands still until the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def seconds(self) -> float:
        """Return the time. Any thread."""
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class _Later(Clock):
    """The running reactor, but for its timers: those wait for :meth:`advance`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class HeldServer(ChatServer):
    """A server whose answers wait until the test lets them go: each takes one second of the test's.

    :ivar says: the answer to each request that arrives from now on.
    """

    def __init__(self) -> None:
        self.says: Any = AYE
        self._arrived: DeferredQueue[Any] = DeferredQueue()
        self._clock = _Later()
        super().__init__(self._arrive, delay=1.0, reactor=self._clock)

    def _arrive(self, prompt: Any) -> Any:
        self._arrived.put(prompt)
        return self.says

    async def next(self) -> Any:
        """Wait for the next request, in the order in which they came, and return its prompt."""
        prompt = await soon(self._arrived.get())
        await soon(deferLater(reactor, 0, lambda: None))  # its second begins in the turn in which it came
        return prompt

    def answer(self, seconds: float = 1.0) -> None:
        """Let some of the second pass that each answer takes."""
        self._clock.advance(seconds)


class Game:
    """An engine that falls back on the demonstrations, whose seconds the test sets, and whose model is a server."""

    def __init__(self, make: MakeEngine, server: ChatServer, **options: Any) -> None:
        self.clock, self.server = SetClock(), server
        self.engine = make(lms={"real": settings(server)}, fallback="demos", reactor=self.clock, **options)
        self.events: list[LMHealthChanged] = []
        self.engine.live.subscribe(self._heard)

    def _heard(self, event: Any) -> None:
        if isinstance(event, LMHealthChanged):
            self.events.append(event)

    def ask(self, **options: Any) -> Deferred[Any]:
        """Ask the module."""
        asked: Deferred[Any] = self.engine.invoke("npc.smith", **options, **HELLO)
        return asked

    async def fallback(self, **options: Any) -> str:
        """Ask, and return what answered: "" for the model."""
        answered: str = (await soon(self.ask(**options))).fallback
        return answered

    async def break_down(self) -> None:
        """Have the model fail three times, and be down for one second; then the server is as it was."""
        answers, delay = self.server.answers, self.server.delay
        self.server.answers, self.server.delay = [DOWN], 0.0
        for _ in range(3):
            await soon(self.ask())
        assert not self.state.healthy
        self.server.answers, self.server.delay = answers, delay
        self.server.requests.clear()

    @property
    def state(self) -> Any:
        """How the model does."""
        return self.engine.live.ledger.lms["real"]
