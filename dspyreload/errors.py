"""The exceptions, by who is at fault. What an operator reads is their text.

A file that may not go live is never an exception to the game: it is a
:class:`~dspyreload.ReloadError` *event*, and the last good version serves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

__all__ = [
    "AlreadyRunning",
    "DSPyNotInstalled",
    "DSPyReloadError",
    "EngineBusy",
    "EngineClosed",
    "HotReloadFailed",
    "InvokeTimeout",
    "LMConfigInvalid",
    "LeaseEnded",
    "LMFailed",
    "LimitExceeded",
    "LoopNotStarted",
    "MaxIterationsReached",
    "MissingInput",
    "NoLM",
    "NotReady",
    "OtherInputs",
    "ProgramRefused",
    "ReplyRefused",
    "ServiceStopped",
    "SignatureRefused",
    "ToolRefused",
    "UnknownInput",
    "UnknownModule",
    "WatcherError",
    "WrongThread",
]


_FEW = 50


class DSPyReloadError(Exception):
    """The root of all that dspyreload raises."""


# The game's code is at fault.


class UnknownModule(DSPyReloadError, KeyError):
    """No live module has this id."""

    def __init__(self, module_id: str, known: Collection[str] = ()) -> None:
        import difflib

        self.module_id = module_id
        # Among many, the search would take longer than a game's tick.
        near = difflib.get_close_matches(str(module_id), list(known), n=1) if len(known) <= _FEW else []
        self.suggestion = near[0] if near else None
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"no live module has the id {module_id!r}{hint}")

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr


class MissingInput(DSPyReloadError):
    """A call lacks input fields that the module's signature asks for: ``fields``."""

    def __init__(self, module_id: str, fields: tuple[str, ...]) -> None:
        self.module_id, self.fields = module_id, fields
        super().__init__(f"{module_id} needs the input {_listed(fields)}")


class UnknownInput(DSPyReloadError):
    """A call names input fields that the module's signature has not: ``fields``."""

    def __init__(self, module_id: str, fields: tuple[str, ...], known: tuple[str, ...]) -> None:
        self.module_id, self.fields, self.known = module_id, fields, known
        super().__init__(f"{module_id} has no input {_listed(fields)}; its inputs are {_listed(known) or 'none'}")


class OtherInputs(UnknownInput, MissingInput):
    """A call brings inputs that the module has not, and lacks some that it has: its signature has changed perhaps.

    ``fields``: those that it has not; ``missing``: those that it needs.
    """

    def __init__(
        self, module_id: str, fields: tuple[str, ...], missing: tuple[str, ...], known: tuple[str, ...]
    ) -> None:
        self.module_id, self.fields, self.missing, self.known = module_id, fields, missing, known
        text = (
            f"{module_id} has no input {_listed(fields)}, and needs {_listed(missing)}; its inputs are {_listed(known)}"
        )
        Exception.__init__(self, text)


class NotReady(DSPyReloadError):
    """The modules are not read yet: the engine was made with ``load=False`` and its service has not started."""


class WrongThread(DSPyReloadError):
    """Called from another thread than the reactor's; use ``reactor.callFromThread``."""


class AlreadyRunning(DSPyReloadError):
    """Another ``HotReloadService`` is running for the same engine."""


class SignatureRefused(DSPyReloadError):
    """What was registered is no signature that a module can be run with."""


class ProgramRefused(DSPyReloadError):
    """What was registered is no program that can be copied and served."""


class ToolRefused(DSPyReloadError):
    """What was registered is no tool that a language model can be offered."""


class ReplyRefused(DSPyReloadError):
    """One of the game's reply filters refused a reply; a filter may raise it itself, with its reason."""


class LeaseEnded(DSPyReloadError):
    """A lease was used after its ``with`` block, or after ``end()``."""


class EngineClosed(DSPyReloadError):
    """``engine.close()`` was called, or the reactor has shut down."""


class ServiceStopped(DSPyReloadError):
    """The service stopped before what was waited for happened."""


# A player asks for more than the game allows.


class LimitExceeded(DSPyReloadError):
    """A call would go past one of the :class:`~dspyreload.config.Limits`; it was not made, and not counted.

    ``limit`` is the limit's name there, ``key`` the call's key, ``retry_after`` the seconds until such a call is
    within every limit again if nothing else is called, or None where waiting does not help.
    """

    def __init__(
        self, module_id: str, limit: str, reason: str, *, key: str | None = None, retry_after: float | None = None
    ) -> None:
        self.module_id, self.limit, self.key, self.retry_after = module_id, limit, key, retry_after
        super().__init__(f"{module_id}: {reason}")


# The machine, its configuration or the language model is at fault.


class LMConfigInvalid(DSPyReloadError):
    """The settings of a language model can't work. The text, one line, says where and why."""


class WatcherError(DSPyReloadError):
    """The modules directory can't be watched. The text says why and what to do."""


class HotReloadFailed(DSPyReloadError):
    """A pass itself failed (not: a file was rejected), or what a command or ``versions`` needs can't be read.

    While a service runs, passes and the state file are tried again, with back-off.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"hot reload of {path} failed: {reason}")


class DSPyNotInstalled(DSPyReloadError):
    """``invoke`` needs DSPy, and it is not installed."""

    def __init__(self) -> None:
        super().__init__("invoke needs DSPy: python -m pip install 'dspyreload[dspy]'")


class NoLM(DSPyReloadError):
    """No language model is chosen: not by the call, not by the engine, not by ``dspy.configure``."""

    def __init__(self) -> None:
        super().__init__("no language model: pass lm= to invoke or to DSPyEngine, or call dspy.configure(lm=...)")


class LMFailed(DSPyReloadError):
    """The language model or its answer failed; the cause is ``__cause__``."""

    def __init__(self, module_id: str, lm: str, reason: str) -> None:
        self.module_id, self.lm, self.reason = module_id, lm, reason
        super().__init__(f"{module_id}: the LM {lm} failed: {reason}")


class InvokeTimeout(DSPyReloadError, TimeoutError):
    """A call took longer than its ``timeout``; it was cancelled."""

    def __init__(self, module_id: str, timeout: float) -> None:
        self.module_id, self.timeout = module_id, timeout
        super().__init__(f"{module_id} did not answer within {timeout:g} s")


class LoopNotStarted(DSPyReloadError):
    """The machine has no thread or no descriptor left for the LM loop. The next call tries again."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the thread that language models are called in can't be started: {reason}")


class EngineBusy(DSPyReloadError):
    """As many calls run and wait as are allowed; nothing was begun."""

    def __init__(self, running: int, waiting: int) -> None:
        self.running, self.waiting = running, waiting
        super().__init__(f"{running:,} calls run and {waiting:,} wait, as many as are allowed")


class MaxIterationsReached(DSPyReloadError):
    """The language model asked for one tool after the other and never answered; ``trail`` is what it did."""

    def __init__(self, module_id: str, trail: tuple[Any, ...]) -> None:
        self.module_id, self.trail = module_id, trail
        names = ", ".join(call.name for call in trail)
        super().__init__(f"{module_id} asked for tools {len(trail)} times and gave no answer: {names}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
