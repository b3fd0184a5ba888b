"""What a later look must not miss, and must not do again."""

from __future__ import annotations

import difflib
import json
import shutil

import pytest

from dspyreload.disk import including, reading, tree
from dspyreload.model.events import ModuleDeleted
from dspyreload.model.faults import FaultError, nearest
from dspyreload.model.manifest import MANIFEST, parse_manifest
from dspyreload.model.module_file import IncludedFile, parse_included
from tests.disk.conftest import Server

SMALL = '{"instruction": "You are a smith."}'


def test_a_module_that_was_unreadable_and_is_deleted_with_its_text_is_gone(server: Server) -> None:
    """That both are missing now proves that something changed."""
    server.save("town.md", "The town.")
    server.save("a.json", '{"instruction": "x", "include": ["town.md"]}')
    server.save("b.json", SMALL)
    server.start()
    (server.root / "town.md").unlink()
    (server.root / "town.md").mkdir()
    server.settle()
    assert "a" in server.snapshot
    shutil.rmtree(server.root / "town.md")
    (server.root / "a.json").unlink()
    events = server.settle("a.json", "town.md")
    assert [event.module_id for event in events if isinstance(event, ModuleDeleted)] == ["a"]
    assert list(server.snapshot) == ["b"]


@pytest.mark.usefixtures("settled")
def test_a_default_for_others_has_files_read_once(server: Server, reads: list[str]) -> None:
    """They are judged anew, found as they were, and left in peace from then on."""
    for number in range(3):
        server.save(f"m{number}.json", SMALL)
    server.start()
    server.more.update(defaults={("folder", "npc"): "npc"}, defaults_token="defaults#1")
    reads.clear()
    server.look(names={"defaults"})
    assert len(reads) == 3
    server.look()
    assert len(reads) == 3


def test_a_manifest_that_can_not_be_read_is_not_mended(server: Server) -> None:
    """At the start and in each look after it."""
    (server.root / MANIFEST).mkdir()
    server.save("a.json", SMALL)
    server.start()
    for _ in range(2):
        assert server.look().mended == ()


def test_no_path_is_longer_than_a_system_allows() -> None:
    """One of a hundred thousand folders would be as many folders to look up."""
    rows = {"a": {"path": "a/" * 100_000 + "a.json"}}
    data = json.dumps({"modules": rows, "defaults": {"folders": {"b": {"predictor_type": "predict"}}}}).encode()
    with pytest.raises(FaultError, match="a path is too long"):
        parse_manifest(data)


def test_a_name_is_compared_with_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many names those that are alike at an end are: a thousand misspelt ones are done in a moment."""
    known = [f"npc/guest{number:05}.json" for number in range(20_000)]
    assert nearest("npc/smiht.json", [*known, "npc/smith.json"]) == "npc/smith.json"
    compared: list[int] = []

    def close_matches(name: str, names: list[str], n: int) -> list[str]:
        compared.append(len(names))
        return []

    monkeypatch.setattr(difflib, "get_close_matches", close_matches)
    nearest("npc/gest00001.json", known)
    assert compared == [200]


def test_a_fault_in_a_shared_module_is_looked_for_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many include it, each is rejected by name."""
    server.save("town.json", SMALL)
    for number in range(5):
        server.save(f"m{number}.json", '{"instruction": "x", "include": ["town.json"]}')
    server.start()
    parsed: list[bytes] = []

    def counted(data: bytes) -> IncludedFile | None:
        parsed.append(data)
        return parse_included(data)

    monkeypatch.setattr(including, "parse_included", counted)
    server.save("town.json", '{"instruction": 5}')
    server.settle()
    assert len(parsed) == 2  # the first look, and the second
    assert all(f"m{number}" in server.snapshot for number in range(5))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("path", ["a.json", MANIFEST])
def test_what_broke_behind_the_same_stat_signature_is_rejected(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A full read suspects it, and the second look reads it again, whatever its stat signature says."""
    for module in (reading, tree):
        monkeypatch.setattr(module, "stamp_of", lambda info: (1, 2, 3, 4, 5))
    server.save("a.json", SMALL)
    server.save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    server.start()
    server.save(path, "{")
    plan = server.look(deep=True)
    assert plan.errors == ()
    assert [event.path for event in server.look(*plan.again).errors] == [path]
    assert list(server.snapshot) == ["a"]


def test_a_link_that_leads_to_itself_is_rejected(server: Server) -> None:
    """It is a file that can't be read, and not one that is gone: what served in its place goes on serving."""
    server.save("a.json", SMALL)
    server.start()
    (server.root / "a.json").unlink()
    for path in ("a.json", "b.json"):
        (server.root / path).symlink_to(path)
    server.look()
    assert [(event.path, "leads to itself" in event.error) for event in server.look().errors] == [
        ("a.json", True),
        ("b.json", True),
    ]
    assert list(server.snapshot) == ["a"]
    again = Server(server.root)
    assert [event.path for event in again.start().errors] == ["a.json", "b.json"]


def test_a_directory_with_nothing_but_a_manifest_that_can_not_be_read_is_not_empty(server: Server) -> None:
    """It is looked at, and what is wrong with its manifest is said."""
    server.save("a.json", SMALL)
    server.start()
    server.root.rename(server.root.with_name("away"))
    server.root.mkdir()
    (server.root / MANIFEST).symlink_to(MANIFEST)
    plan = server.look()
    assert not plan.hollow
    assert [event.path for event in server.look(*plan.again).errors] == [MANIFEST]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("path", ["a.json", "town.md", MANIFEST])
def test_what_was_missing_and_can_not_be_read_now_is_said(server: Server, path: str) -> None:
    """Neither has a stat signature, and they are two things."""
    server.save("a.json", '{"instruction": "x", "include": ["town.md"]}')
    if path != MANIFEST:
        server.save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    if path == "a.json":
        (server.root / path).unlink()
    server.start()
    server.look()
    (server.root / path).symlink_to(path)
    plan = server.look()
    errors = plan.errors + server.look(*plan.again).errors
    assert ["leads to itself" in event.error for event in errors] == [True]
