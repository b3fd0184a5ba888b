"""The live snapshot, its subscribers, and those who wait for one event."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial import unittest as trial

from dspyreload.errors import ServiceStopped
from dspyreload.live.live import Live
from dspyreload.model.events import EventsDropped, HotReloadEvent, ModuleChanged, ModuleDeleted, ModuleSkipped
from dspyreload.model.snapshot import EMPTY

CASE = trial.SynchronousTestCase()


def events(count: int, start: int = 0) -> tuple[HotReloadEvent, ...]:
    """Return events that are numbered in ``generation``."""
    return tuple(ModuleSkipped(generation=number, module_id="npc") for number in range(start, start + count))


def numbers(seen: list[HotReloadEvent]) -> list[int]:
    return [event.generation for event in seen if not isinstance(event, EventsDropped)]


def drain(clock: Clock) -> int:
    """Let the reactor turn until nothing is due; return how many turns that took."""
    turns = 0
    while clock.getDelayedCalls():
        clock.advance(0)
        turns += 1
        assert turns < 100_000, "the turns never end"
    return turns


class Turns(Clock):
    """A clock that tells when another turn is asked for."""

    at_turn: Callable[[], None] = staticmethod(lambda: None)

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        self.at_turn()
        return super().callLater(delay, callable, *args, **kw)


@pytest.fixture
def clock() -> Turns:
    return Turns()


@pytest.fixture
def time_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it in a subscriber that takes half a millisecond."""
    now = [0.0]
    monkeypatch.setattr("dspyreload.live.live.time.perf_counter", lambda: now[0])

    def run() -> None:
        now[0] += 0.0005

    return run


@pytest.fixture
def live(clock: Clock) -> Live:
    return Live(lambda: clock)


def test_before_the_first_commit_generation_0_serves(live: Live) -> None:
    """A live snapshot is always there, an empty one to begin with."""
    assert live.snapshot is EMPTY
    assert live.snapshot.generation == 0


def test_a_commit_is_one_assignment(live: Live) -> None:
    """Whoever took the snapshot before keeps it; the next look gives the new one."""
    before = live.snapshot
    after = before.commit({}, (), None)
    live.commit(after)
    assert live.snapshot is after
    assert before.generation == 0


def test_subscribers_are_called_on_a_later_turn(live: Live, clock: Clock) -> None:
    """Whoever publishes is not held up by those who listen."""
    seen: list[HotReloadEvent] = []
    live.subscribe(seen.append)
    live.publish(events(2))
    assert seen == []
    clock.advance(0)
    assert seen == list(events(2))


def test_without_subscribers_no_timer_is_made(live: Live, clock: Clock) -> None:
    """Publishing to nobody costs nothing."""
    live.publish(events(10))
    assert clock.getDelayedCalls() == []


def test_only_later_events_reach_a_new_subscriber(live: Live, clock: Clock) -> None:
    """What was published before the subscription is not delivered to it."""
    seen: list[HotReloadEvent] = []
    live.subscribe(lambda event: None)
    live.publish(events(1))
    live.subscribe(seen.append)
    live.publish(events(1, start=1))
    drain(clock)
    assert numbers(seen) == [1]


def test_a_quick_subscriber_gets_each_of_ten_thousand_events_in_order(live: Live, clock: Clock) -> None:
    """A large pass drops nothing for those who keep up."""
    first: list[HotReloadEvent] = []
    second: list[HotReloadEvent] = []
    live.subscribe(first.append)
    live.subscribe(second.append)
    live.publish(events(10_000))
    drain(clock)
    assert first == second == list(events(10_000))


def test_events_come_in_slices_of_the_reactors_time(live: Live, clock: Turns, time_runs: Callable[[], None]) -> None:
    """One turn takes some 2 ms of events and leaves the rest to later turns."""
    seen: list[HotReloadEvent] = []

    def on_event(event: HotReloadEvent) -> None:
        time_runs()
        seen.append(event)

    live.subscribe(on_event)
    live.publish(events(100))
    clock.at_turn = lambda: slices.append(len(seen))
    slices: list[int] = [0]
    drain(clock)
    assert numbers(seen) == list(range(100))
    assert all(1 <= after - before <= 5 for before, after in itertools.pairwise(slices))
    assert len(slices) >= 20


def test_a_subscriber_that_raises_is_counted_and_logged_and_goes_on(live: Live, clock: Clock) -> None:
    """Its error is one line with a traceback; the others, and its own next events, are delivered."""
    seen: list[HotReloadEvent] = []

    def bad(event: HotReloadEvent) -> None:
        raise ValueError("my own fault")

    live.subscribe(bad)
    live.subscribe(seen.append)
    with capturedLogs() as logs:
        live.publish(events(2))
        drain(clock)
    assert numbers(seen) == [0, 1]
    assert live.stats.subscriber_errors == 2
    failures = [entry["log_failure"] for entry in logs if "log_failure" in entry]
    assert [str(failure.value) for failure in failures] == ["ValueError: my own fault"] * 2


async def _raises(event: HotReloadEvent) -> None:
    raise ValueError("later")


def _fails(event: HotReloadEvent) -> Deferred[None]:
    deferred: Deferred[None] = Deferred()
    deferred.errback(ValueError("later"))
    return deferred


@pytest.mark.parametrize("bad", [_raises, _fails])
def test_what_an_async_subscriber_raises_counts_as_well(
    live: Live, clock: Clock, bad: Callable[[HotReloadEvent], object]
) -> None:
    """A coroutine that raises, and a Deferred that fails, are logged and counted."""
    live.subscribe(bad)
    with capturedLogs() as logs:
        live.publish(events(3))
        drain(clock)
    assert live.stats.subscriber_errors == 3
    assert sum("log_failure" in entry for entry in logs) == 3


def test_a_subscriber_gets_the_next_event_when_it_is_done_with_the_last(live: Live, clock: Clock) -> None:
    """The events of one subscriber that returns Deferreds never overlap."""
    seen: list[int] = []
    gates: list[Deferred[None]] = []

    def slow(event: HotReloadEvent) -> Deferred[None]:
        seen.append(event.generation)
        gates.append(Deferred())
        return gates[-1]

    live.subscribe(slow)
    live.publish(events(3))
    drain(clock)
    assert seen == [0]
    gates[0].callback(None)
    drain(clock)
    assert seen == [0, 1]
    gates[1].callback(None)
    drain(clock)
    assert seen == [0, 1, 2]


def test_an_async_def_subscriber_may_await_deferreds(live: Live, clock: Clock) -> None:
    """The second half of a coroutine runs when what it awaits has fired; then the next event comes."""
    steps: list[str] = []
    gate: Deferred[None] = Deferred()

    async def on_event(event: HotReloadEvent) -> None:
        steps.append(f"begin {event.generation}")
        if event.generation == 0:
            await gate
        steps.append(f"end {event.generation}")

    live.subscribe(on_event)
    live.publish(events(2))
    drain(clock)
    assert steps == ["begin 0"]
    gate.callback(None)
    drain(clock)
    assert steps == ["begin 0", "end 0", "begin 1", "end 1"]


def test_a_subscriber_that_never_fires_delays_nobody(live: Live, clock: Clock) -> None:
    """The others get everything while it hangs."""
    seen: list[HotReloadEvent] = []
    live.subscribe(lambda event: Deferred())
    live.subscribe(seen.append)
    live.publish(events(5000))
    drain(clock)
    assert numbers(seen) == list(range(5000))
    live.publish(events(1, start=5000))
    drain(clock)
    assert numbers(seen)[-1] == 5000


def test_one_that_fell_behind_is_told_once_how_many_were_dropped(live: Live, clock: Clock) -> None:
    """It keeps the newest 1,000; before them comes one EventsDropped with the count of those that are lost."""
    gate: Deferred[None] = Deferred()
    seen: list[HotReloadEvent] = []

    def slow(event: HotReloadEvent) -> Deferred[None] | None:
        seen.append(event)
        return gate if len(seen) == 1 else None

    live.subscribe(slow)
    live.publish(events(3501))
    drain(clock)
    assert numbers(seen) == [0]
    gate.callback(None)
    drain(clock)
    dropped = [event for event in seen if isinstance(event, EventsDropped)]
    assert [event.count for event in dropped] == [2500]
    assert seen[1] is dropped[0]
    assert numbers(seen) == [0, *range(2501, 3501)]


def test_a_thousand_events_behind_is_not_too_far(live: Live, clock: Clock) -> None:
    """Up to 1,000 events wait without a loss."""
    gate: Deferred[None] = Deferred()
    seen: list[HotReloadEvent] = []

    def slow(event: HotReloadEvent) -> Deferred[None] | None:
        seen.append(event)
        return gate if len(seen) == 1 else None

    live.subscribe(slow)
    live.publish(events(1001))
    drain(clock)
    gate.callback(None)
    drain(clock)
    assert numbers(seen) == list(range(1001))
    assert len(seen) == 1001


def test_unsubscribing_ends_delivery_at_once_and_twice_does_no_harm(live: Live, clock: Clock) -> None:
    """Events that are queued already are not delivered any more."""
    seen: list[HotReloadEvent] = []
    unsubscribe = live.subscribe(seen.append)
    live.publish(events(3))
    unsubscribe()
    unsubscribe()
    drain(clock)
    assert seen == []


def test_a_subscriber_may_unsubscribe_inside_its_callback(live: Live, clock: Clock) -> None:
    """It gets no further event of the same pass; the others do."""
    once: list[HotReloadEvent] = []
    always: list[HotReloadEvent] = []

    def on_event(event: HotReloadEvent) -> None:
        once.append(event)
        unsubscribe()

    unsubscribe = live.subscribe(on_event)
    live.subscribe(always.append)
    live.publish(events(3))
    drain(clock)
    assert numbers(once) == [0]
    assert numbers(always) == [0, 1, 2]


def test_a_subscriber_may_subscribe_another_inside_its_callback(live: Live, clock: Clock) -> None:
    """The newcomer hears of what is published from then on."""
    late: list[HotReloadEvent] = []

    def on_event(event: HotReloadEvent) -> None:
        if event.generation == 0:
            live.subscribe(late.append)

    live.subscribe(on_event)
    live.publish(events(3))
    drain(clock)
    assert late == []
    live.publish(events(1, start=3))
    drain(clock)
    assert numbers(late) == [3]


def test_stopping_inside_a_callback_leaves_no_timer(live: Live, clock: Turns, time_runs: Callable[[], None]) -> None:
    """The others get what was queued in that same turn; nothing is scheduled afterwards."""
    other: list[HotReloadEvent] = []
    after: list[str] = []

    def on_event(event: HotReloadEvent) -> None:
        time_runs()
        if event.generation == 0:
            live.stop()
            clock.at_turn = lambda: after.append("another turn")

    live.subscribe(on_event)
    live.subscribe(other.append)
    live.publish(events(150))
    drain(clock)
    assert numbers(other) == list(range(150))
    assert live.stats.subscriber_errors == 0
    assert after == []


def test_stopping_inside_a_callback_loses_no_event_of_those_who_wait(live: Live, clock: Turns) -> None:
    """What was published before the stop reaches the iterator and next_event before they end."""

    def on_event(event: HotReloadEvent) -> None:
        if event.generation == 0:
            live.stop()

    live.subscribe(on_event)
    deleted = live.next_event(ModuleDeleted)
    seen: list[object] = []
    done = collect(live, seen)
    live.publish((*events(3), ModuleDeleted(generation=7, module_id="a")))
    drain(clock)
    assert CASE.successResultOf(deleted).module_id == "a"
    CASE.successResultOf(done)
    assert [event.generation for event in seen if isinstance(event, HotReloadEvent)] == [0, 1, 2, 7]
    assert seen[-1] == "end"


def test_stop_delivers_what_is_queued_and_leaves_no_timer(live: Live, clock: Clock) -> None:
    """Events of a pass that was committed are not lost by a stop that follows at once."""
    seen: list[HotReloadEvent] = []
    live.subscribe(seen.append)
    live.publish(events(500))
    live.stop()
    assert numbers(seen) == list(range(500))
    assert clock.getDelayedCalls() == []


def test_stop_delivers_to_an_async_subscriber_as_well(live: Live, clock: Turns) -> None:
    """A coroutine that is done at once gets all that was queued, however much it is."""
    seen: list[HotReloadEvent] = []

    async def on_event(event: HotReloadEvent) -> None:
        seen.append(event)

    live.subscribe(on_event)
    live.publish(events(5000))
    live.stop()
    assert numbers(seen) == list(range(5000))
    assert clock.getDelayedCalls() == []


def test_one_that_is_done_after_the_stop_gets_the_rest_without_a_timer(live: Live, clock: Turns) -> None:
    """What was queued for a slow subscriber is delivered when it is ready for it."""
    gate: Deferred[None] = Deferred()
    seen: list[HotReloadEvent] = []

    async def on_event(event: HotReloadEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            await gate

    live.subscribe(on_event)
    live.publish(events(1000))
    live.stop()
    assert numbers(seen) == [0]
    gate.callback(None)
    assert clock.getDelayedCalls() == []
    assert numbers(seen) == list(range(1000))


def test_after_a_stop_subscribers_are_again_called_on_a_later_turn(live: Live, clock: Turns) -> None:
    """A reload that is asked for without a service publishes as ever."""
    seen: list[HotReloadEvent] = []
    live.subscribe(seen.append)
    live.stop()
    live.publish(events(1))
    assert seen == []
    drain(clock)
    assert numbers(seen) == [0]


# Waiting for one event


def test_next_event_fires_once_with_the_first_of_its_kind(live: Live, clock: Clock) -> None:
    """Other kinds are passed over, later ones of the kind as well."""
    deferred = live.next_event(ModuleDeleted)
    live.publish((*events(2), ModuleDeleted(generation=7, module_id="a"), ModuleDeleted(generation=8, module_id="b")))
    drain(clock)
    assert CASE.successResultOf(deferred).module_id == "a"


def test_next_event_of_the_base_takes_any(live: Live, clock: Clock) -> None:
    """HotReloadEvent stands for every kind."""
    deferred = live.next_event(HotReloadEvent)
    live.publish(events(1))
    drain(clock)
    assert CASE.successResultOf(deferred) == events(1)[0]


def test_next_event_fails_with_service_stopped(live: Live) -> None:
    """Nobody waits for ever for an event that can't come."""
    deferred = live.next_event(ModuleChanged)
    live.stop()
    CASE.failureResultOf(deferred, ServiceStopped)


def test_cancelling_next_event_detaches(live: Live, clock: Clock) -> None:
    """The one who cancelled is told so, and neither an event nor the stop reaches it."""
    deferred = live.next_event(ModuleSkipped)
    deferred.cancel()
    CASE.failureResultOf(deferred, CancelledError)
    live.publish(events(1))
    assert clock.getDelayedCalls() == []
    live.stop()


def test_one_that_waits_may_cancel_another_when_the_service_stops(live: Live) -> None:
    """A callback that cancels its sibling keeps nobody from being told."""
    first, second, third = (live.next_event(ModuleChanged) for _ in range(3))
    first.addErrback(lambda failure: second.cancel())
    live.stop()
    assert second.called
    second.addErrback(lambda failure: None)
    CASE.failureResultOf(third, ServiceStopped)


# The iterator


def collect(live: Live, seen: list[object]) -> Deferred[None]:
    async def consume() -> None:
        async for event in live.events():
            seen.append(event)
        seen.append("end")

    return Deferred.fromCoroutine(consume())


def test_events_iterates_until_the_stop(live: Live, clock: Clock) -> None:
    """async for gets each event in order, and ends when the service stops."""
    seen: list[object] = []
    done = collect(live, seen)
    live.publish(events(3))
    drain(clock)
    assert seen == list(events(3))
    CASE.assertNoResult(done)
    live.stop()
    assert seen == [*events(3), "end"]
    CASE.successResultOf(done)


def test_what_was_queued_is_read_before_the_iterator_ends(live: Live, clock: Clock) -> None:
    """A slow reader loses nothing to a stop."""
    stream = live.events()
    live.publish(events(3))
    live.stop()
    seen: list[object] = []

    async def consume() -> None:
        async for event in stream:
            seen.append(event)

    CASE.successResultOf(Deferred.fromCoroutine(consume()))
    assert seen == list(events(3))


def test_the_iterator_keeps_the_newest_thousand_and_says_what_it_dropped(live: Live, clock: Clock) -> None:
    """One that nobody reads does not grow without bound."""
    stream = live.events()
    live.publish(events(2500))
    drain(clock)
    live.stop()
    seen: list[HotReloadEvent] = []

    async def consume() -> None:
        async for event in stream:
            seen.append(event)

    CASE.successResultOf(Deferred.fromCoroutine(consume()))
    assert isinstance(seen[0], EventsDropped)
    assert seen[0].count == 1500
    assert numbers(seen) == list(range(1500, 2500))


def test_aclose_ends_the_iterator_and_its_subscription(live: Live, clock: Clock) -> None:
    """A reader that had enough leaves nothing behind."""
    stream = live.events()
    waiting = Deferred.fromCoroutine(_next(stream.__anext__()))
    CASE.successResultOf(Deferred.fromCoroutine(stream.aclose()))
    CASE.failureResultOf(waiting, StopAsyncIteration)
    live.publish(events(1))
    assert clock.getDelayedCalls() == []


async def _next(awaitable: object) -> object:
    return await awaitable  # type: ignore[misc]


def test_cancelling_one_step_of_the_iterator_loses_no_event(live: Live, clock: Clock) -> None:
    """A reader with a time limit cancels its wait and reads on later."""
    stream = live.events()
    first = Deferred.fromCoroutine(_next(stream.__anext__()))
    first.cancel()
    CASE.failureResultOf(first, CancelledError)
    live.publish(events(1))
    drain(clock)
    assert CASE.successResultOf(Deferred.fromCoroutine(_next(stream.__anext__()))) == events(1)[0]
    live.stop()


def test_a_stream_that_nobody_holds_is_fed_no_more(live: Live, clock: Turns) -> None:
    """A loop that was left with ``break`` leaves nothing behind once another event comes."""
    stream = live.events()
    held = live.events()
    assert len(live._subscribers) == 2
    del stream
    live.publish(events(1))
    drain(clock)
    assert len(live._subscribers) == 1
    assert CASE.successResultOf(cast("Deferred[HotReloadEvent]", held.__anext__())) == events(1)[0]
