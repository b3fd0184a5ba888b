"""One file, read afresh: what it is by the rules of the formats."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import stat

import attrs

from dspyreload.model.faults import FaultError
from dspyreload.model.manifest import MANIFEST, ModuleEntry
from dspyreload.model.module_file import parse_module

__all__ = ["Disk", "Good", "Version", "Why", "judge"]

Why = tuple[object, ...]
"""Why a file is rejected; another content is another reason."""


@attrs.frozen
class Version:
    """What of a module version a game can notice."""

    path: str
    data: bytes
    texts: tuple[bytes, ...] = ()
    tags: tuple[str, ...] = ()


class Disk:
    """The directory, read afresh each time."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)

    def read(self, path: str) -> bytes | str | None:
        """Return a file's bytes, or in words why they can't be had, or None where there is no file."""
        name = f"{self.root}/{path}"
        try:
            info = os.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return str(error.errno)
        if not stat.S_ISREG(info.st_mode):
            return "no file"
        if not os.path.realpath(name).startswith(f"{self.root}/"):
            return "outside"
        with open(name, "rb") as file:
            return file.read()

    def files(self) -> list[str]:
        """List what may be modules. A linked folder counts once, after the real ones, the first by name."""
        found: list[str] = []
        folders, links, followed = [""], list[str](), set[str]()
        while folders or links:
            if folders:
                folder = folders.pop()
                for name in os.listdir(f"{self.root}/{folder}"):
                    self._sort_in(f"{folder}/{name}" if folder else name, found, folders, links)
                continue
            link = min(links)
            links.remove(link)
            real, name = os.path.realpath(f"{self.root}/{link}"), f"{self.root}/{link}"
            inside, leads_up = f"{real}/".startswith(f"{self.root}/"), name.startswith(f"{real}/")
            if inside and not leads_up and real not in followed:
                followed.add(real)
                folders.append(link)
        return sorted(found)

    def _sort_in(self, path: str, found: list[str], folders: list[str], links: list[str]) -> None:
        name, full = posixpath.basename(path), f"{self.root}/{path}"
        if name.startswith(".") or name.endswith(("~", ".tmp")):
            return
        if os.path.isdir(full):
            (links if os.path.islink(full) else folders).append(path)
        elif name.endswith(".json") and path != MANIFEST:
            found.append(path)


@attrs.frozen
class Good:
    """A file that may serve."""

    module_id: str
    version: Version


def judge(disk: Disk, path: str, module_id: str | None = None, entry: ModuleEntry | None = None) -> Good | Why | None:
    """Say what a file is: good, or why not, or None where there is none."""
    data = disk.read(path)
    if data is None or isinstance(data, str):
        return None if data is None else ("unreadable", data)
    if entry is not None and entry.hash not in (None, hashlib.sha256(data).hexdigest()):
        return ("another hash", data)
    own = module_id or posixpath.splitext(path)[0].replace("/", ".")
    try:
        draft = parse_module(data, own)
    except FaultError as fault:
        return ("fault", data, fault.message)
    if module_id is not None and draft.module.module_id != module_id:
        return ("another id", data)
    texts: dict[str, bytes] = {}
    wrong = _include(disk, (path,), [name for name, _place in draft.text_files], texts)
    if wrong is not None:
        return ("includes", data, tuple(texts.values()), wrong)
    said = tuple(text for text in texts.values() if text.strip())
    tags = entry.tags if entry is not None else ()
    return Good(draft.module.module_id, Version(path, data, said, tags))


def _include(disk: Disk, chain: tuple[str, ...], names: list[str], texts: dict[str, bytes]) -> Why | None:
    """Gather what a file includes, in the order in which it is said; return what is wrong with it."""
    for name in names:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(chain[-1]), name))
        if path in chain:
            return ("a circle", path)
        if path in texts:
            continue
        data = disk.read(path)
        if data is None or isinstance(data, str):
            return ("missing" if data is None else data, path)
        if path.endswith(".json"):
            try:
                value = json.loads(data)
            except ValueError:
                return ("no JSON", path, data)
            if isinstance(value, dict) and value.keys() & {"instruction", "include"}:  # else it is just a text
                if not isinstance(said := value.get("instruction", ""), str):
                    return ("no text", path, data)
                wrong = _include(disk, (*chain, path), value.get("include", []), texts)
                if wrong is not None:
                    return wrong
                data = said.encode()
        texts[path] = data
    return None
