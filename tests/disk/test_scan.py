"""A pass looks where it is told to, and takes nothing for gone that it can't see."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk import reading, tree
from dspyreload.disk.scan import RootMissing
from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.finding import Stamp
from dspyreload.model.manifest import MANIFEST
from tests.conftest import module_text
from tests.disk.conftest import Server, named

NEW = "New words."


@pytest.fixture
def serving(server: Server, settled: None, reads: list[str]) -> Server:
    """A server of a.json, b.json and npc/c.json, whose files were written a while ago."""
    for path in ("a", "b", "npc/c"):
        server.save(f"{path}.json", module_text(path[-1]))
    server.start()
    assert sorted(set(reads)) == ["a.json", "b.json", MANIFEST, "npc/c.json"]
    reads.clear()
    return server


def instruction(server: Server, module_id: str) -> str:
    return server.snapshot[module_id].module().instruction


def test_a_file_of_the_same_signature_is_not_read(serving: Server, reads: list[str]) -> None:
    """A whole look at files that nobody saved reads none of them."""
    assert serving.look().events == ()
    assert [path for path in reads if path != MANIFEST] == []


def test_a_narrow_look_reads_what_was_hinted_and_nothing_else(serving: Server, reads: list[str]) -> None:
    """Of two changed files only the hinted one is looked at, and the tree is not listed."""
    serving.save("a.json", module_text("a", instruction=NEW))
    serving.save("b.json", module_text("b", instruction=NEW))
    serving.look("a.json")
    assert reads == ["a.json"]
    assert (instruction(serving, "a"), instruction(serving, "b")) == (NEW, "You are a smith.")
    assert serving.seen is not None
    assert not serving.seen.unlisted is not None


def test_an_unknown_path_makes_the_look_whole(serving: Server) -> None:
    """A hint that no known module is made of leads everywhere."""
    serving.save("b.json", module_text("b", instruction=NEW))
    serving.save("new.json", module_text("new"))
    serving.look("..data")
    assert serving.seen is not None
    assert serving.seen.unlisted is not None
    assert (set(serving.snapshot), instruction(serving, "b")) == ({"a", "b", "c", "new"}, NEW)


def test_a_deep_look_reads_every_byte(serving: Server, reads: list[str]) -> None:
    """Whatever the signatures say, all files are read; nothing changed, nothing is said."""
    assert serving.look(deep=True).events == ()
    assert {"a.json", "b.json", "npc/c.json"} <= set(reads)


def test_a_change_that_the_signature_hides_is_found_by_a_deep_look(
    serving: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same size, times and inode: a whole look believes it, a look at all bytes does not."""
    stamp = serving.known.findings["a.json"].stamps[0][1]
    text = module_text("a").replace("a smith", "a bard.")
    serving.save("a.json", text)
    real = reading.stamp_of

    def same(info: os.stat_result) -> Stamp:
        found = real(info)
        return stamp if stamp is not None and found[1] == stamp[1] else found

    for module in (reading, tree):
        monkeypatch.setattr(module, "stamp_of", same)
    assert serving.look().events == ()
    assert len(named(serving.look(deep=True).events, ModuleChanged)) == 1
    assert "bard" in instruction(serving, "a")


def test_the_same_bytes_under_a_new_signature_are_unchanged(serving: Server) -> None:
    """A touched file is looked at, refreshed, and said to be skipped."""
    before = serving.snapshot
    os.utime(serving.root / "a.json", ns=(1, 1))
    plan = serving.look("a.json")
    assert serving.seen is not None
    assert (dict(serving.seen.findings), set(serving.seen.unchanged)) == ({}, {"a.json"})
    assert plan.events == (ModuleSkipped(generation=1, module_id="a"),)
    assert plan.snapshot is before
    assert serving.look("a.json").events == ()


def test_a_file_that_is_asked_for_is_read(serving: Server, reads: list[str]) -> None:
    """Who asks for a module gets an answer from the disk, whatever the signature says."""
    plan = serving.look("a.json", asked=["a"])
    assert reads == ["a.json"]
    assert plan.answers == {"a": ModuleSkipped(generation=1, module_id="a")}


def test_a_file_that_changed_just_now_is_read_again_in_the_next_pass(
    serving: Server, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the tick of a change the signature proves nothing: the next pass reads it, wherever that one looks."""
    monkeypatch.setattr(reading, "_TICK_NS", 10**18)
    serving.save("a.json", module_text("a", instruction=NEW))
    serving.look("a.json")
    monkeypatch.setattr(reading, "_TICK_NS", 0)
    reads.clear()
    serving.look("b.json")
    assert "a.json" in reads
    reads.clear()
    serving.look("b.json")
    assert "a.json" not in reads


def test_a_manifest_that_changed_just_now_is_read_again_in_the_next_pass(
    serving: Server, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is a file as any: in the tick of its change the next pass reads it again."""
    monkeypatch.setattr(reading, "_TICK_NS", 10**18)
    serving.save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    serving.settle(MANIFEST)
    reads.clear()
    serving.look("a.json")
    assert MANIFEST in reads


class TestIncludes:
    @pytest.fixture
    def sharing(self, serving: Server, reads: list[str]) -> Server:
        """Two modules that share an included text."""
        for name in ("one", "two"):
            serving.save(f"{name}.json", '{"instruction": "x", "include": ["rules.md"]}')
        serving.save("rules.md", "Rules.")
        serving.settle()
        reads.clear()
        return serving

    def test_a_hint_on_a_text_leads_to_all_that_are_made_of_it(self, sharing: Server, reads: list[str]) -> None:
        """A change of an included file changes its modules in one commit, and is read once."""
        generation = sharing.snapshot.generation
        sharing.save("rules.md", "Other rules.")
        plan = sharing.look("rules.md")
        assert sorted(reads) == ["one.json", "rules.md", "two.json"]
        assert [event.module_id for event in named(plan.events, ModuleChanged)] == ["one", "two"]
        assert plan.snapshot.generation == generation + 1
        assert instruction(sharing, "one") == "Other rules.\n\nx"

    def test_a_narrow_look_at_the_module_sees_its_text(self, sharing: Server) -> None:
        """A hint on the module's own file finds that an included one changed."""
        sharing.save("rules.md", "Other rules.")
        sharing.look("one.json")
        assert instruction(sharing, "one") == "Other rules.\n\nx"

    def test_a_text_that_is_gone_rejects_and_one_that_is_back_restores(self, sharing: Server) -> None:
        """The last good version serves while an included file is missing; a hint on it ends that."""
        before = sharing.snapshot
        (sharing.root / "rules.md").unlink()
        errors = named(sharing.settle("rules.md"), ReloadError)
        assert [error.path for error in errors] == ["one.json", "two.json"]
        assert sharing.snapshot is before
        sharing.save("rules.md", "Better rules.")
        sharing.settle("rules.md")
        assert instruction(sharing, "two") == "Better rules.\n\nx"


@pytest.mark.parametrize("listed", [False, True], ids=["claimed", "listed"])
@pytest.mark.parametrize("hazard", ["fifo", "directory", "sparse", "out", "loop"])
def test_what_can_not_be_read_is_rejected_and_the_last_good_serves(server: Server, hazard: str, listed: bool) -> None:
    """A FIFO, a directory, 8 GiB of nothing, a link out or in a circle in a module's place: rejected by name."""
    path = server.save("npc.json", module_text("npc"))
    if listed:
        server.save(MANIFEST, '{"modules": {"npc": {"path": "npc.json"}}}')
    before = server.start().snapshot
    path.unlink()
    if hazard == "fifo":
        os.mkfifo(path)
    elif hazard == "directory":
        path.mkdir()
    elif hazard == "sparse":
        path.touch()
        os.truncate(path, 8 << 30)
    else:
        path.symlink_to("/etc/hostname" if hazard == "out" else "npc.json")
    words = {"fifo": "a FIFO", "directory": "a directory", "sparse": "bytes", "out": "outside", "loop": "itself"}
    (error,) = named(server.settle("npc.json"), ReloadError)
    assert (error.path, error.serving) == ("npc.json", before["npc"].version)
    assert words[hazard] in error.error
    assert server.snapshot is before
    assert named(server.settle(), ReloadError) == []


class TestRoot:
    def test_a_missing_root_raises(self, serving: Server) -> None:
        """Nothing is known of the files of a directory that is not there; nothing is changed."""
        before = serving.snapshot
        os.rename(serving.root, serving.root.with_name("away"))
        for hint in ((), ("a.json",)):
            with pytest.raises(RootMissing):
                serving.look(*hint)
        assert serving.snapshot is before
        os.rename(serving.root.with_name("away"), serving.root)
        assert serving.look().events == ()

    def test_a_file_in_place_of_the_root_raises(self, tmp_path: Path) -> None:
        """A modules directory must be a directory."""
        (tmp_path / "file").touch()
        with pytest.raises(RootMissing):
            Server(tmp_path / "file").start()

    @pytest.mark.parametrize("listed", [False, True], ids=["claimed", "listed"])
    def test_an_empty_directory_in_its_place_removes_nothing(self, serving: Server, listed: bool) -> None:
        """A volume that is not mounted yet, however often it is looked at, leaves the last good ones serving."""
        if listed:
            entries = {name: {"path": path} for name, path in (("a", "a.json"), ("c", "npc/c.json"))}
            serving.save(MANIFEST, json.dumps({"modules": entries}))
            serving.settle()
        before = serving.snapshot
        os.rename(serving.root, serving.root.with_name("away"))
        serving.root.mkdir()
        for _ in range(3):
            assert serving.settle() == ()
        assert serving.snapshot is before
        shutil.copytree(serving.root.with_name("away"), serving.root, dirs_exist_ok=True)
        serving.save("a.json", module_text("a", instruction=NEW))
        serving.settle()
        assert instruction(serving, "a") == NEW
        assert set(serving.snapshot) == set(before)

    def test_another_directory_in_its_place_is_looked_at_whole(self, serving: Server) -> None:
        """A root that was replaced is read everywhere, whatever was hinted."""
        other = serving.root.with_name("other")
        shutil.copytree(serving.root, other)
        (other / "b.json").write_text(module_text("b", instruction=NEW))
        shutil.rmtree(serving.root)
        os.rename(other, serving.root)
        serving.settle("a.json")
        assert instruction(serving, "b") == NEW

    def test_a_symlinked_root_is_followed_anew(self, modules: Path, tmp_path: Path) -> None:
        """A root that links to another directory than before is that directory."""
        for version in ("one", "two"):
            (tmp_path / version).mkdir()
            (tmp_path / version / "a.json").write_text(module_text("a", instruction=version))
        link = tmp_path / "link"
        link.symlink_to("one")
        server = Server(link)
        server.start()
        link.unlink()
        link.symlink_to("two")
        server.settle("a.json")
        assert instruction(server, "a") == "two"


def test_a_folder_that_can_not_be_listed_removes_nothing(serving: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in it is unseen, not gone; the rest of the tree goes on."""
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/npc"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    stat = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: stat("/nowhere" if "/npc/" in str(path) else path, **options)
    )
    serving.save("a.json", module_text("a", instruction=NEW))
    events = serving.settle() + serving.settle()
    assert (set(serving.snapshot), instruction(serving, "a")) == ({"a", "b", "c"}, NEW)
    assert named(events, ModuleDeleted) == []
    assert named(events, ReloadError) == []


def test_a_folder_that_can_not_be_listed_is_said_once(serving: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning for the folder, not one for each pass."""
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/npc"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    said = [path for _ in range(3) for path, _fault in serving.look().warnings]
    assert said == ["npc"]


def test_a_folder_that_is_gone_removes_its_modules(serving: Server) -> None:
    """Whole folders go as files do: at the second look, in one commit."""
    shutil.rmtree(serving.root / "npc")
    assert named(serving.settle(), ModuleDeleted) == [ModuleDeleted(generation=2, module_id="c")]


def test_files_beyond_the_limit_are_not_taken_for_gone(serving: Server) -> None:
    """With fewer files allowed than there are, what served goes on serving, with one note."""
    serving.options = {"max_files": 1}
    notes = [note.message for _ in range(3) for _path, note in serving.look().warnings]
    assert notes == ["more than 1 files; the rest is left out"]
    assert set(serving.snapshot) == {"a", "b", "c"}


def test_a_manifest_that_is_not_watched_stays_in_force(server: Server) -> None:
    """With watch_manifest off the first one read counts, whatever becomes of the file."""
    server.save("a.json", module_text("a"))
    server.save("b.json", module_text("b"))
    server.save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    server.options = {"watch_manifest": False}
    server.start()
    (server.root / MANIFEST).unlink()
    server.settle(MANIFEST)
    server.settle()
    assert set(server.snapshot) == {"a"}
