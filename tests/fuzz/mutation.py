"""Changes to a JSON text that leave it one, mostly: so a fuzzer gets past the syntax."""

from __future__ import annotations

import random
from typing import Any

from tests.fuzz.choices import Choices
from tests.fuzz.grammar import ODD, WORDS, document
from tests.fuzz.tree import Pairs, Raw, parse_tree, written

__all__ = ["mutated"]


def mutated(reader: str, data: bytes, chance: random.Random) -> bytes | None:
    """Return a changed text, or None where the fuzzer's own ways are as good."""
    lot = chance.random()
    if lot < 0.25 or data[:1] == b"\x01":
        return None
    if lot < 0.3:
        return b"\x01" + chance.randbytes(chance.randrange(4, 300))
    if lot < 0.35:
        return document(reader, Choices(chance.randbytes(300)))
    try:
        root = [parse_tree(data)]
        for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
            _change(root, chance)
        return written(root[0]).encode("utf-8", "surrogatepass")
    except ValueError:
        return None


def _change(root: list[Any], chance: random.Random) -> None:
    """Change one value somewhere."""
    holder, index = chance.choice(_slots(root))
    value = holder[index][1] if isinstance(holder, Pairs) else holder[index]
    what = chance.randrange(10)
    if what == 0 and isinstance(value, list) and value:
        value.append(chance.choice(value))
    elif what == 1 and isinstance(value, list) and value:
        del value[chance.randrange(len(value))]
    elif what == 2 and isinstance(value, Pairs):
        value.insert(chance.randrange(len(value) + 1), (chance.choice(WORDS), chance.choice(ODD)))
    elif what == 3 and isinstance(value, Pairs) and value:
        at = chance.randrange(len(value))
        value[at] = (chance.choice(WORDS), value[at][1])
    elif what == 4 and isinstance(value, list):
        chance.shuffle(value)
    elif what == 5:
        other, at = chance.choice(_slots(root))
        found = other[at][1] if isinstance(other, Pairs) else other[at]
        _put(holder, index, _copied(found))
    elif what == 6:
        _put(holder, index, [value])
    elif what == 7 and isinstance(value, str) and not isinstance(value, Raw):
        at = chance.randrange(len(value) + 1)
        _put(
            holder,
            index,
            value[:at] + chance.choice(("é", "e\u0301", "\x1b", "..", "/", "\ud800", "\u202e")) + value[at:],
        )
    elif what == 8:
        _put(holder, index, chance.choice(WORDS))
    else:
        _put(holder, index, chance.choice(ODD))


def _slots(root: list[Any]) -> list[tuple[Any, int]]:
    """List where values stand: the list or object that holds each, and its index there."""
    found: list[tuple[Any, int]] = []
    left: list[Any] = [root]
    while left and len(found) < 5000:
        holder = left.pop()
        for index, item in enumerate(holder):
            found.append((holder, index))
            value = item[1] if isinstance(holder, Pairs) else item
            if isinstance(value, list):
                left.append(value)
    return found


def _put(holder: Any, index: int, value: Any) -> None:
    holder[index] = (holder[index][0], value) if isinstance(holder, Pairs) else value


def _copied(value: Any) -> Any:
    """Copy a tree, so that none is in itself."""
    if isinstance(value, list):
        return type(value)([(k, _copied(v)) for k, v in value] if isinstance(value, Pairs) else map(_copied, value))
    return value
