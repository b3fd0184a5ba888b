"""What a state file keeps, and for how long."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from dspyreload.disk.state import StateFile
from dspyreload.model.snapshot import EMPTY
from tests.disk.kept import (
    NOBODY,
    ROOT,
    kept_of,
    manifest_of,
    reread,
    snapshot_of,
    state_file,
    stored_of,
    version,
    versions_of,
)


def count(file: StateFile, what: str) -> int:
    """Count rows, as another program sees them."""
    database = sqlite3.connect(file.path)
    (number,) = database.execute(f"SELECT count(*) FROM {what}").fetchone()
    database.close()
    return int(number)


def test_what_was_live_is_read_back(file: StateFile) -> None:
    """Modules of one file and of several, the manifest, the generation and the directory's identity."""
    manifest = manifest_of("npc.smith", "npc.baker", tags=("npc",))
    smith = version(listed=manifest)
    baker = version("npc.baker", "You bake.", b"The town.", b"", listed=manifest)
    snapshot = snapshot_of(smith, baker, before=snapshot_of(smith), manifest=manifest)
    file.write([snapshot], ROOT, NOBODY)
    state = reread(file)
    assert state.modules == kept_of(snapshot)
    assert state.manifest is not None
    assert state.manifest.data == manifest.data
    assert (state.generation, state.root, state.faults) == (2, ROOT, ())


def test_a_new_file_keeps_nothing(tmp_path: Path) -> None:
    """Neither does one of no bytes."""
    (tmp_path / "state.sqlite3").touch()
    for name in ("new", "state.sqlite3"):
        file = state_file(tmp_path, name=name)
        state = file.open()
        assert (state.modules, state.manifest, state.generation, state.root, state.faults) == (
            (),
            None,
            0,
            None,
            (),
        )
        file.close()


def test_a_manifest_that_is_gone_is_kept_no_more(file: StateFile) -> None:
    """What serves without one comes back without one."""
    manifest = manifest_of("npc.smith")
    file.write([snapshot_of(version(listed=manifest), manifest=manifest)], ROOT, NOBODY)
    file.write([snapshot_of(version())], ROOT, NOBODY)
    state = reread(file)
    assert state.manifest is None
    assert state.modules == (stored_of(version()),)


def test_of_each_module_the_last_20_versions_stay(file: StateFile) -> None:
    """Newest first; contents that no version is made of are dropped."""
    snapshot = EMPTY
    for number in range(50):
        snapshot = snapshot_of(version(instruction=f"Number {number}"), version("npc.baker"), before=snapshot)
        file.write([snapshot], ROOT, NOBODY)
    kept = versions_of(file)
    assert kept == [version(instruction=f"Number {number}").data for number in range(49, 29, -1)]
    assert versions_of(file, "npc.baker") == [version("npc.baker").data]
    assert file.versions("npc.nobody") == ()
    assert count(file, "contents") == 21
    assert count(file, "parts") == 21


def test_a_version_that_is_live_again_is_the_newest(file: StateFile) -> None:
    """It stands there once."""
    old, new = version(instruction="Old."), version(instruction="New.")
    for each in (old, new, old):
        file.write([snapshot_of(each)], ROOT, NOBODY)
    assert versions_of(file) == [old.data, new.data]
    assert reread(file).modules == (stored_of(old),)


def test_what_was_live_for_a_moment_is_a_version_too(file: StateFile) -> None:
    """A hundred commits that are written at once leave the last twenty."""
    snapshots = [snapshot_of(version(instruction=f"Number {number}")) for number in range(100)]
    file.write(snapshots, ROOT, NOBODY)
    assert len(file.versions("npc.smith")) == 20
    assert reread(file).modules == kept_of(snapshots[-1])


def test_order_does_not_go_by_the_clock(file: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back makes no version older."""
    for now, word in ((2000.0, "First."), (1000.0, "Second.")):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        file.write([snapshot_of(version(instruction=word))], ROOT, NOBODY)
    found = file.versions("npc.smith")
    assert [kept.data for kept in found] == [version(instruction=word).data for word in ("Second.", "First.")]
    assert [kept.live_since for kept in found] == [1000.0, 2000.0]


def test_a_text_that_several_include_stays_while_one_is_kept(file: StateFile) -> None:
    """Each content is kept once."""
    town, city = b"The town. " * 100, b"The city. " * 100
    ids = ("npc.smith", "npc.baker")
    file.write([snapshot_of(*(version(name, name, town) for name in ids))], ROOT, NOBODY)
    assert count(file, "contents") == 3
    for number in range(20):
        file.write([snapshot_of(version("npc.smith", f"{number}", city), version("npc.baker", "npc.baker", town))],
                   ROOT, NOBODY)  # fmt: skip
    assert len(file.versions("npc.smith")) == 20
    assert reread(file).modules[0].texts == (town,)
    for number in range(20):
        file.write([snapshot_of(version("npc.baker", f"Baker {number}", city))], ROOT, NOBODY)
    assert file.versions("npc.baker")[-1].texts == (city,)
    assert count(file, "contents") == 20 + 20 + 1


def test_a_module_that_is_gone_comes_not_back_and_its_versions_stay(file: StateFile) -> None:
    """Unless it only waits to be brought back."""
    smith, baker = version(), version("npc.baker")
    both = snapshot_of(smith, baker)
    file.write([both], ROOT, NOBODY)
    less = snapshot_of(before=both, gone=("npc.smith",))
    file.write([less], ROOT, frozenset({"npc.smith"}))
    assert reread(file).modules == kept_of(both)
    file.write([less], ROOT, NOBODY)
    assert reread(file).modules == (stored_of(baker),)
    assert versions_of(file) == [smith.data]


def test_modules_that_come_and_go_under_new_ids_do_not_fill_the_disk(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that is gone together the last versions stay; what is live keeps all of its own."""
    monkeypatch.setattr("dspyreload.disk.storing._GONE", 5)
    smith = [version(instruction="Old."), version(instruction="New.")]
    for each in smith:
        file.write([snapshot_of(each)], ROOT, NOBODY)
    for number in range(20):
        file.write([snapshot_of(smith[1], version(f"quest.number{number}", f"{number}"))], ROOT, NOBODY)
    assert versions_of(file) == [smith[1].data, smith[0].data]
    kept = [number for number in range(20) if file.versions(f"quest.number{number}")]
    assert kept == [14, 15, 16, 17, 18, 19]  # the last one is live
    assert count(file, "contents") == 8


def test_the_file_does_not_grow_for_ever(file: StateFile) -> None:
    """Room is used again."""

    def save(numbers: range) -> None:
        for number in numbers:
            file.write([snapshot_of(version(instruction=f"{number:6} " * 3000))], ROOT, NOBODY)

    save(range(25))
    reread(file)  # with all of it in the file, and none in the journal
    before = os.path.getsize(file.path)
    save(range(25, 300))
    file.close()
    assert os.path.getsize(file.path) <= before + 2 * 24_000


def test_nothing_is_written_twice(file: StateFile) -> None:
    """What is live and unchanged makes no new version, before a restart and after it."""
    snapshot = snapshot_of(version(), version("npc.baker"))
    file.write([snapshot], ROOT, NOBODY)
    file.write([snapshot], ROOT, NOBODY)
    reread(file)
    file.write([snapshot_of(version(), version("npc.baker"))], ROOT, NOBODY)
    assert count(file, "versions") == 2
    file.close()
    database = sqlite3.connect(file.path)
    assert database.execute("SELECT max(number) FROM versions").fetchone() == (2,)
    database.close()


def test_a_changed_entry_is_written(file: StateFile) -> None:
    """The same bytes under other words of the manifest."""
    for tags in ((), ("npc",)):
        manifest = manifest_of("npc.smith", tags=tags)
        snapshot = snapshot_of(version(listed=manifest), manifest=manifest)
        file.write([snapshot], ROOT, NOBODY)
        assert reread(file).modules == kept_of(snapshot)


def test_damaged_versions_are_left_out(file: StateFile) -> None:
    """The others are still a way back."""
    for word in ("One.", "Two.", "Three."):
        file.write([snapshot_of(version(instruction=word))], ROOT, NOBODY)
    database = sqlite3.connect(file.path)
    database.execute("UPDATE contents SET data = x'7b7d' WHERE CAST(data AS TEXT) LIKE '%Two%'")
    database.commit()
    database.close()
    assert versions_of(file) == [version(instruction=word).data for word in ("Three.", "One.")]


def test_ten_thousand_modules_are_one_transaction(file: StateFile) -> None:
    """They are read back whole."""
    snapshot = snapshot_of(*(version(f"npc.number{number}", f"{number}") for number in range(10_000)))
    file.write([snapshot], ROOT, NOBODY)
    assert reread(file).modules == kept_of(snapshot)


def test_one_thread_opens_it_and_others_write(file: StateFile) -> None:
    """One after the other."""
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            file.write([snapshot_of(version(instruction=f"{number}"))], ROOT, NOBODY)
        except BaseException as error:
            failures.append(error)

    for number in range(3):
        thread = threading.Thread(target=write, args=(number,))
        thread.start()
        thread.join()
    assert failures == []
    assert len(file.versions("npc.smith")) == 3
