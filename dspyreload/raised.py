"""What the game's own code raised, in the log: its frames as they are, its words harmless, or not at all."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.model.faults import shown

__all__ = ["GameCodeRaised", "log_raised"]

_LONGEST = 500


class GameCodeRaised(Exception):
    """Stands in the log for an exception of the game's code. Its text names the kind of that one."""


def log_raised(log: Logger, text: str, failure: Failure, *, private: bool = False, **fields: Any) -> None:
    """Log that something of the game's raised, with its frames.

    :param text: a format of ``fields``, as for ``log.failure``.
    :param private: it hears players or language models, and may quote them: its words are for debug alone.
    """
    kind = failure.type.__name__ if failure.type is not None else "?"
    words = "its words may be a player's, and are logged at debug" if private else failure.getErrorMessage()
    stand_in = GameCodeRaised(f"{kind}: {shown(words, _LONGEST)}")
    log.failure(text, Failure(stand_in, GameCodeRaised, failure.getTracebackObject()), **fields)
    if private:
        log.debug("it raised {kind}: {words}", kind=kind, words=shown(failure.getErrorMessage(), _LONGEST))
