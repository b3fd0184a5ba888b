"""A listing names what may be a module, and leads round in no circle."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.reading import stamp_of
from dspyreload.disk.tree import Listing, list_tree, passed_over
from tests.conftest import Save

JSON = (".json",)


def listed(root: Path, extensions: tuple[str, ...] = JSON, limit: int = 1000) -> Listing:
    return list_tree(os.path.realpath(root), extensions, limit)


@pytest.mark.parametrize(
    "name",
    [
        ".git", "..data", ".#smith.json", "smith.json~", "smith.json.swp", ".smith.json.swx", "4913", "#smith.json#",
        "smith.json.tmp", "smith.json___jb_tmp___", "smith.json___jb_old___", "smith.json.bak",
    ],
)  # fmt: skip
def test_what_editors_leave_behind_is_passed_over(name: str) -> None:
    """Hidden names, backups and the scratch files of editors are no modules."""
    assert passed_over(name)


@pytest.mark.parametrize("name", ["smith.json", "4913.json", "swp", "a~b.json", "#smith.json", "tmp", "a.tmp.json"])
def test_what_a_person_names_counts(name: str) -> None:
    """A name that only resembles scratch is a name."""
    assert not passed_over(name)


def test_the_files_of_all_folders_are_listed_with_their_signature(modules: Path, save: Save) -> None:
    """Only files of the watched endings, whatever their case, and not the manifest of the directory."""
    paths = ["a.json", "npc/b.json", "npc/deep/er/c.JSON", "npc/manifest.json"]
    for path in [*paths, "manifest.json", "read.me", "json", "npc/.hidden/x.json", "npc/x.json~"]:
        save(path, "{}")
    found = listed(modules)
    assert found.files == {path: stamp_of(os.stat(modules / path)) for path in paths}
    assert found.problems == {}
    assert set(listed(modules, (".me",)).files) == {"read.me"}


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_regular_file_is_listed_without_a_signature(modules: Path, kind: str) -> None:
    """A FIFO or a device of a module's name is seen, so that it can be rejected by name."""
    if kind == "fifo":
        os.mkfifo(modules / "x.json")
    else:
        (modules / "x.json").symlink_to("/dev/null")
    assert listed(modules).files == {"x.json": None}


def test_a_directory_of_a_module_s_name_is_a_directory(modules: Path, save: Save) -> None:
    """What lies in ``x.json/`` is listed; the directory is no module."""
    save("x.json/a.json", "{}")
    assert set(listed(modules).files) == {"x.json/a.json"}


def test_symlinked_folders_inside_are_followed(modules: Path, save: Save) -> None:
    """A link to another folder of the directory leads to its files; the hidden folders of a ConfigMap as well."""
    save("town/a.json", "{}")
    save("..2025/npc/b.json", "{}")
    (modules / "alias").symlink_to("town")
    (modules / "..data").symlink_to("..2025")
    (modules / "npc").symlink_to("..data/npc")
    assert set(listed(modules).files) == {"town/a.json", "alias/a.json", "npc/b.json"}


def test_symlinked_folders_that_lead_out_are_not_followed(modules: Path, tmp_path: Path) -> None:
    """Nothing outside of the directory is listed."""
    (tmp_path / "modules-old").mkdir()
    (tmp_path / "modules-old" / "a.json").write_text("{}")
    (modules / "old").symlink_to("../modules-old")
    (modules / "all").symlink_to("/")
    (modules / "up").symlink_to("..")
    assert listed(modules).files == {}


def test_a_loop_of_symlinks_ends(modules: Path, save: Save) -> None:
    """A link to a folder above itself, to itself, or round about is not followed for ever."""
    save("a/x.json", "{}")
    save("b/y.json", "{}")
    (modules / "a" / "self").symlink_to(".")
    (modules / "a" / "up").symlink_to("..")
    (modules / "a" / "other").symlink_to("../b")
    (modules / "b" / "other").symlink_to("../a")
    (modules / "nothing").symlink_to("nothing")
    found = listed(modules)
    assert {"a/x.json", "b/y.json", "a/other/y.json", "b/other/x.json"} <= set(found.files)
    assert len(found.files) < 10
    assert found.problems == {}


def test_folders_that_all_lead_to_each_other_are_listed_in_few_steps(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile web of links without any file can't keep a pass busy."""
    names = "abcdef"
    for folder in names:
        (modules / folder).mkdir()
        for other in names:
            (modules / folder / f"to_{other}").symlink_to(f"../{other}")
    steps = 0
    scandir = os.scandir

    def counted(path: str) -> Any:
        nonlocal steps
        steps += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    assert listed(modules).files == {}
    assert steps <= 200


def test_beyond_the_limit_the_rest_is_left_out_with_a_word(modules: Path, save: Save) -> None:
    """What was left out is not taken for gone."""
    for number in range(5):
        save(f"{number}.json", "{}")
    assert (len(listed(modules, limit=5).files), listed(modules, limit=6).problems) == (5, {})
    found = listed(modules, limit=3)
    assert len(found.files) == 3
    assert "more than 3 files" in found.problems[""]
    assert found.unseen("4.json")


def test_exactly_as_many_files_as_are_allowed_are_no_problem(modules: Path, save: Save) -> None:
    """The limit is how many files are looked at, and other files do not count."""
    for number in range(3):
        save(f"{number}.json", "{}")
    save("notes/read.me", "")
    found = listed(modules, limit=3)
    assert (len(found.files), found.problems) == (3, {})


def test_a_folder_that_can_not_be_listed_is_named(modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are unseen, not gone; the rest of the tree is listed."""
    save("npc/a.json", "{}")
    save("town/b.json", "{}")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/npc"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = listed(modules)
    assert set(found.files) == {"town/b.json"}
    assert found.problems == {"npc": "the folder can't be listed: Permission denied"}
    assert found.unseen("npc/a.json")
    assert not found.unseen("npc2/a.json")
    assert not found.unseen("town/c.json")


def test_a_name_that_is_not_utf_8_is_a_problem(modules: Path) -> None:
    """A file whose name no text can hold is named, escaped by who prints it, and not read."""
    name = os.fsencode(str(modules)) + b"/\xff.json"
    with open(name, "wb"):
        pass
    found = listed(modules)
    assert found.files == {}
    assert found.problems == {"\udcff.json": "the name is not UTF-8; rename the file"}


def test_what_is_listed_does_not_depend_on_the_order_of_the_system(
    modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two links to one folder it is the same one that is followed, in whatever order a folder names its entries."""
    save("town/a.json", "{}")
    (modules / "one").symlink_to("town")
    (modules / "two").symlink_to("town")
    first = set(listed(modules).files)
    scandir = os.scandir

    @contextlib.contextmanager
    def backwards(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield list(entries)[::-1]

    monkeypatch.setattr(os, "scandir", backwards)
    assert set(listed(modules).files) == first
