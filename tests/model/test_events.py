"""What subscribers hear."""

from __future__ import annotations

import gc

import pytest

from dspyreload.model import events
from dspyreload.model.events import (
    EventsDropped,
    HealthChanged,
    HotReloadEvent,
    LMHealthChanged,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)

ALL: list[HotReloadEvent] = [
    ModuleChanged(generation=2, module_id="npc", path="npc.json", version="0" * 64),
    ManifestChanged(generation=2),
    ModuleDeleted(generation=2, module_id="npc"),
    ReloadError(generation=2, path="npc.json", error="the file is empty"),
    ModuleSkipped(generation=2, module_id="npc"),
    LMHealthChanged(generation=2, lm="big", healthy=False, reason="no route to host", retry_in=1.0),
    HealthChanged(generation=2, status="degraded", since=1.0, reasons=("no watches left",)),
    EventsDropped(generation=2, count=3),
]


def test_every_kind_is_named_here() -> None:
    """The tests of this file know all kinds of events."""
    assert {type(event).__name__ for event in ALL} | {"HotReloadEvent"} == set(events.__all__)


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_an_event_is_frozen_and_says_its_generation(event: HotReloadEvent) -> None:
    """An event can be handed to many subscribers; none can change it for the others."""
    assert isinstance(event, HotReloadEvent)
    assert event.generation == 2
    with pytest.raises(AttributeError):
        event.generation = 3  # type: ignore[misc]


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_an_event_is_no_work_for_the_garbage_collector(event: HotReloadEvent) -> None:
    """Tens of thousands of events of one pass do not make a full collection slower."""
    assert not gc.is_tracked(event)


@pytest.mark.parametrize(
    ("line", "column", "where"),
    [(None, None, "npc.json"), (3, None, "npc.json:3"), (3, 14, "npc.json:3:14")],
)
def test_a_rejection_says_where(line: int | None, column: int | None, where: str) -> None:
    """The place is path, line and column, as far as they are known."""
    assert ReloadError(generation=1, path="npc.json", error="?", line=line, column=column).where == where
