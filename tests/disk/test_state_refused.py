"""Whose a state file is, and what is said of one that can't be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dspyreload.disk import state as state_module
from dspyreload.disk.state import StateFile
from dspyreload.disk.stored import APPLICATION, FORMAT, TABLES, StateFault, StateRefused
from tests.disk.kept import LIMIT, NOBODY, ROOT, kept_of, reread, snapshot_of, state_file, stored_of, version

HOLD = (
    "import sys; from pathlib import Path; from tests.disk.kept import *\n"
    "file = state_file(Path(sys.argv[1])); file.open(); print('open', flush=True); sys.stdin.read()"
)


def test_another_server_is_named(tmp_path: Path) -> None:
    """With its process and its modules directory; once it is killed the file is free."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        file = state_file(tmp_path)
        words = rf"is in use by another server \(process {other.pid}, of {tmp_path}/modules\); give each"
        for attempt in (file.open, file.probe):
            with pytest.raises(StateRefused, match=words):
                attempt()
        other.kill()
        other.wait()
    file.probe()
    file.open()
    file.close()


def test_another_service_of_this_process_is_told_apart(file: StateFile, tmp_path: Path) -> None:
    """And the first one's locks still keep other programs out: a descriptor that is closed would drop them."""
    assert file._database is not None
    file._database.execute("BEGIN IMMEDIATE")
    os.link(file.path, tmp_path / "link")
    for name in ("state.sqlite3", "link"):
        other = state_file(tmp_path, name=name)
        for attempt in (other.open, other.probe):
            with pytest.raises(StateRefused, match="is in use by another service of this process; give each server"):
                attempt()
        other.close()
    words = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    done = subprocess.run([sys.executable, "-c", words, file.path], capture_output=True, text=True, check=False)
    assert "database is locked" in done.stderr
    file._database.execute("ROLLBACK")


def test_closed_it_is_free_again(file: StateFile, tmp_path: Path) -> None:
    """For the next service of the process; closing twice does no harm."""
    file.close()
    file.close()
    other = state_file(tmp_path)
    other.open()
    file.close()
    with pytest.raises(StateRefused):
        file.open()
    other.close()


def test_it_belongs_to_one_modules_directory(file: StateFile, tmp_path: Path) -> None:
    """Another one's modules are never served, nor written over; one that is gone gives it free."""
    snapshot = snapshot_of(version())
    file.write([snapshot], ROOT, NOBODY)
    file.close()
    (tmp_path / "others").mkdir()
    other = state_file(tmp_path, tmp_path / "others")
    for attempt in (other.open, other.read, other.probe):
        with pytest.raises(StateRefused, match=f"keeps the modules of {tmp_path}/modules; give each server a file"):
            attempt()
    (tmp_path / "modules").rename(tmp_path / "elsewhere")
    other.probe()
    assert other.open().modules == kept_of(snapshot)
    other.close()
    with pytest.raises(StateRefused):
        state_file(tmp_path, tmp_path / "elsewhere").open()


def test_a_directory_may_have_two_names(file: StateFile, tmp_path: Path) -> None:
    """A symlink to it is the same one."""
    file.close()
    (tmp_path / "current").symlink_to("modules")
    other = state_file(tmp_path, tmp_path / "current")
    other.probe()
    other.open()
    other.close()


def test_a_modules_directory_may_have_any_name(tmp_path: Path) -> None:
    """One that is not UTF-8, too."""
    folder = os.path.join(os.fsencode(tmp_path), b"\xff")
    os.mkdir(folder)
    file = StateFile(str(tmp_path / "state.sqlite3"), os.fsdecode(folder), LIMIT)
    file.open()
    file.write([snapshot_of(version())], ROOT, NOBODY)
    assert reread(file).modules == (stored_of(version()),)
    file.close()
    with pytest.raises(StateRefused, match=r"keeps the modules of .*\\udcff; "):
        state_file(tmp_path).open()


def test_looking_makes_and_changes_nothing(tmp_path: Path) -> None:
    """``twistd`` looks before it daemonizes."""
    file = state_file(tmp_path)
    file.probe()
    assert list(tmp_path.iterdir()) == []
    file.open()
    file.write([snapshot_of(version())], ROOT, NOBODY)
    file.close()
    before = Path(file.path).read_bytes()
    file.probe()
    assert Path(file.path).read_bytes() == before
    assert file.open().modules == (stored_of(version()),)
    file.close()


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    """Whether it says whose it is or not."""
    words = "is another program's database, and left alone; name another file"
    statements = ("CREATE TABLE saves (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1")
    for number, statement in enumerate(statements):
        path = tmp_path / f"{number}.db"
        database = sqlite3.connect(path)
        database.execute(statement)
        database.commit()
        database.close()
        before = path.read_bytes()
        file = state_file(tmp_path, name=path.name)
        for attempt in (file.open, file.read, file.probe):
            with pytest.raises(StateRefused, match=words):
                attempt()
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"x", b"Dear diary, " * 10_000, b"SQLite format 3\0" + b"\xff" * 5000, bytes(9000), b"SQLite format 3\0"],
)
def test_what_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """The mend is named; looking at it before the start refuses nothing."""
    path = tmp_path / "state.sqlite3"
    path.write_bytes(content)
    file = state_file(tmp_path)
    file.probe()
    for attempt in (file.open, file.read):
        with pytest.raises(StateFault, match="is damaged, or no state file; move it away, and another one is made"):
            attempt()
    assert path.read_bytes() == content
    path.unlink()
    file.open()
    file.close()


def test_a_newer_format_is_left_alone(file: StateFile) -> None:
    """A server that was put back to the version before starts all the same, and keeps nothing."""
    assert file._database is not None
    file._database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    file.close()
    before = Path(file.path).read_bytes()
    file.probe()
    for attempt in (file.open, file.read):
        with pytest.raises(StateFault, match="was written by a newer dspyreload; name another file"):
            attempt()
    assert Path(file.path).read_bytes() == before


def test_tables_that_are_not_there_are_damage(tmp_path: Path) -> None:
    """The file says that it is ours, and is not."""
    database = sqlite3.connect(tmp_path / "state.sqlite3")
    database.executescript(f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; CREATE TABLE x (y)")
    database.close()
    with pytest.raises(StateFault, match="is damaged, or no state file"):
        state_file(tmp_path).open()


def test_a_hostile_file_can_t_keep_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table may be a view that never ends."""
    monkeypatch.setattr(state_module, "_LONGEST", 0.3)
    database = sqlite3.connect(tmp_path / "state.sqlite3")
    database.executescript(
        f"{TABLES} DROP TABLE live; CREATE VIEW live AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1"
        " FROM c) SELECT x AS module_id, max(x) AS version FROM c"
    )
    database.close()
    with pytest.raises(StateFault, match="can't be used: interrupted"):
        state_file(tmp_path).open()


def test_a_program_that_holds_it_is_waited_for_a_moment_only(file: StateFile) -> None:
    """Writing and opening fail with words, and work again afterwards."""
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    words = f"^{file.path} is locked by another program$"
    with pytest.raises(StateFault, match=words):
        file.write([snapshot_of(version())], ROOT, NOBODY)
    with pytest.raises(StateFault, match=words):
        file.open()
    assert file.read().modules == ()  # reading is still possible
    file.probe()
    other.execute("ROLLBACK")
    other.close()
    file.open()
    file.write([snapshot_of(version())], ROOT, NOBODY)
    assert reread(file).modules == (stored_of(version()),)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """At once: a pipe that nobody reads does not hold anybody up."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(StateRefused, match="is no file; name another one"):
            state_file(tmp_path, name=name).open()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StateFault, match="is a folder; name a file in it"):
        state_file(tmp_path, name="folder").open()


@pytest.mark.parametrize("path", ["no/state.sqlite3", "file/state.sqlite3"])
def test_a_folder_that_is_not_there_is_named_as_the_reason(tmp_path: Path, path: str) -> None:
    """It is not made: a misspelt path would go unnoticed."""
    (tmp_path / "file").touch()
    with pytest.raises(StateFault, match="can't be made: there is no such folder; make it"):
        state_file(tmp_path, name=path).open()


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """It is a fault like others."""
    with pytest.raises(StateFault, match=r"can't be used: .*embedded null"):
        state_file(tmp_path, name="a\0b").open()
