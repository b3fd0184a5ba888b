"""The bytes that a module includes: confined, bounded, UTF-8, and all of them its version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dspyreload import HotReloadConfig
from dspyreload.disk.check import check_directory
from dspyreload.model.events import ModuleChanged, ReloadError
from dspyreload.model.finding import Kind
from dspyreload.model.manifest import MANIFEST
from tests.conftest import Save
from tests.disk.conftest import Server, named
from tests.disk.test_includes import fault, instruction, judged, module


class TestReading:
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("link.md", "outside"),
            ("fifo.md", "this is a pipe or a device"),
            ("big.md", "10,000 are allowed"),
            ("folder", "this is a folder"),
        ],
    )
    def test_an_included_modules_texts_are_confined_and_bounded(
        self, modules: Path, save: Save, path: str, words: str
    ) -> None:
        """What the module itself may not include, no file that it includes may; the file is named, at the include."""
        (modules.parent / "secret.md").write_text("secret")
        (modules / "link.md").symlink_to("../secret.md")
        (modules / "folder").mkdir()
        os.mkfifo(modules / "fifo.md")
        save("big.md", "x" * 10_001)
        save("smith.json", module("Smith.", "town.json"))
        save("town.json", module("Town.", path))
        found = fault(modules, kind=Kind.UNREADABLE)
        assert found.message.startswith(f"{path}: ")
        assert words in found.message
        assert (found.line, found.column) == (2, 1)
        assert bool(found.mend) == ("not a file" in found.message)

    @pytest.mark.parametrize("name", ["town.md", "town.json"])
    @pytest.mark.parametrize(
        ("data", "words"),
        [("Town.".encode("utf-16"), "1:1: the file is UTF-16"), (b'"a\n\xe9"', "2:1: a character that is not UTF-8")],
    )
    def test_what_is_not_utf8_is_a_fault_at_its_place(
        self, modules: Path, save: Save, name: str, data: bytes, words: str
    ) -> None:
        """A text, and a module's file alike."""
        save("smith.json", module("Smith.", name))
        (modules / name).write_bytes(data)
        assert fault(modules).message.startswith(f"in {name}:{words}")

    def test_a_byte_order_mark_is_no_part_of_what_is_said(self, modules: Path, save: Save) -> None:
        """As Windows' editors write it, at the head of a text and of a module."""
        save("smith.json", module("Smith.", "town.json", "rules.md"))
        save("town.json", "\ufeff" + module("Town."))
        save("rules.md", "\ufeffRules.\r\n")
        assert instruction(modules) == "Town.\n\nRules.\n\nSmith."

    @pytest.mark.parametrize(("texts", "kind"), [(63, Kind.GOOD), (64, Kind.BROKEN)])
    def test_64_files_may_be_included_wherever_they_are_named(
        self, modules: Path, save: Save, texts: int, kind: Kind
    ) -> None:
        """Those of an included module count, with itself."""
        save("smith.json", module("Smith.", "all.json"))
        save("all.json", module("All.", *(f"{number}.md" for number in range(texts))))
        for number in range(texts):
            save(f"{number}.md", "x")
        found = judged(modules)
        assert found.kind is kind
        assert found.fault is None or "more than 64 includes" in found.fault.message


class TestVersions:
    @pytest.mark.parametrize("path", ["smith.json", "lore.json", "town.md", "deep.md"])
    def test_the_version_is_of_all_files(self, server: Server, path: str) -> None:
        """A byte more in any of them is another version, and goes live; the rest is as it was."""
        server.save("smith.json", module("Smith.", "town.md", "lore.json"))
        server.save("lore.json", module("Lore.", "deep.md"))
        server.save("town.md", "Town.")
        server.save("deep.md", "Deep.")
        server.save("other.json", module("Other."))
        server.start()
        before = server.snapshot
        file = server.root / path
        file.write_bytes(file.read_bytes() + b" ")
        changed = [event.module_id for event in named(server.look(path).events, ModuleChanged)]
        assert changed == (["lore", "smith"] if path in ("lore.json", "deep.md") else ["smith"])
        assert (server.snapshot.generation, server.snapshot["other"]) == (before.generation + 1, before["other"])
        assert server.snapshot["smith"].version != before["smith"].version

    def test_what_is_no_longer_included_does_not_count(self, server: Server) -> None:
        """A file that an included module let go of changes nobody, though it lies where it lay."""
        server.save("smith.json", module("Smith.", "lore.json"))
        server.save("lore.json", module("Lore.", "deep.md"))
        server.save("deep.md", "Deep.")
        server.start()
        server.save("lore.json", module("Lore."))
        server.look("lore.json")
        assert server.known.users["deep.md"] == ()
        server.save("deep.md", "{")
        assert server.settle("deep.md", "smith.json") == ()

    def test_a_hole_two_files_down_is_filled(self, server: Server) -> None:
        """The last good version serves until the file is there again; word of that file alone is enough."""
        server.save("smith.json", module("Smith.", "lore.json"))
        server.save("lore.json", module("Lore.", "deep.md"))
        server.save("deep.md", "Deep.")
        server.start()
        (server.root / "deep.md").unlink()
        rejected = named(server.settle("deep.md"), ReloadError)
        assert [error.module_id for error in rejected] == ["lore", "smith"]
        assert server.snapshot["smith"].module().instruction == "Deep.\n\nLore.\n\nSmith."
        server.save("deep.md", "New.")
        assert len(named(server.settle("deep.md"), ModuleChanged)) == 2
        assert server.snapshot["smith"].module().instruction == "New.\n\nLore.\n\nSmith."


def test_with_a_manifest_what_is_included_need_not_be_listed(modules: Path, save: Save) -> None:
    """A shared file ends in .json and is no module of its own: there is nothing to say about it."""
    save("smith.json", module("Smith.", "town.json"))
    save("town.json", module("Town."))
    save(MANIFEST, '{"modules": {"smith": {"path": "smith.json"}}}')
    report = check_directory(modules, HotReloadConfig())
    assert (report.remarks, report.modules) == ((), ("smith.json",))
    assert report.texts == {"town.json"}
