"""Whatever happens to a modules directory and its server, in any order: what serves is what a plain function says."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine

STEPS = 2000
A_RUN = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_what_serves_is_what_the_disk_and_what_served_before_say() -> None:
    """At least 2,000 steps, always the same ones; ``python -m tests.model`` takes others."""
    before = Machine.done.total()
    run_state_machine_as_test(Machine, settings=A_RUN)
    assert Machine.done.total() - before >= STEPS
