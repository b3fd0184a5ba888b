"""Faults and warnings of a file, each with its line and column."""

from __future__ import annotations

from dspyreload.errors import HotReloadFailed
from dspyreload.model.faults import Fault, FaultError, Warned, joined, shown
from dspyreload.model.jsontext import Places, line_column, text_of

__all__ = ["failure_of", "faults_of", "warnings_of"]


def faults_of(error: FaultError, data: bytes) -> tuple[Fault, ...]:
    """Find the lines and columns of a file's faults; slow, and only done when there are some."""
    text, faults = _text(data), (error, *error.others)
    # Only a text that was accepted has places; to look for some in one that is no JSON could take all of the memory.
    places = Places(text if any(fault.offset is None for fault in faults) else "")
    return tuple(
        places.fault(fault.message, fault.path, key=fault.key, mend=fault.mend)
        if fault.offset is None
        else Fault(fault.message, *line_column(text, fault.offset), fault.mend)
        for fault in faults
    )


def failure_of(path: str, error: FaultError, data: bytes) -> HotReloadFailed:
    """Return what a command raises that a file with a fault keeps from its work: the first fault, with its place."""
    fault = faults_of(error, data)[0]
    where = f"{shown(path)}:{fault.line or 1}:{fault.column or 1}"
    return HotReloadFailed(where, joined(fault.message, fault.mend))


def warnings_of(warnings: tuple[Warned, ...], data: bytes) -> tuple[Fault, ...]:
    """Find the lines and columns of a file's warnings."""
    if not warnings:
        return ()
    places = Places(_text(data))
    return tuple(places.fault(warning.message, warning.path, key=True, mend=warning.mend) for warning in warnings)


def _text(data: bytes) -> str:
    try:
        return text_of(data)
    except FaultError:
        return data.decode("utf-8", "replace").removeprefix("\ufeff")
