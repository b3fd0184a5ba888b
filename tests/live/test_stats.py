"""The counters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from dspyreload import HotReloadStats
from dspyreload.live.stats import CallStats, Ledger
from dspyreload.lm.reply import Usage


def test_all_counters_begin_at_zero() -> None:
    """A service that has done nothing has counted nothing; 0 is also "never" for last_reload."""
    counted = attrs.asdict(HotReloadStats())
    assert (counted.pop("calls"), counted.pop("lms")) == ({}, {})
    assert set(counted.values()) == {0}
    assert set(attrs.asdict(CallStats()).values()) == {0}


def test_the_public_counters_have_the_promised_names() -> None:
    """Dashboards rely on these four names."""
    names = {field.name for field in attrs.fields(HotReloadStats)}
    assert {"reloads_total", "reloads_failed", "reloads_skipped", "last_reload"} <= names


def test_a_misspelt_counter_is_an_error() -> None:
    """Counters are slots: a typing error can't make a new one in silence."""
    assert not hasattr(HotReloadStats(), "__dict__")


@pytest.mark.parametrize("walk", [iter, lambda calls: calls.keys(), lambda calls: calls.items(), lambda c: c.values()])
def test_what_calls_came_to_can_be_walked_through_while_more_are_counted(walk: Callable[[Any], Any]) -> None:
    """A walk sees what there was when it began, of modules as of their versions, and never ends in an error."""
    ledger = Ledger()
    stats = HotReloadStats(calls=ledger.calls)
    for number in range(20):
        ledger.record("npc", f"version {number}", Usage())
    modules, versions = walk(stats.calls), walk(stats.calls["npc"])
    for number in range(20, 30):
        ledger.record("npc", f"version {number}", Usage())
        ledger.record(f"npc {number}", "version", Usage())
    assert (len(list(modules)), len(list(versions))) == (1, 20)
    assert (len(stats.calls), len(stats.calls["npc"])) == (11, 20)


def test_so_many_modules_and_versions_are_counted_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them are forgotten, however many a game makes; what is called again goes on being counted."""
    monkeypatch.setattr("dspyreload.live.stats._MODULES", 100)
    ledger = Ledger()
    for number in range(1000):
        ledger.record(f"npc {number}", "version", Usage())
        ledger.record("quest" if number > 950 else f"npc {number}", f"version {number}", Usage())
    assert {*ledger.calls} == {"quest", *(f"npc {number}" for number in range(901, 1000))}
    assert [*ledger.calls["quest"]] == [f"version {number}" for number in range(980, 1000)]
    ledger.record("npc 901", "version", Usage())
    assert ledger.calls["npc 901"]["version"].calls == 2


def test_a_thread_may_copy_the_counters_while_calls_are_counted() -> None:
    """As a dashboard does, all of them at once."""
    ledger = Ledger()
    stats = HotReloadStats(calls=ledger.calls)

    def count() -> None:
        for number in range(5_000):
            ledger.record(f"npc {number}", "version", Usage())

    thread = threading.Thread(target=count)
    thread.start()
    while thread.is_alive():
        attrs.asdict(stats)
    assert len(attrs.asdict(stats)["calls"]) == 5_000
