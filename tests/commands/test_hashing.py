"""``dspyreload hash DIR``: what is printed, and the exit status; with ``--clear`` too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dspyreload.__main__ import main
from dspyreload.model.manifest import MANIFEST
from tests.conftest import Save

Output = pytest.CaptureFixture[str]

SMITH = '{"instruction": "You are a smith."}'


@pytest.fixture
def listed(save: Save) -> Path:
    """A directory with one module and a manifest; returns the manifest."""
    save("smith.json", SMITH)
    return save(MANIFEST, '{"modules": {"smith": {"path": "smith.json", "hash": null}}}')


def checks(modules: Path, capsys: Output) -> bool:
    """Say whether a check has nothing against a directory."""
    capsys.readouterr()
    main(["check", str(modules), "--json"])
    return bool(json.loads(capsys.readouterr().out) == [])


def test_each_file_is_a_line_with_what_was_done(modules: Path, listed: Path, capsys: Output) -> None:
    """Its first digits, then that it was so, then that there is none."""
    digest = hashlib.sha256(SMITH.encode()).hexdigest()
    for options, change in (
        ([], f"sha256:{digest[:12]}… listed"),
        ([], "as it was"),
        (["--clear"], "no hash listed"),
        (["--clear"], "as it was"),
    ):
        assert main(["hash", str(modules), *options]) == 0
        assert capsys.readouterr() == (f"smith.json: {change}\n", "")


def test_once_the_hashes_are_cleared_files_can_be_edited(
    modules: Path, listed: Path, save: Save, capsys: Output
) -> None:
    """Before that, a check refuses each change; the manifest is what it was before it had hashes."""
    before = listed.read_text()
    main(["hash", str(modules)])
    save("smith.json", SMITH.replace("a smith", "kind"))
    assert not checks(modules, capsys)
    main(["hash", str(modules), "--clear"])
    assert checks(modules, capsys)
    assert listed.read_text() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SMITH.replace("}", ",}"), "smith.json:1:35: a comma too many before the closing }; delete it"),
        ('{"instruction": ""}', 'smith.json:1:17: "instruction" is empty; say who the character is and how it speaks'),
        (None, "smith.json: the file is missing; make it, or delete its entry in manifest.json"),
    ],
)
def test_a_module_with_a_fault_is_one_line_and_nothing_is_written(
    modules: Path, listed: Path, save: Save, capsys: Output, text: str | None, words: str
) -> None:
    """With exit status 1: no release is made of it. Its hash can be cleared all the same."""
    before = listed.read_text()
    if text is None:
        (modules / "smith.json").unlink()
    else:
        save("smith.json", text)
    assert main(["hash", str(modules)]) == 1
    assert capsys.readouterr() == ("", f"dspyreload: {words}\n")
    assert listed.read_text() == before
    assert main(["hash", str(modules), "--clear"]) == 0


def test_without_a_manifest_it_is_one_line(modules: Path, save: Save, capsys: Output) -> None:
    """With what to do."""
    save("smith.json", SMITH)
    assert main(["hash", str(modules)]) == 1
    assert capsys.readouterr() == (
        "",
        "dspyreload: manifest.json: the file is missing; name a directory that has one\n",
    )


@pytest.mark.parametrize("options", [[], ["--clear"]])
@pytest.mark.parametrize("there", [False, True])
def test_what_is_no_directory_is_told_in_one_line(
    tmp_path: Path, capsys: Output, there: bool, options: list[str]
) -> None:
    """As every command tells it."""
    place = tmp_path / "none"
    if there:
        place.write_text("x")
    assert main(["hash", str(place), *options]) == 1
    words = (
        "is a file; name the directory that it lies in"
        if there
        else "is not there; correct its name, or make it with dspyreload init"
    )
    assert capsys.readouterr() == ("", f"dspyreload: {place} {words}\n")
