"""What RFC 8259 calls JSON is read as it; what it does not is refused by every reader, in words and at a place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dspyreload.model.faults import FaultError
from dspyreload.model.formatted import formatted
from dspyreload.model.jsontext import parse
from dspyreload.model.manifest import parse_manifest
from dspyreload.model.module_file import parse_included, parse_module
from tests.fuzz.rfc8259 import EITHER, RIGHT, WRONG
from tests.fuzz.strict import NotJSON, alike, strict
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

_STATE = '{"traces": [], "train": [], "demos": [], "signature": {"instructions": "x", "fields": []}, "metadata": %s}'
_READERS: dict[str, tuple[Callable[[bytes], Any], str]] = {
    "module": (lambda data: parse_module(data, "npc.it"), '{"instruction": "x", "$schema": %s}'),
    "state": (lambda data: parse_module(data, "npc.it").state, _STATE % '{"dependency_versions": {}, "odd": %s}'),
    "manifest": (parse_manifest, '{"modules": {}, "$schema": %s}'),
    "included": (parse_included, '{"instruction": "x", "odd": %s}'),
    "formatted": (formatted, '{"instruction": "x", "odd": %s}'),
}
"""Each reader, and a text in which any value may stand."""


def _inside(frame: str, value: bytes) -> bytes:
    before, _, after = frame.partition("%s")
    return before.encode() + value + after.encode()


def _refused(read: Callable[[bytes], Any], data: bytes) -> bool:
    try:
        read(data)
    except FaultError as fault:
        return fault.offset is not None  # of the syntax: faults of a format have the path of a value
    return False


@pytest.mark.parametrize("reader", _READERS)
def test_what_is_no_json_is_refused(reader: str) -> None:
    """By itself, and in the place of a value that could be anything."""
    read, frame = _READERS[reader]
    assert [data for data in WRONG if not _refused(read, data)] == []
    assert [data for data in WRONG if not _refused(read, _inside(frame, data))] == []


@pytest.mark.parametrize("reader", _READERS)
def test_what_is_json_is_no_fault_of_syntax(reader: str) -> None:
    """By itself it is no module and no manifest, perhaps; in the place of such a value it is accepted."""
    read, frame = _READERS[reader]
    assert [data for data in RIGHT if _refused(read, data)] == []
    for data in RIGHT:
        read(_inside(frame, data))


def test_what_is_json_is_read_as_what_it_is() -> None:
    """As the standard library reads it, in kind too."""
    assert [data for data in RIGHT if not alike(parse(data), json.loads(data))] == []


@pytest.mark.parametrize("reader", TARGETS)
def test_no_case_breaks_a_reader(reader: str) -> None:
    """Nor do those that a reader may take or leave; what is taken is then held against the rules of the format."""
    _read, frame = _READERS.get(reader, (None, "%s"))
    for data in (*WRONG, *RIGHT, *EITHER):
        TARGETS[reader](data)
        TARGETS[reader](_inside(frame, data))


def test_one_name_twice_is_refused() -> None:
    """RFC 8259 leaves it open; a writer must hear of it."""
    for data in (b'{"a":1,"a":2}', b'{"a":1,"\\u0061":1}', b'[{"b":{"":1,"":1}}]', b'{"a":{},"b":[],"a":{}}'):
        with pytest.raises(FaultError, match="stands twice"):
            parse(data)


def test_the_cases_are_what_they_are_listed_as() -> None:
    """The standard library, made strict, says so too."""
    for data in WRONG:
        with pytest.raises((NotJSON, RecursionError)):
            strict(data)
    for data in RIGHT:
        strict(data)
    assert len(WRONG) > 1000
    assert len(RIGHT) > 300
