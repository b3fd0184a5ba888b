"""Files are written whole or not at all, and what is there is never lost."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.writing import make_file, replace_file
from dspyreload.errors import HotReloadFailed

FULL, TOO_LARGE = os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG)
TEXT = "é\r\nlast\n"

Write = Callable[[str, str, str], None]


def fail(*_arguments: Any, **_options: Any) -> None:
    """Stand in for a call that finds the disk full."""
    raise OSError(errno.ENOSPC, FULL)


def stop(*_arguments: Any, **_options: Any) -> None:
    """Stand in for a call during which the user gives up."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Have every file of this process hold three bytes and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestReplacing:
    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        """A file that is there."""
        file = tmp_path / "npc" / "smith.json"
        file.parent.mkdir()
        file.write_text("old")
        return file

    @pytest.fixture
    def beside(self, tmp_path: Path, old: Path) -> Callable[[], list[str]]:
        """List everything below the directory."""
        return lambda: sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))

    def test_the_text_is_written_as_it_is(self, tmp_path: Path, old: Path) -> None:
        """In UTF-8, without a change of its line ends."""
        replace_file(str(tmp_path), "npc/smith.json", TEXT)
        assert old.read_bytes() == TEXT.encode()

    def test_who_reads_the_old_file_reads_it_to_its_end(self, tmp_path: Path, old: Path) -> None:
        """The new one is another file under the same name."""
        with old.open() as reader:
            replace_file(str(tmp_path), "npc/smith.json", "a new text")
            assert reader.read() == "old"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_its_owner_and_group_stay(self, tmp_path: Path, old: Path) -> None:
        """A server that may read it as its group, and root who writes a hash, are in nobody's way."""
        os.chown(old, 1234, 5678)
        old.chmod(0o2640)
        replace_file(str(tmp_path), "npc/smith.json", "new")
        info = old.stat()
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 5678, 0o2640)

    def test_a_file_that_may_not_be_given_away_is_written_all_the_same(
        self, tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is then the writer's own."""

        def refuse(*_arguments: Any) -> None:
            raise PermissionError(errno.EPERM, "no")

        monkeypatch.setattr(os, "chown", refuse)
        replace_file(str(tmp_path), "npc/smith.json", "new")
        assert old.read_text() == "new"

    @pytest.mark.parametrize("mode", [0o644, 0o600, 0o664, 0o444, 0o755, 0o2640])
    def test_its_mode_stays(self, tmp_path: Path, old: Path, mode: int) -> None:
        """Who could read it can still read it, and nobody else."""
        old.chmod(mode)
        replace_file(str(tmp_path), "npc/smith.json", "new")
        assert (stat.S_IMODE(old.stat().st_mode), old.read_text()) == (mode, "new")

    def test_what_a_link_leads_to_is_written(self, tmp_path: Path, old: Path) -> None:
        """The link is one still, and nothing is written beside it."""
        (tmp_path / "links").mkdir()
        link = tmp_path / "links" / "first.json"
        link.symlink_to("second.json")
        (tmp_path / "links" / "second.json").symlink_to("../npc/smith.json")
        replace_file(str(tmp_path), "links/first.json", "new")
        assert (link.is_symlink(), old.is_symlink(), old.read_text()) == (True, False, "new")
        assert sorted(os.listdir(link.parent)) == ["first.json", "second.json"]

    def test_a_file_that_is_not_there_is_not_made(self, tmp_path: Path, beside: Callable[[], list[str]]) -> None:
        """There is nothing to replace: somebody deleted or moved it meanwhile."""
        before = beside()
        for path in ("none.json", "none/none.json"):
            with pytest.raises(HotReloadFailed, match="No such file") as raised:
                replace_file(str(tmp_path), path, "new")
            assert raised.value.path == path
        assert beside() == before

    def test_a_full_disk_leaves_the_old_one(self, tmp_path: Path, old: Path, beside: Callable[[], list[str]]) -> None:
        """The reason is told, and the half of the new one is gone."""
        before = beside()
        with full_disk(), pytest.raises(HotReloadFailed) as raised:
            replace_file(str(tmp_path), "npc/smith.json", "a new text")
        assert (raised.value.path, raised.value.reason) == ("npc/smith.json", f"it can't be written: {TOO_LARGE}")
        assert (old.read_text(), beside()) == ("old", before)

    @pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
    @pytest.mark.parametrize(("broken", "raises"), [(fail, HotReloadFailed), (stop, KeyboardInterrupt)])
    def test_what_ends_it_half_way_leaves_the_old_one(
        self,
        tmp_path: Path,
        old: Path,
        beside: Callable[[], list[str]],
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        broken: Callable[..., None],
        raises: type[BaseException],
    ) -> None:
        """A disk that refuses, or a user who gives up: nothing lies beside the file."""
        before = beside()
        monkeypatch.setattr(os, step, broken)
        with pytest.raises(raises):
            replace_file(str(tmp_path), "npc/smith.json", "new")
        monkeypatch.undo()
        assert (old.read_text(), beside()) == ("old", before)

    def test_a_scrap_that_somebody_else_swept_away_is_no_second_fault(
        self, tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is told is why it could not be written."""

        def swept(name: str, _target: object) -> None:
            os.unlink(name)
            fail()

        monkeypatch.setattr(os, "replace", swept)
        with pytest.raises(HotReloadFailed, match=FULL):
            replace_file(str(tmp_path), "npc/smith.json", "new")

    def test_text_that_is_no_utf8_leaves_the_old_one(
        self, tmp_path: Path, old: Path, beside: Callable[[], list[str]]
    ) -> None:
        """Half of a pair of surrogates can't be written."""
        before = beside()
        with pytest.raises(UnicodeEncodeError):
            replace_file(str(tmp_path), "npc/smith.json", "\ud800")
        assert (old.read_text(), beside()) == ("old", before)

    def test_the_name_of_the_new_one_is_passed_over_by_who_lists(
        self, tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody takes it for a module while it is written, and it lies where it can be renamed over the old one."""
        made: list[tuple[str, str]] = []
        mkstemp = tempfile.mkstemp

        def seen(**options: Any) -> tuple[int, str]:
            handle, name = mkstemp(**options)
            made.append((os.path.dirname(name), os.path.basename(name)))
            return handle, name

        monkeypatch.setattr(tempfile, "mkstemp", seen)
        replace_file(str(tmp_path), "npc/smith.json", "new")
        ((folder, name),) = made
        assert folder == str(old.parent)
        assert name.startswith(".")


class TestMaking:
    def test_the_folders_above_are_made(self, tmp_path: Path) -> None:
        """The directory itself too; the text is written as it is."""
        make_file(str(tmp_path / "new"), "npc/town/smith.json", TEXT)
        assert (tmp_path / "new/npc/town/smith.json").read_bytes() == TEXT.encode()

    @pytest.mark.parametrize("kind", ["file", "empty", "folder", "link", "hole"])
    def test_what_is_there_is_never_written_over(self, tmp_path: Path, kind: str) -> None:
        """A file, though it is empty, a folder, and a link, though it leads nowhere."""
        place, other = tmp_path / "a.md", tmp_path / "other.md"
        if kind in ("link", "hole"):
            place.symlink_to(other)
        if kind == "folder":
            place.mkdir()
        elif kind != "hole":
            place.write_text("" if kind == "empty" else "old")
        with pytest.raises(HotReloadFailed, match="it is there already, and is never written over") as raised:
            make_file(str(tmp_path), "a.md", "new")
        assert raised.value.path == "a.md"
        assert other.exists() == (kind == "link")
        if kind != "hole":
            assert place.is_dir() if kind == "folder" else place.read_text() == ("" if kind == "empty" else "old")

    @pytest.mark.parametrize("kind", ["file", "hole"])
    def test_a_file_where_a_folder_should_be_is_not_called_the_new_file(self, tmp_path: Path, kind: str) -> None:
        """It is not the new file that is there already; what is in the way stays."""
        place = tmp_path / "npc"
        if kind == "file":
            place.write_text("mine")
        else:
            place.symlink_to("nowhere")
        with pytest.raises(HotReloadFailed) as raised:
            make_file(str(tmp_path), "npc/cook.json", "new")
        assert "there already" not in raised.value.reason
        assert place.is_symlink() if kind == "hole" else place.read_text() == "mine"

    def test_a_full_disk_leaves_no_file(self, tmp_path: Path) -> None:
        """Half of one would be taken for what somebody wrote."""
        with full_disk(), pytest.raises(HotReloadFailed, match=f"it can't be written: {TOO_LARGE}"):
            make_file(str(tmp_path), "npc/cook.json", "a new text")
        assert os.listdir(tmp_path / "npc") == []

    @pytest.mark.parametrize(("broken", "raises"), [(fail, HotReloadFailed), (stop, KeyboardInterrupt)])
    def test_what_ends_it_half_way_leaves_no_file(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        broken: Callable[..., None],
        raises: type[BaseException],
    ) -> None:
        """A disk that refuses, or a user who gives up."""
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(raises):
            make_file(str(tmp_path), "cook.json", "new")
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", [replace_file, make_file])
def test_what_was_written_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """Its bytes are flushed to the disk: a machine that stops now does not leave an empty file."""
    synced: list[bytes] = []
    fsync = os.fsync

    def seen(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").read_bytes())
        fsync(handle)

    if write is replace_file:
        (tmp_path / "a.md").write_text("old")
    monkeypatch.setattr(os, "fsync", seen)
    write(str(tmp_path), "a.md", "new")
    assert synced == [b"new"]
