"""Files that belong together: a manifest and its modules, and how Kubernetes and releases put others in their place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import pytest_twisted

from dspyreload import DSPyEngine, ManifestChanged, ReloadError
from tests.conftest import Save
from tests.faults.game import Game, Play, text, until
from tests.faults.rows import Seen, row
from tests.faults.tally import Tally, settled

HOUR = 3600.0
SMITH = "npc/smith.json"


def manifest(files: dict[str, str]) -> str:
    """Return a manifest that lists the texts of files with their hashes."""
    modules = {
        path.removesuffix(".json").replace("/", "."): {
            "path": path,
            "hash": f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}",
        }
        for path, whole in files.items()
    }
    return json.dumps({"version": "1.0", "modules": modules})


async def serves(game: Game, **instructions: str) -> None:
    """Wait until these modules are served, and no others."""
    await until(lambda: {key: game.engine[key].instruction for key in game.engine.snapshot} == instructions)


# Half of a rewrite


@attrs.frozen
class Rewrite:
    """A text that is written over another one of the same length; half of it done is a module, too."""

    old: str = text("old " * 2000)
    new: str = text("new " * 2000)

    def half(self, file: Path) -> None:
        """Write the first half in place."""
        with file.open("r+") as writing:
            writing.write(self.new[: len(self.new) // 2])

    def rest(self, file: Path) -> None:
        """Write the second half in place."""
        middle = len(self.new) // 2
        with file.open("r+") as writing:
            writing.seek(middle)
            writing.write(self.new[middle:])


def test_half_of_a_rewrite_is_a_module_where_nothing_lists_its_hash(modules: Path, save: Save) -> None:
    """Row 5 is about a file that nothing but its hash tells from a good one."""
    rewrite = Rewrite()
    rewrite.half(save(SMITH, rewrite.old))
    assert set(DSPyEngine(modules)["npc.smith"].instruction.split()) >= {"new", "old"}


@row(5)
@pytest.mark.parametrize("first", ["the manifest", "the file"])
@pytest_twisted.ensureDeferred
async def test_row_5_valid_half_and_half(play: Play, save: Save, seen: Seen, first: str) -> None:
    """Half old and half new, and a module all the same, it is rejected for its hash; the whole one commits.

    So it is where the manifest that lists the new hash is there before, and where it comes after.
    """
    rewrite = Rewrite()
    file = save(SMITH, rewrite.old)
    save("manifest.json", manifest({SMITH: rewrite.old}))
    game = await play(rescan_interval=HOUR)
    before = game.engine.snapshot

    def rejections(path: str) -> list[ReloadError]:
        return [error for error in game.heard(ReloadError) if error.path == path]

    async def rejected(path: str, act: Callable[[], object]) -> ReloadError:
        number = len(rejections(path))
        act()
        await until(lambda: len(rejections(path)) > number)
        assert game.engine.snapshot is before
        return rejections(path)[-1]

    if first == "the manifest":
        await rejected("manifest.json", lambda: save("manifest.json", manifest({SMITH: rewrite.new})))
        half = await rejected(SMITH, lambda: rewrite.half(file))
        rewrite.rest(file)
    else:
        half = await rejected(SMITH, lambda: rewrite.half(file))
        await rejected(SMITH, lambda: rewrite.rest(file))
        save("manifest.json", manifest({SMITH: rewrite.new}))
    assert "hash" in half.error
    assert half.serving == before["npc.smith"].version
    await until(lambda: game.engine["npc.smith"].instruction == "new " * 2000)
    result = await settled(game)
    assert (result.commits, result.changed, result.deleted) == (1, 1, 0)
    assert result.rejected == (3 if first == "the manifest" else 2)
    seen(f"{first} first: half a rewrite rejected, then 1 commit")


# Kubernetes


class ConfigMap:
    """A directory as the kubelet keeps it: links through ``..data`` into a directory that has the time as its name."""

    def __init__(self, root: Path) -> None:
        self.root, self.number = root, 0

    def put(self, files: dict[str, str]) -> None:
        """Put a set of files in place of the one before, in the kubelet's order."""
        self.number += 1
        before = self.root / os.readlink(self.root / "..data") if self.number > 1 else None
        after = self.root / f"..2026_03_14_15_09_26.{self.number:09d}"
        for path, whole in files.items():
            file = after / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(whole)
        (self.root / "..data_tmp").symlink_to(after.name)
        (self.root / "..data_tmp").rename(self.root / "..data")
        for name in {Path(path).parts[0] for path in files}:
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"..data/{name}")
        for link in self.root.iterdir():
            if not link.name.startswith("..") and not link.exists():
                link.unlink()
        if before is not None:
            shutil.rmtree(before)


ONE = {"bard.json": text("Bard 1."), "page.json": text("Page 1."), SMITH: text("Smith 1.")}
TWO = {"bard.json": text("Bard 2."), "cook.json": text("Cook 2."), SMITH: text("Smith 2.")}


@row(6)
@pytest_twisted.ensureDeferred
async def test_row_6_configmap_swap(play: Play, modules: Path, seen: Seen) -> None:
    """No event names a file that changed; what changed, what is new and what is gone is one commit, swap by swap."""
    config = ConfigMap(modules)
    config.put({**ONE, "manifest.json": manifest(ONE)})
    game = await play(rescan_interval=HOUR)
    await serves(game, bard="Bard 1.", page="Page 1.", **{"npc.smith": "Smith 1."})
    config.put({**TWO, "manifest.json": manifest(TWO)})
    await serves(game, bard="Bard 2.", cook="Cook 2.", **{"npc.smith": "Smith 2."})
    assert await settled(game) == Tally(commits=1, changed=3, deleted=1)
    (change,) = game.heard(ManifestChanged)
    assert (change.added, change.changed, change.removed) == (("cook",), ("bard", "npc.smith"), ("page",))
    config.put({**ONE, "manifest.json": manifest(ONE)})
    await serves(game, bard="Bard 1.", page="Page 1.", **{"npc.smith": "Smith 1."})
    assert await settled(game) == Tally(commits=2, changed=6, deleted=2)
    assert {event.generation for event in game.events} == {2, 3}
    seen("1 commit for each of 2 swaps, with 2 changed, 1 new and 1 gone")


@pytest_twisted.ensureDeferred
async def test_a_configmap_without_a_manifest_is_one_commit_but_for_what_is_gone(play: Play, modules: Path) -> None:
    """A file that is gone is looked at a second time, a quiet window later; all the rest is one commit."""
    config = ConfigMap(modules)
    config.put(ONE)
    game = await play(rescan_interval=HOUR)
    config.put(TWO)
    await serves(game, bard="Bard 2.", cook="Cook 2.", **{"npc.smith": "Smith 2."})
    assert await settled(game) == Tally(commits=2, changed=3, deleted=1)
    assert [event.generation for event in game.events] == [2, 2, 2, 3]


@pytest_twisted.ensureDeferred
async def test_a_configmap_in_a_folder_of_the_modules_directory_is_heard_of(
    play: Play, save: Save, modules: Path
) -> None:
    """A mount below the root has its own ``..data``."""
    save("bard.json", text("Bard 0."))
    (modules / "npc").mkdir()
    config = ConfigMap(modules / "npc")
    config.put({"smith.json": text("Smith 1.")})
    game = await play(rescan_interval=HOUR)
    config.put({"smith.json": text("Smith 2.")})
    await serves(game, bard="Bard 0.", **{"npc.smith": "Smith 2."})
    assert await settled(game) == Tally(commits=1, changed=1)


# The modules directory is a link


@pytest_twisted.ensureDeferred
async def test_a_folder_of_a_configmap_may_be_the_modules_directory(play: Play, modules: Path) -> None:
    """Its real path goes away with each swap; the next one is watched in its place."""
    config = ConfigMap(modules)
    config.put({"npc/smith.json": text("Smith 1.")})
    game = await play(directory=modules / "npc", rescan_interval=HOUR)
    for number in range(2, 6):
        config.put({"npc/smith.json": text(f"Smith {number}.")})
        await serves(game, smith=f"Smith {number}.")
    assert await settled(game) == Tally(commits=4, changed=4)


@pytest_twisted.ensureDeferred
async def test_a_link_to_a_release_is_followed_to_the_next_one(play: Play, tmp_path: Path) -> None:
    """No event tells that ``current`` leads elsewhere: a pass finds it, and from then on that place is watched."""
    for number in (1, 2):
        (tmp_path / "releases" / str(number)).mkdir(parents=True)
        (tmp_path / "releases" / str(number) / "smith.json").write_text(text(f"Smith {number}."))
    current = tmp_path / "current"
    current.symlink_to("releases/1")
    game = await play(directory=current, rescan_interval=HOUR)
    (current / "smith.json").write_text(text("Smith 1a."))
    await serves(game, smith="Smith 1a.")
    (tmp_path / "next").symlink_to("releases/2")
    (tmp_path / "next").rename(current)
    assert await settled(game) == Tally(commits=2, changed=2)
    assert game.engine["smith"].instruction == "Smith 2."
    for word in ("2a", "2b"):  # the first may be found by the look with which watching begins
        (current / "smith.json").write_text(text(f"Smith {word}."))
        await serves(game, smith=f"Smith {word}.")
    (tmp_path / "releases" / "1" / "smith.json").write_text(text("Smith 1b."))
    assert await settled(game) == Tally(commits=4, changed=4)


# A release that is copied file by file


@row(7)
@pytest_twisted.ensureDeferred
async def test_row_7_manifest_before_its_modules(play: Play, save: Save, seen: Seen) -> None:
    """A new manifest waits for its files, and those that are there wait with it; the last one commits them all."""
    for path, whole in {**ONE, "manifest.json": manifest(ONE)}.items():
        save(path, whole)
    game = await play(rescan_interval=HOUR)
    before = game.engine.snapshot
    save("manifest.json", manifest(TWO))
    await until(lambda: "manifest.json" in {error.path for error in game.heard(ReloadError)})
    *first, last = TWO.items()
    for path, whole in first:
        save(path, whole)
        await game.passes(1)
        await settled(game)
        assert game.engine.snapshot is before
    save(*last)
    await serves(game, bard="Bard 2.", cook="Cook 2.", **{"npc.smith": "Smith 2."})
    result = await settled(game)
    assert (result.commits, result.changed, result.deleted) == (1, 3, 1)
    (change,) = game.heard(ManifestChanged)
    assert (change.generation, change.added, change.removed) == (2, ("cook",), ("page",))
    (waits,) = (error for error in game.heard(ReloadError) if error.path == "manifest.json")
    assert "the manifest waits for " in waits.error
    seen(f"the old set through {game.service.stats.passes} passes, then 1 commit of 3 modules")
