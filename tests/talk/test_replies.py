"""A reply while it is being said: a Deferred, and an iterator over what comes before."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail
from twisted.logger import LogLevel, capturedLogs, formatEvent

from dspyreload.errors import LMFailed
from dspyreload.lm.reply import Chunk, Reply
from dspyreload.talk.replies import ReplyStream

REPLY = Reply({"response": "Aye, sir."}, "npc.smith", "0" * 64, 1, "scripted/lm")
ERROR = LMFailed("npc.smith", "scripted/lm", "no route to host")


class Talk:
    """A stream, and the call that it follows."""

    def __init__(self, on_chunk: Callable[[Chunk], object] | None = None) -> None:
        self.cancelled = 0
        self.call: Deferred[Reply] = Deferred(self._cancel)
        self.stream = ReplyStream(on_chunk)
        self.stream.follow(self.call)

    def _cancel(self, _call: Any) -> None:
        self.cancelled += 1

    def say(self, *texts: str) -> None:
        """Let the language model say some pieces."""
        for text in texts:
            self.stream.put(Chunk(text, "response"))


@attrs.define
class Heard:
    """What somebody who iterates has heard.

    :ivar ended: "over", or the error that the iteration raised; "" while it goes on.
    """

    items: list[Any] = attrs.field(factory=list)
    ended: Any = ""

    async def listen(self, stream: ReplyStream) -> None:
        """Iterate to the end."""
        try:
            async for item in stream:
                self.items.append(item)
        except Exception as error:
            self.ended = error
        else:
            self.ended = "over"


def listening(stream: ReplyStream) -> Heard:
    """Let somebody iterate from now on."""
    heard = Heard()
    ensureDeferred(heard.listen(stream))
    return heard


@contextlib.contextmanager
def nothing_unhandled() -> Iterator[None]:
    """Hold that no error is left that nobody took."""
    with capturedLogs() as logs:
        yield
        gc.collect()
    said = [str(formatEvent(entry)) for entry in logs]
    assert [line for line in said if "Unhandled" in line or "AlreadyCalled" in line] == []


def outcome_of(deferred: Deferred[Any]) -> Any:
    """Return what a Deferred fired with, an error too; or None."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    return getattr(found[0], "value", found[0]) if found else None


class TestTheDeferred:
    def test_it_fires_with_the_reply(self) -> None:
        """Whoever wants the reply alone need not hear the pieces."""
        talk = Talk()
        talk.say("Aye, ", "sir.")
        assert not talk.stream.called
        talk.call.callback(REPLY)
        assert outcome_of(talk.stream) is REPLY

    def test_it_fails_as_the_call_does(self) -> None:
        """An error that nobody iterates for is the Deferred's."""
        talk = Talk()
        talk.call.errback(ERROR)
        assert outcome_of(talk.stream) is ERROR
        stream = ReplyStream()
        stream.follow(fail(ERROR))
        assert outcome_of(stream) is ERROR

    def test_an_error_that_nobody_takes_is_logged(self) -> None:
        """It is a Deferred as any other."""
        with capturedLogs() as logs:
            Talk().call.errback(ERROR)
            gc.collect()
        assert any("Unhandled" in str(formatEvent(entry)) for entry in logs)

    def test_cancelling_it_cancels_the_call(self) -> None:
        """What the language model says after that is heard by nobody."""
        heard: list[Chunk] = []
        talk = Talk(heard.append)
        talk.say("Aye, ")
        talk.stream.cancel()
        talk.say("sir.")
        assert talk.cancelled == 1
        assert isinstance(outcome_of(talk.stream), CancelledError)
        assert heard == ["Aye, "]

    def test_cancelling_one_that_ended_does_nothing(self) -> None:
        """There is no call any more."""
        talk = Talk()
        talk.call.callback(REPLY)
        talk.stream.cancel()
        assert talk.cancelled == 0
        assert outcome_of(talk.stream) is REPLY


class TestOnChunk:
    def test_it_hears_each_piece_in_order(self) -> None:
        """Before the reply, and not the reply itself."""
        heard: list[Any] = []
        talk = Talk(lambda chunk: heard.append((chunk, chunk.field)))
        talk.stream.addCallback(heard.append)
        talk.say("Aye, ", "sir.")
        talk.call.callback(REPLY)
        assert heard == [("Aye, ", "response"), ("sir.", "response"), REPLY]

    def test_one_that_raises_is_logged_and_the_reply_goes_on(self) -> None:
        """It is called for the next piece, too, which is not logged again, and the iterator misses nothing."""
        heard: list[Chunk] = []

        def broken(chunk: Chunk) -> None:
            heard.append(chunk)
            raise ZeroDivisionError("a bug of the game")

        with capturedLogs() as logs:
            talk = Talk(broken)
            listener = listening(talk.stream)
            talk.say("Aye, ", "sir.")
            talk.call.callback(REPLY)
        assert heard == ["Aye, ", "sir."]
        assert listener.items == ["Aye, ", "sir.", REPLY]
        logged, for_debug = logs
        assert formatEvent(logged) == "on_chunk raised; the reply goes on"
        assert str(logged["log_failure"].value).startswith("ZeroDivisionError: its words may be a player's")
        assert formatEvent(for_debug) == "it raised ZeroDivisionError: a bug of the game"
        assert for_debug["log_level"] is LogLevel.debug


class TestTheIterator:
    def test_it_gives_the_pieces_and_last_the_reply(self) -> None:
        """Each as it comes, and then it is over."""
        talk = Talk()
        heard = listening(talk.stream)
        talk.say("Aye, ")
        assert heard.items == ["Aye, "]
        talk.say("sir.")
        assert heard.items == ["Aye, ", "sir."]
        talk.call.callback(REPLY)
        assert heard == Heard(["Aye, ", "sir.", REPLY], "over")

    def test_who_comes_late_hears_all(self) -> None:
        """What was said before somebody iterated is kept for them, the reply included."""
        talk = Talk()
        talk.say("Aye, ")
        heard = listening(talk.stream)
        talk.say("sir.")
        talk.call.callback(REPLY)
        late = Talk()
        late.say("Aye, ", "sir.")
        late.call.callback(REPLY)
        assert heard == listening(late.stream) == Heard(["Aye, ", "sir.", REPLY], "over")

    def test_it_may_be_left_and_taken_up_again(self) -> None:
        """Who stops after a word and comes back hears the next."""
        talk = Talk()
        talk.say("Aye, ", "sir.")
        first: list[Any] = []

        async def one() -> None:
            async for item in talk.stream:
                first.append(item)
                return

        ensureDeferred(one())
        talk.call.callback(REPLY)
        assert first == ["Aye, "]
        assert listening(talk.stream) == Heard(["sir.", REPLY], "over")

    def test_the_reply_can_be_awaited_after_it(self) -> None:
        """The Deferred has its reply whether somebody iterates or not."""
        talk = Talk()
        heard = listening(talk.stream)
        talk.call.callback(REPLY)
        assert heard.ended == "over"
        assert outcome_of(talk.stream) is REPLY

    @pytest.mark.parametrize("waits", [True, False])
    def test_an_error_is_raised_there_and_nowhere_else(self, waits: bool) -> None:
        """Who iterates gets it, after the pieces; nothing is left unhandled."""
        with nothing_unhandled():
            talk = Talk()
            heard = listening(talk.stream) if waits else None
            talk.say("Aye, ")
            talk.call.errback(ERROR)
            heard = heard or listening(talk.stream)
            assert heard == Heard(["Aye, "], ERROR)
            del talk

    @pytest.mark.parametrize("waits", [True, False])
    def test_after_an_error_it_is_over(self, waits: bool) -> None:
        """Who goes on iterating is not left waiting for ever."""
        talk = Talk()
        first = listening(talk.stream) if waits else None
        talk.call.errback(ERROR)
        first = first or listening(talk.stream)
        assert first.ended is ERROR
        assert listening(talk.stream).ended == "over"

    def test_cancelling_the_stream_ends_it(self) -> None:
        """Who waits for the next piece is told."""
        with nothing_unhandled():
            talk = Talk()
            heard = listening(talk.stream)
            talk.say("Aye, ")
            talk.stream.cancel()
            assert heard.items == ["Aye, "]
            assert isinstance(heard.ended, CancelledError)
            assert talk.cancelled == 1
            del talk

    def test_cancelling_who_waits_cancels_the_call(self) -> None:
        """A coroutine that is cancelled while it iterates takes the call with it."""
        with nothing_unhandled():
            talk = Talk()
            heard = Heard()
            running = ensureDeferred(heard.listen(talk.stream))
            talk.say("Aye, ")
            running.cancel()
            assert isinstance(heard.ended, CancelledError)
            assert talk.cancelled == 1
            del talk, running


class TestClosing:
    def test_leaving_the_block_ends_the_call(self) -> None:
        """``contextlib.aclosing`` cancels what nobody hears to the end."""
        with nothing_unhandled():
            talk = Talk()
            heard: list[Any] = []

            async def one(replies: ReplyStream) -> None:
                async with contextlib.aclosing(replies) as stream:
                    async for item in stream:
                        heard.append(item)
                        break

            ensureDeferred(one(talk.stream))
            talk.say("Aye, ", "sir.")
            assert heard == ["Aye, "]
            assert talk.cancelled == 1
            del talk

    @pytest.mark.parametrize("outcome", [REPLY, ERROR])
    def test_closing_what_was_heard_to_the_end_does_no_harm(self, outcome: Any) -> None:
        """Though it comes while the end is being told."""
        with nothing_unhandled():
            talk = Talk()
            ended: list[Any] = []

            async def all_of_it(replies: ReplyStream) -> None:
                try:
                    async with contextlib.aclosing(replies) as stream:
                        ended.extend([item async for item in stream])
                except LMFailed as error:
                    ended.append(error)

            ensureDeferred(all_of_it(talk.stream))
            (talk.call.callback if outcome is REPLY else talk.call.errback)(outcome)
            assert ended == [outcome]
            assert talk.cancelled == 0
            del talk
