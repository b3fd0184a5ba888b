"""What an invocation gives back: :class:`Reply` and its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

__all__ = ["Chunk", "Reply", "ToolCall", "Usage"]


@attrs.frozen
class Usage:
    """What a call cost.

    :ivar input_tokens, output_tokens: as the provider counted them, of all its requests; 0 where it does not say.
    :ivar requests: how often a language model answered.
    :ivar latency: seconds from the ``invoke`` to the reply, waiting for a place included.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    latency: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.input_tokens + self.output_tokens


@attrs.frozen
class ToolCall:
    """One run of a tool in the loop of a tool-enabled module: its ``result``, or the ``error`` that the LM was told."""

    name: str
    args: Mapping[str, Any]
    result: Any = None
    error: str | None = None


class Chunk(str):
    """A piece of an output field while it is being said; the text itself.

    :ivar field: of which field. ``predictor``: of which predictor of a program, "" for a bare one.
    :ivar fallback: "" for what the language model says; else, as in the reply, what speaks in its place. It begins
        anew: what was heard before it was no whole reply.
    """

    __slots__ = ("fallback", "field", "predictor")

    fallback: str
    field: str
    predictor: str

    @property
    def text(self) -> str:
        """The text, as a plain ``str``."""
        return str.__str__(self)

    def __new__(cls, text: str, field: str, predictor: str = "", fallback: str = "") -> Chunk:  # noqa: D102 - the class says it
        chunk = super().__new__(cls, text)
        chunk.field, chunk.predictor, chunk.fallback = field, predictor, fallback
        return chunk


@attrs.frozen(eq=False)
class Reply(Mapping[str, Any]):
    """The output fields of a module, by name, stamped with what gave them.

    :ivar module_id: the module that was invoked.
    :ivar version: the module version that answered, SHA-256 in 64 hex digits.
    :ivar generation: of the snapshot that it was taken from.
    :ivar lm: the name of the language model that spoke; ``demos`` is no model but the demonstrations, ``fallback`` the
        module's own lines.
    :ivar usage: tokens and latency.
    :ivar fallback: "" where the chosen language model spoke; else what did in its place: ``lines`` or ``demos``.
    :ivar reason: why it did not, in plain words.
    :ivar tool_calls: which tools ran on the way, in order.
    """

    _fields: dict[str, Any]
    module_id: str
    version: str
    generation: int
    lm: str
    usage: Usage = Usage()
    fallback: str = ""
    reason: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def evolve(self, **fields: Any) -> Reply:
        """Return a copy with other values of output fields, as a reply filter gives back."""
        return attrs.evolve(self, fields={**self._fields, **fields})
