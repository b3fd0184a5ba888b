"""What may have changed since the last pass began: :class:`Hints`."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["Hints"]


@attrs.define
class Hints:
    """What is known to have perhaps changed since the last pass began."""

    whole: bool = False
    deep: bool = False
    paths: set[str] = attrs.field(factory=set)
    names: set[str] = attrs.field(factory=set)

    def add(self, paths: Iterable[str] | None, *, deep: bool = False, names: Iterable[str] = ()) -> None:
        """Add some: ``paths`` (None for anything), and what was registered, such as ``signature npc.dialogue``."""
        self.whole = self.whole or paths is None
        self.deep = self.deep or deep
        self.paths.update(paths or ())
        self.names.update(names)
