"""What stands in a state file is believed only where it is what was written."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspyreload.disk.state import StateFile
from dspyreload.disk.stored import StateFault, proof_of
from dspyreload.model.restoring import Stored, StoredState
from dspyreload.model.snapshot import EMPTY, Snapshot
from tests.disk.kept import LIMIT, NOBODY, kept_of, manifest_of, reread, snapshot_of, state_file, version

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

IDS = [f"npc.number{number}" for number in range(40)]
MANIFEST = manifest_of(*IDS, tags=("npc",))


def many(word: str, before: Snapshot = EMPTY) -> Snapshot:
    """Return a snapshot of forty listed modules, each of two files."""
    versions = (version(name, f"{name} {word} " * 30, f"{word} of the town".encode(), listed=MANIFEST) for name in IDS)
    return snapshot_of(*versions, manifest=MANIFEST, before=before)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    """A state file that keeps one module, closed."""
    file = state_file(tmp_path)
    file.open()
    file.write([snapshot_of(version())], (1, 2), NOBODY)
    file.close()
    yield file
    file.close()


def change(file: StateFile, statement: str, *values: object) -> None:
    """Change a closed file as another program could."""
    database = sqlite3.connect(file.path)
    database.execute("PRAGMA foreign_keys = OFF")
    database.execute(statement, values)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("statement", "values", "words"),
    [
        (
            "UPDATE contents SET data = ?",
            (b'{"demos": []}',),
            "npc.smith: its bytes are not what was written",
        ),
        ("UPDATE contents SET data = ?", ("text",), "npc.smith: its bytes are not what was written"),
        ("UPDATE contents SET data = ?", (b" " * (LIMIT + 1),), "npc.smith: its bytes are not what was written"),
        ("DELETE FROM contents", (), "npc.smith: its bytes are not what was written"),
        ("UPDATE versions SET version = ?", ("0" * 64,), "npc.smith: its version is not there"),
        ("UPDATE versions SET path = ?", ("npc/other.json",), "npc.smith: it is not what was written"),
        ("UPDATE versions SET entry = ?", ("{}",), "npc.smith: it is not what was written"),
        ("UPDATE versions SET number = 7", (), "npc.smith: it is not what was written"),
        ("UPDATE parts SET digest = ?", ("0" * 64,), "npc.smith: it is not what was written"),
        ("DELETE FROM parts", (), "npc.smith: it is not what was written"),
        ("DELETE FROM versions", (), "npc.smith: its version is not there"),
        ("UPDATE live SET module_id = 'npc.baker'", (), "npc.baker: its version is not there"),
        ("UPDATE live SET module_id = x'00ff'", (), r"b'\x00\xff': its version is not there"),
    ],
)
def test_a_version_that_is_not_what_was_written_is_left_out_and_written_anew(
    file: StateFile, statement: str, values: tuple[object, ...], words: str
) -> None:
    """Whatever of it changed; the file is whole again once the module was live again."""
    change(file, statement, *values)
    state = file.open()
    assert state.modules == ()
    assert list(state.faults) == [f"{words}; this version can't be brought back"]
    snapshot = snapshot_of(version())
    file.write([snapshot], (1, 2), NOBODY)
    state = reread(file)
    assert state.modules == kept_of(snapshot)
    assert state.faults == ()


@pytest.mark.parametrize(
    ("module_id", "path", "entry", "words"),
    [
        (" ", "npc/smith.json", None, "its id or its path can't be one"),
        ("npc.smith", "npc//smith.json", None, "its id or its path can't be one"),
        ("npc.smith", "/etc/passwd", None, 'the path "/etc/passwd" is absolute'),
        ("npc.smith", "../smith.json", None, "leads out of the modules directory"),
        ("npc.smith", "npc/smith.json", '{"path": "npc/baker.json"}', "its entry is that of another file"),
        ("npc.smith", "npc/smith.json", '{"path": "npc/smith.json", "lm": 7}', "Expected `str"),
        ("npc.smith", "npc/smith.json", "", "Input data was truncated"),
        ("npc.smith", "npc/smith.json", b"", "it is not what was written"),
        ("npc.smith", "npc/smith.json", '{"path": "npc/smith.json", "more": ' + "[" * 100_000, "recursion"),
        ("npc.smith", "npc/smith.json", '{"path": "npc/smith.json", "temperature": "hot"}', "Expected `float"),
    ],
)
def test_whoever_wrote_a_row_may_have_written_anything(
    file: StateFile, module_id: str, path: str, entry: str | bytes | None, words: str
) -> None:
    """A row whose proof is right is checked like a file and a manifest."""
    (part,) = (stored for stored in file.open().modules)
    proof = proof_of(module_id, part.version, path, entry, part.version)
    file.close()
    change(file, "UPDATE versions SET (module_id, path, entry, proof) = (?, ?, ?, ?)", module_id, path, entry, proof)
    change(file, "UPDATE live SET module_id = ?", module_id)
    state = file.open()
    assert state.modules == ()
    assert len(state.faults) == 1
    assert words in state.faults[0]


def test_of_a_manifest_that_is_not_what_was_written_nothing_is_brought_back(tmp_path: Path) -> None:
    """What it listed is left to the disk: served without it, a file that it left out would be a module."""
    file = state_file(tmp_path)
    file.open()
    file.write([many("word")], (1, 2), NOBODY)
    file.close()
    change(file, "UPDATE about SET value = CAST(replace(value, 'number3', 'numberx') AS BLOB) WHERE key = 'manifest'")
    state = file.open()
    assert (state.manifest, state.modules) == (None, ())
    assert state.faults == ("the manifest: it is not what was written; what it lists is not brought back",)
    file.write([many("word")], (1, 2), NOBODY)
    state = reread(file)
    assert state.faults == ()
    assert state.manifest is not None
    assert state.manifest.data == MANIFEST.data
    assert len(state.modules) == len(IDS)
    file.close()


def test_a_manifest_with_a_right_proof_is_checked_too(file: StateFile) -> None:
    """Whoever wrote it."""
    data = b'{"version": "1.0", "modules": {"a": {"path": "/etc/passwd"}}}'
    proof = proof_of("manifest", data)
    change(file, "INSERT OR REPLACE INTO about VALUES ('manifest', ?, ?)", data, proof)
    state = file.open()
    assert state.manifest is None
    assert len(state.faults) == 1
    assert "absolute" in state.faults[0]
    file.write([snapshot_of(version())], (1, 2), NOBODY)
    assert reread(file).faults == ()


@pytest.mark.parametrize("value", [-1, 0, 2**53, 1.5, "7", b"7", None])
def test_a_generation_that_can_t_be_one_counts_as_none(file: StateFile, value: object) -> None:
    """With its proof or without."""
    change(
        file, "UPDATE about SET (value, proof) = (?, ?) WHERE key = 'generation'", value, proof_of("generation", value)
    )
    assert file.open().generation == 0
    file.close()
    change(file, "UPDATE about SET (value, proof) = (8, ?) WHERE key = 'generation'", proof_of("generation", 9))
    assert file.open().generation == 0


def test_a_root_that_can_t_be_one_counts_as_none(file: StateFile) -> None:
    """Then the modules directory is not told apart from another one."""
    assert file.open().root == (1, 2)
    file.close()
    for value in ("1", "1 2 3", "-1 2", "x y", None, 7, b"1 2"):
        change(file, "UPDATE about SET (value, proof) = (?, ?) WHERE key = 'root'", value, proof_of("root", value))
        assert file.open().root is None
        file.close()


DAMAGES = ["bits", "bytes", "zeros", "cut", "swapped"]
ROUNDS = 40


def damage(data: bytearray, kind: str, chance: random.Random) -> None:
    """Damage a file's bytes as disks, memory and cut-off copies do."""
    place = chance.randrange(len(data))
    if kind == "bits":
        for _ in range(chance.choice((1, 1, 3, 20))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == "bytes":
        for _ in range(chance.choice((1, 5, 50))):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif kind == "zeros":
        data[place : place + 512] = bytes(len(data[place : place + 512]))
    elif kind == "cut":
        del data[place:]
    else:
        pages = len(data) // 4096
        one, other = (4096 * chance.randrange(pages) for _ in range(2))
        data[one : one + 4096], data[other : other + 4096] = data[other : other + 4096], data[one : one + 4096]


@pytest.mark.parametrize("where", ["file", "journal"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_refused_or_gives_what_was_written(tmp_path: Path, kind: str, where: str) -> None:
    """Never another module, another version or another manifest, and never anything but a ``StateFault``.

    What was live before the last write may come back, where the damage is in the journal that has that.
    """
    first = many("old")
    second = many("new", first)
    source = tmp_path / "source"
    source.mkdir()
    file = state_file(source)
    file.open()
    file.write([first], (1, 2), NOBODY)
    if where == "file":
        file.write([second], (1, 2), NOBODY)
        file.close()
    else:
        reread(file)  # the first is in the file now, the second in the journal
        file.write([second], (1, 2), NOBODY)
    names = [name for name in ("state.sqlite3", "state.sqlite3-wal") if (source / name).exists()]
    assert len(names) == (1 if where == "file" else 2)
    right = {stored.module_id: stored for stored in kept_of(second)}
    able = (right,) if where == "file" else (right, {stored.module_id: stored for stored in kept_of(first)})
    chance = random.Random(f"{kind} {where}")
    outcomes = {"refused": 0, "in part": 0, "whole": 0}
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            data = bytearray((source / name).read_bytes())
            if name == names[-1]:
                damage(data, kind, chance)
            (folder / name).write_bytes(data)
        outcomes[look(state_file(folder, tmp_path), able, second)] += 1
        shutil.rmtree(folder)
    file.close()
    assert sum(outcomes.values()) == ROUNDS
    if where == "file":
        assert outcomes["refused"] + outcomes["in part"] > 0


def look(file: StateFile, able: tuple[dict[str, Stored], ...], snapshot: Snapshot) -> str:
    """Open a damaged file, check all that it gives, and write to it; say how much it gave."""
    try:
        state = file.open()
    except StateFault:
        with contextlib.suppress(StateFault):
            check(file.read(), able)
        return "refused"
    check(state, able)
    with contextlib.suppress(StateFault):
        file.write([many("newer", snapshot)], (1, 2), NOBODY)
        again = reread(file)
        right = {stored.module_id: stored for stored in kept_of(many("newer", snapshot))}
        check(again, (*able, right))
    file.close()
    return "whole" if len(state.modules) == len(IDS) and not state.faults else "in part"


def check(state: StoredState, able: tuple[dict[str, Stored], ...]) -> None:
    """Hold what a file gave against what was written."""
    modules = {stored.module_id: stored for stored in state.modules}
    assert len(modules) == len(state.modules)
    assert any(modules.items() <= right.items() for right in able)
    manifest = state.manifest
    assert manifest is None or manifest.data == MANIFEST.data
    assert state.generation in (0, 1, 2, 3)
    assert state.root in (None, (1, 2))
