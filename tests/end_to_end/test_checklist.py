"""The hot-reload checklist on the real watchdog, real files and the real DSPy.

Each test is one box, in the list's order: watching and reloading, then from the saved file to the spoken word.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from dspyreload import (
    DSPyEngine,
    HotReloadConfig,
    HotReloadEvent,
    HotReloadService,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.errors import UnknownModule
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text

T = TypeVar("T", bound=HotReloadEvent)
Live = Callable[[], Awaitable["Game"]]


class Game:
    """An engine and its running service, with every event that a subscriber saw."""

    def __init__(self, engine: DSPyEngine, service: HotReloadService) -> None:
        self.engine, self.service = engine, service
        self.events: list[HotReloadEvent] = []
        service.subscribe(self.events.append)

    def next(self, kind: type[T]) -> Deferred[T]:
        """Wait for the next event of a kind."""
        return self.service.next_event(kind).addTimeout(30, reactor)

    def of(self, kind: type[T]) -> list[T]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]


@pytest_twisted.async_yield_fixture
async def live(modules: Path) -> AsyncIterator[Live]:
    """Make a directory live: ``game = await live()``."""
    games: list[Game] = []

    async def start() -> Game:
        engine = DSPyEngine(modules)
        game = Game(engine, HotReloadService(engine, HotReloadConfig(debounce=0.05)))
        games.append(game)
        game.service.startService()
        await game.service.when_ready().addTimeout(30, reactor)
        return game

    yield start
    for game in games:
        if game.service.running:
            await game.service.stopService()
        await game.engine.close()


def manifest(**paths: str) -> str:
    """Return the text of a manifest; ``_`` in an id stands for a dot."""
    entries: dict[str, Any] = {
        name.replace("_", "."): {"path": path, "hash": None, "tags": []} for name, path in paths.items()
    }
    return json.dumps({"version": "1.0", "modules": entries})


# Watching and reloading


@pytest_twisted.ensureDeferred
async def test_file_watcher_detects_new_module_file(live: Live, save: Save) -> None:
    """A file that appears is served, under its id."""
    game = await live()
    changed = game.next(ModuleChanged)
    save("npc/smith.json", module_text())
    event = await changed
    assert (event.module_id, event.path, event.generation) == ("npc.smith", "npc/smith.json", 2)
    assert game.engine["npc.smith"].instruction == "You are a smith."


@pytest_twisted.ensureDeferred
async def test_file_watcher_detects_modified_module_file(live: Live, save: Save) -> None:
    """A file that is saved with other bytes is a new version."""
    save("npc/smith.json", module_text())
    game = await live()
    before = game.engine.snapshot["npc.smith"].version
    changed = game.next(ModuleChanged)
    save("npc/smith.json", module_text(instruction="You are kind."))
    event = await changed
    assert event.version != before
    assert event.version == game.engine.snapshot["npc.smith"].version
    assert game.engine["npc.smith"].instruction == "You are kind."


@pytest_twisted.ensureDeferred
async def test_file_watcher_detects_deleted_module_file(live: Live, save: Save) -> None:
    """A file that is gone removes its module, and no other."""
    file = save("npc/smith.json", module_text())
    save("npc/bard.json", module_text("npc.bard"))
    game = await live()
    deleted = game.next(ModuleDeleted)
    file.unlink()
    event = await deleted
    assert (event.module_id, event.generation) == ("npc.smith", 2)
    assert game.engine.module_ids() == ("npc.bard",)


@pytest_twisted.ensureDeferred
async def test_manifest_change_triggers_full_reload(live: Live, save: Save) -> None:
    """A changed manifest brings all that it adds, changes and removes into force in one commit."""
    save("smith.json", module_text())
    save("bard.json", module_text("npc.bard"))
    save("cook.json", module_text("npc.cook"))
    save("manifest.json", manifest(npc_smith="smith.json", npc_bard="bard.json"))
    game = await live()
    assert game.engine.module_ids() == ("npc.bard", "npc.smith")
    changed = game.next(ManifestChanged)
    text = json.loads(manifest(npc_smith="smith.json", npc_cook="cook.json"))
    text["modules"]["npc.smith"]["tags"] = ["craft"]
    save("manifest.json", json.dumps(text))
    event = await changed
    assert (event.added, event.changed, event.removed) == (("npc.cook",), ("npc.smith",), ("npc.bard",))
    assert game.engine.module_ids() == ("npc.cook", "npc.smith")
    assert game.engine.modules_with_tag("craft") == ("npc.smith",)
    assert game.engine.snapshot.generation == event.generation == 2


@pytest_twisted.ensureDeferred
async def test_debouncing_prevents_multiple_reloads_for_rapid_changes(live: Live, save: Save) -> None:
    """Fifty saves in a row lead to one commit, of the last one."""
    save("npc/smith.json", module_text())
    game = await live()
    changed = game.next(ModuleChanged)
    for number in range(50):
        save("npc/smith.json", module_text(instruction=f"Number {number}."))
    await changed
    await game.engine.reload_all()
    assert [event.generation for event in game.of(ModuleChanged)] == [2]
    assert game.service.stats.reloads_total == 1
    assert game.engine["npc.smith"].instruction == "Number 49."


@pytest_twisted.ensureDeferred
async def test_invalid_json_does_not_crash_watcher(live: Live, save: Save) -> None:
    """A broken file is rejected with its place; the last good version serves, and the next good one goes live."""
    save("npc/smith.json", module_text())
    game = await live()
    good = game.engine.snapshot["npc.smith"].version
    rejected = game.next(ReloadError)
    save("npc/smith.json", '{\n  "module_id": "npc.smith",\n  "instruction": oops\n}')
    error = await rejected
    assert (error.path, error.line, error.column, error.serving) == ("npc/smith.json", 3, 18, good)
    assert game.engine.snapshot["npc.smith"].version == good
    changed = game.next(ModuleChanged)
    save("npc/smith.json", module_text(instruction="Mended."))
    await changed
    assert game.engine["npc.smith"].instruction == "Mended."


@pytest_twisted.ensureDeferred
async def test_stop_properly_shuts_down_watcher(modules: Path, save: Save) -> None:
    """After ``stop()`` nothing is watched and no thread is left; it can be turned on again, and again."""
    save("npc/smith.json", module_text())
    engine = DSPyEngine(modules)
    for number in range(3):
        before = set(threading.enumerate())
        handle = await engine.enable_hot_reload(HotReloadConfig(debounce=0.02))
        assert handle.is_running
        threads = set(threading.enumerate()) - before
        assert any("Inotify" in type(thread).__name__ for thread in threads)
        changed = handle.service.next_event(ModuleChanged)
        save("npc/smith.json", module_text(instruction=f"Number {number}."))
        await changed
        await handle.stop()
        assert not handle.is_running
        assert not any(thread.is_alive() for thread in threads)
    save("npc/smith.json", module_text(instruction="Nobody looks."))
    assert engine["npc.smith"].instruction == "Number 2."


@pytest_twisted.ensureDeferred
async def test_events_are_sent_to_channel_correctly(live: Live, save: Save) -> None:
    """An iterator, a subscriber and the counters tell of the same events, in the same order."""
    file = save("npc/smith.json", module_text())
    game = await live()
    stream = game.service.events()
    seen: list[HotReloadEvent] = []

    async def until(kind: type[HotReloadEvent]) -> None:
        async for event in stream:
            seen.append(event)
            if isinstance(event, kind):
                return

    save("npc/smith.json", module_text(instruction="New."))
    await until(ModuleChanged)
    save("npc/smith.json", module_text(instruction="New."))
    await until(ModuleSkipped)
    save("npc/smith.json", "{")
    await until(ReloadError)
    file.unlink()
    await until(ModuleDeleted)
    assert seen == game.events
    stats = game.service.stats
    assert stats.reloads_total == len(game.of(ModuleChanged)) == 1
    assert stats.reloads_failed == len(game.of(ReloadError)) == 1
    assert stats.reloads_skipped == len(game.of(ModuleSkipped)) >= 1
    assert stats.last_reload > 1_700_000_000_000


# From the saved file to the spoken word


@pytest_twisted.ensureDeferred
async def test_modify_module_json_and_next_invoke_uses_new_instruction(live: Live, save: Save) -> None:
    """The language model sees the old instruction before the save and the new one after it."""
    save("npc/smith.json", module_text(instruction="Be gruff."))
    game = await live()
    script = ScriptedLM({"response": "Aye.", "emotion": "calm"})
    first = await game.engine.invoke("npc.smith", player_message="Hello", lm=script.lm)
    changed = game.next(ModuleChanged)
    save("npc/smith.json", module_text(instruction="Be kind."))
    await changed
    second = await game.engine.invoke("npc.smith", player_message="Hello", lm=script.lm)
    old, new = script.prompts
    assert "Be gruff." in old.system
    assert "Be kind." not in old.system
    assert "Be kind." in new.system
    assert "Be gruff." not in new.system
    assert (first.generation, second.generation) == (1, 2)
    assert second.version == game.engine.snapshot["npc.smith"].version != first.version


@pytest_twisted.ensureDeferred
async def test_add_new_module_to_manifest_and_it_becomes_available(live: Live, save: Save) -> None:
    """A file that the manifest does not list is not served; once it is listed, it answers."""
    save("smith.json", module_text())
    save("bard.json", module_text("npc.bard"))
    save("manifest.json", manifest(npc_smith="smith.json"))
    game = await live()
    with pytest.raises(UnknownModule):
        await game.engine.invoke("npc.bard", player_message="Hello", lm="demos")
    changed = game.next(ModuleChanged)
    save("manifest.json", manifest(npc_smith="smith.json", npc_bard="bard.json"))
    assert (await changed).module_id == "npc.bard"
    reply = await game.engine.invoke("npc.bard", player_message="Good day!", lm="demos")
    assert reply["response"] == "Is it? Mind the sparks."


@pytest_twisted.ensureDeferred
async def test_remove_module_from_manifest_and_it_is_no_longer_accessible(live: Live, save: Save) -> None:
    """A module that the manifest no longer lists is gone, though its file is still there."""
    save("smith.json", module_text())
    file = save("bard.json", module_text("npc.bard"))
    save("manifest.json", manifest(npc_smith="smith.json", npc_bard="bard.json"))
    game = await live()
    deleted = game.next(ModuleDeleted)
    save("manifest.json", manifest(npc_smith="smith.json"))
    assert (await deleted).module_id == "npc.bard"
    assert file.exists()
    with pytest.raises(UnknownModule):
        await game.engine.invoke("npc.bard", player_message="Hello", lm="demos")
    with pytest.raises(KeyError):
        game.engine["npc.bard"]


@pytest_twisted.ensureDeferred
async def test_two_engines_in_one_process_keep_apart(tmp_path: Path) -> None:
    """Each watches its own directory; a save in one is no event of the other, and stopping one leaves the other."""
    engines = []
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "smith.json").write_text(module_text())
        engines.append(DSPyEngine(tmp_path / name))
    north, south = [(await engine.enable_hot_reload(HotReloadConfig(debounce=0.02))) for engine in engines]
    heard: list[HotReloadEvent] = []
    south.service.subscribe(heard.append)
    changed = north.service.next_event(ModuleChanged).addTimeout(30, reactor)
    (tmp_path / "north" / "smith.json").write_text(module_text(instruction="Northern."))
    await changed
    await engines[1].reload_all()
    assert heard == []
    assert [engine["npc.smith"].instruction for engine in engines] == ["Northern.", "You are a smith."]
    await north.stop()
    changed = south.service.next_event(ModuleChanged).addTimeout(30, reactor)
    (tmp_path / "south" / "smith.json").write_text(module_text(instruction="Southern."))
    await changed
    await south.stop()
    assert [engine["npc.smith"].instruction for engine in engines] == ["Northern.", "Southern."]
