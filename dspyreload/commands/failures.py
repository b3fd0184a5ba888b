"""Why a language model gave no answer, in a writer's words."""

from __future__ import annotations

import asyncio
import re

from twisted.internet.defer import CancelledError

from dspyreload.errors import LMFailed
from dspyreload.lm.demos import NAME as DEMOS

__all__ = ["failure_words", "no_answer"]

_LONGEST = 300
_ABOUT = re.compile(r"^(?:\S+: the LM \S+ failed: )?(?:\[[^\]]*\] )*")  # which module and model: that is known here
_KEY = re.compile(r"\bSet (?P<name>[A-Z][A-Z0-9_]+) in the environment")
_KIND = re.compile(r"^(?:[A-Za-z_][\w.]*(?:Error|Exception)(?: Exception)?(?:: | - ))+")


def failure_words(lm: str, reason: str) -> str:
    """Return one line about a failure.

    :param lm: the name of the language model, or "".
    :param reason: what DSPy or the provider said.
    """
    reason = _ABOUT.sub("", reason)
    if key := _KEY.search(reason):
        return f"no key is set: type  export {key['name']}=...  in this terminal, then begin again"
    if "Provider NOT provided" in reason or (lm and lm != DEMOS and "/" not in lm and "provider" in reason.casefold()):
        return f"{lm or 'its name'} names no provider that is known; a name has two parts, such as openai/gpt-4o-mini"
    if "Connect call failed" in reason or "Connection refused" in reason:
        return "nothing answers at its address; is the language model's server running?"
    if lm == DEMOS and "no demonstrations" in reason:
        return (
            "it has no demonstrations to answer from; give it some, or begin with --lm, such as --lm openai/gpt-4o-mini"
        )
    first = _KIND.sub("", reason.replace("\\n", "\n").strip().split("\n")[0])
    return first if len(first) <= _LONGEST else first[: _LONGEST - 1] + "…"


def no_answer(error: BaseException | None) -> str:
    """Say in a line why there is no answer."""
    if isinstance(error, (CancelledError, asyncio.CancelledError)):
        return "given up"
    if not isinstance(error, LMFailed):
        return f"no answer: {error}"
    return f"no answer: {failure_words(error.lm, error.reason)}"
