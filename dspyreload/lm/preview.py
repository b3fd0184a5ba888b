"""The messages of a request that is never sent."""

from __future__ import annotations

from typing import Any

__all__ = ["Captured", "capturing"]


class Captured(BaseException):
    """Ends a program at its first request; no program means to catch it."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        super().__init__("a request was captured")
        self.messages = messages


def capturing(dspy: Any, model: Any) -> Any:
    """Return a language model with all that DSPy asks of ``model``, which raises :class:`Captured` when it is called.

    :param model: a ``dspy.LM``, or None for one that can do nothing special.
    """
    if model is None:
        model = dspy.LM("preview/preview", engine=_NoEngine(), cache=False)

    def capture(prompt: Any, messages: Any) -> None:
        raise Captured([dict(message) for message in messages or [{"role": "user", "content": prompt}]])

    class Capturing(type(model)):  # type: ignore[misc]  # whatever class the model is of
        def __call__(self, prompt: Any = None, *, messages: Any = None, **_options: Any) -> Any:
            capture(prompt, messages)

        async def acall(self, prompt: Any = None, *, messages: Any = None, **_options: Any) -> Any:
            capture(prompt, messages)

    copy = model.copy()
    copy.__class__ = Capturing
    return copy


class _NoEngine:
    def complete(self, request: Any) -> Any:
        raise NotImplementedError
