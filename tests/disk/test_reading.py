"""One read is bounded, confined, and of a regular file."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from dspyreload.disk import reading
from dspyreload.disk.reading import ReadFault, read_file, stamp_of, stat_file
from tests.left import Before

LIMIT = 1000


def refused(root: Path, path: str, limit: int = LIMIT) -> ReadFault:
    with pytest.raises(ReadFault) as raised:
        read_file(str(root), path, limit)
    return raised.value


def test_a_file_is_read_with_its_digest_and_its_stat_signature(modules: Path) -> None:
    """The digest is the SHA-256 of the very bytes, the signature that of the file."""
    file = modules / "npc" / "a.json"
    file.parent.mkdir()
    file.write_bytes(b"{}\r\n")
    read = read_file(str(modules), "npc/a.json", LIMIT)
    assert (read.data, read.digest) == (b"{}\r\n", hashlib.sha256(b"{}\r\n").hexdigest())
    assert read.stamp == stamp_of(os.stat(file)) == stat_file(str(modules), "npc/a.json")


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_a_file_within_the_limit_is_read_whole(modules: Path, size: int) -> None:
    """The limit itself is allowed."""
    (modules / "a.json").write_bytes(b"x" * size)
    assert len(read_file(str(modules), "a.json", LIMIT).data) == size


@pytest.mark.parametrize("size", [LIMIT + 1, 8 << 30])
def test_a_file_over_the_limit_is_rejected_before_it_is_read(
    modules: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one byte too many nor 8 GiB of nothing is read; the message has both numbers."""
    (modules / "a.json").touch()
    os.truncate(modules / "a.json", size)
    monkeypatch.setattr(reading, "_read", lambda *_arguments: pytest.fail("it was read"))
    message = refused(modules, "a.json").message
    assert f"{size:,} bytes" in message
    assert "1,000 are allowed" in message


def test_a_file_that_grows_while_it_is_read_is_bounded(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one byte more than the limit is read, whatever the size was said to be."""
    (modules / "a.json").write_bytes(b"x" * (LIMIT + 5000))
    monkeypatch.setattr(reading, "_check_regular", lambda *_arguments: None)
    taken: list[int] = []
    read = os.read

    def counted(handle: int, count: int) -> bytes:
        data = read(handle, count)
        taken.append(len(data))
        return data

    monkeypatch.setattr(os, "read", counted)
    assert "more than 1,000 bytes" in refused(modules, "a.json").message
    assert sum(taken) == LIMIT + 1


@pytest.mark.parametrize("path", ["a.json", "npc/a.json", "file/a.json"])
def test_a_file_that_is_not_there_is_missing(modules: Path, path: str) -> None:
    """No file, no folder, or a file in the place of the folder: it is missing."""
    (modules / "file").touch()
    fault = refused(modules, path)
    assert (fault.missing, fault.message) == (True, "the file is missing")
    assert stat_file(str(modules), path) is None


def test_a_dangling_symlink_is_missing(modules: Path) -> None:
    """A link that leads nowhere is no file yet."""
    (modules / "a.json").symlink_to("nowhere.json")
    assert refused(modules, "a.json").missing


def test_a_symlink_to_itself_is_rejected_by_name(modules: Path) -> None:
    """A loop of links ends in words, and counts as broken, not as gone."""
    (modules / "a.json").symlink_to("b.json")
    (modules / "b.json").symlink_to("a.json")
    fault = refused(modules, "a.json")
    assert (fault.missing, "leads to itself" in fault.message) == (False, True)


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
def test_what_is_no_regular_file_is_rejected_at_once(modules: Path, kind: str) -> None:
    """A directory, a FIFO that nobody writes to, a socket and a device are named and not opened."""
    path = modules / "a.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(path))
    else:
        path.symlink_to("/dev/zero")
    fault = refused(modules, "a.json")
    assert not fault.missing
    assert fault.message == f"this is {'a folder' if kind == 'directory' else 'a pipe or a device'}, not a file"
    assert fault.mend == "put a file in its place, or name another one"


@pytest.mark.parametrize("link", ["file", "folder", "absolute"])
def test_a_symlink_out_of_the_directory_is_rejected(modules: Path, tmp_path: Path, link: str) -> None:
    """The file that was opened must lie below the real directory, by whatever link it was reached."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.json").write_text("{}")
    (modules / "npc").mkdir()
    if link == "folder":
        (modules / "npc").rmdir()
        (modules / "npc").symlink_to("../out")
    else:
        (modules / "npc" / "a.json").symlink_to("../../out/a.json" if link == "file" else tmp_path / "out" / "a.json")
    fault = refused(modules, "npc/a.json")
    assert (fault.missing, "outside of the modules directory" in fault.message) == (False, True)


def test_a_directory_of_a_like_name_is_outside(modules: Path, tmp_path: Path) -> None:
    """``modules-old`` is not inside of ``modules``."""
    (tmp_path / "modules-old").mkdir()
    (tmp_path / "modules-old" / "a.json").write_text("{}")
    (modules / "a.json").symlink_to("../modules-old/a.json")
    assert "outside" in refused(modules, "a.json").message


def test_links_inside_of_the_directory_are_fine(modules: Path) -> None:
    """A mounted ConfigMap is made of them: a file links to ..data, and that to a folder with a date."""
    (modules / "..2025_01_01").mkdir()
    (modules / "..2025_01_01" / "a.json").write_text("{}")
    (modules / "..data").symlink_to("..2025_01_01")
    (modules / "a.json").symlink_to("..data/a.json")
    assert read_file(str(modules), "a.json", LIMIT).data == b"{}"


def test_a_file_that_changed_just_now_is_racy(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick of the clock another change would leave the same signature; later it would not."""
    file = modules / "a.json"
    file.write_text("{}")
    os.utime(file, ns=(1, 1))
    changed = os.stat(file).st_ctime_ns
    for later, racy in ((0, True), (10_000_000, True), (1_000_000_000, False)):
        monkeypatch.setattr(time, "time_ns", lambda later=later: changed + later)
        assert read_file(str(modules), "a.json", LIMIT).racy is racy


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_read_is_racy(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are half old and half new are read again, though nothing says so in them."""
    file = modules / "a.json"
    file.write_text("{}")
    read = os.read

    def torn(handle: int, count: int) -> bytes:
        os.utime(file, ns=(5, 5))
        return read(handle, count)

    assert not read_file(str(modules), "a.json", LIMIT).racy
    monkeypatch.setattr(os, "read", torn)
    assert read_file(str(modules), "a.json", LIMIT).racy


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
        (errno.EIO, os.strerror(errno.EIO)),
        (errno.EMFILE, os.strerror(errno.EMFILE)),
    ],
)
def test_what_the_system_refuses_is_unreadable_and_not_missing(
    modules: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    """An error of the disk or of rights says nothing about whether the file is gone."""
    (modules / "a.json").write_text("{}")

    def refuse(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    fault = refused(modules, "a.json")
    assert (fault.missing, words in fault.message) == (False, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_rights_is_rejected(modules: Path) -> None:
    """A file of mode 000 is told from a missing one."""
    (modules / "a.json").write_text("{}")
    (modules / "a.json").chmod(0)
    fault = refused(modules, "a.json")
    assert (fault.missing, "permission denied" in fault.message) == (False, True)


def test_no_descriptor_is_left(modules: Path) -> None:
    """Neither a read nor a refusal leaves a file open."""
    (modules / "a.json").write_text("{}")
    (modules / "out.json").symlink_to("/etc/hostname")
    before = Before()
    for _ in range(5):
        read_file(str(modules), "a.json", LIMIT)
        refused(modules, "out.json")
        refused(modules, "a.json", limit=1)
    assert before.descriptors() == set()
