"""A large file is judged soon, whatever its writer made of it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import pytest

from dspyreload.disk.judge import judge
from dspyreload.disk.placing import faults_of, warnings_of
from dspyreload.model.faults import MOST_FAULTS, Fault, FaultError
from dspyreload.model.formatted import formatted
from dspyreload.model.jsontext import MOST_DEEP, parse
from dspyreload.model.manifest import parse_manifest
from dspyreload.model.registrations import Registrations
from tests.fuzz.files import HERE, REGISTRATIONS, MemorySource, programmed
from tests.fuzz.large import FORMATTED, MANIFESTS, MODULES, STATES
from tests.fuzz.told import check_faults

_SECONDS = 5  # of processor time: the slowest take half a second
_MEMORY = 500  # MB: the most is 100


def _judged(data: bytes, registrations: Registrations, module_id: str | None = None) -> tuple[Fault, ...]:
    finding = judge(
        HERE, MemorySource(data), module_id=module_id, entry=None, last_id=None, registrations=registrations
    )
    assert len(finding.more) < MOST_FAULTS
    assert len(finding.warnings) <= 2 * MOST_FAULTS
    return (*filter(None, [finding.fault]), *finding.more, *finding.warnings)


def _of_manifest(data: bytes) -> tuple[Fault, ...]:
    try:
        found = warnings_of(parse_manifest(data).warnings, data)
    except FaultError as error:
        found = faults_of(error, data)
    assert len(found) <= 2 * MOST_FAULTS
    return found


def _soon(read: Callable[[bytes], tuple[Fault, ...]], text: str) -> None:
    """Read a file, and hold the time and the memory that it took against what is allowed."""
    data = text.encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.thread_time()
    found = read(data)
    assert time.thread_time() - began < _SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _MEMORY * 1024
    check_faults(found[:3], data)


@pytest.mark.parametrize("name", MODULES)
def test_a_large_module_is_judged_soon(name: str) -> None:
    """Its faults are counted to a thousand, and none compares all with all."""
    _soon(lambda data: _judged(data, REGISTRATIONS), MODULES[name])


@pytest.mark.parametrize("name", STATES)
def test_a_large_state_is_judged_soon(name: str) -> None:
    """The same holds for what DSPy saved."""
    _soon(lambda data: _judged(data, programmed("bare"), "npc.it"), STATES[name])


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_large_manifest_is_read_soon(name: str) -> None:
    """And for a manifest."""
    _soon(_of_manifest, MANIFESTS[name])


@pytest.mark.parametrize("name", FORMATTED)
def test_a_large_module_is_formatted_soon(name: str) -> None:
    """What is written grows with its depth, since each line is set in; the work grows no faster."""
    data = f'{{"instruction": "x", "metadata": {{"a": {FORMATTED[name]}}}}}'.encode()
    began = time.thread_time()
    formatted(data)
    assert time.thread_time() - began < _SECONDS


@pytest.mark.parametrize("around", ["[%s]", '{"a": %s}', '["]", %s]', r'["\"]}", %s]', "[[{}], %s]"])
def test_one_depth_is_the_deepest(around: str) -> None:
    """Whatever this Python could take, and however much of its stack is left; brackets in texts do not count."""
    text = "[[1]]"
    for _ in range(MOST_DEEP - 2):
        text = around % text
    parse(text.encode())
    with pytest.raises(FaultError, match="too deep inside each other"):
        parse((around % text).encode())
