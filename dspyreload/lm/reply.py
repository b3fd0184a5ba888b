"""What an invocation gives back: :class:`Reply`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

__all__ = ["Reply"]


@attrs.frozen(eq=False)
class Reply(Mapping[str, Any]):
    """The output fields of a module, by name, stamped with what gave them.

    :ivar module_id: the module that was invoked.
    :ivar version: the module version that answered, SHA-256 in 64 hex digits.
    :ivar generation: of the snapshot that it was taken from.
    :ivar lm: the name of the language model that spoke; ``demos`` is no model but the demonstrations.
    """

    _fields: dict[str, Any]
    module_id: str
    version: str
    generation: int
    lm: str

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)
