"""A set that is swapped while a pass reads it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import pytest_twisted

from dspyreload import ModuleChanged
from tests.faults.game import Play, text
from tests.faults.tally import Tally, settled
from tests.faults.test_sets import HOUR, ConfigMap, serves


@pytest_twisted.ensureDeferred
async def test_a_configmap_that_is_swapped_while_a_pass_reads_it_is_one_commit(
    play: Play, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the swap is of another set than what is read after it: the pass looks again."""
    config = ConfigMap(modules)
    sets = [{f"m{file}.json": text(f"Set {number}.") for file in range(4)} for number in range(4)]
    config.put(sets[1])
    game = await play(rescan_interval=HOUR)
    read, waiting = os.read, [sets[3]]

    def swap_and_read(handle: int, length: int) -> bytes:
        data = read(handle, length)
        if threading.current_thread().name == "dspyreload-pass" and waiting and data.startswith(b"{"):
            config.put(waiting.pop())
        return data

    monkeypatch.setattr("dspyreload.disk.reading.os.read", swap_and_read)
    config.put(sets[2])
    await serves(game, **dict.fromkeys(("m0", "m1", "m2", "m3"), "Set 3."))
    assert not waiting
    assert await settled(game) == Tally(commits=1, changed=4)
    assert {event.generation for event in game.heard(ModuleChanged)} == {2}
