"""A language model behind HTTP: a server on loopback that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater

from dspyreload.testing.answers import Prompt, in_turn, written
from dspyreload.testing.chat_format import Completion, HTTPReply, prompt_of, refusal

if TYPE_CHECKING:
    from dspyreload.testing.chat_http import ChatFactory

__all__ = ["ChatServer", "Die", "Hang", "Refuse"]

_CUT_OFF = "This answer is cut off before its end."
_BACKLOG = 1024  # connections at once; Twisted's 50 make the kernel drop some, and their clients wait a second


@attrs.frozen
class Refuse:
    """An answer that is an error, in OpenAI's form.

    :ivar retry_after: seconds that the client is asked to wait.
    """

    status: int = 429
    message: str = "the server refuses to answer"
    retry_after: float | None = None


@attrs.frozen
class Hang:
    """No answer, on a connection that stays open.

    :ivar after: how much comes before, as for :class:`Die`.
    """

    after: int = 0
    answer: str | Mapping[str, Any] = _CUT_OFF


@attrs.frozen
class Die:
    """A connection that closes before the answer is there.

    :ivar after: how many chunks of a stream come before; of an answer that is not streamed, half comes. With 0,
        nothing does, not even a status.
    :ivar answer: what is cut off: output fields by name, or a text.
    """

    after: int = 0
    answer: str | Mapping[str, Any] = _CUT_OFF


class ChatServer:
    """A server on 127.0.0.1 that says what you wrote, and remembers what it was asked.

    Its answers go to ``dspy.LM("openai/anything", api_base=server.url, api_key="x", cache=False)``, plain or streamed.
    Any other path is an error 404, a body of more than 4 MiB an error 413. All methods are for the reactor thread.

    :param answers: for each call in turn: the output fields by name, a whole text, a :class:`Refuse`, a :class:`Hang`,
        a :class:`Die`, or a function of the :class:`Prompt`, called on the reactor thread, that gives one of these. The
        last one is repeated. What a function raises is sent as an error 500.
    :param delay: seconds that each answer takes; a streamed one waits before its first word. It may be changed.
    :param reactor: the installed one, if none is given.
    :ivar prompts: what it was sent, each as soon as it came.
    :ivar requests: the same, as the JSON that came.
    """

    def __init__(self, *answers: Any, delay: float = 0.0, reactor: Any = None) -> None:
        self.answers, self.delay = answers, delay
        self.prompts: list[Prompt] = []
        self.requests: list[dict[str, Any]] = []
        self._reactor = reactor
        self._factory: ChatFactory | None = None
        self._port: Any = None
        self._number = 0

    @property
    def answers(self) -> list[Any]:
        """The answers. Others may be set at any time; then the next call gets the first of those."""
        return self._answers

    @answers.setter
    def answers(self, answers: Iterable[Any]) -> None:
        self._answers, self._said = list(answers), 0

    @property
    def url(self) -> str:
        """The ``api_base`` to give to a ``dspy.LM``.

        :raises RuntimeError: before the server was started.
        """
        if not self._number:
            raise RuntimeError("a chat server has no address before it is started")
        return f"http://127.0.0.1:{self._number}/v1"

    def start(self) -> Deferred[None]:
        """Listen, on a port that is free; fires when clients can connect."""
        return maybeDeferred(self._listen, 0)

    def stop(self) -> Deferred[None]:
        """Stop listening, and cut all connections, also those of calls under way; fires when they are gone."""
        return Deferred.fromCoroutine(self._close())

    def go_down(self) -> Deferred[None]:
        """Become unreachable: connections are cut, and new ones refused; fires when it is so."""
        return self.stop()

    def come_back(self) -> Deferred[None]:
        """Be reachable again, on the same port; fires when clients can connect.

        :raises twisted.internet.error.CannotListenError: where the port is no longer free.
        """
        return maybeDeferred(self._listen, self._number)

    def _listen(self, number: int) -> None:
        if self._port is not None:
            return
        from dspyreload.testing.chat_http import ChatFactory

        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self._factory = ChatFactory(self._answer, self._reactor)
        self._port = self._reactor.listenTCP(number, self._factory, backlog=_BACKLOG, interface="127.0.0.1")
        self._number = self._port.getHost().port

    async def _close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        if self._factory is not None:
            await self._factory.close()

    async def _answer(self, body: bytes) -> HTTPReply:
        try:
            request = json.loads(body)
            prompt = prompt_of(request)
        except (ValueError, AttributeError) as error:
            return refusal(400, f"the body is no request for a completion: {error}")
        self.requests.append(request)
        self.prompts.append(prompt)
        try:
            reply = self._reply(request, prompt)
        except Exception as error:
            reply = refusal(500, f"the chat server's own script failed: {type(error).__name__}: {error}")
        if self.delay > 0:
            await deferLater(self._reactor, self.delay)
        return reply

    def _reply(self, request: dict[str, Any], prompt: Prompt) -> HTTPReply:
        number, self._said = self._said, self._said + 1
        answer = in_turn(self._answers, number, prompt)
        if isinstance(answer, Refuse):
            return refusal(answer.status, answer.message, answer.retry_after)
        broken = isinstance(answer, (Die, Hang))
        text = written(answer.answer if broken else answer, prompt, request.get("response_format"))
        completion = Completion(len(self.requests), int(self._reactor.seconds()), request, prompt, text)
        if broken:
            return completion.broken(answer.after, "close" if isinstance(answer, Die) else "wait")
        return completion.reply()
