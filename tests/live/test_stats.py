"""The counters."""

from __future__ import annotations

import attrs

from dspyreload import HotReloadStats
from dspyreload.live.stats import CallStats


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
