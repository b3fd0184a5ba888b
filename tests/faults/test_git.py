"""What git does to a modules directory under a running service: each change of the tree is one generation."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from dspyreload import ModuleChanged, ModuleDeleted, ReloadError
from tests.faults.game import LIMIT, Game, Play, reactor, text, until

COUNT = 200
QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
WHO = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main", "-c", "gc.auto=0")


def git(folder: Path, *arguments: str) -> str:
    """Run git, here and now."""
    done = subprocess.run(
        ["git", *WHO, *arguments],
        cwd=folder,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def beside(folder: Path, *arguments: str) -> None:
    """Run git while the reactor goes on."""
    await deferToThread(git, folder, *arguments)


def write(modules: Path, words: str, count: int = COUNT) -> None:
    for number in range(count):
        (modules / f"npc_{number:03}.json").write_text(text(f"{words} {number}"))


def repository(folder: Path, modules: Path) -> None:
    """Make a repository with two branches that differ in every module, and check out the first."""
    git(folder, "init", "--quiet")
    for branch in ("main", "other"):
        git(folder, "checkout", "--quiet", "-b", branch) if branch != "main" else None
        write(modules, f"You are {branch}")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", branch)
    git(folder, "checkout", "--quiet", "main")


def generations(game: Game) -> list[int]:
    return sorted({event.generation for event in game.heard(ModuleChanged)})


async def served(game: Game, words: str, count: int = COUNT) -> None:
    """Wait until these are what is served, and two passes more."""
    wanted = {f"npc_{number:03}.json": f"{words} {number}" for number in range(count)}
    await until(lambda: game.served() == wanted)
    await game.passes(2)


def quiet(game: Game) -> None:
    """Nothing was rejected and nothing went away meanwhile."""
    assert game.heard(ReloadError) == []
    assert game.heard(ModuleDeleted) == []


def slow(folder: Path, seconds: float) -> None:
    """Have git write each module through a filter that takes its time, as git-lfs does."""
    script = folder.parent / "smudge"
    script.write_text(f"#!/bin/sh\nsleep {seconds}\nexec cat\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    git(folder, "config", "filter.slow.smudge", str(script))
    git(folder, "config", "filter.slow.clean", "cat")
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "attributes").write_text("*.json filter=slow\n")


@pytest.mark.parametrize("place", ["the repository", "a folder of it", "a link to a folder of it"])
@pytest_twisted.ensureDeferred
async def test_a_checkout_of_200_files_is_one_generation(modules: Path, play: Play, place: str) -> None:
    """Wherever the modules directory lies: passes wait for git's lock."""
    top = where = modules
    if place != "the repository":
        top = modules.parent / "game"
        where = top / "modules"
        where.mkdir(parents=True)
    directory = where
    if place == "a link to a folder of it":
        directory = modules.parent / "link"
        directory.symlink_to(where)
    repository(top, where)
    game = await play(directory=directory, rescan_interval=1.0)
    await beside(top, "checkout", "--quiet", "other")
    await served(game, "You are other")
    await beside(top, "checkout", "--quiet", "main")
    await served(game, "You are main")
    assert generations(game) == [2, 3]
    quiet(game)


@pytest_twisted.ensureDeferred
async def test_a_checkout_that_takes_longer_than_a_quiet_window_is_one_generation(modules: Path, play: Play) -> None:
    """A filter takes its time with each file, so that many windows and some looks of the timer fall into it."""
    repository(modules, modules)
    slow(modules, 0.02)
    game = await play(rescan_interval=0.5)
    since = reactor.seconds()
    await beside(modules, "checkout", "--quiet", "other")
    took = reactor.seconds() - since
    assert took > 20 * game.service.config.debounce
    await served(game, "You are other")
    assert generations(game) == [2]
    quiet(game)


@pytest_twisted.ensureDeferred
async def test_a_worktree_is_one_generation(modules: Path, play: Play) -> None:
    """There, git's own files lie elsewhere."""
    top = modules.parent / "game"
    (top / "modules").mkdir(parents=True)
    repository(top, top / "modules")
    tree = modules.parent / "tree"
    git(top, "worktree", "add", "--quiet", "--detach", str(tree))
    game = await play(directory=tree / "modules", rescan_interval=1.0)
    await beside(tree, "checkout", "--quiet", "other")
    await served(game, "You are other")
    assert generations(game) == [2]
    quiet(game)


@pytest_twisted.ensureDeferred
async def test_a_stash_and_its_return_are_a_generation_each(modules: Path, play: Play) -> None:
    """What a writer has not committed goes away, and comes again."""
    repository(modules, modules)
    write(modules, "Not committed")
    game = await play(rescan_interval=1.0)
    await beside(modules, "stash", "--quiet")
    await served(game, "You are main")
    await beside(modules, "stash", "pop", "--quiet")
    await served(game, "Not committed")
    assert generations(game) == [2, 3]
    quiet(game)


@pytest_twisted.ensureDeferred
async def test_a_pull_is_one_generation(modules: Path, play: Play) -> None:
    """With fetch and merge, over 200 files."""
    upstream = modules.parent / "upstream"
    upstream.mkdir()
    repository(upstream, upstream)
    modules.rmdir()
    git(modules.parent, "clone", "--quiet", str(upstream), str(modules))
    game = await play(rescan_interval=1.0)
    write(upstream, "Pulled")
    git(upstream, "commit", "--quiet", "--all", "-m", "more")
    await beside(modules, "pull", "--quiet")
    await served(game, "Pulled")
    assert generations(game) == [2]
    quiet(game)


@pytest_twisted.ensureDeferred
async def test_a_git_that_was_killed_holds_for_its_time_only(modules: Path, play: Play) -> None:
    """Its lock stays; passes go on and say so. Git's next change, once the lock is removed, is one generation again."""
    repository(modules, modules)
    slow(modules, 1.0)
    game = await play(rescan_interval=0.5, max_wait=0.1)  # 1.5 s at most
    with subprocess.Popen(
        ["git", *WHO, "checkout", "--quiet", "other"], cwd=modules, env={**os.environ, **QUIET}
    ) as run:
        lock = modules / ".git" / "index.lock"
        await until(lock.exists)
        run.kill()
    assert lock.exists()
    (modules / "npc_000.json").write_text(text("Saved by hand"))
    await until(lambda: game.served()["npc_000.json"] == "Saved by hand")
    (said,) = [line for line in game.lines("warn") if "waited" in line]
    assert said == f"waited 1.5 s for {lock}; looking all the same; delete it: it is not waited for again"
    (modules / "npc_001.json").write_text(text("And this"))
    await until(lambda: game.served()["npc_001.json"] == "And this")
    assert lock.exists()
    assert [line for line in game.lines("warn") if "waited" in line] == [said]
    lock.unlink()
    git(modules, "config", "--unset", "filter.slow.smudge")
    before = game.engine.snapshot.generation
    await beside(modules, "reset", "--hard", "--quiet", "other")
    await served(game, "You are other")
    assert game.engine.snapshot.generation == before + 1


@pytest_twisted.ensureDeferred
async def test_a_deploy_script_says_when_it_begins_and_ends(modules: Path, play: Play) -> None:
    """A hold in the folder above, as long as it copies; files that are half written are not even looked at."""
    write(modules, "Old", 20)
    game = await play(rescan_interval=0.2)
    hold = modules.parent / ".dspyreload-hold"
    hold.touch()
    passes = game.service.stats.passes
    for number in range(20):
        (modules / f"npc_{number:03}.json").write_text("{ half")
    await until(lambda: any("waiting for" in line for line in game.lines("info")))
    assert game.service.stats.passes <= passes + 1  # one may have begun before
    write(modules, "New", 20)
    hold.unlink()
    await served(game, "New", 20)
    assert generations(game) == [2]
    quiet(game)
