"""Servers of one character, each in a process of its own: ours, and what others do when its file is saved."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.alone import begin

__all__ = ["CLI", "CONFIG", "FLAG", "SERVERS", "serve_flag", "serve_loading", "serve_ours"]

CLI = "dspy-cli serve --reload"
FLAG = "LaunchDarkly's file data source"
_GUEST = """
import re
import dspy
from dspyreload.testing import ScriptedLM

LM = ScriptedLM(lambda prompt: {"response": re.findall(r"revision [0-9]+", prompt.system)[0]}).lm

class Guest(dspy.Module):
    def __init__(self):
        super().__init__()
        self.say = dspy.Predict(dspy.Signature("player_message -> response", "INSTRUCTION"))

    def forward(self, player_message: str) -> dspy.Prediction:
        with dspy.context(lm=LM):
            return self.say(player_message=player_message)
"""
CONFIG = (
    "app_id: inn\nmodels:\n  default: none\n  registry:\n    none:\n      model: openai/none\n      api_key: none\n"
)


def _instruction(revision: int) -> str:
    return f"You are a guest of the inn, in revision {revision:06}."


def _module(revision: int) -> str:
    fields = {"inputs": [{"name": "player_message"}], "outputs": [{"name": "response"}]}
    return json.dumps({"instruction": _instruction(revision), "signature": fields})


def _program(revision: int) -> str:
    """Return what ``dspy.Predict.save`` writes."""
    fields = [
        {"prefix": "Player Message:", "description": "${player_message}"},
        {"prefix": "Response:", "description": "${response}"},
    ]
    signature = {"instructions": _instruction(revision), "fields": fields}
    made_by: dict[str, dict[str, str]] = {"dependency_versions": {}}
    return json.dumps({"traces": [], "train": [], "demos": [], "signature": signature, "lm": None, "metadata": made_by})


def _flag(revision: int) -> str:
    return json.dumps({"flagValues": {"guest": _instruction(revision)}})


def _python(revision: int) -> str:
    return _GUEST.replace("INSTRUCTION", _instruction(revision))


def _lm() -> Any:
    from dspyreload.testing import ScriptedLM

    return ScriptedLM(lambda prompt: {"response": re.findall(r"revision \d+", prompt.system)[0]}).lm


# The servers, each in a process of its own


def _serve(answer: Callable[[], Any], start: Callable[[], None] = lambda: None) -> None:
    """Answer over HTTP with what ``answer()`` gives, or its Deferred; say which port it is."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import maybeDeferred
    from twisted.web.resource import Resource
    from twisted.web.server import NOT_DONE_YET, Site

    reactor: Any = installed

    class Ask(Resource):
        isLeaf = True

        def render_POST(self, request: Any) -> int:
            def failed(_failure: object) -> bytes:
                request.setResponseCode(500)
                return b""

            answered = maybeDeferred(answer).addCallback(lambda said: str(said).encode()).addErrback(failed)
            answered.addCallback(lambda body: (request.write(body), request.finish()))
            answered.addErrback(lambda _failure: None)  # the client has gone
            return int(NOT_DONE_YET)

    def begun() -> None:
        start()
        print(reactor.listenTCP(0, Site(Ask()), interface="127.0.0.1").getHost().port, flush=True)

    reactor.callWhenRunning(begun)
    reactor.run()


def serve_ours(directory: str) -> None:
    from dspyreload import DSPyEngine, HotReloadService

    engine = DSPyEngine(directory, lm=_lm())
    service = HotReloadService(engine)

    async def answer() -> str:
        reply = await engine.invoke("guest", player_message="Good day!")
        return str(reply["response"])

    from twisted.internet.defer import Deferred

    _serve(lambda: Deferred.fromCoroutine(answer()), service.startService)


def serve_loading(directory: str) -> None:
    import dspy
    from twisted.internet.threads import deferToThread
    from watchfiles import watch

    program, lm = dspy.Predict(dspy.Signature("player_message -> response", "")), _lm()
    program.load(f"{directory}/guest.json")

    def answer() -> str:
        with dspy.context(lm=lm):
            return str(program(player_message="Good day!").response)

    def reload() -> None:
        for _changes in watch(directory):
            program.load(f"{directory}/guest.json")

    _serve(lambda: deferToThread(answer), threading.Thread(target=reload, daemon=True).start)


def serve_flag(directory: str) -> None:
    import ldclient
    from ldclient.config import Config
    from ldclient.integrations import Files

    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- it says at length when it reads a file that is half written
    source = Files.new_data_source(paths=[f"{directory}/guest.json"], auto_update=True)
    client = ldclient.LDClient(Config("none", update_processor_class=source, send_events=False), start_wait=5)
    game = ldclient.Context.create("game")
    _serve(lambda: client.variation("guest", game, ""))


@contextlib.contextmanager
def _child(serve: Callable[[str], None], directory: str) -> Iterator[int]:
    """Run one of these servers; gives its port."""
    process = begin(serve, directory)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _dspy_cli(directory: str) -> Iterator[int]:
    """Run dspy-cli in its project; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = ["serve", "--system", "--reload", "--no-save-openapi", "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryDirectory() as logs:  # not in the project, where each line of them is one more change
        process = subprocess.Popen(
            [sys.executable, "-c", "from dspy_cli.cli import main; main()", *serve, "--logs-dir", logs],
            cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        try:
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: it and its workers
            process.wait()


Server = tuple[Callable[[str], contextlib.AbstractContextManager[int]], str, Callable[[int], str]]
"""What serves a directory, where in it the instruction stands, and what makes that file."""

SERVERS: dict[str, Server] = {
    "ours": (lambda directory: _child(serve_ours, directory), "guest.json", _module),
    CLI: (_dspy_cli, "src/inn/modules/guest.py", _python),
    "watchfiles and load": (lambda directory: _child(serve_loading, directory), "guest.json", _program),
    FLAG: (lambda directory: _child(serve_flag, directory), "guest.json", _flag),
}
