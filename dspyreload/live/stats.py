"""Counters: :class:`HotReloadStats`, and what calls cost."""

from __future__ import annotations

import time
from typing import Any, Protocol

import attrs

from dspyreload.model.walked import Walked

__all__ = ["CallStats", "HotReloadStats", "Ledger"]

_VERSIONS = 20  # of one module
_MODULES = 10_000  # ids may be ever new ones


@attrs.define
class CallStats:
    """What the calls of one module version came to. Written on the LM thread; any thread may read.

    :ivar calls: that were answered by the language model or failed. ``failures``: of these, those that failed.
    :ivar fallbacks: replies that something else gave in its place.
    :ivar latency: seconds, of all calls together. ``longest``: of one.
    """

    calls: int = 0
    failures: int = 0
    fallbacks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latency: float = 0.0
    longest: float = 0.0


class Spent(Protocol):
    """What one call cost."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def latency(self) -> float: ...


class Ledger:
    """Counts calls, on the LM thread; any thread may read and walk through what was counted.

    :ivar calls: by module id, then by version, the last twenty of each module; the last ten thousand modules.
    :ivar lms: how each language model does that did not always answer, by name; the last hundred.
    """

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, CallStats]] = Walked()
        self.lms: dict[str, Any] = {}

    def record(
        self, module_id: str, version: str, usage: Spent, *, failed: bool = False, fallback: bool = False
    ) -> None:
        """Count a call of a version: one that failed, one that something else answered for, or one that went well."""
        stats = self._of(module_id, version)
        stats.fallbacks += fallback
        if fallback:
            return
        stats.calls += 1
        stats.failures += failed
        stats.input_tokens += usage.input_tokens
        stats.output_tokens += usage.output_tokens
        stats.latency += usage.latency
        stats.longest = max(stats.longest, usage.latency)

    def _of(self, module_id: str, version: str) -> CallStats:
        versions = self.calls.get(module_id)
        if versions is None:
            if len(self.calls) >= _MODULES:
                del self.calls[next(iter(self.calls))]
            versions = self.calls[module_id] = Walked()
        if version not in versions:
            if len(versions) >= _VERSIONS:
                oldest = next(iter(versions))  # the one whose first call was longest ago
                # In a new dict: whoever walks through this one finds all that it has.
                versions = self.calls[module_id] = Walked(
                    (name, stats) for name, stats in versions.items() if name != oldest
                )
            versions[version] = CallStats()
        return versions[version]


@attrs.define
class HotReloadStats:
    """What a service has done since it was made. Written on the reactor thread; any thread may read and walk.

    :ivar reloads_total: module versions that went live.
    :ivar reloads_failed: rejections, each content of a file once.
    :ivar reloads_skipped: files that were looked at and held the same bytes.
    :ivar last_reload: when a module version last went live, in ms since the epoch; 0 for never.
    :ivar passes: looks at the disk.
    :ivar subscriber_errors: what subscribers raised.
    :ivar calls: what calls came to, by module id, then by version: a :class:`CallStats` each, the engine's.
    :ivar lms: how each language model does that failed, the last hundred, by name: healthy, failures in a row, the last
        reason.
    """

    reloads_total: int = 0
    reloads_failed: int = 0
    reloads_skipped: int = 0
    last_reload: int = 0
    passes: int = 0
    subscriber_errors: int = 0
    calls: dict[str, dict[str, CallStats]] = attrs.field(factory=dict)
    lms: dict[str, Any] = attrs.field(factory=dict)

    def count(self, reloads: int, failed: int, skipped: int) -> None:
        """Count what a pass came to. On the reactor thread."""
        self.reloads_total += reloads
        self.reloads_failed += failed
        self.reloads_skipped += skipped
        if reloads:
            self.last_reload = int(time.time() * 1000)
