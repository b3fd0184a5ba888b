"""The seeds of the fuzzer, and whatever it found once, on every Python and without it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dspyreload.disk.judge import judge
from dspyreload.model.finding import Kind
from dspyreload.model.manifest import parse_manifest
from tests.fuzz.__main__ import READERS
from tests.fuzz.choices import Choices
from tests.fuzz.files import HERE, REGISTRATIONS, MemorySource, programmed
from tests.fuzz.grammar import document
from tests.fuzz.kept import read_kept
from tests.fuzz.mutation import mutated
from tests.fuzz.strict import strict
from tests.fuzz.targets import TARGETS, text_of_input

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

HOME = Path(__file__).parent
SEEDS = sorted(path for kind in ("corpus", "regressions") for path in (HOME / kind).glob("*/*"))


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed_breaks_no_rule(path: Path) -> None:
    """Neither for the reader it is of, nor for another."""
    for reader, target in TARGETS.items():
        target(text_of_input(reader, path.read_bytes()))


def test_each_reader_has_seeds() -> None:
    """A reader of another name would not be fuzzed."""
    assert {path.parent.name for path in SEEDS} == set(READERS) == set(TARGETS)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("full", Kind.GOOD),
        ("small", Kind.GOOD),
        ("includes", Kind.GOOD),
        ("registered", Kind.GOOD),
        ("tools", Kind.GOOD),
        ("pending", Kind.PENDING),
        ("twice", Kind.BROKEN),
    ],
)
def test_the_seeds_of_modules_reach_every_verdict(name: str, kind: Kind) -> None:
    """What is accepted is held against most rules: seeds that were all refused would test little."""
    source = MemorySource((HOME / "corpus" / "module" / f"{name}.json").read_bytes())
    found = judge(HERE, source, module_id=None, entry=None, last_id=None, registrations=REGISTRATIONS)
    assert found.kind is kind


@pytest.mark.parametrize("program", ["bare", "thought", "two"])
def test_each_program_has_a_seed_that_it_accepts(program: str) -> None:
    """A state is judged beside three templates."""
    source = MemorySource((HOME / "corpus" / "state" / f"{program}.json").read_bytes())
    found = judge(HERE, source, module_id="npc.it", entry=None, last_id=None, registrations=programmed(program))
    assert found.kind is Kind.GOOD


def test_a_seed_of_each_other_reader_is_accepted() -> None:
    """A manifest with all that one can have, and a state file's rows, of two modules."""
    assert len(parse_manifest((HOME / "corpus" / "manifest" / "all.json").read_bytes())) == 1
    state = read_kept((HOME / "corpus" / "kept" / "two.json").read_bytes())
    assert state is not None
    assert [stored.module_id for stored in state.modules] == ["it", "\u00e9"]
    assert state.manifest is not None
    assert (state.generation, state.root, state.faults) == (7, (12, 34), ())


@pytest.mark.parametrize("reader", TARGETS)
def test_made_up_files_break_no_rule(reader: str) -> None:
    """Three hundred files of the format's grammar, and changes of them; the same ones each time."""
    chance = random.Random(8259)
    for _ in range(100):
        text = document(reader, Choices(chance.randbytes(300)))
        TARGETS[reader](text)
        for _ in range(2):
            TARGETS[reader](text_of_input(reader, mutated(reader, text, chance) or text))


@pytest.mark.parametrize("reader", ["module", "state", "manifest"])
def test_made_up_files_are_accepted_often_enough(reader: str) -> None:
    """A grammar that made nothing but faults would test the faults only."""
    chance = random.Random(1)
    good = 0
    for _ in range(200):
        data = document(reader, Choices(chance.randbytes(300)))
        if reader == "manifest":
            good += _is_manifest(data)
        else:
            good += any(_is_good(data, name) for name in ("bare", "thought", "two"))
    assert good >= 10


def _is_manifest(data: bytes) -> bool:
    try:
        return isinstance(strict(data), dict) and len(parse_manifest(data)) > 0
    except Exception:
        return False


def _is_good(data: bytes, program: str) -> bool:
    found = judge(
        HERE, MemorySource(data), module_id=None, entry=None, last_id="npc.it", registrations=programmed(program)
    )
    if found.kind is Kind.PENDING:
        found = judge(
            HERE, MemorySource(data), module_id="npc.it", entry=None, last_id=None, registrations=programmed(program)
        )
    return found.kind is Kind.GOOD
