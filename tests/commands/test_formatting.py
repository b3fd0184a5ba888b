"""``dspyreload fmt DIR``: all module files in one form, and what it can't format left as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dspy
import pytest

from dspyreload.__main__ import main
from dspyreload.commands import formatting
from dspyreload.disk.reading import FileRead, read_file, stamp_of
from dspyreload.model.formatted import formatted
from dspyreload.model.manifest import MANIFEST
from tests.conftest import Save, module_text

Output = pytest.CaptureFixture[str]

UGLY = '{"demos":[],"instruction":"x"}'
NEAT = '{\n  "instruction": "x",\n  "demos": []\n}\n'
BROKEN = '{"instruction": "x",\n}'


def fmt(modules: Path, *options: str, capsys: Output) -> tuple[int, list[str], list[str]]:
    """Run the command; return its exit status and its lines on the standard output and the standard error."""
    status = main(["fmt", str(modules), *options])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


class TestADirectory:
    def test_every_module_file_is_brought_into_the_form(self, modules: Path, save: Save, capsys: Output) -> None:
        """In folders too; each that was changed is a line, and the sum goes to the standard error."""
        for path in ("b.json", "npc/a.json", "npc/deep/C.JSON"):
            save(path, UGLY)
        save("neat.json", NEAT)
        assert fmt(modules, capsys=capsys) == (
            0,
            ["b.json: formatted", "npc/a.json: formatted", "npc/deep/C.JSON: formatted"],
            ["4 modules: 3 formatted, 1 in this form already, 0 with a fault"],
        )
        for path in ("b.json", "npc/a.json", "npc/deep/C.JSON", "neat.json"):
            assert (modules / path).read_text() == NEAT

    def test_a_second_run_writes_nothing(self, modules: Path, save: Save, capsys: Output) -> None:
        """The very files stay, so that no watcher wakes up."""
        file = save("a.json", UGLY)
        fmt(modules, capsys=capsys)
        before = stamp_of(os.stat(file))
        assert fmt(modules, capsys=capsys) == (0, [], ["1 module: 0 formatted, 1 in this form already, 0 with a fault"])
        assert stamp_of(os.stat(file)) == before

    def test_what_is_no_module_is_not_touched(self, modules: Path, save: Save, capsys: Output) -> None:
        """Texts, hidden files, what editors leave behind, and the manifest in its writer's own form."""
        others = {"town.md": UGLY, ".vscode/settings.json": UGLY, "a.json.bak": UGLY, MANIFEST: '{"modules":{}}'}
        for path, text in others.items():
            save(path, text)
        assert fmt(modules, capsys=capsys) == (
            0,
            [],
            ["0 modules: 0 formatted, 0 in this form already, 0 with a fault"],
        )
        assert {path: (modules / path).read_text() for path in others} == others

    def test_with_a_manifest_it_is_the_files_that_it_lists(self, modules: Path, save: Save, capsys: Output) -> None:
        """Others may be anything: nobody serves them. Each that could be a module is named."""
        save("a.json", UGLY)
        save("shared.json", '["a list",  "of places"]')
        save("odd.prompt", UGLY)
        save(MANIFEST, '{"modules": {"x": {"path": "odd.prompt"}, "a": {"path": "a.json"}}}')
        assert fmt(modules, capsys=capsys) == (
            0,
            ["a.json: formatted", "odd.prompt: formatted"],
            [
                "2 modules: 2 formatted, 0 in this form already, 0 with a fault",
                "shared.json: manifest.json does not list it, and it is left as it is",
            ],
        )
        assert (modules / "shared.json").read_text() == '["a list",  "of places"]'

    def test_the_meaning_stays(self, modules: Path, save: Save, capsys: Output) -> None:
        """Of a module in full, and of what DSPy saved: the same values, and a check that says the same."""
        save("full.json", module_text("full", tool_enabled=False, metadata={"mine": [1.50, None]}))
        dspy.ChainOfThought("topic -> title").save(modules / "saved.json")
        before = {path.name: json.loads(path.read_text()) for path in modules.iterdir()}
        main(["check", str(modules), "--json"])
        said = json.loads(capsys.readouterr().out)
        assert fmt(modules, capsys=capsys)[0] == 0
        assert {path.name: json.loads(path.read_text()) for path in modules.iterdir()} == before
        main(["check", str(modules), "--json"])
        assert json.loads(capsys.readouterr().out) == said

    @pytest.mark.parametrize("there", [False, True])
    def test_what_is_no_directory_is_told_in_one_line(self, tmp_path: Path, capsys: Output, there: bool) -> None:
        """With exit status 1."""
        place = tmp_path / "a.json"
        if there:
            place.write_text(UGLY)
        status, out, (line,) = fmt(place, capsys=capsys)
        assert (status, out) == (1, [])
        assert line == f"dspyreload: {place} is " + (
            "a file; name the directory that it lies in"
            if there
            else "not there; correct its name, or make it with dspyreload init"
        )
        assert not there or place.read_text() == UGLY


class TestCheck:
    def test_nothing_is_written_and_the_status_says_whether_something_would_be(
        self, modules: Path, save: Save, capsys: Output
    ) -> None:
        """1 where a file is in another form, 0 where all are in the one."""
        file = save("a.json", UGLY)
        before = stamp_of(os.stat(file))
        assert fmt(modules, "--check", capsys=capsys) == (
            1,
            ["a.json: would be formatted"],
            ["1 module: 1 would be formatted, 0 in this form already, 0 with a fault"],
        )
        assert stamp_of(os.stat(file)) == before
        fmt(modules, capsys=capsys)
        assert fmt(modules, "--check", capsys=capsys)[:2] == (0, [])

    @pytest.mark.parametrize(
        "data", [NEAT.rstrip(), NEAT + "\n", NEAT.replace("\n", "\r\n"), "\ufeff" + NEAT, NEAT.replace("  ", "\t")]
    )
    def test_every_byte_counts(self, modules: Path, capsys: Output, data: str) -> None:
        """A line end, a BOM or a tab is another form."""
        (modules / "a.json").write_bytes(data.encode())
        assert fmt(modules, "--check", capsys=capsys)[0] == 1
        assert fmt(modules, capsys=capsys)[0] == 0
        assert (modules / "a.json").read_bytes() == NEAT.encode()


class TestFaults:
    @pytest.mark.parametrize("options", [[], ["--check"]])
    def test_a_file_with_a_fault_is_left_and_the_others_are_not(
        self, modules: Path, save: Save, capsys: Output, options: list[str]
    ) -> None:
        """It is named with its place and its mend, and the exit status is 1."""
        save("a.json", BROKEN)
        save("b.json", '{"demos":[]}')
        save("c.json", NEAT)
        status, out, err = fmt(modules, *options, capsys=capsys)
        assert status == 1
        assert out[0] == "a.json:1:20: a comma too many before the closing }; delete it"
        assert out[1] == 'b.json:1:1: the module lacks "instruction"; add "instruction" to it'
        assert err[0].endswith(", 1 in this form already, 2 with a fault")
        assert [(modules / name).read_text() for name in ("a.json", "b.json")] == [BROKEN, '{"demos":[]}']

    @pytest.mark.parametrize("kind", ["missing", "folder", "outside", "fifo"])
    def test_a_listed_file_that_can_not_be_read_is_named(
        self, modules: Path, save: Save, capsys: Output, kind: str
    ) -> None:
        """What a link leads to outside of the directory is nobody's module; the other file is formatted."""
        secret = modules.parent / "secret.json"
        secret.write_text(UGLY)
        if kind == "folder":
            (modules / "a.json").mkdir()
        elif kind == "outside":
            (modules / "a.json").symlink_to(secret)
        elif kind == "fifo":
            os.mkfifo(modules / "a.json")
        save("b.json", UGLY)
        save(MANIFEST, '{"modules": {"a": {"path": "a.json"}, "b": {"path": "b.json"}}}')
        status, out, _err = fmt(modules, capsys=capsys)
        assert status == 1
        assert out[0].startswith("a.json: ")
        assert (secret.read_text(), (modules / "b.json").read_text()) == (UGLY, NEAT)

    @pytest.mark.parametrize("text", ["{", '{"modules": {"a": {"path": "/a.json"}}}'])
    def test_with_a_broken_manifest_nothing_is_formatted(
        self, modules: Path, save: Save, capsys: Output, text: str
    ) -> None:
        """It is not known which files are modules; where the manifest is wrong is told."""
        save("a.json", UGLY)
        save(MANIFEST, text)
        status, out, (line,) = fmt(modules, capsys=capsys)
        assert (status, out) == (1, [])
        assert line.startswith("dspyreload: manifest.json:1:")
        assert (modules / "a.json").read_text() == UGLY

    def test_names_do_nothing_to_the_terminal(self, modules: Path, save: Save, capsys: Output) -> None:
        """Of what was formatted, and of what was not."""
        save("\x1b[2J\na.json", UGLY)
        save("\x1b[2J\nb.json", BROKEN)
        _status, out, _err = fmt(modules, capsys=capsys)
        assert [line.isprintable() for line in out] == [True, True]


class TestHashes:
    @pytest.mark.parametrize(("listed", "words"), [(["a"], "1 file"), (["a", "b"], "2 files")])
    def test_hashes_that_are_not_right_any_more_are_told(
        self, modules: Path, save: Save, capsys: Output, listed: list[str], words: str
    ) -> None:
        """With what to run; a check alone does not say so, and neither does a file that was in the form."""
        save("a.json", UGLY)
        save("b.json", UGLY)
        save("neat.json", NEAT)
        entries: dict[str, Any] = {name: {"path": f"{name}.json"} for name in ("a", "b", "neat")}
        for name in (*listed, "neat"):
            entries[name]["hash"] = "0" * 64
        save(MANIFEST, json.dumps({"modules": entries}))
        assert len(fmt(modules, "--check", capsys=capsys)[2]) == 1
        _status, _out, (_sum, line) = fmt(modules, capsys=capsys)
        assert line == f"manifest.json lists hashes of {words} that changed; run dspyreload hash"
        assert len(fmt(modules, capsys=capsys)[2]) == 1


class TestSavesMeanwhile:
    @pytest.mark.parametrize("vanishes", [False, True])
    def test_a_save_while_it_is_formatted_is_not_lost(
        self, modules: Path, save: Save, capsys: Output, monkeypatch: pytest.MonkeyPatch, vanishes: bool
    ) -> None:
        """What a writer saved, or deleted, after it was read stays so; the writer hears of it, and the rest goes on."""
        file = save("a.json", UGLY)
        save("b.json", UGLY)

        def while_it_is_formatted(data: bytes) -> str:
            if data == UGLY.encode() and file.exists() and file.read_text() == UGLY:
                file.unlink()
                if not vanishes:
                    save("a.json", '{"instruction":"new"}')
            return formatted(data)

        monkeypatch.setattr(formatting, "formatted", while_it_is_formatted)
        status, out, _err = fmt(modules, capsys=capsys)
        assert (status, out) == (
            1,
            ["a.json: it was saved while it was formatted; run this again", "b.json: formatted"],
        )
        assert sorted(os.listdir(modules)) == (["b.json"] if vanishes else ["a.json", "b.json"])
        assert vanishes or file.read_text() == '{"instruction":"new"}'

    def test_what_a_link_leads_to_is_formatted(self, modules: Path, save: Save, capsys: Output) -> None:
        """Inside of the directory; the link is one still, and the mode is what it was."""
        save("shared/a.json", UGLY).chmod(0o640)
        (modules / "link.json").symlink_to("shared/a.json")
        status, out, _err = fmt(modules, capsys=capsys)
        assert (status, out) == (0, ["link.json: formatted"])
        assert (modules / "link.json").is_symlink()
        assert (modules / "shared" / "a.json").read_text() == NEAT
        assert os.stat(modules / "shared" / "a.json").st_mode & 0o777 == 0o640

    def test_each_file_is_read_once(
        self, modules: Path, save: Save, capsys: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is checked is what is formatted."""
        read: list[str] = []

        def reading(root: str, path: str, limit: int) -> FileRead:
            read.append(path)
            return read_file(root, path, limit)

        monkeypatch.setattr(formatting, "read_file", reading)
        save("a.json", UGLY)
        save("b.json", BROKEN)
        fmt(modules, capsys=capsys)
        assert read == ["a.json", "b.json"]
