"""The last good version survives a restart: engine, service and state file together, with real files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from dspyreload import (
    DSPyEngine,
    HealthChanged,
    HotReloadService,
    ModuleChanged,
    ModuleDeleted,
    ReloadError,
    ServiceStopped,
)
from dspyreload.disk.identity import identity
from dspyreload.disk.state import StateFile
from dspyreload.model.restoring import StoredState
from tests.conftest import Save, module_text
from tests.faults.game import LIMIT, Game, Play, reactor, text, until


@pytest_twisted.async_yield_fixture
async def play(modules: Path) -> AsyncIterator[Play]:
    """Start games in the modules directory; they are stopped when the test is over."""
    games: list[Game] = []

    async def start(**settings: Any) -> Game:
        game = Game(modules, **settings)
        games.append(game)
        await game.start()
        return game

    yield start
    for game in games:
        await game.stop()


@pytest.fixture
def state(modules: Path) -> Path:
    """Where the state file is."""
    return modules.parent / "state.sqlite3"


def kept(state: Path, modules: Path) -> StoredState:
    """Read a state file that no service has open."""
    file = StateFile(str(state), str(modules), 1 << 20)
    found = file.open()
    file.close()
    return found


def broken(file: Path) -> None:
    file.write_text("{broken")


def torn(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    file.write_text("")


def led_out(file: Path) -> None:
    outside = file.parent.with_name("outside.json")
    file.rename(outside)
    file.symlink_to(outside)


@pytest.mark.parametrize("harm", [broken, torn, empty, led_out])
@pytest_twisted.ensureDeferred
async def test_a_file_that_can_t_be_served_at_start_is_served_from_the_state_file(
    play: Play, modules: Path, save: Save, state: Path, harm: Any
) -> None:
    """Before anything else; the log and the event say so, and a good save takes its place."""
    save("smith.json", text("Be gruff."))
    save("baker.json", text("Be kind."))
    game = await play(state=state)
    version = game.engine.snapshot["smith"].version
    await game.stop()
    harm(modules / "smith.json")
    game = await play(state=state)
    assert game.served() == {"smith.json": "Be gruff.", "baker.json": "Be kind."}
    await until(lambda: bool(game.heard(ReloadError)))
    (error,) = game.heard(ReloadError)
    assert (error.module_id, error.serving, error.restored) == ("smith", version, True)
    (line,) = game.lines("error")
    assert line.endswith(f" version {version[:12]} of smith serves, brought back from the state file")
    assert "2 modules brought back from the state file (baker, smith), generation 1" in game.lines("info")
    assert game.service.health().status == "ok"
    (modules / "smith.json").unlink()
    save("smith.json", text("Be loud."))
    await until(lambda: game.served()["smith.json"] == "Be loud.")
    assert game.engine.snapshot.generation == 2


@pytest_twisted.ensureDeferred
async def test_a_manifest_that_is_not_watched_is_read_at_each_start(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """The first one that is read stays in force: that is the disk's, and not the one that was kept."""
    for name in ("smith", "baker"):
        save(f"{name}.json", text("Be gruff."))
    for name in ("smith", "baker"):
        save("manifest.json", f'{{"modules": {{"{name}": {{"path": "{name}.json"}}}}}}')
        game = await play(state=state, watch_manifest=False)
        await until(lambda name=name, game=game: [*game.engine.snapshot] == [name])  # type: ignore[misc]
        save("manifest.json", '{"modules": {}}')
        await game.engine.reload_all()
        assert [*game.engine.snapshot] == [name]
        await game.stop()


@pytest_twisted.ensureDeferred
async def test_in_a_library_nothing_is_kept_unless_it_is_asked_for(play: Play, modules: Path, save: Save) -> None:
    """No file is made."""
    save("smith.json", text("Be gruff."))
    await play()
    assert [entry.name for entry in modules.parent.iterdir()] == ["modules"]


@pytest_twisted.ensureDeferred
async def test_an_engine_that_has_read_the_disk_lacks_only_what_is_broken(
    modules: Path, save: Save, state: Path, play: Play
) -> None:
    """In a library it reads when it is made; a service with a state file then brings back the rest."""
    save("smith.json", text("Be gruff."))
    save("baker.json", text("Be kind."))
    await (await play(state=state)).stop()
    broken(modules / "smith.json")
    save("baker.json", text("Be kinder."))
    engine = DSPyEngine(modules)
    assert list(engine.snapshot) == ["baker"]
    service = HotReloadService(engine, state=state)
    events: list[object] = []
    service.subscribe(events.append)
    service.startService()
    await service.when_ready().addTimeout(LIMIT, reactor)
    assert {name: engine[name].instruction for name in engine.snapshot} == {
        "smith": "Be gruff.",
        "baker": "Be kinder.",
    }
    await until(lambda: any(isinstance(event, ReloadError) for event in events))
    assert [event.module_id for event in events if isinstance(event, ModuleChanged)] == ["smith"]
    assert all(event.restored for event in events if isinstance(event, ReloadError))
    await service.stopService()
    await engine.close()


@pytest_twisted.ensureDeferred
async def test_a_directory_that_is_not_there_is_served_from_it(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """All of it, while health is failing; when it comes back what is saved there is live."""
    save("smith.json", text("Be gruff."))
    await (await play(state=state)).stop()
    modules.rename(modules.with_name("volume"))
    game = Game(modules, state=state, rescan_interval=0.2)
    game.service.startService()
    await until(lambda: len(game.engine.snapshot) == 1)
    await until(lambda: game.service.health().status == "failing")
    (modules.with_name("volume") / "smith.json").write_text(text("Be loud."))
    modules.with_name("volume").rename(modules)
    await until(lambda: game.served() == {"smith.json": "Be loud."})
    await until(lambda: game.service.health().status == "ok")
    await game.stop()


@pytest_twisted.ensureDeferred
async def test_an_empty_directory_in_its_place_removes_nothing(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """A volume that is mounted after the start: another directory than the one that was kept, and empty."""
    save("smith.json", text("Be gruff."))
    await (await play(state=state)).stop()
    modules.rename(modules.with_name("volume"))
    modules.mkdir()
    game = await play(state=state, rescan_interval=0.2)
    await game.passes(5)
    assert game.served() == {"smith.json": "Be gruff."}
    assert game.service.health().status == "failing"
    assert kept_root(state) != identity(str(modules))


def kept_root(state: Path) -> tuple[int, ...]:
    """Read the identity of the modules directory that a running service keeps."""
    database = sqlite3.connect(state)
    (value,) = database.execute("SELECT value FROM about WHERE key = 'root'").fetchone()
    database.close()
    return tuple(map(int, value.split()))


@pytest_twisted.ensureDeferred
async def test_what_was_deleted_while_it_was_down_does_not_stay(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """It goes as it would at any time, and does not come back with the next start."""
    save("smith.json", text("Be gruff."))
    save("baker.json", text("Be kind."))
    await (await play(state=state)).stop()
    (modules / "smith.json").unlink()
    game = await play(state=state)
    await until(lambda: bool(game.heard(ModuleDeleted)))
    assert game.served() == {"baker.json": "Be kind."}
    await game.stop()
    assert [stored.module_id for stored in kept(state, modules).modules] == ["baker"]


@pytest_twisted.ensureDeferred
async def test_generations_go_on_where_they_were(play: Play, modules: Path, save: Save, state: Path) -> None:
    """A restart is no commit; what was committed the moment before a stop is kept."""
    numbers = []
    for number in range(4):
        game = Game(modules, state=state)
        await game.start()
        numbers.append(game.engine.snapshot.generation)
        save("smith.json", text(f"Number {number}"))
        await game.service.next_event(ModuleChanged).addTimeout(LIMIT, reactor)
        numbers.append(game.engine.snapshot.generation)
        await game.stop()
    assert numbers == [1, 2, 2, 3, 3, 4, 4, 5]
    assert len(kept(state, modules).modules) == 1


@pytest_twisted.ensureDeferred
async def test_what_waits_for_the_game_comes_back_when_it_is_registered(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """Until then the file goes on keeping it, though it does not serve."""
    import dspy

    fields = dspy.Signature("player_message -> response, emotion")
    save("smith.json", module_text(signature=None))
    save("baker.json", text("Be kind."))
    game = Game(modules, state=state)
    game.engine.signatures.register("npc.dialogue", fields)
    await game.start()
    assert len(game.engine.snapshot) == 2
    await game.stop()
    broken(modules / "smith.json")
    game = await play(state=state)
    save("baker.json", text("Be kinder."))  # a commit, which keeps what is live
    await until(lambda: game.served() == {"baker.json": "Be kinder."})
    await game.stop()
    game = await play(state=state)
    assert list(game.engine.snapshot) == ["baker"]
    game.engine.signatures.register("npc.dialogue", fields)
    await until(lambda: "npc.smith" in game.engine.snapshot)
    await until(lambda: any(error.restored for error in game.heard(ReloadError)))


@pytest.mark.parametrize("name", ["state", "kept.json", ".state", "npc/state.sqlite3"])
@pytest_twisted.ensureDeferred
async def test_a_state_file_in_the_modules_directory_leads_to_no_loop(
    play: Play, modules: Path, save: Save, name: str
) -> None:
    """Keeping what is live changes files there; that is no reason to commit, so it comes to rest."""
    save("npc/smith.json", text("Be gruff."))
    game = await play(state=modules / name, rescan_interval=1000)
    save("npc/smith.json", text("Be loud."))
    await until(lambda: game.served().get("npc/smith.json") == "Be loud.")
    passes = -1
    while passes != game.service.stats.passes:
        assert game.service.stats.passes < 50
        passes = game.service.stats.passes
        await deferLater(reactor, 1.0, lambda: None)
    assert game.engine.snapshot.generation == 2
    assert list(game.engine.snapshot) == ["npc.smith"]


@pytest_twisted.ensureDeferred
async def test_a_damaged_file_costs_health_and_no_service(play: Play, modules: Path, save: Save, state: Path) -> None:
    """It is left alone; moved away, as the health says, another one is made, and health is ok."""
    save("smith.json", text("Be gruff."))
    state.write_text("Dear diary, " * 1000)
    game = await play(state=state)
    health = game.service.health()
    assert health.status == "degraded"
    assert health.reasons == (
        f"{state} is damaged, or no state file; move it away, and another one is made;"
        " what is live is not kept for a restart, and it is tried again",
    )
    save("smith.json", text("Be loud."))
    await game.agree()
    assert state.read_text() == "Dear diary, " * 1000
    state.rename(state.with_name("diary"))
    await until(lambda: game.service.health().status == "ok")
    await game.stop()
    assert [stored.data.decode() for stored in kept(state, modules).modules] == [text("Be loud.")]


@pytest_twisted.ensureDeferred
async def test_a_damaged_version_is_named_and_the_rest_comes_back(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """The file is whole again after the first look."""
    save("smith.json", text("Be gruff."))
    save("baker.json", text("Be kind."))
    await (await play(state=state)).stop()
    database = sqlite3.connect(state)
    database.execute(
        "UPDATE contents SET data = ? WHERE data = ?", (text("A lie.").encode(), text("Be kind.").encode())
    )
    database.commit()
    database.close()
    game = await play(state=state)
    words = "its bytes are not what was written; this version can't be brought back"
    assert f"{state}: baker: {words}" in game.lines("warn")
    assert game.served() == {"smith.json": "Be gruff.", "baker.json": "Be kind."}
    await game.stop()
    assert kept(state, modules).faults == ()
    assert len(kept(state, modules).modules) == 2


@pytest_twisted.ensureDeferred
async def test_a_second_service_on_the_same_file_is_told_apart(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """It serves all the same, and keeps nothing; when the first one stops, the file is its own."""
    save("smith.json", text("Be gruff."))
    first = await play(state=state)
    second = await play(state=state)
    assert second.served() == {"smith.json": "Be gruff."}
    assert first.service.health().status == "ok"
    (reason,) = second.service.health().reasons
    assert reason == (
        f"{state} is in use by another service of this process; give each server a file of its own;"
        " what is live is not kept for a restart, and it is tried again"
    )
    await first.stop()
    await until(lambda: second.service.health().status == "ok")


@pytest_twisted.ensureDeferred
async def test_a_program_that_locks_the_file_costs_health_and_no_service(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """While it is locked, what is saved goes live; when it lets go, that is kept."""
    save("smith.json", text("Be gruff."))
    game = await play(state=state)
    other = sqlite3.connect(state, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    save("smith.json", text("Be loud."))
    await until(lambda: game.service.health().status == "degraded")
    await game.agree()
    assert "is locked by another program" in game.service.health().reasons[0]
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: game.service.health().status == "ok")
    await game.stop()
    assert [stored.data.decode() for stored in kept(state, modules).modules] == [text("Be loud.")]


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_deleted_is_made_again(play: Play, modules: Path, save: Save, state: Path) -> None:
    """With the next commit."""
    save("smith.json", text("Be gruff."))
    game = await play(state=state)
    for entry in state.parent.glob("state.sqlite3*"):
        entry.unlink()
    save("smith.json", text("Be loud."))
    await until(lambda: any(event.status == "degraded" for event in healths(game)))
    await until(lambda: game.service.health().status == "ok")
    await game.stop()
    assert [stored.data.decode() for stored in kept(state, modules).modules] == [text("Be loud.")]


def healths(game: Game) -> list[HealthChanged]:
    """Return what was told of the health."""
    return game.heard(HealthChanged)


@pytest_twisted.ensureDeferred
async def test_a_service_that_does_not_run_can_t_tell_which_versions_are_kept(
    play: Play, modules: Path, save: Save, state: Path
) -> None:
    """It does not say that there are none: they are in the file."""
    save("smith.json", text("Be gruff."))
    game = await play(state=state)
    await game.service.stopService()
    with pytest.raises(ServiceStopped, match="not running"):
        await game.service.versions("smith")


@pytest_twisted.ensureDeferred
async def test_the_last_versions_of_a_module_are_a_way_back(play: Play, modules: Path, save: Save, state: Path) -> None:
    """Those of before a restart too; what was saved wins, as always."""
    save("smith.json", text("First."))
    await (await play(state=state)).stop()
    game = await play(state=state)
    for word in ("Second.", "Third."):
        save("smith.json", text(word))
        await game.agree()
    found = await game.service.versions("smith")
    assert [kept.data.decode() for kept in found] == [text(word) for word in ("Third.", "Second.", "First.")]
    assert found[0].version == game.engine.snapshot["smith"].version
    (modules / found[2].path).write_bytes(found[2].data)
    await game.agree()
    assert game.served() == {"smith.json": "First."}
    (modules / "smith.json").unlink()
    await until(lambda: not game.served())
    found = await game.service.versions("smith")
    assert found[0].data.decode() == text("First.")
    assert await game.service.versions("nobody") == ()
    await game.stop()
    assert await (await play()).service.versions("smith") == ()
