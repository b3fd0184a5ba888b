"""What is asked for while an empty directory lies in the place of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspyreload.errors import HotReloadFailed
from dspyreload.model.events import HotReloadEvent, ModuleSkipped
from tests.conftest import Save, module_text
from tests.live.test_passes import CASE, Rig, ask_for


@pytest.mark.parametrize("what", ["reload_module", "reload_all"])
def test_a_look_at_an_empty_volume_fails_for_who_asked(modules: Path, save: Save, what: str) -> None:
    """Nothing was looked at, so that nothing can be called unchanged; what served goes on serving."""
    save("smith.json", module_text())
    rig = Rig(modules)
    rig.read()
    modules.rename(modules.with_name("volume"))
    modules.mkdir()
    asked = ask_for(rig, what)
    rig.work()
    failure = CASE.failureResultOf(asked, HotReloadFailed)
    assert "another than before, and empty" in str(failure.value)
    assert rig.instruction() == "You are a smith."
    modules.rmdir()
    modules.with_name("volume").rename(modules)
    answers: list[HotReloadEvent] = []
    rig.passes.reload_module("npc.smith").addCallback(answers.append)
    rig.work()
    assert isinstance(answers[0], ModuleSkipped)
    rig.passes.stop()
    rig.live.stop()
