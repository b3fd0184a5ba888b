"""``dspyreload hash`` writes what was read into the manifest, and leaves the rest as a person wrote it."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.hashes import list_hashes
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


def sha(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def listed(modules: Path, save: Save) -> Path:
    """A directory of four files and a manifest in a form of its own; returns the manifest."""
    for path in ("npc/a.json", "b.json", "c.json", "d.json"):
        save(path, path)
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
    before = os.stat(listed)
    list_hashes(modules, LIMIT)
    assert os.stat(listed) == before


@pytest.mark.parametrize("form", ["sha256:{}", "{}"])
def test_a_hash_that_is_right_keeps_its_form(modules: Path, save: Save, form: str) -> None:
    """Bare hex that has the bytes is left as it is."""
    save("a.json", "x")
    text = '{"modules": {"a": {"path": "a.json", "hash": "%s"}}}'
    text %= form.format(hashlib.sha256(b"x").hexdigest())
    save(MANIFEST, text)
    list_hashes(modules, LIMIT)
    assert (modules / MANIFEST).read_text() == text


@pytest.mark.parametrize("hazard", ["missing", "fifo", "large", "out"])
def test_nothing_is_written_when_a_file_can_not_be_read(modules: Path, listed: Path, hazard: str) -> None:
    """One file that can't be read leaves the manifest as it was, and is named."""
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
    assert listed.read_bytes() == text
    assert sorted(os.listdir(modules)) == before


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
    with pytest.raises(HotReloadFailed, match="the file is missing"):
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
