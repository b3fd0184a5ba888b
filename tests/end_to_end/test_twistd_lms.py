"""``twistd dspyreload`` as a real process, with a language model behind HTTP: it speaks, falls back, and recovers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import endpoints
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import LineReceiver

from dspyreload.testing import ChatServer, Refuse
from tests.conftest import Save, module_text
from tests.end_to_end.processes import LIMIT, running, twistd

reactor: Any = installed

KEY = "sk-live-c0ffee-5ec2e7"
AYE = {"response": "Aye.", "emotion": "calm"}

GAME = '''
"""The game's side: it opens a port at which players speak to the smith, a line each."""

from twisted.internet import endpoints, reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


class Smith(LineReceiver):
    delimiter = b"\\n"

    def lineReceived(self, line):
        said = self.factory.engine.invoke("npc.smith", player_message=line.decode())
        said.addCallback(lambda reply: f"{reply.lm}: {reply['response']} ({reply.fallback}) {reply.reason}")
        said.addErrback(lambda failure: f"error: {failure.getErrorMessage()}")
        said.addCallback(lambda text: self.sendLine(text.encode()))


def setup(engine):
    factory = Factory.forProtocol(Smith)
    factory.engine = engine
    if not engine.offline:
        port = endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        port.addCallback(lambda port: print("players come to port", port.getHost().port, flush=True))
'''


def soon(deferred: Deferred[Any]) -> Deferred[Any]:
    """Give up waiting: a test that would hang fails."""
    return deferred.addTimeout(LIMIT, reactor)


class Player(LineReceiver):
    """A player at the game's port."""

    delimiter = b"\n"

    def __init__(self) -> None:
        self._said: DeferredQueue[str] = DeferredQueue()

    def lineReceived(self, line: bytes) -> None:
        self._said.put(line.decode())

    async def ask(self) -> str:
        """Say something, and return what the smith answers."""
        self.sendLine(b"Hello")
        answer: str = await soon(self._said.get())
        return answer

    async def until(self, right: Callable[[str], bool]) -> None:
        """Ask again and again until an answer is right."""
        while not right(await self.ask()):
            await deferLater(reactor, 0.02, lambda: None)

    @classmethod
    async def at(cls, port: int) -> Player:
        """Connect."""
        endpoint = endpoints.HostnameEndpoint(reactor, "127.0.0.1", port)
        player: Player = await soon(endpoints.connectProtocol(endpoint, cls()))
        return player

    async def leave(self) -> None:
        """Close the connection."""
        assert self.transport is not None
        self.transport.loseConnection()


@pytest.fixture
def directory(modules: Path, save: Save) -> Path:
    """A directory with a game in it, and its modules."""
    save("npc/smith.json", module_text())
    (modules.parent / "game.py").write_text(GAME)
    return modules.parent


def config(directory: Path, address: str) -> str:
    """Write the language models of the game, and return the name of the file."""
    (directory / "lms.toml").write_text(
        f'[smart]\nmodel = "openai/anything"\napi_base = "{address}"\napi_key_env = "SMART_KEY"\nretries = 0\n'
    )
    return "lms.toml"


@pytest_twisted.ensureDeferred
async def test_it_speaks_falls_back_and_recovers(directory: Path) -> None:
    """The model answers a player; when it is down the demonstrations do, and when it is back it does again.

    The log says each once, and no key.
    """
    model = ChatServer(AYE)
    await soon(model.start())
    options = ("--modules", "modules", "--lm-config", config(directory, model.url), "--fallback", "demos")
    command = twistd("-n", "dspyreload", *options, "--setup", "game")
    with running(*command, cwd=directory, SMART_KEY=KEY, NO_PROXY="127.0.0.1") as server:

        def line(pattern: str) -> Deferred[Any]:
            return soon(deferToThread(server.wait_for, pattern))

        player = await Player.at(int((await line(r"players come to port (\d+)"))[1]))
        await line("watching .*; 1 module live")
        assert await player.ask() == "smart: Aye. () "

        await soon(model.go_down())
        for _ in range(3):
            answer = await player.ask()
            assert answer.startswith("demos: Is it? Mind the sparks. (demos) npc.smith: the LM smart failed: ")
        await line(r"the LM smart fails: .*; fallbacks answer, and it is tried again now and then")
        await player.until(lambda answer: "the LM smart is down" in answer)

        await soon(model.come_back())
        await player.until(lambda answer: answer == "smart: Aye. () ")
        await line("the LM smart answers again")
        assert len(model.requests) == 2

        model.answers = [Refuse(401, "who are you?")]
        assert "(demos) npc.smith: the LM smart failed: [openai/anything] who are you?" in await player.ask()
        await player.leave()
        await soon(deferToThread(server.end))
    await soon(model.stop())
    assert "Traceback" not in server.text
    assert KEY not in server.text


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_not_there_keeps_no_server_from_starting(directory: Path) -> None:
    """What is saved is live, and players hear the demonstrations, until the model comes."""
    model = ChatServer(AYE)
    await soon(model.start())
    await soon(model.go_down())
    options = ("--modules", "modules", "--lm-config", config(directory, model.url), "--fallback", "demos")
    command = twistd("-n", "dspyreload", *options, "--lm", "smart", "--setup", "game")
    with running(*command, cwd=directory, SMART_KEY=KEY, NO_PROXY="127.0.0.1") as server:
        port = await soon(deferToThread(server.wait_for, r"players come to port (\d+)"))
        player = await Player.at(int(port[1]))
        await soon(deferToThread(server.wait_for, "watching .*; 1 module live"))
        assert (await player.ask()).startswith("demos: ")
        await soon(model.come_back())
        assert await player.ask() == "smart: Aye. () "
        await player.leave()
        await soon(deferToThread(server.end))
    await soon(model.stop())
    assert "Traceback" not in server.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lm-config", "nowhere.toml"], "--lm-config nowhere.toml: can't be read: No such file or directory"),
        (["--lm-config", "broken.toml"], "--lm-config broken.toml, line 1, column 7: not TOML: "),
        (["--lm-config", "lms.toml"], "[smart] needs the environment variable SMART_KEY, which is not set"),
        (["--fallback", "lines"], "--fallback lines: it can be demos"),
    ],
)
def test_a_model_that_can_not_work_is_one_line_before_anything_is_daemonized(
    directory: Path, arguments: list[str], message: str
) -> None:
    """Exit status 1, one line that says what is wrong, no process left, no pid file, no log file."""
    config(directory, "http://127.0.0.1:9/v1")
    (directory / "broken.toml").write_text("[smart\n")
    before = set(directory.iterdir())
    with running(*twistd("dspyreload", "--modules", "modules", *arguments), cwd=directory) as command:
        assert command.finish() == 1
    assert len(command.lines) == 1
    assert message in command.text
    assert set(directory.iterdir()) == before
