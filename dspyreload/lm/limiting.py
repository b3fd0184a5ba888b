"""How much may be asked for, kept: :class:`Limiter`.

What holds here:

- A window is exact: what was counted at ``t`` counts until just before ``t + 60`` (or 3,600), and no longer.
- A call that is refused leaves no trace.
- No call walks over all keys, all modules or all that a window holds.
- Whoever has nothing in a window is forgotten, some at each call.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from dspyreload.config import Limits
from dspyreload.errors import LimitExceeded
from dspyreload.model.faults import counted, shown

__all__ = ["Limiter"]

_MINUTE, _HOUR = 60.0, 3600.0
_ALL = ""  # the one name in the window of all calls
_FORGOTTEN_AT_ONCE = 100  # the quiet after a crowd is not paid for by one call

_WORDS = {
    "calls_per_minute": "{key} has made {calls} in a minute, as many as are allowed",
    "module_calls_per_minute": "it has had {calls} in a minute, as many as are allowed",
    "tokens_per_hour": "the game has spent {tokens} in an hour; the limit is {limit:,}",
    "key_tokens_per_hour": "{key} has spent {tokens} in an hour; the limit is {limit:,}",
}


class Limiter:
    """Keeps :class:`~dspyreload.config.Limits`. One thread uses it.

    :param clock: gives the time in seconds, such as ``time.monotonic``; where it is set back, time stands still.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._input_length = limits.input_length
        self._counts = limits.evolve(input_length=None) != Limits()  # else a call costs nothing
        self._clock, self._now = clock, -math.inf
        self._calls = _Windows("calls_per_minute", limits, _MINUTE)
        self._module_calls = _Windows("module_calls_per_minute", limits, _MINUTE)
        self._tokens = _Windows("tokens_per_hour", limits, _HOUR)
        self._key_tokens = _Windows("key_tokens_per_hour", limits, _HOUR)

    def admit(self, module_id: str, key: str | None, inputs: Mapping[str, Any]) -> None:
        """Let a call through and count it, for its module and for its key where it has one.

        :raises LimitExceeded: where it would go past a limit; of several, the one that holds longest is named.
        """
        self._check_lengths(module_id, key, inputs)
        if not self._counts:
            return
        now = self._tick()
        asked = (
            (self._calls, key),
            (self._module_calls, module_id),
            (self._tokens, _ALL),
            (self._key_tokens, key),
        )
        wait, windows, name = max(((w.wait(n, now), w, n) for w, n in asked), key=lambda found: found[0])
        if wait > 0:
            reason = f"{windows.words(name, now)}; again in {_soon(wait)}"
            raise LimitExceeded(module_id, windows.limit_name, reason, key=key, retry_after=wait)
        self._calls.count(key, now, 1)
        self._module_calls.count(module_id, now, 1)

    def spend(self, key: str | None, tokens: int) -> None:
        """Count the tokens of a call that has ended, for all and for its key where it has one."""
        if not self._counts:
            return
        now = self._tick()
        if tokens > 0:
            self._tokens.count(_ALL, now, tokens)
            self._key_tokens.count(key, now, tokens)

    def remembered(self) -> int:
        """Return how many windows are held: of keys, of modules and of all."""
        return sum(len(windows) for windows in self._windows())

    def _tick(self) -> float:
        self._now = max(self._now, self._clock())  # windows are searched as sorted
        for windows in self._windows():
            windows.forget(self._now)
        return self._now

    def _windows(self) -> tuple[_Windows, ...]:
        return self._calls, self._module_calls, self._tokens, self._key_tokens

    def _check_lengths(self, module_id: str, key: str | None, inputs: Mapping[str, Any]) -> None:
        if self._input_length is None:
            return
        for name, value in inputs.items():
            if (length := _length(value)) > self._input_length:
                field = shown(repr(name), 60)
                reason = f"the input {field} has {counted(length, 'character')}; {self._input_length:,} are allowed"
                raise LimitExceeded(module_id, "input_length", reason, key=key)


class _Windows:
    """The windows of one limit, by name: a key's, a module's. Without the limit nothing is kept.

    Whoever was counted last stands last, so those who may be forgotten stand first.
    """

    def __init__(self, limit_name: str, limits: Limits, span: float) -> None:
        self.limit_name = limit_name
        self._limit: int | None = getattr(limits, limit_name)
        self._span = span
        self._by_name: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_name)

    def wait(self, name: str | None, now: float) -> float:
        """Return the seconds until ``name`` is below the limit: 0 where it is now."""
        window = self._by_name.get(name) if name is not None else None
        if window is None or self._limit is None or window.amount(now) < self._limit:
            return 0.0
        return window.below(self._limit) - now

    def count(self, name: str | None, now: float, amount: int) -> None:
        """Count an amount for ``name``; None is nobody."""
        if name is None or self._limit is None:
            return
        if (window := self._by_name.get(name)) is None:
            window = self._by_name[name] = _Window()
        window.add(amount, now, now + self._span)
        self._by_name.move_to_end(name)

    def words(self, name: str | None, now: float) -> str:
        """Say that ``name`` has reached the limit."""
        amount = self._by_name[name].amount(now) if name is not None else 0
        return _WORDS[self.limit_name].format(
            key=shown(str(name), 60), calls=counted(amount, "call"), tokens=counted(amount, "token"), limit=self._limit
        )

    def forget(self, now: float) -> None:
        """Let go of some whose window is empty."""
        for _ in range(_FORGOTTEN_AT_ONCE):
            first = next(iter(self._by_name.values()), None)
            if first is None or not first.is_empty(now):
                return
            self._by_name.popitem(last=False)


class _Window:
    """What was counted of late: when each amount leaves, and the running sum up to and with it.

    Both only grow, so each question is a binary search. What has left is dropped once it is half of what is held.
    """

    # Lists and no deques: an empty deque takes 600 bytes, and there may be a hundred thousand.
    __slots__ = ("_dropped", "_leaving", "_sums")

    def __init__(self) -> None:
        self._leaving: list[float] = []
        self._sums: list[int] = []
        self._dropped = 0  # the sum up to and with the last that was dropped

    def add(self, amount: int, now: float, leaves: float) -> None:
        """Count an amount until ``leaves``."""
        gone = bisect_right(self._leaving, now)
        last = self._sums[-1] if self._sums else 0
        if gone * 2 > len(self._leaving):
            self._dropped = self._sums[gone - 1]
            del self._leaving[:gone], self._sums[:gone]
        self._leaving.append(leaves)
        self._sums.append(last + amount)

    def amount(self, now: float) -> int:
        """Return how much the window holds."""
        gone = bisect_right(self._leaving, now)
        return self._sums[-1] - (self._sums[gone - 1] if gone else self._dropped)

    def below(self, limit: int) -> float:
        """Return when it will hold less than ``limit``, as it does not now."""
        return self._leaving[bisect_right(self._sums, self._sums[-1] - limit)]

    def is_empty(self, now: float) -> bool:
        """Say whether all that was counted has left."""
        return self._leaving[-1] <= now


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    try:
        return len(json.dumps(value, default=str, ensure_ascii=False))
    except (TypeError, ValueError):  # keys that JSON has not, or a value inside itself
        return len(str(value))


def _soon(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= 2 * _MINUTE else f"{math.ceil(seconds / 60)} min"
