"""``dspyreload hash`` writes what was read into the manifest, and leaves the rest as a person wrote it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.hashes import list_hashes
from dspyreload.disk.reading import stamp_of
from dspyreload.errors import HotReloadFailed
from dspyreload.model.manifest import MANIFEST, parse_manifest
from tests.conftest import Save

LIMIT = 10_000
OLD = "0" * 64

FORM = """{
    "modules":  {
        "b": {"tags": ["x"],   "path": "b.json"},

        "a": {
            "hash": null,
            "path": "npc/a.json",
            "tags": []
        },
        "c": { "path": "c.json", "hash": "%s" },
        "d": {
            "path": "d.json"
        }
    },
    "version": "1.0", "note": "hash: null"
}
"""


def text_of(path: str) -> str:
    """Return what stands in a file: a module that says where it lies."""
    return json.dumps({"instruction": path})


def sha(path: str) -> str:
    return "sha256:" + hashlib.sha256(text_of(path).encode()).hexdigest()


@pytest.fixture
def listed(modules: Path, save: Save) -> Path:
    """A directory of four files and a manifest in a form of its own; returns the manifest."""
    for path in ("npc/a.json", "b.json", "c.json", "d.json"):
        save(path, text_of(path))
    return save(MANIFEST, FORM % OLD)


def test_hashes_are_put_in_and_everything_else_stays(modules: Path, listed: Path) -> None:
    """Order, indentation, blank lines and other keys are those of before; a hash is replaced or inserted."""
    list_hashes(modules, LIMIT)
    expected = (
        (FORM % sha("c.json"))
        .replace('"path": "b.json"', f'"path": "b.json", "hash": "{sha("b.json")}"')
        .replace('"hash": null,', f'"hash": "{sha("npc/a.json")}",')
        .replace('"path": "d.json"', f'"path": "d.json",\n            "hash": "{sha("d.json")}"')
    )
    assert listed.read_text() == expected


def test_line_ends_are_kept(modules: Path, listed: Path) -> None:
    """In a file whose lines end in CR LF every line still does."""
    listed.write_bytes((FORM % OLD).replace("\n", "\r\n").encode())
    list_hashes(modules, LIMIT)
    data = listed.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n") == FORM.count("\n") + 1
    assert parse_manifest(data)["d"].hash == sha("d.json").removeprefix("sha256:")


def test_what_was_done_is_returned_in_order(modules: Path, listed: Path) -> None:
    """Each path comes with its new hash, or with the word that it was right."""
    first = list_hashes(modules, LIMIT)
    assert [path for path, _change in first] == ["b.json", "npc/a.json", "c.json", "d.json"]
    assert all(sha(path)[:19] in change for path, change in first)
    assert {change for _path, change in list_hashes(modules, LIMIT)} == {"as it was"}


def test_a_manifest_that_is_right_is_not_written(modules: Path, listed: Path) -> None:
    """A second run leaves the very file, and watchers nothing to see."""
    list_hashes(modules, LIMIT)
    before = stamp_of(os.stat(listed))
    list_hashes(modules, LIMIT)
    assert stamp_of(os.stat(listed)) == before


@pytest.mark.parametrize("form", ["sha256:{}", "{}"])
def test_a_hash_that_is_right_keeps_its_form(modules: Path, save: Save, form: str) -> None:
    """Bare hex that has the bytes is left as it is."""
    save("a.json", text_of("a.json"))
    text = '{"modules": {"a": {"path": "a.json", "hash": "%s"}}}'
    text %= form.format(sha("a.json").removeprefix("sha256:"))
    save(MANIFEST, text)
    list_hashes(modules, LIMIT)
    assert (modules / MANIFEST).read_text() == text


@pytest.mark.parametrize(
    ("hazard", "words"),
    [
        ("missing", "the file is missing; make it, or delete its entry in manifest.json"),
        ("fifo", "this is a pipe or a device, not a file; put a file in its place, or name another one"),
        ("large", "10,000 are allowed; make it smaller"),
        ("out", "(a link leads out of it); copy it into it"),
    ],
)
def test_nothing_is_written_when_a_file_can_not_be_read(modules: Path, listed: Path, hazard: str, words: str) -> None:
    """One file that can't be read leaves the manifest as it was, and is named, with what to do."""
    text = listed.read_bytes()
    path = modules / "c.json"
    path.unlink()
    if hazard == "fifo":
        os.mkfifo(path)
    elif hazard == "large":
        path.write_bytes(b"x" * (LIMIT + 1))
    elif hazard == "out":
        path.symlink_to("/etc/hostname")
    before = sorted(os.listdir(modules))
    with pytest.raises(HotReloadFailed) as raised:
        list_hashes(modules, LIMIT)
    assert raised.value.path == "c.json"
    assert raised.value.reason.endswith(words)
    assert listed.read_bytes() == text
    assert sorted(os.listdir(modules)) == before


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ('{"instruction": "x",\n}', "npc/a.json:1:20", "a comma too many before the closing }; delete it"),
        ('{"instruction": 7}', "npc/a.json:1:17", '"instruction" must be text, not a whole number'),
        ("{}", "npc/a.json:1:1", 'the module lacks "instruction"; add "instruction" to it'),
        ("", "npc/a.json:1:1", "the file is empty; the least that a module can be is"),
    ],
)
def test_a_module_with_a_fault_has_no_hash(
    modules: Path, listed: Path, save: Save, text: str, where: str, words: str
) -> None:
    """A release would refuse it; so nothing is written, and place, fault and mend are told."""
    before = listed.read_bytes()
    save("npc/a.json", text)
    with pytest.raises(HotReloadFailed) as raised:
        list_hashes(modules, LIMIT)
    assert raised.value.path == where
    assert raised.value.reason.startswith(words)
    assert listed.read_bytes() == before


class TestClearing:
    def test_null_stands_in_place_of_each_hash_and_everything_else_stays(self, modules: Path, listed: Path) -> None:
        """An entry that had none gets none."""
        assert [(path, change) for path, change in list_hashes(modules, LIMIT, clear=True)] == [
            ("b.json", "as it was"),
            ("npc/a.json", "as it was"),
            ("c.json", "no hash listed"),
            ("d.json", "as it was"),
        ]
        assert listed.read_text() == (FORM % OLD).replace(f'"{OLD}"', "null")

    def test_it_takes_back_what_was_listed(self, modules: Path, listed: Path) -> None:
        """Each file can be edited again; a second run leaves the very file."""
        list_hashes(modules, LIMIT)
        assert {change for _path, change in list_hashes(modules, LIMIT, clear=True)} == {"no hash listed"}
        manifest = parse_manifest(listed.read_bytes())
        assert [manifest[name].hash for name in "abcd"] == [None] * 4
        before = stamp_of(os.stat(listed))
        list_hashes(modules, LIMIT, clear=True)
        assert stamp_of(os.stat(listed)) == before

    def test_no_file_need_be_whole_for_it(self, modules: Path, listed: Path, save: Save) -> None:
        """A file that is broken, or gone, is what one wants to edit."""
        save("npc/a.json", "{")
        (modules / "c.json").unlink()
        list_hashes(modules, LIMIT, clear=True)
        assert parse_manifest(listed.read_bytes())["c"].hash is None


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"modules": {\n}', "manifest.json:2:2"), ('{"modules": {"a":\n {"path": "/a"}}}', "manifest.json:2:11")],
)
def test_a_manifest_with_a_fault_is_not_written(modules: Path, save: Save, text: str, where: str) -> None:
    """The fault is named with line and column."""
    save(MANIFEST, text)
    with pytest.raises(HotReloadFailed) as raised:
        list_hashes(modules, LIMIT)
    assert raised.value.path == where
    assert (modules / MANIFEST).read_text() == text


def test_without_a_manifest_there_is_nothing_to_do(modules: Path) -> None:
    """The missing manifest is named."""
    with pytest.raises(HotReloadFailed, match="the file is missing; name a directory that has one"):
        list_hashes(modules, LIMIT)


def test_a_reader_sees_the_old_manifest_or_the_new_one(
    modules: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new text is whole, beside the old one and under a hidden name, before it takes its place."""
    seen: list[tuple[bytes, bytes, str]] = []
    replace = os.replace

    def look(source: str, target: str) -> None:
        seen.append((Path(source).read_bytes(), Path(target).read_bytes(), os.path.basename(source)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    list_hashes(modules, LIMIT)
    ((new, old, name),) = seen
    assert old == (FORM % OLD).encode()
    assert new == listed.read_bytes() != old
    assert name.startswith(".")


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "chmod", "replace"])
def test_a_disk_that_refuses_leaves_the_manifest_and_no_scrap(
    modules: Path, listed: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever writing fails: the old manifest stands, nothing lies beside it, and the reason is told."""
    before = sorted(os.listdir(modules))

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile if step == "mkstemp" else os, step, refuse)
    with pytest.raises(HotReloadFailed, match=os.strerror(errno.ENOSPC)):
        list_hashes(modules, LIMIT)
    monkeypatch.undo()
    assert listed.read_text() == FORM % OLD
    assert sorted(os.listdir(modules)) == before


def test_rights_and_a_link_are_kept(modules: Path, listed: Path) -> None:
    """The manifest keeps its mode; where it is a link, what it leads to is written."""
    listed.chmod(0o640)
    listed.rename(modules / "real.json")
    listed.symlink_to("real.json")
    list_hashes(modules, LIMIT)
    assert listed.is_symlink()
    assert os.stat(listed).st_mode & 0o777 == 0o640
    assert all(parse_manifest(listed.read_bytes())[name].hash for name in "abcd")
