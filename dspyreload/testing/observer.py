"""An observer of files that sees what a test says."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["FakeObserver"]


class FakeObserver:
    """Stands in for watchdog's observer: it tells the handler what your test says.

    Pass ``make_observer=lambda polling: observer`` to a service.

    :param fails: raised by ``start``, as a kernel without watches would.
    """

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.root = ""
        self.running = False
        self.stops = 0
        self.emitters: set[Any] = set()
        self.name = "fake-observer"
        self._handler: Any = None

    def schedule(self, handler: Any, path: str, **_options: Any) -> None:
        """Remember who is told."""
        self._handler, self.root = handler, path

    def start(self) -> None:
        """Begin."""
        if self.fails is not None:
            raise self.fails
        self.running = True

    def stop(self) -> None:
        """End."""
        self.running, self.stops = False, self.stops + 1

    def join(self, timeout: float | None = None) -> None:
        """Return at once: there is no thread."""

    def is_alive(self) -> bool:
        """Say whether it was started and not stopped."""
        return self.running

    def tell(self, path: str, kind: str = "modified", *, dest: str = "", directory: bool = False) -> None:
        """Deliver one event: ``kind`` is watchdog's event type, paths are relative to the root."""
        event = _Event(kind, f"{self.root}/{path}", f"{self.root}/{dest}" if dest else "", directory)
        self._handler.dispatch(event)


@attrs.frozen
class _Event:
    event_type: str
    src_path: str
    dest_path: str
    is_directory: bool
