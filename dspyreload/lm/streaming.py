"""What a language model says while it says it: DSPy's raw chunks → pieces of output fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dspyreload.lm.partial import FieldStream, Style, is_empty, style_of
from dspyreload.lm.programs import Program, all_predictors
from dspyreload.lm.reply import Chunk

__all__ = ["Sender", "whole_fields"]


class Sender:
    """Stands in DSPy's settings as ``send_stream``, and takes what its LMs say.

    :param on_chunk: called with each :class:`Chunk`.
    """

    def __init__(self, program: Program, on_chunk: Callable[[Chunk], None]) -> None:
        self._program, self._on_chunk = program, on_chunk
        self._hold = "tool_call" if program.module.tool_enabled else None
        self._style: Style | None = None
        self._streams: dict[int, FieldStream] = {}
        self._last: dict[str, tuple[str, FieldStream]] = {}  # by field: which predictor said it last

    @property
    def heard(self) -> bool:
        """Whether anything was given out in this run."""
        return any(stream.said for _predictor, stream in self._last.values())

    def begin(self, dspy: Any, model: Any) -> bool:
        """Begin a run; say whether this program can stream with this language model, and with the adapter in use."""
        self._streams.clear()
        self._last.clear()
        self._style = style_of(dspy.settings.adapter)
        models = [model, *(predictor.lm for predictor in all_predictors(self._program.runner) if predictor.lm)]
        return self._style is not None and self._program.is_async and all(map(_streams, models))

    async def send(self, chunk: Any) -> None:
        """Take one chunk of one predictor's answer."""
        names = self._program.spoken.get(getattr(chunk, "predict_id", None) or 0)
        if names is None or self._style is None:
            return
        predictor, fields = names
        stream = self._streams.get(chunk.predict_id)
        if stream is None:
            stream = self._streams[chunk.predict_id] = FieldStream(self._style, fields, self._hold)
        choice = chunk.choices[0]
        for field, text in stream.feed(choice.delta.content or ""):
            self._last[field] = (predictor, stream)
            self._on_chunk(Chunk(text, field, predictor))
        if choice.finish_reason is not None:  # a loop may ask the same predictor again
            self._streams.pop(chunk.predict_id)
            for field in fields:
                self._last.setdefault(field, (predictor, stream))

    def finish(self, fields: Mapping[str, Any]) -> None:
        """Say what is missing of the reply: what was held back, or all of it where nothing was streamed."""
        if self._hold is not None and not is_empty(fields.get(self._hold)):
            return
        rest: dict[int, tuple[str, FieldStream]] = {id(stream): (name, stream) for name, stream in self._last.values()}
        for predictor, stream in rest.values():
            own = {name: value for name, value in fields.items() if self._last.get(name, ("", None))[1] is stream}
            for field, text in stream.finish(own):
                self._on_chunk(Chunk(text, field, predictor))
        for chunk in whole_fields({name: value for name, value in fields.items() if name not in self._last}):
            self._on_chunk(chunk)


def whole_fields(fields: Mapping[str, Any], fallback: str = "") -> Iterator[Chunk]:
    """Return each text that a player may hear as one chunk."""
    for field, value in fields.items():
        if isinstance(value, str) and value and field not in ("reasoning", "tool_call"):
            yield Chunk(value, field, fallback=fallback)


def _streams(model: Any) -> bool:
    spec = getattr(model, "_engine_spec", None)
    if isinstance(spec, str) or spec is None:
        return True
    return hasattr(getattr(model, "_async_engine_spec", None), "stream")
