"""What the tests of values share."""

from __future__ import annotations

from dspyreload.model.faults import FaultError
from dspyreload.model.fitting import check_demos
from dspyreload.model.jsontext import Places, line_column
from dspyreload.model.module_file import parse_module
from tests.disk.conftest import reads, server, settled

__all__ = ["faults", "place", "reads", "server", "settled"]


def place(fault: FaultError, data: bytes) -> tuple[int, int]:
    """Return the line and column of a fault in a file."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    offset = fault.offset if fault.offset is not None else Places(text).offset(fault.path, key=fault.key)
    assert offset is not None
    return line_column(text, offset)


def faults(text: str) -> list[tuple[str, int, int]]:
    """Return all faults of a module file that brings its own signature: words, line and column."""
    data = text.encode()
    try:
        module = parse_module(data, "some.id").module
        assert module.signature is not None
        check_demos(module, module.signature)
    except FaultError as error:
        return [(fault.message, *place(fault, data)) for fault in (error, *error.others)]
    return []
