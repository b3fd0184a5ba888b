"""What is freed when the last lease and the last call let go of an old version."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

from dspyreload.model.snapshot import Snapshot
from tests.freed import freed
from tests.talk.conftest import HELLO, Game


def snapshot_of(game: Game) -> weakref.ref[Snapshot]:
    """Return a reference to the live snapshot that does not hold it."""
    return weakref.ref(game.engine.snapshot)


def alive(*refs: weakref.ref[Any]) -> list[bool]:
    """Say which things are still there."""
    gc.collect()
    return [ref() is not None for ref in refs]


def test_the_last_lease_to_let_go_frees_an_old_version(game: Game) -> None:
    """Snapshot and program live while one of two leases holds them, and not after."""
    old = snapshot_of(game)
    first, second = game.engine.lease(), game.engine.lease()
    assert game.say(first) == game.say(second) == (1, "one")
    program = game.runners[0]
    game.change("two")
    game.say(game.engine)
    first.end()
    assert alive(old, program) == [True, True]
    second.end()
    assert freed(old, program)


def test_the_last_call_frees_it(game: Game) -> None:
    """A call under way keeps its program when its lease has ended, and no longer."""
    lease = game.engine.lease()
    game.say(lease)
    old, program = snapshot_of(game), game.runners[0]
    game.change("two")
    game.say(game.engine)
    gate, found = threading.Event(), list[bool]()

    def look() -> None:
        assert gate.wait(10)
        found.extend(alive(program))

    game.before_answer = look
    call = lease.invoke("npc.smith", **HELLO)
    lease.end()
    gate.set()
    assert game.result(call).generation == 1
    assert found == [True]
    del call
    game.before_answer = lambda: None
    game.say(game.engine)  # the loop lets go of its last task when it turns
    assert freed(old, program)


def test_a_lease_that_nobody_ended_goes_with_who_held_it(game: Game) -> None:
    """Its snapshot and program are freed long before its time is over."""
    lease = game.engine.lease()
    game.say(lease)
    old, program, ref = snapshot_of(game), game.runners[0], weakref.ref(lease)
    game.change("two")
    game.say(game.engine)
    assert alive(old, program) == [True, True]
    del lease
    assert freed(ref, old, program)
    game.clock.advance(10_000)


def test_its_time_frees_it(game: Game) -> None:
    """A lease that was let go by the clock holds nothing."""
    lease = game.engine.lease(idle=5)
    game.say(lease)
    old, program = snapshot_of(game), game.runners[0]
    game.change("two")
    game.say(game.engine)
    game.clock.advance(5)
    assert freed(old, program)
    lease.end()


def test_a_program_is_made_once_however_many_hold_it(game: Game) -> None:
    """Two leases and the engine run the same one; an old version's is not made anew for each turn."""
    first, second = game.engine.lease(), game.engine.lease()
    for who in (first, second, game.engine):
        game.say(who)
    game.change("two")
    game.say(game.engine)
    for who in (first, second):
        game.say(who)
    programs = [runner() for runner in game.runners]
    assert programs[0] is programs[1] is programs[2] is programs[4] is programs[5] is not programs[3]
    first.end()
    second.end()
