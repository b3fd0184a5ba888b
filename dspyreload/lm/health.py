"""Whether a language model answers: a breaker for each, so that one that is down is not waited for by every player."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs

from dspyreload.model.walked import Walked

__all__ = ["Health", "LMState"]

_REPEATED = 3  # failures one after the other
_FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0
_MOST = 100  # language models; a game may make one for each call
_UNUSED = "it has not been asked lately"


@attrs.define
class LMState:
    """How one language model does. Written on the LM thread; any thread may read.

    :ivar healthy: false from the third failure in a row to the next success.
    :ivar failures: in a row. ``reason``: of the last one; or why nothing is known any more of one that did not answer.
    :ivar retry_at: while it is not healthy: when it is tried again, in seconds of the engine's clock.
    """

    healthy: bool = True
    failures: int = 0
    reason: str = ""
    retry_at: float = 0.0
    back_off: float = 0.0
    trying: object = attrs.field(default=None, repr=False)


class Health:
    """The state of each language model, by name. For one thread, the LM loop's.

    :param clock: seconds.
    :param changed: called with name, state, and seconds until the next try, when ``healthy`` changes.
    :ivar states: by name, of those that failed; of the hundred that did so last. Any thread may walk through it.
    """

    def __init__(self, clock: Callable[[], float], changed: Callable[[str, LMState, float], None]) -> None:
        self._clock, self._changed = clock, changed
        self.states: dict[str, LMState] = Walked()
        self._lately: OrderedDict[str, None] = OrderedDict()  # names, by their last failure

    def down(self, name: str, call: object) -> str | None:
        """Say why a call should not even try, or None. At a time one call may try one that was down."""
        state = self.states.get(name)
        if state is None or state.healthy:
            return None
        left = state.retry_at - self._clock()
        if left <= 0 and state.trying is None:
            state.trying = call
            return None
        return f"the LM {name} is down ({state.reason}); it is tried again in {max(left, 0):.0f} s"

    def succeeded(self, name: str) -> None:
        """Count an answer."""
        state = self.states.get(name)
        if state is None:
            return
        was_healthy = state.healthy
        self.states[name] = LMState()
        if not was_healthy:
            self._changed(name, self.states[name], 0.0)

    def failed(self, name: str, reason: str, call: object) -> None:
        """Count a failure. While it is down, only that of the call that tries makes the wait longer."""
        state = self._failing(name)
        tried, state.failures, state.reason = state.trying is call, state.failures + 1, reason
        if tried:
            state.trying = None
        if state.failures < _REPEATED or not (state.healthy or tried):
            return
        state.back_off = min(state.back_off * 2 or _FIRST_BACK_OFF, _LONGEST_BACK_OFF)
        state.retry_at = self._clock() + state.back_off
        if state.healthy:
            state.healthy = False
            self._changed(name, state, state.back_off)

    def _failing(self, name: str) -> LMState:
        """Return the state of one that fails; where that is one too many, another is forgotten.

        Which: of those that still count as healthy, the one that failed longest ago; where there is none, of all.
        """
        state = self.states.setdefault(name, LMState())
        self._lately[name] = None
        self._lately.move_to_end(name)
        if len(self._lately) > _MOST:
            others = [other for other in self._lately if other != name]
            old = next((other for other in others if self.states[other].healthy), others[0])
            forgotten = self.states.pop(old)
            del self._lately[old]
            if not forgotten.healthy:
                self._changed(old, LMState(reason=_UNUSED), 0.0)
        return state

    def ended(self, name: str, call: object) -> None:
        """Let another call try where this was the one that did: it was cancelled, or failed for a reason of its own."""
        state = self.states.get(name)
        if state is not None and state.trying is call:
            state.trying = None
