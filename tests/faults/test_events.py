"""Which events of the real kernel are a reason to look, and what comes of it.

The timer is an hour away: whatever goes live, is skipped or is gone was heard of.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted

from dspyreload import ModuleDeleted, ModuleSkipped, ReloadError
from tests.conftest import Save
from tests.faults.game import Game, Play, text, until
from tests.faults.tally import Tally, settled

HOUR = 3600.0
SMITH = "npc/smith.json"


async def live(game: Game, module_id: str, instruction: str) -> None:
    """Wait until a module is served with an instruction."""
    await until(
        lambda: module_id in game.engine.snapshot and game.engine[module_id].instruction == instruction,
    )


def leave_behind(folder: Path) -> None:
    """Make, change, move and delete what editors leave beside a file that is being edited."""
    (folder / ".#smith.json").symlink_to("writer@host.1234:1700000000")  # Emacs: it leads nowhere
    for name in ("#smith.json#", ".smith.json.swp", "4913", "smith.json___jb_tmp___", "smith.json~", "smith.json.bak"):
        (folder / name).write_text("{")
        (folder / name).write_text("{{")
    (folder / "smith.json___jb_tmp___").rename(folder / "smith.json___jb_old___")
    (folder / "4913").unlink()


@pytest_twisted.ensureDeferred
async def test_what_editors_leave_behind_is_no_reason_to_look(play: Play, save: Save) -> None:
    """The next save is one pass, and what lies beside the file is neither served nor told of."""
    save(SMITH, text("Before."))
    game = await play(rescan_interval=HOUR)
    await settled(game)
    passes = game.service.stats.passes
    leave_behind(game.modules / "npc")
    save("npc/bard.json", text("You are a bard."))  # events come in order: those before it have come
    await live(game, "npc.bard", "You are a bard.")
    assert await settled(game) == Tally(commits=1, changed=1)
    assert game.served() == {SMITH: "Before.", "npc/bard.json": "You are a bard."}
    assert game.service.stats.passes - passes <= 4  # of the save, of the look that settles, and no more than two late


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda file: os.utime(file), id="touch"),
        pytest.param(lambda file: file.chmod(0o600), id="chmod"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()), id="the same bytes"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_file_that_is_touched_is_looked_at_and_skipped(
    play: Play, save: Save, act: Callable[[Path], object]
) -> None:
    """The kernel tells of it, and the digest decides: no commit."""
    file = save(SMITH, text("You are a smith."))
    game = await play(rescan_interval=HOUR, debounce=1.0)
    before = game.engine.snapshot
    act(file)
    await until(lambda: bool(game.heard(ModuleSkipped)))
    assert await settled(game) == Tally(skipped=1)
    assert game.engine.snapshot is before


@pytest_twisted.ensureDeferred
async def test_a_module_that_is_moved_out_of_the_tree_is_gone_and_holds_nobody_back_for_long(
    play: Play, save: Save, tmp_path: Path
) -> None:
    """watchdog waits half a second for the other end of the move, and then tells of all that came meanwhile."""
    save(SMITH, text("You are a smith."))
    game = await play(rescan_interval=HOUR)
    (game.modules / SMITH).rename(tmp_path / "smith.json")
    save("npc/bard.json", text("You are a bard."))
    await live(game, "npc.bard", "You are a bard.")
    await until(lambda: bool(game.heard(ModuleDeleted)))
    assert game.served() == {"npc/bard.json": "You are a bard."}
    result = await settled(game)
    assert (result.changed, result.deleted, result.rejected) == (1, 1, 0)


NFC, NFD = (unicodedata.normalize(form, "señor") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("other", [NFD, "SEÑOR"])
@pytest_twisted.ensureDeferred
async def test_a_file_whose_name_is_another_spelling_of_an_id_is_rejected(play: Play, save: Save, other: str) -> None:
    """Ids are compared in NFC and without regard to case: the first serves, the second is told of by its name."""
    save(f"npc/{NFC}.json", text("The first."))
    game = await play(rescan_interval=HOUR)
    file = save(f"npc/{other}.json", text("The second."))
    await until(lambda: bool(game.heard(ReloadError)))
    (error,) = game.heard(ReloadError)
    assert error.path == f"npc/{other}.json"
    assert await settled(game) == Tally(rejected=1)
    assert game.served() == {f"npc/{NFC}.json": "The first."}
    (game.modules / f"npc/{NFC}.json").unlink()
    await until(lambda: list(game.served().values()) == ["The second."])
    file.unlink()
    await until(lambda: not game.served())


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_not_utf_8_is_told_of_once_and_harms_nobody(play: Play, save: Save) -> None:
    """It has no id; the line that says so has none of its bytes."""
    save(SMITH, text("Before."))
    game = await play(rescan_interval=HOUR)
    for name in (b"npc/sm\xffth.json", b"npc/\xc3\x28\x1b[31m.json"):
        with open(os.path.join(os.fsencode(game.modules), name), "wb") as file:
            file.write(text("You are odd.").encode())
    await until(lambda: len(game.lines("warn")) == 2)
    assert all("the name is not UTF-8" in line and line.isprintable() for line in game.lines("warn"))
    save(SMITH, text("After."))
    await live(game, "npc.smith", "After.")
    assert await settled(game) == Tally(commits=1, changed=1)
    assert len(game.lines("warn")) == 2


@pytest_twisted.ensureDeferred
async def test_two_thousand_saves_are_few_passes(play: Play, save: Save) -> None:
    """Ten thousand events of fifteen files: they make few passes, and all that was saved last is live."""
    paths = [f"npc/m{number}.json" for number in range(15)]
    for path in paths:
        save(path, text("Round 0."))
    game = await play(rescan_interval=HOUR, debounce=0.2, max_wait=1000.0)
    await settled(game)
    passes = game.service.stats.passes
    for number in range(1, 134):
        for path in paths:
            save(path, text(f"Round {number}."))
    await until(lambda: set(game.served().values()) == {"Round 133."})
    result = await settled(game)
    assert (result.deleted, result.rejected) == (0, 0)
    assert game.service.stats.passes - passes < 20
