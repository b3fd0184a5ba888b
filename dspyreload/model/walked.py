"""A dictionary that one thread changes while others walk through it: :class:`Walked`."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TypeVar

__all__ = ["Walked"]

K = TypeVar("K")
V = TypeVar("V")

_NOTHING = object()


class Walked(dict[K, V]):
    """A dict with one thread that changes it; any thread may read it, copy it and walk through it.

    Each walk is one through a copy. In a plain dict it would end with ``RuntimeError: dictionary changed size during
    iteration``.
    """

    def copy(self) -> dict[K, V]:
        """Return a plain dict of what is in it now."""
        found: dict[K, V] = {}
        for key in self._keys():
            value = self.get(key, _NOTHING)  # it may have been taken out since
            if value is not _NOTHING:
                found[key] = value  # type: ignore[assignment]
        return found

    def _keys(self) -> list[K]:
        return [*dict.keys(self)]  # one step of the interpreter: nothing is made meanwhile but the list

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys())

    def keys(self) -> KeysView[K]:  # type: ignore[override]  # dict's own views are types of their own
        """Return the keys of now."""
        return self.copy().keys()

    def values(self) -> ValuesView[V]:  # type: ignore[override]
        """Return the values of now."""
        return self.copy().values()

    def items(self) -> ItemsView[K, V]:  # type: ignore[override]
        """Return the keys of now with their values."""
        return self.copy().items()

    def __repr__(self) -> str:
        return repr(self.copy())
