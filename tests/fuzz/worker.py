"""One reader under atheris: the process that :mod:`tests.fuzz.__main__` starts, watches and reads the figures of."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dspyreload.model", "dspyreload.disk"]):
    from tests.fuzz.targets import TARGETS, text_of_input

from tests.fuzz.counting import Counted, end_with
from tests.fuzz.mutation import mutated

__all__: list[str] = []


def main(reader: str, figures: str, parent: str, *arguments: str) -> None:
    """Fuzz until libFuzzer's own limits end the process.

    :param figures: the file that counts are written to. ``parent``: the process that started this one.
    :param arguments: libFuzzer's.
    """
    end_with(int(parent))

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        changed = mutated(reader, data, random.Random(seed))
        return atheris.Mutate(data, most) if changed is None else changed[:most]

    target = TARGETS[reader]
    counted = Counted(lambda data: target(text_of_input(reader, data)), Path(figures))
    atheris.Setup([sys.argv[0], *arguments], counted, custom_mutator=mutator)
    atheris.Fuzz()


main(*sys.argv[1:])
