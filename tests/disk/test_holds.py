"""Who asks passes to wait: locks in a directory and above it, and whose locks count."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dspyreload.disk.holds import HOLD, Held, look_for_holds

NOBODY = 65534
GIT = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")


def held_by(root: Path) -> set[str]:
    return {path for path, _stamp in look_for_holds(str(root)).locks}


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def deep(modules: Path) -> Path:
    """A modules directory two folders below."""
    folder = modules / "game" / "modules"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", [".git/index.lock", ".hg/wlock", ".dspyreload-hold"])
@pytest.mark.parametrize("above", ["", "..", "../.."])
def test_a_lock_holds_in_the_directory_and_above(deep: Path, name: str, above: str) -> None:
    """A repository is the modules directory itself, or what it lies in."""
    assert held_by(deep) == set()
    lock = touch((deep / above).resolve() / name)
    assert held_by(deep) == {str(lock)}
    lock.unlink()
    assert held_by(deep) == set()


def test_a_lock_below_holds_nothing(deep: Path) -> None:
    """What is cloned into the modules directory is somebody's else matter."""
    touch(deep / "npc" / ".git" / "index.lock")
    assert held_by(deep) == set()


def test_a_lock_that_leads_nowhere_holds(deep: Path) -> None:
    """Mercurial's is a link to the name of a process."""
    (deep / ".hg").mkdir()
    (deep / ".hg" / "wlock").symlink_to("host:1234")
    assert held_by(deep) == {str(deep / ".hg" / "wlock")}


@pytest.mark.parametrize("name", [".git/index.lock", HOLD])
def test_a_lock_holds_by_the_name_and_by_the_real_path(deep: Path, tmp_path: Path, name: str) -> None:
    """A modules directory that is a link lies in two places."""
    link = tmp_path / "served" / "modules"
    link.parent.mkdir()
    link.symlink_to(deep)
    by_name, by_path = touch(link.parent / name), touch(deep.parent / name)
    assert held_by(link) == {str(by_name), str(by_path)}


def test_another_lock_by_that_name_is_another_lock(deep: Path) -> None:
    """So a new one is waited for, though the one before was waited for long enough."""
    lock = touch(deep / HOLD)
    first = look_for_holds(str(deep)).locks
    assert look_for_holds(str(deep)).locks == first
    lock.unlink()
    (deep / "in-between").touch()  # it may have the inode that the first had
    touch(lock)
    os.utime(lock, ns=(1, 1))
    assert not look_for_holds(str(deep)).locks & first


@pytest.mark.parametrize(("system", "state"), [(".git", "index"), (".hg", "dirstate")])
def test_a_state_that_is_renewed_is_another_state(deep: Path, system: str, state: str) -> None:
    """A lock that came and went is seen by what it left behind."""
    file = touch(deep.parent / system / state)
    before = look_for_holds(str(deep))
    assert {path for path, _stamp in before.states} == {str(file)}
    assert before.locks == frozenset()
    new = touch(file.with_name("new"))
    os.replace(new, file)
    assert look_for_holds(str(deep)).states != before.states


def test_a_worktree_is_locked_where_git_says(tmp_path: Path) -> None:
    """Its ``.git`` is a file that names the folder; git itself made it."""
    main, tree = tmp_path / "main", tmp_path / "tree"
    main.mkdir()
    git(main, "init")
    touch(main / "modules" / "smith.json")
    git(main, "add", ".")
    git(main, "commit", "-m", "one")
    git(main, "worktree", "add", str(tree))
    assert (tree / ".git").is_file()
    lock = touch(main / ".git" / "worktrees" / "tree" / "index.lock")
    assert held_by(tree / "modules") == {str(lock)}
    assert held_by(main / "modules") == set()


def test_a_submodule_is_locked_where_git_says(tmp_path: Path) -> None:
    """Its ``.git`` is a file with a relative path."""
    prompts, game = tmp_path / "prompts", tmp_path / "game"
    for folder in (prompts, game):
        folder.mkdir()
        git(folder, "init")
        touch(folder / "file")
        git(folder, "add", ".")
        git(folder, "commit", "-m", "one")
    git(game, "-c", "protocol.file.allow=always", "submodule", "add", str(prompts), "modules")
    assert (game / "modules" / ".git").is_file()
    lock = touch(game / ".git" / "modules" / "modules" / "index.lock")
    assert {os.path.realpath(path) for path in held_by(game / "modules")} == {str(lock)}


@pytest.mark.parametrize(
    "text", ["", "gitdir", "gitdir: ", "gitdir: a\0b", "something else", "\udcff", "gitdir: /" * 9000]
)
def test_a_git_file_that_says_nothing_holds_nothing(deep: Path, text: str) -> None:
    """Whatever it says, looking does not fail."""
    (deep / ".git").write_bytes(text.encode(errors="surrogateescape"))
    assert held_by(deep) == set()


def test_a_pipe_by_the_name_of_git_is_not_opened(deep: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(deep / ".git")
    assert held_by(deep) == set()


def test_a_directory_that_is_not_there_is_held_by_what_is_above(deep: Path) -> None:
    """A checkout makes the folder, too."""
    lock = touch(deep / ".git" / "index.lock")
    assert held_by(deep / "not" / "there") == {str(lock)}


@as_root
class TestOthers:
    """Nobody else may have the server wait: in /tmp anybody can make a file."""

    @pytest.fixture
    def shared(self, tmp_path: Path) -> Path:
        """A modules directory of the server's user, in a folder as /tmp is one."""
        folder = tmp_path / "tmp"
        (folder / "modules").mkdir(parents=True)
        folder.chmod(0o1777)
        return folder / "modules"

    def give(self, path: Path, *, mode: int | None = None) -> Path:
        os.lchown(path, NOBODY, NOBODY)
        if mode is not None:
            path.chmod(mode)
        return path

    def test_a_hold_of_another_user_in_a_folder_of_all_holds_nothing(self, shared: Path) -> None:
        self.give(touch(shared.parent / HOLD))
        assert held_by(shared) == set()

    def test_nor_does_a_repository_of_theirs(self, shared: Path) -> None:
        lock = self.give(touch(shared.parent / ".git" / "index.lock"))
        self.give(lock.parent)
        assert held_by(shared) == set()

    def test_nor_does_a_lock_of_ours_that_theirs_leads_to(self, shared: Path, tmp_path: Path) -> None:
        """By a link, or by a file as that of a worktree."""
        ours = touch(tmp_path / "ours" / ".git" / "index.lock").parent
        link = shared.parent / ".git"
        link.symlink_to(ours)
        self.give(link)
        assert held_by(shared) == set()
        link.unlink()
        link.write_text(f"gitdir: {ours}")
        self.give(link)
        assert held_by(shared) == set()

    def test_a_hold_of_ours_there_does_hold(self, shared: Path) -> None:
        """It is the owner that counts, not the place."""
        lock = touch(shared.parent / HOLD)
        assert held_by(shared) == {str(lock)}

    def test_the_owner_of_the_modules_directory_may_hold(self, shared: Path) -> None:
        """Who deploys is often another user than the server's."""
        self.give(shared)
        lock = self.give(touch(shared.parent / HOLD))
        assert held_by(shared) == {str(lock)}

    def test_so_may_one_of_the_group_that_shares_the_repository(self, shared: Path) -> None:
        """In a folder of ours that is not open to all, only those can make files whom we let."""
        repository = shared / ".git"
        lock = self.give(touch(repository / "index.lock"))
        repository.chmod(0o770)
        assert held_by(shared) == {str(lock)}
        repository.chmod(0o777)
        assert held_by(shared) == set()


def test_what_was_held_is_said_by_name(deep: Path) -> None:
    """Sorted, so that the same locks make the same words."""
    touch(deep / HOLD)
    touch(deep / ".hg" / "wlock")
    held = Held(look_for_holds(str(deep)).locks)
    assert str(held) == f"{deep / HOLD}, {deep / '.hg' / 'wlock'}"
    assert str(Held(frozenset())) == ""


def test_nothing_anywhere_is_nothing(tmp_path: Path) -> None:
    """Most directories lie in no repository; this one lies in none that the tests make."""
    found = look_for_holds(str(tmp_path))
    assert not [path for path, _stamp in found.locks | found.states if path.startswith(str(tmp_path))]
