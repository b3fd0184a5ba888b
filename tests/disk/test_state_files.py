"""The state file on the disk: its names, its modes, and what is left of it when something fails or is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dspyreload.disk.state import StateFile
from dspyreload.disk.stored import StateFault, StateRefused
from tests.disk.kept import LIMIT, NOBODY, ROOT, kept_of, reread, snapshot_of, state_file, stored_of, version


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_it(tmp_path: Path, umask: int) -> None:
    """It holds prompts; so do the two files that SQLite puts beside it, whatever the umask is."""
    before = os.umask(umask)
    try:
        file = state_file(tmp_path)
        file.open()
        file.write([snapshot_of(version())], ROOT, NOBODY)
    finally:
        os.umask(before)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()}
    file.close()
    assert modes == {"state.sqlite3": 0o600, "state.sqlite3-wal": 0o600, "state.sqlite3-shm": 0o600}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.sqlite3"]


@pytest.mark.parametrize(
    "name",
    [
        "a b.db",
        "a?mode=memory",
        "a%20b",
        "a#b",
        "größe",
        ":memory:",
        "file:x",
        "a\nb",
        "a&b=c",
        os.fsdecode(b"\xff"),
    ],
)
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    """SQLite is given it as an address, in which some characters mean something."""
    file = state_file(tmp_path, name=name)
    file.open()
    snapshot = snapshot_of(version())
    file.write([snapshot], ROOT, NOBODY)
    assert reread(file).modules == kept_of(snapshot)
    file.close()
    assert [os.fsdecode(entry) for entry in os.listdir(os.fsencode(tmp_path))] == [name]


def test_a_path_may_begin_with_two_slashes(tmp_path: Path) -> None:
    """``abspath`` leaves them, and in an address they would name a host."""
    file = StateFile(f"/{tmp_path}/state.sqlite3", str(tmp_path), LIMIT)
    file.open()
    file.close()
    assert (tmp_path / "state.sqlite3").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_symlink_leads_to_the_file(tmp_path: Path, there: bool) -> None:
    """What is kept lies where it leads, and is all there to read without writing."""
    (tmp_path / "disk").mkdir()
    real = state_file(tmp_path / "disk")
    if there:
        real.open()
        real.close()
    (tmp_path / "state.sqlite3").symlink_to("disk/state.sqlite3")
    link = state_file(tmp_path)
    link.open()
    snapshot = snapshot_of(version())
    link.write([snapshot], ROOT, NOBODY)
    assert state_file(tmp_path).read().modules == kept_of(snapshot)  # it is in the journal still
    with pytest.raises(StateRefused, match="in use by another service of this process"):
        real.open()
    link.close()
    assert (tmp_path / "state.sqlite3").is_symlink()


def test_it_is_read_beside_its_journal_and_without(file: StateFile) -> None:
    """While another has it open, and what was written lies in the journal; and closed."""
    snapshot = snapshot_of(version())
    file.write([snapshot], ROOT, NOBODY)
    assert state_file(Path(file.path).parent).read().modules == kept_of(snapshot)
    file.close()
    assert state_file(Path(file.path).parent).read().modules == kept_of(snapshot)


def test_a_file_that_goes_away_or_is_replaced_is_noticed(file: StateFile, tmp_path: Path) -> None:
    """And another one is made."""
    snapshot = snapshot_of(version())
    for replaced in (False, True):
        os.unlink(file.path)
        if replaced:
            Path(file.path).touch()
        with pytest.raises(StateFault, match="is not there any more"):
            file.write([snapshot], ROOT, NOBODY)
        assert not file.is_open
        for journal in tmp_path.glob("*-*"):  # as who deletes it should
            journal.unlink()
        assert file.open().modules == ()
        file.write([snapshot], ROOT, NOBODY)
        assert reread(file).modules == kept_of(snapshot)


def test_what_fails_half_way_leaves_it_as_it_was(file: StateFile) -> None:
    """And says that the disk is full, where it is."""
    before = snapshot_of(version())
    file.write([before], ROOT, NOBODY)
    assert file._database is not None
    file._database.execute("PRAGMA max_page_count = 20")
    after = snapshot_of(*(version(f"npc.number{number}", f"{number} " * 2000) for number in range(50)), before=before)
    with pytest.raises(StateFault, match=f"^the disk of {file.path} is full$"):
        file.write([after], ROOT, NOBODY)
    assert not file.is_open
    state = file.open()
    assert state.modules == kept_of(before)
    file.write([after], ROOT, NOBODY)
    assert reread(file).modules == kept_of(after)


def test_nothing_of_a_killed_writer_is_half_there(tmp_path: Path) -> None:
    """What it committed is all there; what it had begun is not."""
    words = (
        "import os, sys; from pathlib import Path; from tests.disk.kept import *\n"
        "file = state_file(Path(sys.argv[1])); file.open()\n"
        "file.write([snapshot_of(version())], (1, 2), NOBODY)\n"
        "file._database.execute('BEGIN IMMEDIATE'); file._database.execute('DELETE FROM versions')\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", words, str(tmp_path)], check=False)
    assert (tmp_path / "state.sqlite3-wal").stat().st_size
    file = state_file(tmp_path)
    assert file.open().modules == (stored_of(version()),)
    file.close()


WRITER = """
import sys
from pathlib import Path

import attrs

from tests.disk.kept import NOBODY, snapshot_of, state_file, version

file = state_file(Path(sys.argv[1]))
state = file.open()
snapshot = snapshot_of()
for number in range(state.generation, 10_000):
    versions = [version(f"npc.number{each}", f"{number} " * 500) for each in range(200)]
    snapshot = snapshot_of(*versions, before=snapshot)
    file.write([attrs.evolve(snapshot, generation=number + 1)], (1, 2), NOBODY)
    print(number + 1, flush=True)
"""


def test_a_writer_that_is_killed_at_any_moment_leaves_one_snapshot(tmp_path: Path) -> None:
    """The last one that it finished, or the one that it was writing: whole, and whatever was killed before."""
    chance = random.Random(20)
    told = 0
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _line in range(chance.randint(1, 4)):
                told = int(writer.stdout.readline())
            time.sleep(chance.uniform(0, 0.05))
            writer.kill()
        file = state_file(tmp_path)
        state = file.open()
        assert state.faults == ()
        assert state.generation >= told
        words = {stored.data.split()[1] for stored in state.modules}
        assert (len(state.modules), len(words)) == (200, 1)
        file.close()
