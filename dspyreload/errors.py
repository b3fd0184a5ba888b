"""The exceptions, by who is at fault. What an operator reads is their text.

A file that may not go live is never an exception to the game: it is a
:class:`~dspyreload.ReloadError` *event*, and the last good version serves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = [
    "AlreadyRunning",
    "DSPyNotInstalled",
    "DSPyReloadError",
    "EngineClosed",
    "HotReloadFailed",
    "InvokeTimeout",
    "LMFailed",
    "MissingInput",
    "NoLM",
    "NotReady",
    "ServiceStopped",
    "SignatureRefused",
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
        super().__init__(f"{module_id} has no input {_listed(fields)}; its inputs are {_listed(known)}")


class NotReady(DSPyReloadError):
    """The modules are not read yet: the engine was made with ``load=False`` and its service has not started."""


class WrongThread(DSPyReloadError):
    """Called from another thread than the reactor's; use ``reactor.callFromThread``."""


class AlreadyRunning(DSPyReloadError):
    """Another ``HotReloadService`` is running for the same engine."""


class SignatureRefused(DSPyReloadError):
    """What was registered is no signature that a module can be run with."""


class EngineClosed(DSPyReloadError):
    """``engine.close()`` was called, or the reactor has shut down."""


class ServiceStopped(DSPyReloadError):
    """The service stopped before what was waited for happened."""


# The machine, its configuration or the language model is at fault.


class WatcherError(DSPyReloadError):
    """The modules directory can't be watched. The text says why and what to do."""


class HotReloadFailed(DSPyReloadError):
    """A pass itself failed (not: a file was rejected). While a service runs it is tried again, with back-off."""

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


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
