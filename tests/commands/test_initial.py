"""``dspyreload init DIR``: a directory to begin with, and nothing of what is there is touched."""

from __future__ import annotations

import errno
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from dspyreload import DSPyEngine
from dspyreload.__main__ import main
from dspyreload.model.manifest import MANIFEST, parse_manifest

Output = pytest.CaptureFixture[str]

TEXTS = ["npc/guide.md", "town.md"]
MODULES = ["npc/cook.json", "npc/guide.json", "npc/smith.json"]
FILES = sorted([MANIFEST, *MODULES, *TEXTS])
FOR_VSCODE = [".schemas/manifest.json", ".schemas/module.json", ".vscode/settings.json"]


def files(directory: Path) -> dict[str, str]:
    """Return the text of each file below a directory."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_text() for path in found}


def check(directory: Path, capsys: Output) -> list[dict[str, Any]]:
    """Return what a check has to say."""
    capsys.readouterr()
    main(["check", str(directory), "--json"])
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "games" / "harrow"


class TestWhatItWrites:
    def test_a_manifest_three_modules_and_their_texts(self, new: Path, capsys: Output) -> None:
        """Each is a line, and the last one says what to do next; the folders above are made."""
        assert main(["init", str(new)]) == 0
        assert sorted(files(new)) == FILES
        *made, after = capsys.readouterr().out.splitlines()
        assert sorted(made) == sorted(str(new / path) for path in FILES)
        assert after == f"next: dspyreload talk {new} npc.smith"

    def test_a_check_and_the_formatter_have_nothing_against_it(self, new: Path, capsys: Output) -> None:
        """Not a warning; and no file is in another form than fmt gives it."""
        main(["init", str(new)])
        assert check(new, capsys) == []
        assert main(["fmt", "--check", str(new)]) == 0

    def test_its_hashes_can_be_listed(self, new: Path, capsys: Output) -> None:
        """After that every module has one, and the check is still content."""
        main(["init", str(new)])
        assert main(["hash", str(new)]) == 0
        manifest = parse_manifest((new / MANIFEST).read_bytes())
        assert all(entry.hash for entry in manifest.modules.values())
        assert check(new, capsys) == []

    def test_its_modules_are_served(self, new: Path) -> None:
        """Under the ids that the manifest lists; one of them is made of texts that stand in files of their own."""
        main(["init", str(new)])
        engine = DSPyEngine(new)
        assert sorted(engine.snapshot) == ["npc.cook", "npc.guide", "npc.smith"]
        guide = engine["npc.guide"].instruction
        assert guide.startswith((new / "town.md").read_text().strip())
        assert guide.endswith((new / "npc" / "guide.md").read_text().strip())
        assert engine.snapshot.with_tag("npc") == ("npc.cook", "npc.guide", "npc.smith")

    def test_there_is_a_small_module_to_learn_from(self, new: Path) -> None:
        """One has an instruction and nothing else."""
        main(["init", str(new)])
        assert list(json.loads((new / "npc" / "cook.json").read_text())) == ["instruction"]

    def test_an_empty_directory_is_taken_and_its_own_files_stay(self, new: Path) -> None:
        """What is no module and has no name that is needed is no hindrance."""
        new.mkdir(parents=True)
        mine = {"README.md": "mine", "npc/notes.txt": "mine", ".git/config.json": "{}", "old.json.bak": "{"}
        for path, text in mine.items():
            (new / path).parent.mkdir(exist_ok=True)
            (new / path).write_text(text)
        assert main(["init", str(new)]) == 0
        found = files(new)
        assert sorted(found) == sorted([*FILES, *mine])
        assert {path: found[path] for path in mine} == mine

    def test_the_next_command_can_be_typed_as_it_is_printed(self, tmp_path: Path, capsys: Output) -> None:
        """A name with a space in it is quoted."""
        assert main(["init", str(tmp_path / "my game")]) == 0
        words = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("next: "))
        assert words == ["dspyreload", "talk", str(tmp_path / "my game"), "npc.smith"]


class TestForVSCode:
    def test_settings_are_written_only_when_they_are_asked_for(self, tmp_path: Path, capsys: Output) -> None:
        """And with them the schemas that they name, each a line."""
        main(["init", str(tmp_path / "a")])
        capsys.readouterr()
        assert main(["init", str(tmp_path / "b"), "--vscode"]) == 0
        out = capsys.readouterr().out.splitlines()
        assert sorted(files(tmp_path / "a")) == FILES
        assert sorted(files(tmp_path / "b")) == sorted([*FILES, *FOR_VSCODE])
        assert {str(tmp_path / "b" / path) for path in FOR_VSCODE} < set(out)

    def test_the_settings_name_the_schemas(self, new: Path) -> None:
        """Relative to the directory: whoever opens it as a folder has them."""
        main(["init", str(new), "--vscode"])
        found = {
            row["url"]: row["fileMatch"] for row in json.loads(files(new)[".vscode/settings.json"])["json.schemas"]
        }
        assert found.keys() == {"./.schemas/manifest.json", "./.schemas/module.json"}
        assert all((new / url).is_file() for url in found)
        assert found["./.schemas/manifest.json"] == ["/manifest.json"]
        assert "!/manifest.json" in found["./.schemas/module.json"]

    def test_a_check_takes_none_of_it_for_a_module(self, new: Path, capsys: Output) -> None:
        """Settings and schemas are no modules."""
        main(["init", str(new), "--vscode"])
        assert check(new, capsys) == []


class TestForVSCodeBesideModules:
    @pytest.mark.parametrize("begun", ["npc/wizard.json", MANIFEST])
    def test_the_editors_files_alone_are_written(self, new: Path, capsys: Output, begun: str) -> None:
        """Modules, or a manifest, that are there stay as they are; each new file is a line, and no talk is proposed."""
        (new / begun).parent.mkdir(parents=True)
        text = '{"modules": {}}' if begun == MANIFEST else '{"instruction": "x"}'
        (new / begun).write_text(text)
        assert main(["init", str(new), "--vscode"]) == 0
        found = files(new)
        assert sorted(found) == sorted([begun, *FOR_VSCODE])
        assert found[begun] == text
        assert sorted(capsys.readouterr().out.splitlines()) == sorted(str(new / path) for path in FOR_VSCODE)

    def test_the_schemas_know_the_defaults_of_the_manifest(self, new: Path) -> None:
        """As those that ``schema --write`` writes."""
        new.mkdir(parents=True)
        signature = {"inputs": [{"name": "riddle"}], "outputs": [{"name": "answer"}]}
        (new / MANIFEST).write_text(json.dumps({"modules": {}, "defaults": {"signature": signature}}))
        main(["init", str(new), "--vscode"])
        before = files(new)
        assert '"riddle"' in before[".schemas/module.json"]
        main(["schema", str(new), "--write"])
        assert files(new) == before

    @pytest.mark.parametrize("path", FOR_VSCODE)
    def test_settings_that_are_there_are_not_overwritten(self, new: Path, capsys: Output, path: str) -> None:
        """Nor is anything written beside them."""
        for name in ("smith.json", path):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text('{"instruction": "x"}')
        before = files(new)
        assert main(["init", str(new), "--vscode"]) == 1
        assert f"{new / path} is there already; nothing was written" in capsys.readouterr().err
        assert files(new) == before

    def test_a_manifest_with_a_fault_is_told_and_nothing_is_written(self, new: Path, capsys: Output) -> None:
        """In one line, with what shows its place."""
        new.mkdir(parents=True)
        (new / MANIFEST).write_text("mine")
        assert main(["init", str(new), "--vscode"]) == 1
        out, (line,) = (captured := capsys.readouterr()).out, captured.err.splitlines()
        assert out == ""
        assert line.startswith("dspyreload: manifest.json:1:1: this is not JSON; the least that a manifest can be is ")
        assert files(new) == {MANIFEST: "mine"}


class TestWhatIsThere:
    @pytest.mark.parametrize(
        ("path", "options"),
        [*((path, []) for path in FILES), *((path, ["--vscode"]) for path in FOR_VSCODE)],
    )
    @pytest.mark.parametrize("kind", ["file", "hole"])
    def test_nothing_is_overwritten_and_nothing_is_written_beside_it(
        self, new: Path, capsys: Output, path: str, options: list[str], kind: str
    ) -> None:
        """One file that has a name that is needed is enough; a link that leads nowhere too."""
        place = new / path
        place.parent.mkdir(parents=True)
        if kind == "file":
            place.write_text("mine")
        else:
            place.symlink_to("mine")
        assert main(["init", str(new), *options]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (f"dspyreload: {place} is there already; nothing was written. init begins a new directory\n")
        assert files(new) == ({path: "mine"} if kind == "file" else {})
        assert place.is_symlink() == (kind == "hole")

    @pytest.mark.parametrize("path", FOR_VSCODE)
    def test_what_is_not_asked_for_is_no_hindrance(self, new: Path, path: str) -> None:
        """Settings of one's own stay where none are written."""
        (new / path).parent.mkdir(parents=True)
        (new / path).write_text("mine")
        assert main(["init", str(new)]) == 0
        assert files(new)[path] == "mine"

    @pytest.mark.parametrize("path", ["smith.json", "deep/down/other.JSON"])
    def test_modules_that_are_there_are_not_hidden_by_a_manifest(self, new: Path, capsys: Output, path: str) -> None:
        """Where there are some, whatever their names, nothing is written."""
        (new / path).parent.mkdir(parents=True)
        (new / path).write_text('{"instruction": "x"}')
        assert main(["init", str(new)]) == 1
        assert f"{new / path} is there already" in capsys.readouterr().err
        assert list(files(new)) == [path]

    def test_twice_is_refused(self, new: Path) -> None:
        """What the first wrote is as it was."""
        main(["init", str(new)])
        before = files(new)
        assert main(["init", str(new)]) == 1
        assert files(new) == before

    @pytest.mark.parametrize("name", ["", "npc"])
    def test_a_file_where_a_folder_should_be_is_named(self, new: Path, capsys: Output, name: str) -> None:
        """The directory itself, or a folder in it: the very name is told, and nothing is written."""
        place = new / name
        place.parent.mkdir(parents=True)
        place.write_text("mine")
        assert main(["init", str(new)]) == 1
        err = capsys.readouterr().err
        assert f"{place} is a file" in err
        assert (place.read_text(), list(place.parent.iterdir())) == ("mine", [place])

    @pytest.mark.parametrize("succeeds", range(9))
    def test_a_disk_that_fills_up_leaves_no_file(
        self, new: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, succeeds: int
    ) -> None:
        """Whichever file is the one too many, those before it are gone again, and a second try is not refused."""
        left = list(range(succeeds))
        fsync = os.fsync

        def full(handle: int) -> None:
            if not left:
                raise OSError(errno.ENOSPC, "No space left on device")
            left.pop()
            fsync(handle)

        monkeypatch.setattr(os, "fsync", full)
        assert main(["init", str(new), "--vscode"]) == 1
        assert capsys.readouterr().err.endswith(": it can't be written: No space left on device\n")
        assert files(new) == {}
        monkeypatch.undo()
        assert main(["init", str(new), "--vscode"]) == 0
