"""The offline check says what a server would say, all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dspyreload import HotReloadConfig
from dspyreload.disk.check import Remark, check_directory
from dspyreload.disk.scan import RootMissing
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import Registered, Registrations
from tests.conftest import Save, module_text


def remarks(directory: Path, level: str = "") -> list[Remark]:
    return [remark for remark in check_directory(directory, HotReloadConfig()).remarks if level in remark.level]


def test_a_good_directory_has_no_remarks(modules: Path, save: Save) -> None:
    """Modules of both forms, their texts and the manifest that lists them are in order."""
    save("a.json", module_text("a"))
    save("npc/b.json", '{"instruction_file": "b.md", "include": ["../rules.md"]}')
    save("npc/b.md", "B.")
    save("rules.md", "Rules.")
    assert remarks(modules) == []
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}, "b": {"path": "npc/b.json"}}}')
    assert remarks(modules) == []


def test_every_fault_of_every_file_is_a_remark_at_its_place(modules: Path, save: Save) -> None:
    """Faults come by path and line, all of one file as well as of many."""
    save("b.json", '{\n "instruction": 1,\n "demos": 2\n}')
    save("a.json", '{"instruction": }')
    assert [(remark.path, remark.line, remark.column, remark.level) for remark in remarks(modules)] == [
        ("a.json", 1, 15, "fault"),
        ("b.json", 2, 17, "fault"),
        ("b.json", 3, 11, "fault"),
    ]


def test_every_fault_of_the_manifest_is_a_remark(modules: Path, save: Save) -> None:
    """A manifest's faults are all named, and nothing is said of the files that it would list."""
    save("a.json", "{")
    save(MANIFEST, '{"modules": {"a":\n{"path": "/a.json"}, "b":\n{"path": "../b.json"}}}')
    assert [(remark.path, remark.line, remark.column) for remark in remarks(modules, "fault")] == [
        (MANIFEST, 2, 10),
        (MANIFEST, 3, 10),
    ]


def test_a_listed_file_that_is_missing_is_a_fault(modules: Path, save: Save) -> None:
    """What the manifest promises must be there."""
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    (remark,) = remarks(modules)
    assert (remark.path, remark.level) == ("a.json", "fault")
    assert "missing" in remark.message


def test_a_file_that_is_not_listed_is_a_warning(modules: Path, save: Save) -> None:
    """It is not served; that may be meant."""
    save("a.json", module_text("a"))
    save("old.json", "{")
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    (remark,) = remarks(modules)
    assert (remark.path, remark.level) == ("old.json", "warning")


def test_an_unknown_key_is_a_warning_at_its_place(modules: Path, save: Save) -> None:
    """In a module and in the manifest."""
    save("a.json", '{"instruction": "x",\n "mood": 1}')
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}},\n "owner": 1}')
    assert [(remark.path, remark.line, remark.column, remark.level) for remark in remarks(modules)] == [
        ("a.json", 2, 2, "warning"),
        (MANIFEST, 2, 2, "warning"),
    ]


def test_two_files_of_one_id_are_a_fault(modules: Path, save: Save) -> None:
    """The second by path is told whose the id is."""
    save("a.json", module_text("npc"))
    save("b.json", module_text("Npc"))
    (remark,) = remarks(modules)
    assert (remark.path, remark.level) == ("b.json", "fault")
    assert "a.json" in remark.message


def test_what_is_no_file_is_a_fault(modules: Path, tmp_path: Path) -> None:
    """A FIFO, a link out and 8 GiB of nothing are named and not read."""
    os.mkfifo(modules / "fifo.json")
    (modules / "out.json").symlink_to("/etc/hostname")
    (modules / "sparse.json").touch()
    os.truncate(modules / "sparse.json", 8 << 30)
    assert [(remark.path, remark.level) for remark in remarks(modules)] == [
        ("fifo.json", "fault"),
        ("out.json", "fault"),
        ("sparse.json", "fault"),
    ]


def test_a_link_that_leads_nowhere_is_a_fault(modules: Path, save: Save) -> None:
    """It is listed by the folder, and can't be opened. With a manifest it is the fault of whoever lists it."""
    (modules / "npc").mkdir()
    (modules / "npc" / "a.json").symlink_to("gone.json")
    (remark,) = remarks(modules)
    assert remark == Remark(
        "npc/a.json", 1, 1, "fault", "this is a link that leads nowhere", "delete it, or mend where it leads", False
    )
    save(MANIFEST, '{"modules": {"a": {"path": "npc/a.json"}}}')
    (remark,) = remarks(modules)
    assert (remark.path, remark.level, "missing" in remark.message) == ("npc/a.json", "fault", True)


def test_a_file_that_a_module_includes_is_not_told_as_not_listed(modules: Path, save: Save) -> None:
    """Even where that module is broken; one that nobody includes is told with the entry that would list it."""
    save("a.json", '{"instruction": "x", "include": ["town.json"]}')
    save("town.json", '{"instruction": "Town."}')
    save("npc/b.json", '{"instruction": "x"}')
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    (remark,) = remarks(modules)
    assert (remark.path, remark.level) == ("npc/b.json", "warning")
    entry = remark.mend.partition("there: ")[2]
    save(MANIFEST, '{"modules": {"a": {"path": "a.json"}, ' + entry + "}}")
    assert remarks(modules) == []


def test_a_text_without_words_that_is_included_is_a_warning_at_its_place(modules: Path, save: Save) -> None:
    """It adds nothing; the module is served."""
    save("a.json", '{"instruction": "x",\n "include": ["town.md"]}')
    save("town.md", " \n")
    (remark,) = remarks(modules)
    assert (remark.path, remark.line, remark.column, remark.level) == ("a.json", 2, 14, "warning")
    assert (remark.message, remark.mend) == ('the file "town.md" is empty', "write something into it")


def test_a_name_that_is_waited_for_says_whom_to_ask(modules: Path, save: Save) -> None:
    """Where the game was named it registers no more than that; where it was not, naming it is the mend."""
    save("a.json", module_text("a", signature=None))
    for complete, mend in (
        (True, "correct the name, or ask who keeps the game to register it"),
        (False, "name the game's module with --setup"),
    ):
        (remark,) = check_directory(modules, HotReloadConfig(), complete=complete).remarks
        assert remark.mend == mend


def test_a_signature_that_only_the_game_knows_is_a_warning(modules: Path, save: Save) -> None:
    """Without the game the demonstrations can't be checked; with its signatures they are."""
    save("a.json", module_text("a", signature=None))
    (remark,) = remarks(modules)
    assert remark.level == "warning"
    assert '"npc.dialogue"' in remark.message
    fields = (FieldDefinition(name="player_message"),)
    definition = SignatureDefinition(inputs=fields, outputs=(FieldDefinition(name="response"),))
    registrations = Registrations(signatures={"npc.dialogue": Registered(definition, "token")})
    (remark,) = check_directory(modules, HotReloadConfig(), registrations).remarks
    assert (remark.level, 'demo 1 has "emotion"' in remark.message) == ("fault", True)


def test_the_settings_count(modules: Path, save: Save) -> None:
    """Endings and the size limit are those of the server."""
    save("a.prompt", "{")
    save("b.json", "{" + " " * 50)
    found = check_directory(modules, HotReloadConfig(watch_extensions=(".prompt",))).remarks
    assert [remark.path for remark in found] == ["a.prompt"]
    (remark,) = check_directory(modules, HotReloadConfig(max_file_size=20)).remarks
    assert "20 are allowed" in remark.message


def test_a_directory_that_is_not_there_raises(tmp_path: Path) -> None:
    """There is nothing to check; that is not the same as nothing wrong."""
    with pytest.raises(RootMissing):
        check_directory(tmp_path / "none", HotReloadConfig())
