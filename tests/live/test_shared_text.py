"""Texts that several modules share, in a running service: real files, the kernel's events, the real reactor.

The timer's pass is far away in these tests: whatever goes live was heard of.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.logger import LogLevel, capturedLogs, formatEvent

from dspyreload import DSPyEngine, HotReloadConfig, HotReloadService
from dspyreload.model.events import HotReloadEvent, ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.manifest import MANIFEST
from tests.conftest import Save

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])
in_reactor = cast("Callable[[Test], Test]", pytest_twisted.ensureDeferred)  # runs a coroutine function as a test

CONFIG = HotReloadConfig(debounce=0.05, rescan_interval=600, max_file_size=10_000)


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """Give up waiting after a minute: the next pass of the timer is ten minutes away."""
    return deferred.addTimeout(60, reactor)


class Game:
    """An engine, its service, and what it tells of changes."""

    def __init__(self, root: Path, save: Save) -> None:
        self.save, self.root = save, root
        self.engine = DSPyEngine(root, load=False)
        self.service = HotReloadService(self.engine, CONFIG)
        self._told: DeferredQueue[HotReloadEvent] = DeferredQueue()
        self._saves = 0

    async def start(self) -> None:
        self.service.startService()
        await soon(self.service.when_ready())
        self.service.subscribe(self._tell)

    def _tell(self, event: HotReloadEvent) -> None:
        if not isinstance(event, ModuleSkipped):  # it was looked at, and is as it was: no news
            self._told.put(event)

    def said(self, module_id: str) -> str:
        return self.engine[module_id].instruction

    @property
    def generation(self) -> int:
        return self.engine.snapshot.generation

    async def events(self, count: int) -> list[Any]:
        """Wait for so many events."""
        return [await soon(self._told.get()) for _ in range(count)]

    async def changed(self, *ids: str) -> None:
        """Wait for these modules to change: in one commit, and nothing else with it."""
        before = self.generation
        events = await self.events(len(ids))
        assert {type(event) for event in events} == {ModuleChanged}, events
        assert sorted(event.module_id for event in events) == sorted(ids)
        assert {event.generation for event in events} == {before + 1}

    async def rejected(self, *ids: str) -> list[ReloadError]:
        """Wait for these modules to be rejected; nothing else happens, and what serves them is what did."""
        before = self.engine.snapshot
        events = await self.events(len(ids))
        assert {type(event) for event in events} == {ReloadError}, events
        assert sorted(event.module_id for event in events) == sorted(ids)
        assert self.engine.snapshot is before
        return events

    async def nothing(self) -> None:
        """See that what was saved so far leads to no event: the next one is of a save after it."""
        self._saves += 1
        self.save("other.json", json.dumps({"instruction": f"Other {self._saves}."}))
        await self.changed("other")


@pytest_twisted.async_yield_fixture
async def game(modules: Path, save: Save) -> AsyncIterator[Game]:
    """Three modules that share town.md: the smith and the bard say it, and so the fool, who includes the bard."""
    save("npc/smith.json", '{"instruction": "Smith.", "include": ["../town.md"]}')
    save("npc/bard.json", '{"instruction": "Bard.", "include": ["../town.md"]}')
    save("npc/fool.json", '{"instruction": "Fool.", "include": ["bard.json"]}')
    save("other.json", '{"instruction": "Other."}')
    save("town.md", "Town.")
    game = Game(modules, save)
    await game.start()
    yield game
    await soon(game.service.stopService())
    await soon(game.engine.close())


SHARING = ("npc.bard", "npc.fool", "npc.smith")


@in_reactor
async def test_one_save_changes_all_that_share_a_text_in_one_commit(game: Game) -> None:
    """One generation later each of them says the new one, and the others are as they were."""
    other = game.engine.snapshot["other"]
    game.save("town.md", "City.")
    await game.changed(*SHARING)
    assert [game.said(name) for name in SHARING] == ["City.\n\nBard.", "City.\n\nBard.\n\nFool.", "City.\n\nSmith."]
    assert game.engine.snapshot["other"] is other


@in_reactor
async def test_so_it_is_where_an_editor_puts_a_new_file_in_its_place(game: Game) -> None:
    """Written beside it and renamed over: still one commit."""
    (game.root / "town.md.tmp").write_text("City.")
    os.replace(game.root / "town.md.tmp", game.root / "town.md")
    await game.changed(*SHARING)
    assert game.said("npc.smith") == "City.\n\nSmith."


@in_reactor
async def test_a_module_that_is_included_changes_those_that_include_it(game: Game) -> None:
    """It is a module and a shared text; both are in one commit."""
    game.save("npc/bard.json", '{"instruction": "Old bard."}')
    await game.changed("npc.bard", "npc.fool")
    assert game.said("npc.fool") == "Old bard.\n\nFool."


@in_reactor
async def test_a_text_that_is_included_from_now_on_is_heard_of_from_now_on(game: Game) -> None:
    """A save of the module is enough, and one that it let go of is no more than a file."""
    game.save("sea.md", "Sea.")
    await game.nothing()
    game.save("npc/smith.json", '{"instruction": "Smith.", "include": ["../sea.md"]}')
    await game.changed("npc.smith")
    game.save("sea.md", "Ocean.")
    await game.changed("npc.smith")
    assert game.said("npc.smith") == "Ocean.\n\nSmith."
    game.save("town.md", "City.")
    await game.changed("npc.bard", "npc.fool")


@in_reactor
@pytest.mark.parametrize("path", ["lore.txt", "LORE.TXT", "lore", "lore.yaml", "lore.json", "deep/lore.txt"])
async def test_an_included_file_is_watched_whatever_its_name(game: Game, path: str) -> None:
    """Only endings of modules are watched everywhere; what a module is made of is watched too."""
    game.save(path, '["Old."]')
    game.save("other.json", json.dumps({"instruction": "x", "include": [path]}))
    events = await game.events(2 if path.endswith(".json") else 1)  # without a manifest, lore.json is a broken module
    assert [event.module_id for event in events if isinstance(event, ModuleChanged)] == ["other"]
    game.save(path, '["New."]')
    (event, *_broken) = await game.events(len(events))
    assert (type(event), event.module_id, game.said("other")) == (ModuleChanged, "other", '["New."]\n\nx')


@in_reactor
@pytest.mark.parametrize("path", ["sea.md", "new/deep/sea.md"])
async def test_a_module_goes_live_when_what_it_includes_appears(game: Game, path: str) -> None:
    """Until then it is rejected by name, and there is none; its folder may be new as well."""
    game.save("fish.json", json.dumps({"instruction": "Fish.", "include": [path]}))
    (error,) = await game.events(1)
    assert isinstance(error, ReloadError)
    assert (error.module_id, f'the file "{path}" is missing' in error.error) == ("fish", True)
    assert "fish" not in game.engine.snapshot
    game.save(path, "Sea.")
    await game.changed("fish")
    assert game.said("fish") == "Sea.\n\nFish."


@in_reactor
async def test_the_last_good_versions_serve_while_a_text_is_gone(game: Game) -> None:
    """Each module is rejected once, by the name of the text; written again, it changes them in one commit."""
    (game.root / "town.md").unlink()
    errors = await game.rejected(*SHARING)
    assert all('"town.md"' in error.error and "is missing" in error.error for error in errors)
    assert game.said("npc.fool") == "Town.\n\nBard.\n\nFool."
    await game.nothing()
    game.save("town.md", "City.")
    await game.changed(*SHARING)
    assert game.said("npc.fool") == "City.\n\nBard.\n\nFool."


@in_reactor
async def test_a_text_that_comes_back_as_it_was_changes_nothing(game: Game) -> None:
    """The versions that serve are those that the disk has again; and its next save is heard of."""
    before = {name: game.engine.snapshot[name] for name in SHARING}
    (game.root / "town.md").unlink()
    await game.rejected(*SHARING)
    game.save("town.md", "Town.")
    await game.nothing()
    assert {name: game.engine.snapshot[name] for name in SHARING} == before
    game.save("town.md", "City.")
    await game.changed(*SHARING)


@in_reactor
async def test_a_text_that_is_deleted_and_written_in_one_go_is_a_save(game: Game) -> None:
    """As some editors do it: nobody hears of a hole."""
    (game.root / "town.md").unlink()
    game.save("town.md", "City.")
    await game.changed(*SHARING)
    (game.root / "town.md").unlink()
    game.save("town.md", "City.")
    await game.nothing()


@in_reactor
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("City.".encode("utf-16"), "town.md:1:1: the file is UTF-16 or binary; save it as UTF-8"),
        (b"City\xe9.", "town.md:1:5: a character that is not UTF-8"),
        (b"x" * 10_001, "town.md: the file has 10,001 bytes"),
        (None, "town.md: this is a folder, not a file"),
    ],
)
async def test_the_last_good_versions_serve_while_a_text_is_broken(game: Game, data: bytes | None, words: str) -> None:
    """What is wrong is told of each module; a save of the text alone mends them all, in one commit."""
    town = game.root / "town.md"
    if data is None:
        town.unlink()
        town.mkdir()
    else:
        town.write_bytes(data)
    for error in await game.rejected(*SHARING):
        assert words in error.error
        named = (game.root / error.path).read_text().index('["') + 2  # the text, or what includes it
        assert (error.line, error.column) == (1, named)
    assert game.said("npc.smith") == "Town.\n\nSmith."
    if data is None:
        town.rmdir()
    game.save("town.md", "City.")
    await game.changed(*SHARING)
    assert game.said("npc.smith") == "City.\n\nSmith."


@in_reactor
async def test_a_text_that_is_empty_is_warned_of(game: Game) -> None:
    """Nothing is rejected: the log says which it is, and where it is included."""
    with capturedLogs() as logged:
        game.save("town.md", " \n")
        await game.changed(*SHARING)
    assert game.said("npc.smith") == "Smith."
    warned = [str(formatEvent(event)) for event in logged if event["log_level"] is LogLevel.warn]
    words = 'the file "town.md" is empty; write something into it'
    assert sorted(warned) == [
        f"npc/{name}.json:1:{at}: {words}" for name, at in (("bard", 38), ("fool", 38), ("smith", 39))
    ]


@in_reactor
async def test_a_manifest_that_is_broken_and_mended_is_told_in_the_log(game: Game) -> None:
    """It is as it was, so there is no event of it: who broke it learns there that it is whole."""
    whole = '{"modules": {"fool": {"path": "npc/fool.json"}}}'
    game.save(MANIFEST, whole)
    await game.events(6)
    with capturedLogs() as logged:
        game.save(MANIFEST, whole[:-1])
        (error,) = await game.events(1)
        assert (type(error), error.path) == (ReloadError, MANIFEST)
        game.save(MANIFEST, whole)
        game.save("town.md", "City.")
        await game.changed("fool")
    assert [event["whole"] for event in logged if "whole" in event] == [MANIFEST]


@in_reactor
async def test_a_broken_module_is_named_in_those_that_include_it(game: Game) -> None:
    """It has the fault at its own line, and they have it at theirs; all serve their last good versions."""
    game.save("npc/bard.json", '{"instruction": "Bard.",\n}')
    bard, fool = sorted(await game.rejected("npc.bard", "npc.fool"), key=lambda error: str(error.module_id))
    assert (bard.line, bard.column, fool.line) == (1, 24, 1)
    assert fool.error.startswith("in npc/bard.json:1:24: ")
    game.save("npc/bard.json", '{"instruction": "Bard!"}')
    await game.changed("npc.bard", "npc.fool")


@in_reactor
async def test_a_module_that_is_gone_is_a_hole_where_it_was_included(game: Game) -> None:
    """It is no module any more; those that include it go on with what they said."""
    (game.root / "npc" / "bard.json").unlink()
    events = await game.events(2)
    assert [(type(event), event.module_id) for event in events] == [
        (ModuleDeleted, "npc.bard"),
        (ReloadError, "npc.fool"),
    ]
    assert game.said("npc.fool") == "Town.\n\nBard.\n\nFool."
    game.save("npc/bard.json", '{"instruction": "New bard."}')
    await game.changed("npc.bard", "npc.fool")


@in_reactor
async def test_with_a_manifest_an_included_file_need_not_be_listed(game: Game) -> None:
    """The fool alone is served, and says what the bard's file and the town's say."""
    game.save(MANIFEST, '{"modules": {"fool": {"path": "npc/fool.json"}}}')
    await game.events(6)  # the manifest, the module under its new id, and four that are gone
    assert list(game.engine.snapshot) == ["fool"]
    game.save("town.md", "City.")
    await game.changed("fool")
    game.save("npc/bard.json", '{"instruction": "Bard!"}')
    await game.changed("fool")
    assert game.said("fool") == "Bard!\n\nFool."
