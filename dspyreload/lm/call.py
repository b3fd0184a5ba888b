"""What one call asks for: :class:`Call`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from dspyreload.lm.programs import Program
from dspyreload.lm.reply import Reply
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Call"]


@attrs.frozen(eq=False, kw_only=True)
class Call:
    """What one call asks for.

    :ivar timeout: seconds, waiting for a place included; None for no limit.
    :ivar lm: which language model the call chose, or None.
    :ivar key: on whose account. ``context``: for tools; no language model sees it.
    :ivar fallback: ``"demos"``; None for the module's own lines alone; False for nothing.
    :ivar keep: holds the programs that it uses: a lease's, or its own.
    :ivar on_chunk: called in the LM loop with each piece of the reply while it is said.
    :ivar on_reactor: runs a function of the game on the reactor thread.
    :ivar filtered: what the game makes of a reply before anybody hears it; None where it has no filter.
    """

    version: ModuleVersion
    generation: int
    inputs: Mapping[str, Any]
    on_reactor: Callable[[str, Callable[[], Any]], Awaitable[Any]]
    timeout: float | None = None
    lm: Any = None
    key: str | None = None
    context: Any = None
    fallback: Any = None
    keep: dict[str, Program] = attrs.field(factory=dict)
    on_chunk: Callable[[Any], None] | None = None
    filtered: Callable[[Reply], Awaitable[Reply]] | None = None
