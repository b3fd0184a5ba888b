"""Bytes as a row of choices: the same bytes always choose the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Choices"]

T = TypeVar("T")


class Choices:
    """What a generator asks; where the bytes are at their end, every answer is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._odd_in = 0

    def calm_down(self) -> None:
        """Choose how much of what follows is odd: all, some, or nothing."""
        self._odd_in = self.pick((0, 100, 24, 8))

    def odd(self) -> bool:
        """Say whether the next value is to be an odd one."""
        return self._odd_in > 0 and self.seldom(self._odd_in)

    def byte(self) -> int:
        """Return the next byte, or 0."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, count: int) -> int:
        """Return a number from 0 to ``count`` - 1."""
        number = self.byte()
        if count > 256:
            number = number * 256 + self.byte()
        return number % count

    def pick(self, items: Sequence[T]) -> T:
        """Return one of some items."""
        return items[self.below(len(items))]

    def seldom(self, once_in: int) -> bool:
        """Say yes once in a while; never where the bytes are at their end."""
        return self.below(once_in) == once_in - 1

    def take(self, most: int) -> bytes:
        """Return some bytes as they are."""
        size = self.below(most + 1)
        found = self._data[self._at : self._at + size]
        self._at += size
        return found
