"""What a pass did, as subscribers hear it.

Events are frozen structs that the garbage collector does not track. New kinds may come: ignore what you don't
know. ``generation`` is the generation that serves after the pass; ``path`` is relative POSIX text.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "EventsDropped",
    "HealthChanged",
    "HotReloadEvent",
    "LMHealthChanged",
    "ManifestChanged",
    "ModuleChanged",
    "ModuleDeleted",
    "ModuleSkipped",
    "ReloadError",
]


class HotReloadEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The base of all events."""

    generation: int


class ModuleChanged(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A module version went live: a new module, or a new version of one. ``version``: SHA-256 in 64 hex digits."""

    module_id: str
    path: str
    version: str


class ManifestChanged(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A changed manifest is in force. The tuples hold the ids of the entries concerned."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class ModuleDeleted(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A module is no longer served: its file is gone, or the manifest no longer lists it."""

    module_id: str


class ReloadError(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A file may not go live; the last good version serves.

    :ivar error: what is wrong, in a writer's words; ``mend``: what to do about it, where they do not say.
    :ivar line, column: where, from 1, or None.
    :ivar module_id: the module that the file is, where that is known.
    :ivar serving: the version that still serves (of the module; for the manifest: that of its file), or None.
    :ivar restored: whether that one was brought back from the state file after a restart.
    """

    path: str
    error: str
    line: int | None = None
    column: int | None = None
    module_id: str | None = None
    serving: str | None = None
    mend: str = ""
    restored: bool = False

    @property
    def where(self) -> str:
        """``path:line:column``, as far as it is known."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


class ModuleSkipped(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A file was looked at and holds the same bytes: saved without a change, or asked for by id."""

    module_id: str


class LMHealthChanged(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A language model failed again and again, or answers again. Calls with a fallback do not wait for one that fails.

    :ivar lm: its name. ``healthy``: whether it answers.
    :ivar reason: of the last failure, or "".
    :ivar retry_in: seconds until it is tried again; 0 where it is healthy.
    """

    lm: str
    healthy: bool
    reason: str = ""
    retry_in: float = 0.0


class HealthChanged(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """A problem came or went; ``service.health()`` says the same.

    :ivar status: ``ok``, ``degraded`` or ``failing``. ``since``: when it came to be so, in seconds since the epoch.
    :ivar reasons: why, in words, the worst first.
    """

    status: str
    since: float
    reasons: tuple[str, ...] = ()


class EventsDropped(HotReloadEvent, frozen=True, gc=False, kw_only=True):
    """This subscriber fell behind, and its ``count`` oldest events were dropped."""

    count: int
