"""The HTTP of the chat server, on twisted.web: bytes of a request in, an ``HTTPReply`` out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http

from dspyreload.testing.chat_format import HTTPReply, refusal

__all__ = ["MAX_BODY", "ChatFactory"]

MAX_BODY = 4 * 1024 * 1024
_PATH = b"/v1/chat/completions"

Answer = Callable[[bytes], Coroutine[Deferred[Any], Any, HTTPReply]]


class _Request(http.Request):
    size = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Keep the body up to its limit; the rest is read and dropped, since a client sends all before it listens."""
        self.size += len(data)
        if self.size <= MAX_BODY:
            super().handleContentChunk(data)

    def process(self) -> None:
        gone = self.notifyFinish()
        serving = Deferred.fromCoroutine(self._reply())
        serving.addCallback(self._send)
        serving.addErrback(lambda failure: failure.trap(CancelledError))
        gone.addErrback(lambda _reason: serving.cancel())

    async def _reply(self) -> HTTPReply:
        if (self.method, self.path) != (b"POST", _PATH):
            asked = f"{self.method.decode('latin-1')} {self.path.decode('latin-1')}"
            return refusal(404, f"{asked} is not served; POST {_PATH.decode()} is")
        if self.size > MAX_BODY:
            return refusal(413, f"the body has {self.size} bytes; {MAX_BODY} are allowed")
        answer: Answer = self.channel.factory.answer
        content: Any = self.content
        return await answer(content.read())

    def _send(self, reply: HTTPReply) -> None:
        self.setResponseCode(reply.status)
        for name, value in reply.headers.items():
            self.setHeader(name.encode(), value.encode())
        if reply.length is not None:
            self.setHeader(b"Content-Length", b"%d" % reply.length)
        for part in reply.parts:
            self.write(part)
        if reply.then == "end":
            self.finish()
        elif reply.then == "close":
            self.loseConnection()


class _Channel(http.HTTPChannel):
    requestFactory = _Request
    factory: ChatFactory

    def connectionMade(self) -> None:
        self.factory.channels.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.lost(self)

    def cut(self) -> None:
        """Close without waiting for what was not sent."""
        transport: Any = self.transport
        transport.abortConnection()


class ChatFactory(http.HTTPFactory):
    """Makes the connections, and knows those that are open.

    :param answer: gives the reply to the body of a request for a completion; cancelled where the client goes away.
    """

    noisy = False
    protocol: Any = _Channel

    def __init__(self, answer: Answer, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self.answer = answer
        self.channels: set[_Channel] = set()
        self._gone: list[Deferred[None]] = []

    def log(self, request: http.Request) -> None:
        """Log no request."""

    def close(self) -> Deferred[None]:
        """Cut all connections; fires when they are gone."""
        if not self.channels:
            return succeed(None)
        for channel in tuple(self.channels):
            channel.cut()
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        return gone

    def lost(self, channel: _Channel) -> None:
        """Forget a connection that is closed."""
        self.channels.discard(channel)
        if not self.channels:
            waiting, self._gone = self._gone, []
            for deferred in waiting:
                deferred.callback(None)
