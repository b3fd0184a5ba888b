"""A pass looks where it is told to, and takes nothing for gone that it can't see."""

from __future__ import annotations

import os

import pytest

from dspyreload.disk import reading, tree
from dspyreload.model.events import ModuleChanged, ModuleSkipped, ReloadError
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
    words = {"fifo": "a pipe", "directory": "a folder", "sparse": "bytes", "out": "outside", "loop": "itself"}
    (error,) = named(server.settle("npc.json"), ReloadError)
    assert (error.path, error.serving) == ("npc.json", before["npc"].version)
    assert words[hazard] in error.error
    assert server.snapshot is before
    assert named(server.settle(), ReloadError) == []
