"""What may have changed since the last pass began, and when the next one is due: :class:`Expecting`."""

from __future__ import annotations

from collections.abc import Callable

from dspyreload.config import HotReloadConfig
from dspyreload.live.burst import Gathered
from dspyreload.live.debounce import QuietWindow
from dspyreload.live.hints import Hints
from dspyreload.reactor import IReactor

__all__ = ["Expecting"]


def _nothing(listen: bool) -> Gathered:  # noqa: ARG001 - the interface
    return Gathered()


class Expecting:
    """Hints, and the quiet window that they open. For the reactor thread.

    :param clock: gives the reactor when it is first needed.
    :param due: called when the window is over.
    :ivar hints: what is known to have perhaps changed.
    :ivar heard: gives what the watcher heard since its last hint; it is told whether to give one again.
    """

    def __init__(self, clock: Callable[[], IReactor], due: Callable[[], None]) -> None:
        self._clock, self._due = clock, due
        self.hints = Hints()
        self.heard: Callable[[bool], Gathered] = _nothing
        self._window: QuietWindow | None = None

    @property
    def is_open(self) -> bool:
        """Whether a quiet window is open, and a pass follows when it is over."""
        return self._window is not None and self._window.waiting

    def wait(self, config: HotReloadConfig) -> None:
        """Open the quiet window, or begin it anew."""
        if self._window is None or not self._window.waiting:  # a new one: the settings may be others by now
            self._window = QuietWindow(self._clock(), self._due, config.debounce, config.max_wait, self._gather)
        self._window.hint()

    def take(self) -> Hints:
        """Return all hints, and begin anew: the watcher gives one at its next event again."""
        self._gather(listen=True)
        hints = self.hints
        self._close()
        return hints

    def forget(self) -> None:
        """Expect nothing more, of nobody."""
        self.heard = _nothing
        self._close()

    def _close(self) -> None:
        self.hints = Hints()
        if self._window is not None:
            self._window.cancel()

    def _gather(self, *, listen: bool = False) -> float | None:
        heard = self.heard(listen)
        if heard.latest is not None:
            self.hints.add(heard.paths)
        return heard.latest
