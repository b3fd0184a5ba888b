"""Language models by name: those that the operator configured, and those that a name alone is enough for."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Mapping
from typing import Any

import attrs

from dspyreload.errors import DSPyNotInstalled, LMFailed, NoLM
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lm.demos import make_demos_lm
from dspyreload.lmconfig import LMSettings
from dspyreload.model.faults import shown
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.registrations import LMBounds

__all__ = ["Chosen", "LanguageModels", "import_dspy", "is_lm_failure", "is_out_of_form"]

_CONNECTIONS = 100  # as many has DSPy's client; the next call would wait there, and fail when its time is over


@attrs.frozen(eq=False)
class Chosen:
    """A language model for one call.

    :ivar name: what replies and errors call it. ``model``: the ``dspy.LM``.
    :ivar health: what its health goes by: the name, and a number where another LM without a name of its own has that.
    :ivar places: limits its calls at once; None where nothing does.
    """

    name: str
    model: Any
    health: str
    places: asyncio.Semaphore | None = None


class LanguageModels:
    """Makes language models when they are first needed, and closes those.

    :param lm: of calls that choose none: a name or a ``dspy.LM``.
    :param lms: those that the operator configured, by name.
    """

    def __init__(self, lm: Any, lms: Mapping[str, Any]) -> None:
        if lm is None and lms:
            lm = "default" if "default" in lms else next(iter(lms)) if len(lms) == 1 else None
        self.lm, self._lms = lm, lms
        self._made: dict[str, Any] = {}  # those that we made, and close
        self._keys = {key for settings in lms.values() if (key := _key(settings))}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._labels: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._counts: dict[str, int] = {}

    def bounds(self) -> dict[str, LMBounds]:
        """Return what a manifest entry may ask of each, by name; of the default one under ""."""
        found = {name: _bounds(settings) for name, settings in self._lms.items()}
        if isinstance(self.lm, str) and self.lm in found:
            found[""] = found[self.lm]
        return found

    def choose(self, dspy: Any, lm: Any, module_id: str) -> Chosen:
        """Return the language model of a call.

        :param lm: what the call or the manifest entry chose, or None.
        :raises NoLM: where nobody chose one. :raises LMFailed: where it can't be made.
        """
        lm = lm if lm is not None else self.lm
        if lm is None:
            lm = dspy.settings.lm
        if lm is None:
            raise NoLM
        if not isinstance(lm, str):
            return Chosen(name := str(getattr(lm, "model", type(lm).__name__)), lm, self._label(lm, name))
        settings = self._lms.get(lm)
        if settings is not None and not isinstance(settings, LMSettings):
            return Chosen(lm, settings, lm)
        if lm not in self._made:
            try:
                self._made[lm] = _make(dspy, settings or LMSettings(model=lm))
            except Exception as error:
                raise LMFailed(module_id, lm, self.reason_of(error)) from error
            limit = settings.concurrency if settings is not None else None
            self._places[lm] = asyncio.Semaphore(limit or _CONNECTIONS)
        return Chosen(lm, self._made[lm], lm, self._places.get(lm))

    def _label(self, model: Any, name: str) -> str:
        try:
            if model not in self._labels:
                count = self._counts[name] = self._counts.get(name, 0) + 1
                self._labels[model] = name if count == 1 else f"{name} ({count})"
            return self._labels[model]
        except TypeError:  # it can't be remembered
            return name

    def reason_of(self, error: BaseException) -> str:
        """Say what an exception says, harmless, short, and without our keys, which a server may have repeated."""
        text = str(error) or type(error).__name__
        if is_out_of_form(error):  # its text quotes the answer, and that may be a player's words
            signature: Any = vars(error).get("signature")
            wanted = ", ".join(map(repr, signature.output_fields))
            text = f"its answer does not keep to the format; the fields are {wanted}"
        for key in self._keys:
            text = text.replace(key, "***")
        return shown(text, 500)

    def for_entry(self, chosen: Chosen, entry: ModuleEntry | None) -> Any:
        """Return the language model as a manifest entry asks for it, within what the operator allows of this one."""
        if entry is None or (entry.temperature is None and entry.max_tokens is None):
            return chosen.model
        bounds = _bounds(self._lms.get(chosen.name))
        options: dict[str, Any] = {}
        if entry.temperature is not None:
            options["temperature"] = min(entry.temperature, bounds.max_temperature)
        if entry.max_tokens is not None:
            options["max_tokens"] = min(entry.max_tokens, bounds.max_tokens or entry.max_tokens)
        return chosen.model.copy(**options)

    async def close(self) -> None:
        """Close what was made here, each whatever the others do.

        :raises Exception: what the first of them raised that could not be closed.
        """
        made, self._made = self._made, {}
        outcomes = await asyncio.gather(*(lm.aclose() for lm in made.values()), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome


def _bounds(settings: Any) -> LMBounds:
    if isinstance(settings, LMSettings):
        return LMBounds(settings.max_tokens, settings.max_temperature)
    return LMBounds()


def _key(settings: Any) -> str | None:
    named = settings.api_key_env if isinstance(settings, LMSettings) else None
    return os.environ.get(named) if named is not None else None


def _make(dspy: Any, settings: LMSettings) -> Any:
    if settings.model == DEMOS:
        return make_demos_lm()
    options: dict[str, Any] = {
        "api_base": settings.api_base,
        # A server of one's own needs no key, and must not hear the one of the model's usual server.
        "api_key": _key(settings) or ("none" if settings.api_base is not None else None),
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "timeout": settings.timeout,
    }
    given = {name: value for name, value in options.items() if value is not None}
    # No cache: DSPy's would give every player the same answer, and write what they said to the disk.
    return dspy.LM(settings.model, cache=False, num_retries=settings.retries, **given)


def is_lm_failure(error: Exception) -> bool:
    """Say whether an error is the language model's, and not the program's, the prompt's or of one answer's form."""
    from dspy.utils.exceptions import LMError, LMInvalidRequestError, LMUnsupportedModelError

    if isinstance(error, LMInvalidRequestError):  # a prompt that is too long, say: the next one may be shorter
        return isinstance(error, LMUnsupportedModelError)
    return isinstance(error, (LMError, TimeoutError, OSError))


def is_out_of_form(error: BaseException) -> bool:
    """Say whether a language model answered, and DSPy could not read its answer."""
    from dspy.utils.exceptions import AdapterParseError

    return isinstance(error, AdapterParseError)


def import_dspy() -> Any:
    """Import DSPy.

    :raises DSPyNotInstalled: where it is not there.
    """
    try:
        import dspy
    except ModuleNotFoundError as error:
        if error.name != "dspy":
            raise
        raise DSPyNotInstalled from None
    return dspy
