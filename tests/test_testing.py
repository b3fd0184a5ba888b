"""The public fakes behave as what they stand in for."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThread
from twisted.trial import unittest as trial
from zope.interface.verify import verifyObject

from dspyreload import DSPyEngine
from dspyreload.errors import LMFailed
from dspyreload.testing import ChatServer, Die, FakeObserver, Hang, Prompt, ReactorClock, Refuse, ScriptedLM
from dspyreload.testing.answers import pieces
from dspyreload.testing.chat_http import MAX_BODY
from dspyreload.testing.lm import _Async, _Sync
from tests.conftest import Save, module_text

CASE = trial.SynchronousTestCase()
AYE = {"response": "Aye, what a fine evening it is.", "emotion": "calm"}
CHAT = "/v1/chat/completions"

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])


def in_reactor(test: Test) -> Test:
    """Run a coroutine function as a test in the reactor."""
    return cast(Test, pytest_twisted.ensureDeferred(test))


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """Give up waiting after 20 s: a test that would hang fails."""
    return deferred.addTimeout(20, reactor)


def timers() -> set[Any]:
    """Return the reactor's timers that are not due yet."""
    return {call for call in reactor.getDelayedCalls() if call.getTime() > reactor.seconds()}


@pytest.fixture
def dspy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """DSPy, with nothing around it that would lead its requests elsewhere or have it ask the internet for prices."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return pytest.importorskip("dspy")


def in_thread(target: Any) -> None:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()


def test_the_clock_has_what_is_needed_of_a_reactor() -> None:
    """It keeps both interfaces, as zope sees it."""
    verifyObject(IReactorTime, ReactorClock())
    verifyObject(IReactorFromThreads, ReactorClock())


def test_calls_from_threads_wait_until_they_are_run() -> None:
    """In the order in which they came, with their arguments, on the thread that runs them."""
    clock = ReactorClock()
    seen: list[Any] = []

    def note(*args: object, **kwargs: object) -> None:
        seen.append((args, kwargs, threading.current_thread() is threading.main_thread()))

    in_thread(lambda: clock.callFromThread(note, 1))
    in_thread(lambda: clock.callFromThread(note, a=2))
    assert seen == []
    assert clock.run_calls() == 2
    assert seen == [((1,), {}, True), ((), {"a": 2}, True)]
    assert clock.run_calls() == 0


def test_advance_runs_calls_before_and_after_the_time_passes() -> None:
    """What a thread asked for may make a timer that is due in the same step."""
    clock = ReactorClock()
    seen: list[str] = []
    in_thread(lambda: clock.callFromThread(clock.callLater, 1, clock.callFromThread, seen.append, "late"))
    clock.advance(1)
    assert seen == ["late"]


def test_wait_waits_for_a_thread() -> None:
    """It returns when a thread has called, and has run that."""
    clock = ReactorClock()
    seen: list[str] = []
    go = threading.Event()

    def work() -> None:
        go.wait(10)
        clock.callFromThread(seen.append, "done")

    thread = threading.Thread(target=work)
    thread.start()
    go.set()
    clock.wait()
    assert seen == ["done"]
    thread.join()


def test_wait_does_not_wait_for_ever() -> None:
    """Where no thread calls, the test fails instead of hanging."""
    with pytest.raises(TimeoutError):
        ReactorClock().wait(timeout=0.01)


class Handler:
    """Keeps events as watchdog's handler gets them."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def dispatch(self, event: Any) -> None:
        self.events.append(event)


def test_the_observer_tells_its_handler_what_the_test_says() -> None:
    """The events look like watchdog's: type, both paths, and whether it is a directory."""
    observer, handler = FakeObserver(), Handler()
    observer.schedule(handler, "/mods", recursive=True, event_filter=[])
    observer.start()
    observer.tell("a.json")
    observer.tell("b", "moved", dest="c", directory=True)
    assert [(e.event_type, e.src_path, e.dest_path, e.is_directory) for e in handler.events] == [
        ("modified", "/mods/a.json", "", False),
        ("moved", "/mods/b", "/mods/c", True),
    ]


def test_the_observer_lives_from_start_to_stop() -> None:
    """And counts how often it was stopped."""
    observer = FakeObserver()
    assert not observer.is_alive()
    observer.start()
    assert observer.is_alive()
    observer.stop()
    observer.join()
    assert (observer.is_alive(), observer.stops) == (False, 1)


def test_the_observer_fails_as_a_kernel_does() -> None:
    """start raises what the test says."""
    observer = FakeObserver(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        observer.start()
    assert not observer.is_alive()


def test_a_prompt_shows_all_of_its_text() -> None:
    """The system text first, then the turns."""
    assert Prompt("System.", (("user", "Hello"), ("assistant", "Hi"))).text == "System.\n\nHello\n\nHi"


def test_the_scripted_model_says_what_was_written_and_remembers_what_it_was_asked(modules: Path, save: Save) -> None:
    """Fields, then a function of the prompt, then an exception, and the last is repeated."""
    pytest.importorskip("dspy")
    save("smith.json", module_text())
    clock = ReactorClock()
    script = ScriptedLM(
        {"response": "Aye.", "emotion": "calm"},
        lambda prompt: {"response": prompt.turns[-1][0], "emotion": "odd"},
        RuntimeError("no connection"),
    )
    engine = DSPyEngine(modules, lm=script.lm, reactor=clock)

    def ask() -> Any:
        reply = engine.invoke("npc.smith", player_message="Good evening!")
        while not reply.called:
            clock.wait()
        return reply

    assert dict(CASE.successResultOf(ask())) == {"response": "Aye.", "emotion": "calm"}
    assert CASE.successResultOf(ask())["response"] == "user"
    for _ in range(2):
        assert "no connection" in str(CASE.failureResultOf(ask(), LMFailed).value)
    assert len(script.prompts) >= 4
    assert "You are a smith." in script.prompts[0].system
    assert "Good evening!" in script.prompts[0].text
    closed = engine.close()
    while not closed.called:
        clock.wait()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dspyreload-")]


@pytest.mark.parametrize("text", ["", " ", "Aye.", "Two  words\n", "\n\nWhat-a-very-long-word it is \u2014 \u00e6!\n"])
def test_a_text_is_cut_into_pieces_that_are_it(text: str) -> None:
    """Nothing is lost between the pieces, and each has at most a few letters."""
    assert "".join(pieces(text)) == text
    assert all(0 < len(piece.strip()) <= 8 for piece in pieces(text) if piece.strip())


def asked(dspy: Any, **config: Any) -> Any:
    """Return a request to a model, as DSPy gives it to an engine."""
    return dspy.lm15.Request(
        model="scripted/lm", messages=(dspy.lm15.Message.user("Hello"),), config=dspy.lm15.Config(**config)
    )


def in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own, beside whatever loop the reactor has."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def events_of(script: ScriptedLM, request: Any, kind: str) -> list[Any]:
    """Stream a request from a script's engine of one kind."""
    if kind == "sync":
        return list(_Sync(script).stream(request))

    async def collect() -> list[Any]:
        return [event async for event in _Async(script).stream(request)]

    return in_loop(collect())


@pytest.mark.parametrize("kind", ["sync", "async"])
class TestStreamingAScript:
    def test_it_is_the_same_answer_in_pieces(self, dspy: Any, kind: str) -> None:
        """A stream has a start, the words of the next answer, and an end with the usage."""
        script = ScriptedLM("Never streamed.", "What a fine evening it is.")
        whole = script.lm.engine.complete(asked(dspy))
        start, *words, end = events_of(script, asked(dspy), kind)
        assert whole.text == "Never streamed."
        assert [start.type, end.type, end.finish_reason] == ["start", "end", "stop"]
        assert [word.delta.text for word in words] == ["What ", "a ", "fine ", "evening ", "it ", "is."]
        assert end.usage.output_tokens > 0
        assert [prompt.turns for prompt in script.prompts] == [(("user", "Hello"),)] * 2

    def test_it_fails_as_a_whole_answer_does(self, dspy: Any, kind: str) -> None:
        """An exception in the script is raised instead of the first word."""
        with pytest.raises(OSError, match="no route"):
            events_of(ScriptedLM(OSError("no route")), asked(dspy), kind)

    def test_it_waits_once(self, dspy: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The delay passes before the first word, and not between words; a whole answer takes as long."""
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        monkeypatch.setattr(time, "sleep", waits.append)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        script = ScriptedLM("one two three", delay=7.0)
        assert len(events_of(script, asked(dspy), kind)) == 5
        assert waits == [7.0]
        answer = (
            _Sync(script).complete(asked(dspy)) if kind == "sync" else in_loop(_Async(script).complete(asked(dspy)))
        )
        assert answer.text == "one two three"
        assert waits == [7.0, 7.0]


@attrs.frozen
class Client:
    """Talks to a language model as a game does: DSPy's own LM and programs, in a loop of another thread."""

    dspy: Any
    url: str = ""

    def lm(self, model: str = "openai/anything", **options: Any) -> Any:
        """Make the real ``dspy.LM``; it does not retry unless it is told to."""
        return self.dspy.LM(model, api_base=self.url, api_key="x", cache=False, **{"num_retries": 0, **options})

    def ask(self, lm: Any = None, adapter: Any = None, said: str = "Hello", **options: Any) -> Deferred[dict[str, Any]]:
        """Ask for a whole answer; fires with the output fields."""

        async def call(program: Any) -> dict[str, Any]:
            return dict((await program.acall(player_message=said)).items())

        return self._run(call, lm, adapter, options)

    def stream(self, heard: list[str], lm: Any = None, **options: Any) -> Deferred[dict[str, Any]]:
        """Ask for a streamed answer, whose words are added to ``heard``; fires with the output fields."""

        async def call(program: Any) -> dict[str, Any]:
            listener = self.dspy.streaming.StreamListener("response")
            streamed = self.dspy.streamify(program, stream_listeners=[listener], is_async_program=True)
            prediction: Any = None
            async for part in streamed(player_message="Hello"):
                if isinstance(part, self.dspy.Prediction):
                    prediction = part
                else:
                    heard.append(part.chunk)
            return dict(prediction.items())

        return self._run(call, lm, None, options)

    def _run(self, call: Callable[[Any], Any], lm: Any, adapter: Any, options: dict[str, Any]) -> Deferred[Any]:
        async def main() -> Any:
            used = lm or self.lm(**options)
            try:
                with self.dspy.context(lm=used, adapter=adapter):
                    return await call(self.dspy.Predict("player_message -> response, emotion"))
            finally:
                await used.aclose()

        return soon(deferToThread(asyncio.run, main()))


@in_reactor
async def test_dspy_streams_a_script(dspy: Any) -> None:
    """The words of a scripted output field reach DSPy's listener one after the other."""
    script = ScriptedLM(AYE)
    heard: list[str] = []
    assert await Client(dspy).stream(heard, script.lm) == AYE
    assert "".join(heard) == AYE["response"]
    assert len(heard) > 3
    assert len(script.prompts) == 1


@in_reactor
async def test_a_script_speaks_json_where_it_is_asked_to(dspy: Any) -> None:
    """The same output fields serve DSPy's JSON adapter, and a request that has a response format."""
    script = ScriptedLM(AYE)
    assert await Client(dspy).ask(script.lm, dspy.JSONAdapter()) == AYE
    for response_format in ({"type": "json_object"}, {"type": "json_schema", "schema": {"type": "object"}}):
        answer = script.lm.engine.complete(asked(dspy, response_format=response_format))
        assert json.loads(answer.text) == AYE


@in_reactor
async def test_a_script_speaks_json_only_to_dspy(dspy: Any) -> None:
    """What a player says cannot have it change its form."""
    script = ScriptedLM(AYE)
    said = "Well.\n\nRespond with a JSON object!"
    assert await Client(dspy).ask(script.lm, said=said) == AYE
    assert said in script.prompts[0].turns[-1][1]
    assert len(script.prompts) == 1


@pytest_twisted.async_yield_fixture
async def server(dspy: Any) -> AsyncIterator[ChatServer]:
    """A server that runs; when it is stopped, the reactor has no timer more than before."""
    before = timers()
    server = ChatServer(AYE)
    await soon(server.start())
    yield server
    await soon(server.stop())
    assert timers() <= before


@pytest.fixture
def client(dspy: Any, server: ChatServer) -> Client:
    """A client of the server's."""
    return Client(dspy, server.url)


def post(server: ChatServer, body: bytes | Any, path: str = CHAT, method: str = "POST") -> Deferred[tuple[int, bytes]]:
    """Send a request as it is; fires with the status and as much of the reply's body as came."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send() -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(server.url.split("/")[2], timeout=20)) as connection:
            connection.request(method, path, content)
            reply = connection.getresponse()
            try:
                return reply.status, reply.read()
            except http.client.IncompleteRead as error:
                return reply.status, error.partial

    return soon(deferToThread(send))


class TestChatServer:
    @in_reactor
    async def test_dspys_client_gets_its_answer(self, server: ChatServer, client: Client) -> None:
        """The real ``dspy.LM`` gets the output fields, and what it sent is remembered as a prompt and as it came."""
        assert await client.ask(temperature=0.5) == AYE
        (prompt,), (request,) = server.prompts, server.requests
        assert "`emotion`" in prompt.system
        assert [role for role, _text in prompt.turns] == ["user"]
        assert "Hello" in prompt.turns[0][1]
        assert request["messages"][0] == {"role": "system", "content": prompt.system}
        assert (request["model"], request["temperature"]) == ("anything", 0.5)

    @in_reactor
    async def test_dspys_client_gets_its_answer_word_by_word(self, server: ChatServer, client: Client) -> None:
        """A streamed call hears the words of the field, and gets the same output fields at the end."""
        heard: list[str] = []
        assert await client.stream(heard) == AYE
        assert "".join(heard) == AYE["response"]
        assert len(heard) > 3
        assert server.requests[0]["stream"] is True

    @in_reactor
    async def test_answers_are_given_in_turn(self, server: ChatServer, client: Client) -> None:
        """Fields, a text, what a function makes of the prompt; the last is repeated, and new ones begin anew."""
        server.answers = [
            AYE,
            "[[ ## response ## ]]\nNo.\n\n[[ ## emotion ## ]]\nodd",
            lambda prompt: {"response": prompt.turns[-1][0], "emotion": "sad"},
        ]
        assert [(await client.ask())["response"] for _ in range(4)] == [AYE["response"], "No.", "user", "user"]
        server.answers = [{"response": "Me again.", "emotion": "glad"}, AYE]
        assert (await client.ask())["response"] == "Me again."

    @pytest.mark.parametrize("model", ["openai/anything", "openai/gpt-4o-mini"])
    @in_reactor
    async def test_it_speaks_json_where_it_is_asked_to(self, server: ChatServer, client: Client, model: Any) -> None:
        """DSPy's JSON adapter understands it, whether it sends a response format or asks in words alone."""
        assert await client.ask(adapter=client.dspy.JSONAdapter(), model=model) == AYE
        assert ("response_format" in server.requests[0]) == (model == "openai/gpt-4o-mini")

    @pytest.mark.parametrize(
        ("answer", "error", "words"),
        [
            (Refuse(), "LMRateLimitError", "the server refuses to answer"),
            (Refuse(401, "wrong key"), "LMAuthError", "wrong key"),
            (Refuse(500, "out of order"), "LMServerError", "out of order"),
            (Hang(), "LMTransportError", "waiting for headers"),
            (Hang(1), "LMTransportError", "mid-body"),
            (Die(), "LMTransportError", "before sending response"),
            (Die(1), "LMTransportError", "body bytes outstanding"),
            (lambda prompt: prompt.nonsense, "LMServerError", "AttributeError"),
            (7, "LMServerError", "7 is no answer"),
        ],
    )
    @in_reactor
    async def test_it_fails_as_a_real_server_does(
        self, server: ChatServer, client: Client, answer: Any, error: Any, words: Any
    ) -> None:
        """Each way to fail is the error in DSPy that a real server would cause, after one request."""
        server.answers = [answer]
        options: Any = {"timeout": 2.0} if isinstance(answer, Hang) else {}
        with pytest.raises(getattr(client.dspy, error), match=words):
            await client.ask(**options)
        assert len(server.requests) == 1

    @in_reactor
    async def test_it_can_ask_for_patience(self, server: ChatServer, client: Client) -> None:
        """What ``retry_after`` says reaches the client, which waits that long where it retries."""
        server.answers = [Refuse(429, retry_after=7.5)]
        with pytest.raises(client.dspy.LMRateLimitError) as caught:
            await client.ask()
        assert caught.value.retry_after == 7.5
        server.answers = [Refuse(429, retry_after=0), AYE]
        assert await client.ask(num_retries=1) == AYE

    @pytest.mark.parametrize(("answer", "words"), [(Die(9, AYE), "mid-chunk"), (Hang(9, AYE), "mid-body")])
    @in_reactor
    async def test_a_stream_breaks_off(self, server: ChatServer, client: Client, answer: Any, words: Any) -> None:
        """The words before the break are heard, and the call fails; DSPy does not try again then."""
        server.answers = [answer]
        heard: list[str] = []
        with pytest.raises(client.dspy.LMTransportError, match=words):
            await client.stream(heard, timeout=2.0 if isinstance(answer, Hang) else 30.0, num_retries=1)
        assert heard
        assert AYE["response"].startswith("".join(heard))
        assert len(server.requests) == 1

    @pytest.mark.parametrize("after", [0, 1, 99])
    @in_reactor
    async def test_what_is_cut_off_never_ends(self, server: ChatServer, client: Client, after: Any) -> None:
        """However short the answer is, a stream that dies has no end that a client could take for one."""
        server.answers = [Die(after, "Short.")]
        heard: list[str] = []
        with pytest.raises(client.dspy.LMTransportError):
            await client.stream(heard)

    @in_reactor
    async def test_it_goes_down_and_comes_back(self, server: ChatServer, client: Client) -> None:
        """While it is down nobody can connect; then it answers again, under the same address."""
        url = server.url
        await soon(server.go_down())
        with pytest.raises(client.dspy.LMTransportError, match="failed to connect"):
            await client.ask()
        await soon(server.come_back())
        await soon(server.start())  # it runs: nothing to do
        assert await client.ask() == AYE
        assert server.url == url

    @in_reactor
    async def test_stopping_cuts_the_calls_under_way(self, server: ChatServer, client: Client) -> None:
        """A call that waits for its answer fails at once, and its timer is gone; to stop again does no harm."""
        came: Deferred[None] = Deferred()

        def answer(_prompt: Prompt) -> dict[str, str]:
            came.callback(None)
            return AYE

        server.answers, server.delay = [answer], 60.0
        call = client.ask()
        before = timers()
        await soon(came)
        await soon(server.stop())
        assert timers() <= before
        await soon(server.stop())
        with pytest.raises(client.dspy.LMTransportError):
            await call

    @in_reactor
    async def test_an_answer_takes_its_delay(self, server: ChatServer, client: Client) -> None:
        """The delay is what the attribute says when a call comes, plain or streamed."""
        server.delay = 0.1
        heard: list[str] = []
        for call in (client.ask, lambda: client.stream(heard)):
            before = reactor.seconds()
            assert await call() == AYE
            assert reactor.seconds() - before >= 0.1

    def test_it_has_no_address_before_it_starts(self) -> None:
        """Who asks too early is told so, and stopping what never started does no harm."""
        idle = ChatServer()
        with pytest.raises(RuntimeError, match="before it is started"):
            _ = idle.url
        assert CASE.successResultOf(idle.stop()) is None


class TestTheFormat:
    @in_reactor
    async def test_a_whole_answer_is_a_completion(self, server: ChatServer) -> None:
        """The reply has what OpenAI's has: the model that was asked for, one choice, and the usage."""
        server.answers = ["Aye, sir."]
        status, body = await post(server, {"model": "m", "messages": [{"role": "user", "content": "Well?"}]})
        reply = json.loads(body)
        assert (status, reply["object"], reply["model"]) == (200, "chat.completion", "m")
        (choice,) = reply["choices"]
        assert choice["message"] == {"role": "assistant", "content": "Aye, sir."}
        assert choice["finish_reason"] == "stop"
        assert reply["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

    @pytest.mark.parametrize("usage", [True, False])
    @in_reactor
    async def test_a_stream_is_events(self, server: ChatServer, usage: Any) -> None:
        """Each event is a chunk; the last says why it ended, then the usage if it is asked for, then DONE."""
        server.answers = ["Aye, sir."]
        options = {"stream_options": {"include_usage": True}} if usage else {}
        status, body = await post(server, {"model": "m", "messages": [], "stream": True, **options})
        *events, done, nothing = body.split(b"\n\n")
        chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
        counted = [chunk["usage"] for chunk in chunks if "usage" in chunk]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        assert (status, done, nothing) == (200, b"data: [DONE]", b"")
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert [choice["delta"].get("content") for choice in choices] == ["", "Aye, ", "sir.", None]
        assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
        assert [usage["total_tokens"] for usage in counted] == ([2] if usage else [])

    @pytest.mark.parametrize(
        ("after", "heard"), [(1, ["", "one "]), (2, ["", "one ", "two "]), (9, ["", "one ", "two "])]
    )
    @in_reactor
    async def test_a_stream_is_cut_after_so_many_chunks(self, server: ChatServer, after: Any, heard: Any) -> None:
        """What counts are the pieces of the text; the chunk before them only says who speaks."""
        server.answers = [Die(after, "one two ")]
        _status, body = await post(server, {"messages": [], "stream": True})
        chunks = [json.loads(event.removeprefix(b"data: ")) for event in body.split(b"\n\n") if event]
        assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == heard

    @in_reactor
    async def test_a_prompt_is_read_from_all_forms_of_messages(self, server: ChatServer) -> None:
        """Texts and lists of parts, a system's and a developer's words."""
        parts = [{"type": "text", "text": "Look: "}, {"type": "image_url"}, {"type": "text", "text": "there"}]
        said = [("system", "Be brief. "), ("developer", "Be kind."), ("user", parts), ("assistant", None)]
        await post(server, {"messages": [{"role": role, "content": content} for role, content in said]})
        assert server.prompts == [Prompt("Be brief. Be kind.", (("user", "Look: there"), ("assistant", "")))]

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/completions"), ("GET", CHAT), ("POST", f"{CHAT}/")]
    )
    @in_reactor
    async def test_nothing_else_is_served(self, server: ChatServer, method: Any, path: Any) -> None:
        """Another path or method is an error 404 in OpenAI's form, and no request for an answer."""
        status, body = await post(server, {"messages": []}, path, method)
        assert status == 404
        assert path in json.loads(body)["error"]["message"]
        assert server.requests == []

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"{}", {"messages": "Hello"}, {"messages": ["Hello"]}])
    @in_reactor
    async def test_nonsense_is_refused(self, server: ChatServer, body: Any) -> None:
        """A body that asks for no completion is an error 400, and is not remembered."""
        status, reply = await post(server, body)
        assert (status, json.loads(reply)["error"]["type"]) == (400, "invalid_request_error")
        assert (server.requests, server.prompts) == ([], [])

    @in_reactor
    async def test_a_body_has_a_limit(self, server: ChatServer) -> None:
        """One byte more than is allowed is an error 413; as much as is allowed is read."""
        request = json.dumps({"messages": []}).encode()
        assert (await post(server, request.ljust(MAX_BODY)))[0] == 200
        assert (await post(server, request.ljust(MAX_BODY + 1)))[0] == 413
        assert len(server.requests) == 1
