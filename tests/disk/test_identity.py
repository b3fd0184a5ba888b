"""What tells a directory from the one that lay there before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dspyreload.disk import identity as module
from dspyreload.disk.identity import identity
from tests.faults.machine import needs
from tests.faults.namespace import MOUNTS


def test_it_stays_whatever_is_done_in_the_directory_and_to_it(tmp_path: Path) -> None:
    """Files that come and go, other permissions and times, another name: it is the same directory."""
    directory = tmp_path / "modules"
    directory.mkdir()
    before = identity(str(directory))
    (directory / "a.json").write_text("{}")
    (directory / "a.json").unlink()
    directory.chmod(0o700)
    os.utime(directory, (1, 1))
    directory = directory.rename(tmp_path / "other")
    assert identity(str(directory)) == before
    assert before[0] == directory.stat().st_dev
    assert 0 <= before[1] < 1 << 63, "SQLite keeps it"


def test_a_directory_that_is_made_again_is_another(tmp_path: Path) -> None:
    """Though it may have the same number."""
    directory = tmp_path / "modules"
    found = set()
    for _ in range(5):
        directory.mkdir()
        found.add(identity(str(directory)))
        directory.rmdir()
        time.sleep(0.02)  # the clock of a file system ticks every 10 ms or so
    assert len(found) == 5


def test_a_volume_that_is_mounted_again_is_another() -> None:
    """The root of each tmpfs has the same number on what may be the same device."""
    needs("mounts")
    code = "from dspyreload.disk.identity import identity; print(identity('/mnt'))"
    mount = f"mount -t tmpfs none /mnt; '{sys.executable}' -c \"{code}\"; umount /mnt; sleep 0.02"
    done = subprocess.run(
        (*MOUNTS, "sh", "-ec", f"{mount}; {mount}"), capture_output=True, text=True, timeout=60, check=True
    )
    first, second = done.stdout.splitlines()
    assert first != second


def test_where_nobody_tells_when_it_was_made_the_number_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another C library, a file system without such times, a system call that is forbidden."""
    info = tmp_path.stat()
    for statx in (None, lambda *_arguments: -1, lambda *_arguments: 0):
        monkeypatch.setattr(module, "_statx", lambda statx=statx: statx)
        assert identity(str(tmp_path)) == (info.st_dev, info.st_ino)


def test_a_directory_that_is_missing_raises(tmp_path: Path) -> None:
    """Who asks decides what that means."""
    with pytest.raises(FileNotFoundError):
        identity(str(tmp_path / "none"))
