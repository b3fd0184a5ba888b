"""A module's file is read once with all that it includes, and judged by those bytes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.including import Source
from dspyreload.disk.judge import judge
from dspyreload.disk.placing import faults_of
from dspyreload.model.faults import Fault, FaultError
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.jsontext import parse
from dspyreload.model.manifest import ModuleEntry, default_id
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import NOTHING, Registered, Registrations
from tests.conftest import Save, module_text


def judged(root: Path, path: str = "npc/smith.json", limit: int = 10_000, **options: Any) -> Finding:
    nothing: dict[str, Any] = {"module_id": None, "entry": None, "last_id": None, "registrations": NOTHING}
    return judge(path, Source(str(root), limit), **{**nothing, **options})


def fault(finding: Finding, kind: Kind = Kind.BROKEN) -> Fault:
    assert finding.kind is kind
    assert finding.version is None
    assert finding.fault is not None
    return finding.fault


def registered(*outputs: str) -> Registrations:
    fields = tuple(FieldDefinition(name=name) for name in outputs)
    inputs = (FieldDefinition(name="player_message"),)
    definition = SignatureDefinition(inputs=inputs, outputs=fields)
    return Registrations(signatures={"npc.dialogue": Registered(definition, "signature npc.dialogue#1")})


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("path", "name"),
    [("npc/dialogue_casual.json", "npc.dialogue_casual"), ("a.json", "a"), ("a/b.c.json", "a.b.c")],
)
def test_a_file_that_names_no_id_has_that_of_its_path(path: str, name: str) -> None:
    """The ending is dropped, and / is a dot."""
    assert default_id(path) == name


def test_a_good_file_is_its_version(modules: Path, save: Save) -> None:
    """The version holds the bytes, their SHA-256, and the stat signature says when they were saved."""
    file = save("npc/smith.json", module_text("npc.smith"))
    found = judged(modules)
    assert (found.kind, found.module_id, found.fault) == (Kind.GOOD, "npc.smith", None)
    assert found.version is not None
    assert (found.version.data, found.version.version) == (file.read_bytes(), sha(file.read_bytes()))
    assert found.digest == found.version.version
    assert found.saved_at == pytest.approx(os.stat(file).st_mtime)


def test_a_bom_changes_the_digest_and_not_the_module(modules: Path, save: Save) -> None:
    """The digest is of all bytes; the byte order mark is dropped before they are read."""
    file = save("npc/smith.json", "\ufeff" + module_text("npc.smith"))
    found = judged(modules)
    assert found.version is not None
    assert found.version.version == sha(file.read_bytes())
    assert found.version.module().instruction == "You are a smith."


@pytest.mark.parametrize("last", [None, "npc.old"])
def test_a_missing_file_is_still_what_it_was(modules: Path, last: str | None) -> None:
    """The finding keeps the id that the file had."""
    found = judged(modules, last_id=last)
    assert (found.module_id, fault(found, Kind.MISSING).message) == (last, "the file is missing")


def test_a_file_that_can_not_be_had_is_unreadable(modules: Path) -> None:
    """A FIFO is named, keeps the id that the path had, and no signature proves anything of it."""
    os.mkfifo(modules / "a.json")
    found = judged(modules, "a.json", last_id="npc")
    assert fault(found, Kind.UNREADABLE) == Fault(
        "this is a pipe or a device, not a file", mend="put a file in its place, or name another one"
    )
    assert (found.module_id, found.stamps) == ("npc", ())


def test_all_faults_have_their_lines(modules: Path, save: Save) -> None:
    """The first fault and the further ones come each with line and column."""
    save("npc/smith.json", '{\r\n "instruction": 1,\r\n "demos": [{"inputs": {}}]\r\n}')
    found = judged(modules, last_id="npc.smith")
    assert fault(found) == Fault('"instruction" must be text, not a whole number', 2, 17, "put it in double quotes")
    assert found.more == (Fault('demo 1 lacks "outputs"', 3, 12, 'add "outputs" to it'),)
    assert found.module_id == "npc.smith"


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_a_bad_byte_has_its_place_with_a_bom_or_without(before: bytes) -> None:
    """A byte order mark is no character of the first line, nor of any other."""
    data = before + '{\n "é": "'.encode() + b'\xff"}'
    with pytest.raises(FaultError) as raised:
        parse(data)
    (found,) = faults_of(raised.value, data)
    assert (found.line, found.column) == (2, 8)


def test_a_warning_has_its_line(modules: Path, save: Save) -> None:
    """An unknown key is served past, with a note of where it stands."""
    save("npc/smith.json", '{"instruction": "x",\n "mood": 1}')
    found = judged(modules)
    assert found.kind is Kind.GOOD
    assert found.warnings == (Fault('"mood" is not known and is ignored', 2, 2, "delete it, or correct it"),)


class TestManifest:
    def test_the_id_must_be_that_of_the_manifest(self, modules: Path, save: Save) -> None:
        """A file that says it is another module is rejected at its module_id."""
        save("npc/smith.json", module_text("npc.smith"))
        entry = ModuleEntry(path="npc/smith.json")
        found = judged(modules, module_id="npc.bard", entry=entry)
        message = fault(found).message
        assert '"npc.smith"' in message
        assert '"npc.bard"' in message
        assert (found.fault and found.fault.line, found.module_id) == (2, "npc.bard")
        assert judged(modules, module_id="npc.smith", entry=entry).kind is Kind.GOOD

    def test_a_small_file_has_the_id_of_the_manifest(self, modules: Path, save: Save) -> None:
        """A file that names no id is the module that lists it."""
        save("npc/smith.json", '{"instruction": "x"}')
        found = judged(modules, module_id="npc.bard", entry=ModuleEntry(path="npc/smith.json"))
        assert (found.kind, found.module_id) == (Kind.GOOD, "npc.bard")

    @pytest.mark.parametrize("text", [module_text("npc.smith"), "{"])
    def test_the_hash_is_of_the_bytes(self, modules: Path, save: Save, text: str) -> None:
        """Other bytes are rejected before they are read as anything, with the way out in the words."""
        save("npc/smith.json", text)
        entry = ModuleEntry(path="npc/smith.json", hash="0" * 64)
        assert "run dspyreload hash" in fault(judged(modules, module_id="npc.smith", entry=entry)).message

    def test_the_right_hash_is_good(self, modules: Path, save: Save) -> None:
        """Bytes that have the listed hash are served under that entry."""
        data = save("npc/smith.json", module_text("npc.smith")).read_bytes()
        entry = ModuleEntry(path="npc/smith.json", hash=sha(data))
        found = judged(modules, module_id="npc.smith", entry=entry)
        assert found.version is not None
        assert found.version.entry == entry

    def test_an_lm_that_there_is_not_is_rejected_by_name(self, modules: Path, save: Save) -> None:
        """An entry that asks for what there is not is not served as if it had not asked."""
        save("npc/smith.json", module_text("npc.smith"))
        entry = ModuleEntry(path="npc/smith.json", lm="big")
        found = judged(modules, module_id="npc.smith", entry=entry, registrations=Registrations(lms={}))
        assert '"lm": "big"' in fault(found).message

    def test_a_program_that_there_is_not_is_waited_for_by_name(self, modules: Path, save: Save) -> None:
        """The game may still register it; until then the module is not served as if its entry had not asked."""
        save("npc/smith.json", module_text("npc.smith"))
        entry = ModuleEntry(path="npc/smith.json", program="big")
        found = judged(modules, module_id="npc.smith", entry=entry)
        assert (found.kind, found.version) == (Kind.PENDING, None)
        assert found.waits_for == 'no program is registered as "big"'
        assert found.judged == (("program big", ""),)


class TestSignature:
    def test_without_any_the_module_waits(self, modules: Path, save: Save) -> None:
        """A file that only names a signature that nobody registered is pending for it."""
        save("npc/smith.json", module_text("npc.smith", signature=None))
        found = judged(modules)
        assert (found.kind, found.judged) == (Kind.PENDING, (("signature npc.dialogue", ""),))
        assert found.waits_for == 'the signature "npc.dialogue" is not registered, and its file brings none'

    def test_the_registered_one_serves(self, modules: Path, save: Save) -> None:
        """The version remembers which registration it was checked against."""
        save("npc/smith.json", module_text("npc.smith", signature=None))
        found = judged(modules, registrations=registered("response", "emotion"))
        assert found.version is not None
        assert found.version.registration == "signature npc.dialogue#1"
        assert found.judged == (("signature npc.dialogue", "signature npc.dialogue#1"),)
        lacking = judged(modules, registrations=registered("response", "emotion", "mood"))
        assert fault(lacking).message == 'demo 1 lacks "mood"'

    def test_two_that_differ_are_a_fault(self, modules: Path, save: Save) -> None:
        """A file whose own signature has other fields than the registered one is rejected with the difference."""
        save("npc/smith.json", module_text("npc.smith"))
        message = fault(judged(modules, registrations=registered("response", "mood"))).message
        assert 'outputs "emotion" only in the file' in message
        assert 'outputs "mood" only in the registered one' in message


class TestTexts:
    @pytest.fixture
    def smith(self, modules: Path, save: Save) -> Path:
        """A module that is made of a file and three texts."""
        save("npc/smith.json", '{"instruction_file": "smith.md", "include": ["../rules.md", "town.md"]}')
        for path, text in {"rules.md": "Rules.", "npc/town.md": "\ufeffTown.", "npc/smith.md": "Smith."}.items():
            save(path, text)
        return modules

    def test_they_make_one_instruction_in_order(self, smith: Path) -> None:
        """Includes come first, in order; they are relative to the file's folder; a BOM is dropped."""
        found = judged(smith)
        assert found.version is not None
        assert found.version.module().instruction == "Rules.\n\nTown.\n\nSmith."
        assert [path for path, _stamp in found.stamps] == ["npc/smith.json", "rules.md", "npc/town.md", "npc/smith.md"]

    @pytest.mark.parametrize("path", ["npc/smith.json", "rules.md", "npc/town.md", "npc/smith.md"])
    def test_the_digest_is_of_all_of_it(self, smith: Path, path: str) -> None:
        """A change of any of the files is another version."""
        before = judged(smith)
        file = smith / path
        file.write_text(file.read_text() + " ")
        after = judged(smith)
        assert before.version is not None
        assert after.version is not None
        assert before.version.version != after.version.version

    def test_a_missing_one_is_named_where_it_is_included(self, smith: Path) -> None:
        """The fault stands in the module's file; the missing file is remembered as missing."""
        (smith / "npc" / "town.md").unlink()
        found = judged(smith)
        mend = "make it, or correct its name, which counts from the folder of the file that names it"
        assert fault(found) == Fault('the file "npc/town.md" is missing', 1, 61, mend)
        assert ("npc/town.md", None) in found.stamps

    @pytest.mark.parametrize(
        ("include", "words"),
        [
            ("../../secret.md", "leads out of the modules directory"),
            ("/etc/passwd", "is absolute"),
            ("..\\rules.md", "has a backslash"),
            ("", "is empty"),
            ("link.md", "outside of the modules directory"),
            ("fifo.md", "a pipe or a device"),
            ("big.md", "are allowed"),
            ("latin.md", "not UTF-8"),
            ("smith.json", "includes itself"),
        ],
    )
    def test_they_are_confined_and_bounded_as_the_module_is(
        self, smith: Path, save: Save, include: str, words: str
    ) -> None:
        """What no module may be, no included file may be either."""
        (smith.parent / "secret.md").write_text("secret")
        (smith / "npc" / "link.md").symlink_to("../../secret.md")
        os.mkfifo(smith / "npc" / "fifo.md")
        save("npc/big.md", "x" * 10_001)
        (smith / "npc" / "latin.md").write_bytes(b"\xe9")
        escaped = include.replace("\\", "\\\\")
        save("npc/smith.json", f'{{"instruction": "x", "include": ["{escaped}"]}}')
        found = judged(smith)
        assert words in fault(found, Kind.UNREADABLE if found.kind is Kind.UNREADABLE else Kind.BROKEN).message

    def test_one_that_can_not_be_read_has_its_place_and_proves_nothing(self, smith: Path) -> None:
        """The fault stands where it is included; all files that were read are known, and none is taken as unchanged."""
        (smith / "npc" / "town.md").unlink()
        os.mkfifo(smith / "npc" / "town.md")
        found = judged(smith)
        mend = "put a file in its place, or name another one"
        assert fault(found, Kind.UNREADABLE) == Fault(
            "npc/town.md: this is a pipe or a device, not a file", 1, 61, mend
        )
        assert found.stamps == (("npc/smith.json", None), ("rules.md", None), ("npc/town.md", None))

    @pytest.mark.parametrize("second", ["../rules.md", "./../rules.md", "../npc/../rules.md"])
    def test_one_that_is_included_twice_is_rejected(self, smith: Path, save: Save, second: str) -> None:
        """The second mention is the fault, under whatever name."""
        save("npc/smith.json", f'{{"instruction": "x",\n "include": ["../rules.md", "{second}"]}}')
        assert fault(judged(smith)) == Fault(f'"{second}" is included twice; delete one of them', 2, 29)

    def test_they_are_few(self, smith: Path, save: Save) -> None:
        """A file can't have a pass read files without end."""
        for number in range(65):
            save(f"npc/{number}.md", "Rule.")
        for count in (64, 65):
            assert judged(smith).kind is Kind.GOOD
            include = [f"{number}.md" for number in range(count)]
            save("npc/smith.json", json.dumps({"instruction": "x", "include": include}))
        assert "more than 64 includes" in fault(judged(smith)).message
