"""Modules that say of themselves who wrote them, as which number, and what their sum is."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import attrs

from dspyreload.model.module import OptimizedModule

__all__ = ["WRITERS", "Place", "WrongRead", "number_in", "number_of", "places", "text_of"]

WRITERS = "abc"
_SHARED, _ROVING = 14, 6  # folders in which all write, and those that their only writer moves

_FILE = re.compile(rb'"instruction": "(\S+) (\w) (\d{7}) ([0-9a-f]{8}) ([^"]*)".*"version": "(\d{7})"}}\n', re.DOTALL)
_SIGNATURE = {
    "inputs": [{"name": "player_message"}],
    "outputs": [{"name": "response"}],
}


class WrongRead(Exception):
    """A reader was given what nobody wrote."""


@attrs.frozen(order=True)
class Place:
    """Where a module lies, and who alone writes it.

    :ivar named: whether its file says its id, and who answers how; else the id comes from the path.
    """

    module_id: str
    folder: str
    writer: str
    named: bool

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.module_id.rpartition('.')[2]}.json"

    @property
    def roves(self) -> bool:
        """Whether its folder is moved."""
        return self.folder.startswith("roving")

    def path(self, modules: Path, folder: str | None = None) -> Path:
        """Return its path under the modules directory, in the folder's present name."""
        return modules / (folder or self.folder) / self.name


def places(count: int) -> Iterator[Place]:
    """Deal modules out to folders and writers: in most folders all three write, some are one writer's own."""
    for number in range(count):
        folder, row = number % (_SHARED + _ROVING), number // (_SHARED + _ROVING)
        roving = folder - _SHARED
        name = f"town{folder:02d}" if roving < 0 else f"roving{roving}"
        writer = WRITERS[(row if roving < 0 else roving) % len(WRITERS)]
        named = roving >= 0 or row // len(WRITERS) % 2 == 0  # what moves keeps the id that its file says
        yield Place(f"{name}.m{number:03d}", name, writer, named)


def text_of(place: Place, number: int) -> bytes:
    """Return the bytes of a module file: its number is in every word, at the end too, and summed up."""
    body = " ".join([f"w{number:07d}"] * (20 + number * 7 % 150))
    instruction = f"{_sealed(place.module_id, place.writer, number, body)} {body}"
    module: dict[str, object] = {"instruction": instruction}
    if place.named:
        demo = {"inputs": {"player_message": "Hello"}, "outputs": {"response": f"{number:07d}"}}
        module = {
            "module_id": place.module_id,
            "predictor_type": "predict",
            "signature_name": f"soak.{place.module_id}",
            "signature": _SIGNATURE,
            **module,
            "demos": [demo],
        }
    return f"{json.dumps({**module, 'metadata': {'version': f'{number:07d}'}})}\n".encode()


def _sealed(module_id: str, writer: str, number: int, body: str) -> str:
    words = f"{module_id} {writer} {number:07d}"
    return f"{words} {zlib.crc32(f'{words} {body}'.encode()):08x}"


def number_of(module_id: str, data: bytes) -> int:
    """Return the number that a module's bytes were written with.

    :raises WrongRead: where they are not one version of that module, whole.
    """
    found = _FILE.search(data)
    if found is None or not data.startswith(b"{"):
        raise WrongRead(f"{module_id} is torn: {data[:40]!r}...{data[-40:]!r}")
    whose, writer, number, seal, body, version = found.groups()
    if whose.decode() != module_id or zlib.crc32(b" ".join((whose, writer, number, body))) != int(seal, 16):
        raise WrongRead(f"{module_id} is not what was written: {data[:200]!r}")
    if number != version:
        raise WrongRead(f"{module_id} is mixed: it begins as {number.decode()} and ends as {version.decode()}")
    return int(number)


def number_in(module_id: str, module: OptimizedModule) -> int:
    """Return the number of a decoded module.

    :raises WrongRead: as :func:`number_of`.
    """
    whose, writer, digits, seal, body = [*module.instruction.split(" ", 4), *[""] * 4][:5]
    numbers = {word[1:] for word in body.split(" ")} | {module.metadata.version}
    numbers |= {str(demo.outputs["response"]) for demo in module.demos}
    if numbers != {digits}:
        raise WrongRead(f"{module_id} is mixed: {sorted(numbers)[:5]}")
    if whose != module_id or f"{whose} {writer} {digits} {seal}" != _sealed(whose, writer, int(digits), body):
        raise WrongRead(f"{module_id} is not what was written: {module.instruction[:200]!r}")
    return int(digits)
