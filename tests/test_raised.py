"""What the game's own code raised, as the log has it."""

from __future__ import annotations

import io

import pytest
from twisted.logger import Logger, LogLevel, capturedLogs, textFileLogObserver
from twisted.python.failure import Failure

from dspyreload.raised import log_raised

SECRET = "my \x1b[31msecret\r\nis {this}"


def raised() -> Failure:
    """Raise as a game would that quotes what it was given."""
    try:
        raise LookupError(SECRET)  # noqa: TRY301
    except LookupError:
        return Failure()


@pytest.mark.parametrize("private", [True, False])
def test_it_is_logged_with_its_frames_and_its_kind(private: bool) -> None:
    """Whoever keeps the game finds the line that raised."""
    out = io.StringIO()
    with capturedLogs() as logs:
        log_raised(Logger(namespace="game"), "the tool {tool} failed", raised(), private=private, tool="look")
    textFileLogObserver(out)(logs[0])
    text = out.getvalue()
    assert "the tool look failed" in text
    assert "in raised" in text
    assert "LookupError" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_private_words_are_for_debug_alone() -> None:
    """They may be a player's. Those of others are shown, harmless."""
    with capturedLogs() as logs:
        log_raised(Logger(), "a tool failed", raised(), private=True)
        log_raised(Logger(), "a subscriber raised", raised())
    tool, for_debug, subscriber = logs
    assert for_debug["log_level"] is LogLevel.debug
    assert "secret" not in tool["log_failure"].getTraceback()
    assert str(subscriber["log_failure"].value) == r"LookupError: my \x1b[31msecret\r\nis {this}"
