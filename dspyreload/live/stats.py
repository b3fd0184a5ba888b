"""Counters: :class:`HotReloadStats`."""

from __future__ import annotations

import attrs

__all__ = ["HotReloadStats"]


@attrs.define
class HotReloadStats:
    """What a service has done since it was made. Written on the reactor thread; any thread may read.

    :ivar reloads_total: module versions that went live.
    :ivar reloads_failed: rejections, each content of a file once.
    :ivar reloads_skipped: files that were looked at and held the same bytes.
    :ivar last_reload: when a module version last went live, in ms since the epoch; 0 for never.
    :ivar passes: looks at the disk.
    :ivar subscriber_errors: what subscribers raised.
    """

    reloads_total: int = 0
    reloads_failed: int = 0
    reloads_skipped: int = 0
    last_reload: int = 0
    passes: int = 0
    subscriber_errors: int = 0
