"""How the long loops of a pass go through many things: :class:`Steps`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Steps", "at_once"]

T = TypeVar("T")


class Steps(Protocol):
    """Gives the same items in the same order; beside a reactor it rests between some of them (``live.slices``)."""

    def __call__(self, items: Iterable[T], /) -> Iterable[T]:
        """Give them."""


def at_once(items: Iterable[T], /) -> Iterable[T]:
    """Go through all of them without a rest: where nobody waits for the interpreter lock."""
    return items
