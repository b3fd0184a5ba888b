"""What a server should not log while its files are saved, broken, deleted and moved."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

__all__ = ["Log"]

_EXPECTED = ("is no longer served", "can't be listed: No such file")  # files are deleted, and folders moved


@implementer(ILogObserver)
class Log:
    """Tells of warnings and of what is worse; not of what is brought about on purpose."""

    def __init__(self, problem: Callable[[str], None]) -> None:
        self._problem = problem

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level is LogLevel.critical and "a subscriber raised" not in str(event.get("log_format")):
            self._problem(f"{formatEvent(event)} {event.get('log_failure', '')}")
        elif level is LogLevel.warn and not any(words in formatEvent(event) for words in _EXPECTED):
            self._problem(formatEvent(event))
