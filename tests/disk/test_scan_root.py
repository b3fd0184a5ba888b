"""What a pass can't see is not gone: the root, a folder, files beyond the limit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.scan import RootMissing
from dspyreload.model.events import ModuleDeleted, ReloadError
from dspyreload.model.manifest import MANIFEST
from tests.conftest import module_text
from tests.disk.conftest import Server, named
from tests.disk.test_scan import NEW, instruction, serving

__all__ = ["serving"]


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

    def test_who_asks_for_a_listed_file_that_is_missing_makes_an_empty_directory_no_other(self, server: Server) -> None:
        """It was missing before, and is missing there."""
        server.save(MANIFEST, json.dumps({"modules": {"a": {"path": "a.json"}}}))
        server.start()
        before = server.snapshot
        os.rename(server.root, server.root.with_name("away"))
        server.root.mkdir()
        assert server.settle("a.json", asked=["a"]) == ()
        assert server.seen is not None
        assert server.seen.hollow
        assert server.snapshot is before

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


@pytest.mark.parametrize("there", [True, False])
def test_a_listed_file_behind_a_link_that_leads_out_is_rejected_by_name(server: Server, there: bool) -> None:
    """The manifest names it, so that it need not be in the listing: it is no missing file."""
    outside = server.root.with_name("outside")
    outside.mkdir()
    if there:
        (outside / "smith.json").write_text(module_text("smith"))
    server.start()
    (server.root / "npc").symlink_to(outside)
    server.save(MANIFEST, json.dumps({"modules": {"smith": {"path": "npc/smith.json"}}}))
    errors = {error.path: error.error for error in named(server.settle(), ReloadError)}
    if there:
        assert errors["npc/smith.json"].startswith("the file lies outside of the modules directory")
        assert errors[MANIFEST] == "the manifest waits for npc/smith.json (which has a fault)"
    else:
        assert errors[MANIFEST] == "the manifest waits for npc/smith.json (missing)"
    assert server.snapshot == {}


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
