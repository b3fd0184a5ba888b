"""Keys of language models: from the environment to the one server that they are for, and to nobody else."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import capturedLogs, formatEvent
from twisted.web import resource
from twisted.web import server as web

from dspyreload import DSPyEngine
from dspyreload.errors import LMConfigInvalid, LMFailed
from dspyreload.testing import ChatServer, Refuse
from tests.talk import real
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, in_reactor, reactor, soon
from tests.talk.real import KEY, VARIABLE, settings

pytestmark = pytest.mark.usefixtures("smith")

alone, server = real.alone, real.server


class Doors(resource.Resource):
    """A server that answers as OpenAI's does, and keeps what a request had to show at the door."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str | None] = []

    def render_POST(self, request: Any) -> bytes:
        self.shown.append(request.getHeader("authorization"))
        text = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in AYE.items())
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        request.setHeader(b"content-type", b"application/json")
        reply = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "x",
            "choices": [choice],
            "usage": usage,
        }
        return json.dumps(reply).encode()


@pytest_twisted.async_yield_fixture()
async def doors() -> AsyncIterator[tuple[Doors, str]]:
    """A server that looks at keys, and its address."""
    seen = Doors()
    port = reactor.listenTCP(0, web.Site(seen), interface="127.0.0.1")
    yield seen, f"http://127.0.0.1:{port.getHost().port}/v1"
    await soon(port.stopListening())


@in_reactor
async def test_the_server_gets_the_key_of_the_environment(engine: MakeEngine, doors: Any) -> None:
    """The variable that the setting names is what is shown at the door."""
    seen, url = doors
    game = engine(lms={"real": {"model": "openai/x", "api_base": url, "api_key_env": VARIABLE}})
    await soon(game.invoke("npc.smith", **HELLO))
    assert seen.shown == [f"Bearer {KEY}"]


@in_reactor
async def test_a_server_gets_no_key_that_is_not_for_it(
    engine: MakeEngine, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server than the model's usual one does not hear the key that OpenAI's own variable holds."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    seen, url = doors
    game = engine(lms={"local": {"model": "openai/llama", "api_base": url}})
    assert (await soon(game.invoke("npc.smith", **HELLO))).lm == "local"
    assert not [shown for shown in seen.shown if KEY in str(shown)]


@in_reactor
async def test_a_server_of_ones_own_needs_no_key(engine: MakeEngine, doors: Any) -> None:
    """Settings with an address and no key, as for a model on the same machine, work as they are."""
    _seen, url = doors
    game = engine(lms={"local": {"model": "openai/llama", "api_base": url, "retries": 0}})
    assert (await soon(game.invoke("npc.smith", **HELLO))).lm == "local"


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_key_that_is_missing_ends_the_start(
    modules: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """The engine is not made, and the error names the model and the variable."""
    monkeypatch.delenv(VARIABLE)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(LMConfigInvalid, match=rf"\[real\].*{VARIABLE}"):
        DSPyEngine(modules, lms={"real": {"model": "openai/x", "api_key_env": VARIABLE}})


@pytest.mark.parametrize(
    "answer",
    [
        Refuse(500),
        Refuse(401, "no such key"),
        Refuse(401, f"Incorrect API key provided: {KEY}."),
        Refuse(400, f"headers: {{'authorization': 'Bearer {KEY}'}}"),
        "Grmbl.",
    ],
    ids=["down", "refused", "repeated", "headers", "nonsense"],
)
@in_reactor
async def test_the_key_is_told_to_nobody(
    engine: MakeEngine, server: ChatServer, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """No error, no log line, no event and no ``repr`` has it, whatever the server says of it."""
    server.answers = [answer]
    caplog.set_level(logging.DEBUG)
    told: list[Any] = []
    with capturedLogs() as logs:
        game = engine(lms={"real": settings(server)}, fallback="demos")
        game.live.subscribe(told.append)
        for _ in range(3):
            error = await failure_of(game.invoke("npc.smith", fallback=False, **HELLO), LMFailed)
            told += [str(error), repr(error), error.reason]
        reply = await soon(game.invoke("npc.smith", **HELLO))
        told += [reply.reason, repr(reply), repr(game), game.live.ledger.lms, game.registrations()]
        await soon(game.close())
    told += [formatEvent(event) for event in logs] + [record.getMessage() for record in caplog.records]
    assert any("real" in str(text) for text in told)
    assert not [text for text in told if KEY in str(text)]
