"""What holds of everything that a writer is told."""

from __future__ import annotations

from collections.abc import Iterable

from dspyreload.model.faults import Fault

__all__ = ["LONGEST", "check_faults", "check_words"]

LONGEST = 2000
"""Characters of one message: what a log line and a terminal still take."""


def check_words(text: str, longest: int = LONGEST) -> None:
    """Hold a text against what a log and a terminal take: one line, short, nothing that steers them."""
    assert text, "an empty message"
    assert text.isprintable(), f"a message with a character that is not printed: {text!r}"
    assert len(text) <= longest, f"a message of {len(text)} characters: {text[:300]}…"


def check_faults(faults: Iterable[Fault], data: bytes) -> None:
    """Hold faults against the text that they are of: each has words, and a place that is in it."""
    lines = data.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    for fault in faults:
        check_words(fault.message)
        if fault.mend:
            check_words(fault.mend)
        assert (fault.line is None) == (fault.column is None)
        if fault.line is not None and fault.column is not None:
            assert 1 <= fault.line <= len(lines), f"line {fault.line} of {len(lines)}: {fault}"
            width = len(lines[fault.line - 1])
            assert 1 <= fault.column <= width + 1, f"column {fault.column} of {width}: {fault}"
