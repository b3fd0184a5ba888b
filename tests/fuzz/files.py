"""A modules directory in memory, and what a game registered: what the readers read files beside."""

from __future__ import annotations

import hashlib

import attrs

from dspyreload.disk.including import Source
from dspyreload.disk.reading import FileRead, ReadFault
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import PredictorShape, Registered, RegisteredProgram, Registrations, shape_of

__all__ = ["DIALOGUE", "HERE", "MemorySource", "PROGRAMS", "REGISTRATIONS", "programmed"]

HERE = "npc/it.json"
"""The file that is read."""

_NOWHERE = "/dev/null/nowhere"  # no folder can be there
_LIMIT = 4 * 1024 * 1024
_FILES = {
    "town.md": b"The town lies at a river.\n",
    "npc/town.md": "Es gibt ein Tor für Händler.\n".encode(),
    "npc/smith.md": b"You are a smith.",
    "npc/empty.md": b" \n",
    "npc/latin.md": b"caf\xe9",
    "npc/base.json": b'{"instruction": "Be brief.", "include": ["../town.md"]}',
    "npc/loop.json": b'{"instruction": "x", "include": ["loop.json"]}',
    "npc/round.json": b'{"instruction": "x", "include": ["it.json"]}',
    "npc/broken.json": b'{"instruction": "x",}',
    "npc/data.json": b'{"towns": ["Ostwick"]}',
}


def read_of(data: bytes) -> FileRead:
    """Return bytes as a file would give them."""
    return FileRead(data, hashlib.sha256(data).hexdigest(), (1, 2, len(data), 3, 4), False)


_READS = {path: read_of(data) for path, data in _FILES.items()}


class MemorySource(Source):
    """A few files that can be included, and the one that is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(_NOWHERE, _LIMIT)
        self._own = read_of(data)

    def read(self, path: str) -> FileRead:
        """Give a file, or raise as reading one does."""
        if path == HERE:
            return self._own
        if path == "npc/locked.md":
            raise ReadFault("permission denied")
        if path not in _READS:
            raise ReadFault("there is no such file", missing=True)
        return _READS[path]


def _fields(*names: str) -> tuple[FieldDefinition, ...]:
    return tuple(FieldDefinition(name=name, prefix=f"{name.replace('_', ' ').title()}:") for name in names)


DIALOGUE = SignatureDefinition(inputs=_fields("player_message"), outputs=_fields("response"))
_PLAIN, _THOUGHT = shape_of("predict", DIALOGUE), shape_of("chain_of_thought", DIALOGUE)

PROGRAMS = {
    "bare": RegisteredProgram((_PLAIN,), "1"),
    "thought": RegisteredProgram((_THOUGHT,), "2"),
    "two": RegisteredProgram(
        (PredictorShape("plan", _PLAIN.definition), PredictorShape("say.predict", _THOUGHT.definition)),
        "3",
        others=("memory",),
    ),
}
"""Templates as a game may have registered them: a Predict, a ChainOfThought, and one of both with a part beside."""

REGISTRATIONS = Registrations(signatures={"npc.dialogue": Registered(DIALOGUE, "4")}, dspy="3.4.1")


def programmed(name: str) -> Registrations:
    """Return what is registered where one of the programs is that of the file."""
    return attrs.evolve(REGISTRATIONS, programs={"npc.it": PROGRAMS[name]})
