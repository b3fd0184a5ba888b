"""Trials of the machine: they say why it can't do something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import machine
from tests.faults.machine import needs


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget what was tried before, and here."""
    machine._try.cache_clear()
    yield
    machine._try.cache_clear()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("sh", "-c", "echo 'mount: permission denied' >&2; exit 32"), "mount: permission denied"),
        (("sh", "-c", "exit 3"), "sh ended with 3"),
        (("no-such-program",), "[Errno 2] No such file or directory: 'no-such-program'"),
    ],
)
def test_what_a_machine_can_not_do_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], why: str
) -> None:
    """The reason is what the program said that tried."""
    monkeypatch.setitem(machine._TRIALS, "mounts", ("mount here", command))
    with pytest.raises(pytest.skip.Exception) as skipped:
        needs("mounts")
    assert str(skipped.value) == f"this machine can't mount here: {why}"


def test_what_a_machine_can_do_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that succeeds says nothing."""
    monkeypatch.setitem(machine._TRIALS, "mounts", ("mount here", ("true",)))
    assert machine._try("mounts") == ""  # else this test would be skipped by what follows
    needs("mounts")
