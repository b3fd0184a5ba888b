"""Leases: one snapshot for who holds it, until it is let go."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from dspyreload.errors import EngineClosed, LeaseEnded
from tests.talk.conftest import HELLO, Game


class TestOneSnapshot:
    def test_all_turns_are_of_it_however_often_files_change(self, game: Game) -> None:
        """Who holds a lease hears the versions that were live when it began; the others hear the newest."""
        lease = game.engine.lease()
        for generation, instruction in enumerate(("two", "three", "four"), 2):
            game.change(instruction)
            assert game.say(lease) == (1, "one")
            assert game.say(game.engine) == (generation, instruction)
        assert lease.generation == 1
        assert lease.snapshot["npc.smith"].module().instruction == "one"

    def test_a_module_that_is_gone_speaks_on(self, game: Game, modules: Path) -> None:
        """A conversation with a character ends as it began, even where its file was deleted."""
        lease = game.engine.lease(max_age=None, idle=None)
        (modules / "smith.json").unlink()
        gone = game.engine.reload_all()
        while not gone.called:  # a second look, a quiet window later, decides
            game.clock.advance(0.1)
        assert "npc.smith" not in game.engine
        assert game.say(lease) == (1, "one")

    def test_it_is_stale_when_a_newer_one_is_live(self, game: Game) -> None:
        """``stale`` tells of it, ``refresh`` moves on, and calls from then on are of the live snapshot."""
        lease = game.engine.lease()
        assert not lease.stale
        game.change("two")
        assert lease.stale
        lease.refresh()
        assert not lease.stale
        assert game.say(lease) == (2, "two")

    def test_a_call_under_way_stays_where_it_began(self, game: Game) -> None:
        """``refresh`` and ``end`` change nothing for a call that was made before."""
        lease = game.engine.lease()
        game.change("two")
        calls = [lease.invoke("npc.smith", **HELLO)]
        lease.refresh()
        calls.append(lease.invoke("npc.smith", **HELLO))
        lease.end()
        assert [game.result(call).generation for call in calls] == [1, 2]

    def test_a_stream_is_of_it_too(self, game: Game) -> None:
        """``lease.stream`` speaks with the held version."""
        with game.engine.lease() as lease:
            game.change("two")
            assert game.result(lease.stream("npc.smith", **HELLO)).generation == 1


class TestTheEnd:
    def test_a_with_block_ends_it(self, game: Game) -> None:
        """After the block, and after ``end``, calls fail with ``LeaseEnded``; twice does no harm."""
        with game.engine.lease() as lease:
            assert game.say(lease) == (1, "one")
        lease.end()
        with pytest.raises(LeaseEnded):
            game.result(lease.invoke("npc.smith", **HELLO))
        with pytest.raises(LeaseEnded):
            lease.stream("npc.smith", **HELLO)
        with pytest.raises(LeaseEnded):
            lease.refresh()

    def test_no_timer_is_left(self, game: Game) -> None:
        """A lease has one timer while it holds, and none after its end."""
        lease = game.engine.lease()
        assert len(game.clock.getDelayedCalls()) == 1
        lease.refresh()
        assert len(game.clock.getDelayedCalls()) == 1
        lease.end()
        assert game.clock.getDelayedCalls() == []

    def test_an_endless_one_has_no_timer(self, game: Game) -> None:
        """With neither ``max_age`` nor ``idle``, only its holder ends it."""
        lease = game.engine.lease(max_age=None, idle=None)
        assert game.clock.getDelayedCalls() == []
        game.change("two")
        game.clock.advance(1e9)
        assert game.say(lease) == (1, "one")

    def test_closing_the_engine_ends_all(self, game: Game) -> None:
        """After ``close`` no timer is left, and leases have ended."""
        leases = [game.engine.lease() for _ in range(3)]
        game.result(game.engine.close())
        assert game.clock.getDelayedCalls() == []
        for lease in leases:
            with pytest.raises(LeaseEnded):
                lease.refresh()

    def test_closing_leaves_no_timer_of_those_that_nobody_ended(self, game: Game) -> None:
        """A lease that was forgotten, and not ended, leaves no timer in the reactor either."""
        game.engine.lease()
        gc.collect()
        game.result(game.engine.close())
        assert game.clock.getDelayedCalls() == []

    def test_a_closed_engine_gives_none(self, game: Game) -> None:
        """A lease that is asked for after ``close`` would hold, and nobody would end it: it is refused."""
        game.result(game.engine.close())
        with pytest.raises(EngineClosed):
            game.engine.lease()
        assert game.clock.getDelayedCalls() == []


class TestItsTime:
    def test_after_max_age_the_next_turn_is_of_what_is_live(self, game: Game) -> None:
        """However often it was used, a lease holds no longer than ``max_age``; then it begins anew."""
        lease = game.engine.lease(max_age=100, idle=30)
        game.change("two")
        for _ in range(4):
            game.clock.advance(24)
            assert game.say(lease) == (1, "one")
        game.clock.advance(4)
        assert game.say(lease) == (2, "two")
        game.change("three")
        game.clock.advance(20)
        assert game.say(lease) == (2, "two")

    def test_after_idle_seconds_without_a_turn_it_lets_go(self, game: Game) -> None:
        """Each turn begins that time anew."""
        lease = game.engine.lease(max_age=None, idle=30)
        game.change("two")
        for _ in range(5):
            game.clock.advance(29)
            assert game.say(lease) == (1, "one")
        game.clock.advance(30)
        assert not lease.stale
        assert game.say(lease) == (2, "two")

    def test_what_let_go_holds_nothing_until_the_next_turn(self, game: Game) -> None:
        """Between the two, it has no timer and shows what is live."""
        lease = game.engine.lease(max_age=10)
        game.clock.advance(10)
        assert game.clock.getDelayedCalls() == []
        game.change("two")
        assert (lease.generation, lease.stale) == (2, False)
        game.change("three")
        assert game.say(lease) == (3, "three")
        game.change("four")
        assert game.say(lease) == (3, "three")

    @pytest.mark.parametrize("name", ["max_age", "idle"])
    @pytest.mark.parametrize("seconds", [0, -1, "60", float("nan")])
    def test_what_is_no_time_is_refused(self, game: Game, name: str, seconds: Any) -> None:
        """``max_age`` and ``idle`` are seconds above 0, or None."""
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0"):
            game.engine.lease(**{name: seconds})

    @pytest.mark.parametrize("options", [{"max_age": 10, "idle": None}, {"max_age": None, "idle": 10}])
    def test_a_late_timer_changes_nothing(self, game: Game, options: Any) -> None:
        """A turn that comes after the time is over, and before the reactor tells of it, is of what is live."""
        lease = game.engine.lease(**options)
        game.change("two")
        game.clock.rightNow += 60
        assert game.say(lease) == (2, "two")


class TestRevoking:
    @pytest.mark.parametrize("length", [64, 12])
    def test_the_next_turn_of_each_is_of_what_is_live(self, game: Game, length: int) -> None:
        """A version is named by its SHA-256 or the beginning of it; leases on others hold on."""
        version = game.engine.snapshot["npc.smith"].version
        holding = [game.engine.lease() for _ in range(2)]
        game.change("two")
        other = game.engine.lease()
        game.change("three")
        assert game.engine.revoke("npc.smith", version[:length]) == 2
        assert [game.say(lease) for lease in holding] == [(3, "three")] * 2
        assert game.say(other) == (2, "two")
        assert game.engine.revoke("npc.smith", version[:length]) == 0

    def test_what_nobody_holds_is_revoked_from_nobody(self, game: Game) -> None:
        """Another version, another module, and a lease that ended count for nothing."""
        version = game.engine.snapshot["npc.smith"].version
        game.engine.lease().end()
        lease = game.engine.lease()
        assert game.engine.revoke("npc.smith", "0" * 64) == 0
        assert game.engine.revoke("npc.cook", version) == 0
        assert game.engine.revoke("npc.smith", version) == 1
        lease.end()
