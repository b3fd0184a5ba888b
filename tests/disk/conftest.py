"""A server without its reactor: each pass over real files is one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from dspyreload.disk import including, reading
from dspyreload.disk.scan import Request, look
from dspyreload.disk.state import StateFile
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.finding import Known, Look
from dspyreload.model.plan import Plan, apply, make_plan
from dspyreload.model.registrations import Registered, RegisteredProgram, Registrations
from dspyreload.model.snapshot import EMPTY, Snapshot
from tests.disk.kept import state_file

__all__ = ["Server", "named", "reads", "server", "settled"]

Event = TypeVar("Event", bound=HotReloadEvent)


@attrs.define(eq=False)
class Server:
    """Looks, plans and applies. A second passes from one look to the next, so each is a suspect's second look.

    :ivar seen: the last look.
    :ivar plan: the last plan.
    """

    root: Path
    registered: dict[str, Registered] = attrs.field(factory=dict)
    programs: dict[str, RegisteredProgram] = attrs.field(factory=dict)
    more: dict[str, Any] = attrs.field(factory=dict)
    options: dict[str, Any] = attrs.field(factory=dict)
    snapshot: Snapshot = EMPTY
    known: Known = attrs.field(factory=Known)
    seen: Look | None = None
    plan: Plan | None = None

    def save(self, path: str, text: str | bytes) -> Path:
        """Write a file of the modules directory."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def start(self) -> Plan:
        """Read everything for the first time; what it finds is decided at once."""
        return self._pass(None, None, first=True)

    def look(
        self,
        *paths: str,
        asked: Iterable[str] = (),
        deep: bool = False,
        signatures: Iterable[str] = (),
        names: Iterable[str] = (),
        early: bool = False,
    ) -> Plan:
        """Look at some paths once, or with none named at everything. ``early``: within the quiet window."""
        ripe = frozenset() if early else frozenset(self.known.suspects)
        return self._pass(
            frozenset(paths) or None,
            ripe,
            asked=frozenset(asked),
            deep=deep,
            names=frozenset(f"signature {name}" for name in signatures) | frozenset(names),
        )

    def settle(self, *paths: str, asked: Iterable[str] = ()) -> tuple[HotReloadEvent, ...]:
        """Look, and look again as long as there are suspects; return the events of all looks."""
        plan = self.look(*paths, asked=asked)
        events = plan.events
        for _ in range(3):
            if not plan.again:
                return events
            plan = self.look(*plan.again, asked=asked)
            events += plan.events
        raise AssertionError(f"looked at again and again: {sorted(plan.again)}")

    def _pass(self, paths: frozenset[str] | None, ripe: frozenset[str] | None, **request: Any) -> Plan:
        asked = request.get("asked", frozenset())
        seen = look(
            Request(
                root=str(self.root),
                in_force=self.snapshot.manifest,
                registrations=Registrations(signatures=self.registered, programs=self.programs, **self.more),
                paths=paths,
                ripe=ripe,
                **request,
                **self.options,
            ),
            self.known,
        )
        plan = make_plan(self.snapshot, self.known, seen, ripe=ripe, asked=asked, now=0.0)
        self.snapshot = plan.snapshot
        apply(self.known, plan)
        self.seen, self.plan = seen, plan
        return plan


def named(events: Iterable[HotReloadEvent], kind: type[Event]) -> list[Event]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    """A state file that is open, of a modules directory that is there."""
    (tmp_path / "modules").mkdir()
    file = state_file(tmp_path)
    file.open()
    yield file
    file.close()


@pytest.fixture
def server(modules: Path) -> Server:
    """A server of the empty modules directory that has not read it yet."""
    return Server(modules)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the tick of the file system's clock as passed: a file that was just written is proven by its signature."""
    monkeypatch.setattr(reading, "_TICK_NS", 0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The path of each file that is read, in order."""
    paths: list[str] = []

    def read_file(root: str, path: str, limit: int) -> reading.FileRead:
        paths.append(path)
        return reading.read_file(root, path, limit)

    monkeypatch.setattr(including, "read_file", read_file)
    return paths
