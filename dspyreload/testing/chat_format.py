"""OpenAI's chat-completions format: what a request asks, and the bytes of the replies. No network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from dspyreload.testing.answers import Prompt, pieces, tokens

__all__ = ["Completion", "HTTPReply", "prompt_of", "refusal"]

_JSON = {"Content-Type": "application/json"}
_EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_DONE = b"data: [DONE]\n\n"

_ERRORS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
}


@attrs.frozen
class HTTPReply:
    """What is sent in reply to one HTTP request.

    :ivar parts: of the body. Where there are none, not even a head is sent.
    :ivar length: of the whole body, if it is announced.
    :ivar then: what happens when the parts were sent; only an ``end`` ends the reply properly.
    """

    status: int
    headers: Mapping[str, str]
    parts: tuple[bytes, ...]
    length: int | None
    then: Literal["end", "wait", "close"] = "end"


@attrs.frozen
class Completion:
    """One answer to a request's body.

    :ivar created: seconds since the epoch.
    """

    number: int
    created: int
    body: Mapping[str, Any]
    prompt: Prompt
    text: str

    def reply(self) -> HTTPReply:
        """Return it as the request asks: whole, or as a stream of events."""
        if not self.body.get("stream"):
            return _json_reply(200, self._whole())
        return HTTPReply(200, _EVENTS, (*self._begun(), *self._ended()), None)

    def broken(self, after: int, then: Literal["wait", "close"]) -> HTTPReply:
        """Return it without its end: ``after`` chunks of a stream, or half of a plain body; nothing where that is 0."""
        reply = self.reply()
        parts: tuple[bytes, ...] = ()
        if after > 0:
            first = 1  # the chunk that only says who speaks
            parts = self._begun()[: first + after] if self.body.get("stream") else (_half(reply.parts[0]),)
        return attrs.evolve(reply, parts=parts, then=then)

    def _whole(self) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def _begun(self) -> tuple[bytes, ...]:
        said = [self._chunk({"content": piece}) for piece in pieces(self.text)]
        return (self._chunk({"role": "assistant", "content": ""}), *said)

    def _ended(self) -> tuple[bytes, ...]:
        usage = {**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()}
        wanted = (self.body.get("stream_options") or {}).get("include_usage")
        return (self._chunk({}, "stop"), *([_event(usage)] if wanted else []), _DONE)

    def _chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        name = f"chatcmpl-{self.number}"
        return {"id": name, "object": kind, "created": self.created, "model": self.body.get("model")}

    def _usage(self) -> dict[str, int]:
        sent, said = tokens(self.prompt.text), tokens(self.text)
        return {"prompt_tokens": sent, "completion_tokens": said, "total_tokens": sent + said}


def refusal(status: int, message: str, retry_after: float | None = None) -> HTTPReply:
    """Return an error, in OpenAI's form.

    :param retry_after: seconds.
    """
    default = "server_error" if status >= 500 else "invalid_request_error"
    kind, code = _ERRORS.get(status, (default, None))
    reply = _json_reply(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})
    if retry_after is None:
        return reply
    return attrs.evolve(reply, headers={**reply.headers, "Retry-After": f"{retry_after:g}"})


def prompt_of(body: Mapping[str, Any]) -> Prompt:
    """Return what a request's messages say.

    :raises ValueError: where it has no list of messages.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("'messages' is no list of messages")
    said = [(str(message.get("role")), _text(message.get("content"))) for message in messages]
    system = "".join(text for role, text in said if role in ("system", "developer"))
    return Prompt(system, tuple((role, text) for role, text in said if role not in ("system", "developer")))


def _text(content: Any) -> str:
    """Return the text of a message's content, which is a text or a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _json_reply(status: int, content: Mapping[str, Any]) -> HTTPReply:
    encoded = _encoded(content)
    return HTTPReply(status, _JSON, (encoded,), len(encoded))


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: %s\n\n" % _encoded(content)


def _encoded(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]
