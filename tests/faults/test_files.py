"""Files that may not be read, and what is no file at all: a real server in a process of its own."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Save
from tests.faults.game import text
from tests.faults.machine import needs
from tests.faults.parent import Child, serving
from tests.faults.rows import Seen, row

NOBODY = 65534
LIMIT = 4 * 1024 * 1024  # bytes of a file, as a service has it by default
SECRET = "The treasure lies under the old oak."


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A modules directory that every user gets to: pytest's own folders are closed, again and again."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "modules").mkdir()
        yield Path(name) / "modules"


def closed(path: Path) -> None:
    """Let nobody read a file or a folder."""
    path.chmod(0)


def still(child: Child, path: str) -> str:
    """Return how an error in the log ends that names the version which goes on serving."""
    event = child.event("ReloadError", path)
    return f"version {event['serving'][:12]} of {event['module_id']} is still serving"


@row(26)
def test_row_26_no_permission(everybodys: Path, seen: Seen) -> None:
    """A file that the server's user may not read is rejected in words, and its last good version serves, till it may.

    In a folder that it may not enter nothing is gone. The server is another user from its first read on, as with
    ``twistd --uid``: the interpreter itself may lie where only root gets.
    """
    needs("root")
    before = {"npc/smith.json": "Smith 1.", "town/cook.json": "Cook 1.", "town/inn/page.json": "Page 1."}
    for path, instruction in before.items():
        (everybodys / path).parent.mkdir(exist_ok=True, parents=True)
        (everybodys / path).write_text(text(instruction))
    smith, town = everybodys / "npc/smith.json", everybodys / "town"
    with serving(everybodys, uid=NOBODY, settings={"rescan_interval": 0.5}) as child:
        assert child.report()["served"] == before
        smith.write_text(text("Smith 2."))
        child.until(lambda report: report["served"]["npc/smith.json"] == "Smith 2.")

        closed(smith)
        closed(town)
        words = "the file may not be read here (permission denied); change its permissions"
        assert child.event("ReloadError", "npc/smith.json")["error"] == words
        child.told("log", lambda said: said["text"] == "town: the folder can't be listed: Permission denied")
        report = child.passes(3)
        assert report["served"] == {**before, "npc/smith.json": "Smith 2."}
        assert f"npc/smith.json: {words}; {still(child, 'npc/smith.json')}" in child.lines("error")
        told = child.events("ReloadError")
        child.passes(3)
        assert child.events("ReloadError") == told  # each of them once

        smith.write_text(text("Smith 3."))  # root may
        smith.chmod(0o644)
        town.chmod(0o755)
        (town / "cook.json").write_text(text("Cook 2."))
        after = {**before, "npc/smith.json": "Smith 3.", "town/cook.json": "Cook 2."}
        report = child.until(lambda report: report["served"] == after)
        assert child.events("ModuleDeleted") == []
        assert report["health"] == ["ok"]
        stopped = child.end()
    seen("file and folder of mode 000, read as uid 65534: named in the log, last good versions, live when readable")
    seen(f"{len(told)} `ReloadError`; stopped in {stopped * 1e3:.0f} ms")


def pipe(path: Path) -> None:
    """Make a FIFO: a naive open waits for its writer for ever."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """Make a device that never ends."""
    os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(1, 5))


def sparse(path: Path) -> None:
    """Make a file of 8 GiB."""
    path.touch()
    os.truncate(path, 8 << 30)


def link_out(path: Path) -> None:
    """Make a link to a whole module outside."""
    path.symlink_to(path.parents[2] / "secret.json")


def link_to_itself(path: Path) -> None:
    """Make a link that leads round."""
    path.symlink_to(path.name.removeprefix("."))  # its name later


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a FIFO": (pipe, "this is a pipe or a device, not a file"),
    "a device": (device, "this is a pipe or a device, not a file"),
    "8 GiB": (sparse, f"the file has 8,589,934,592 bytes; {LIMIT:,} are allowed; make it smaller"),
    "a link out": (
        link_out,
        "the file lies outside of the modules directory (a link leads out of it); copy it into it",
    ),
    "a link round": (link_to_itself, "the file is a link that leads to itself; put the file itself in its place"),
    "a folder": (Path.mkdir, "this is a folder, not a file"),
}
"""What may come to lie where a module was, how it is made, and what is said of it."""


def put_in_place(made: Path, path: Path) -> None:
    """Put something where a module lies. A folder can't be renamed over a file."""
    if made.is_dir():
        path.unlink()
    made.rename(path)


@row(28)
def test_row_28_what_is_no_file(modules: Path, save: Save, seen: Seen) -> None:
    """Each is rejected by name, none is opened for long or read, and the last good version serves in its place."""
    needs("root")  # for the device
    save("../secret.json", text(SECRET))
    paths = {kind: f"npc/{kind.replace(' ', '_')}.json" for kind in KINDS}
    served = {path: f"{kind} was a module." for kind, path in paths.items()}
    for path, instruction in served.items():
        save(path, text(instruction))
    taken: dict[str, float] = {}
    with serving(modules, settings={"rescan_interval": 30.0}) as child:
        child.report()
        for kind, (make, words) in KINDS.items():
            made = modules / "npc" / f".{paths[kind].rpartition('/')[2]}"  # a name that is passed over
            make(made)
            put_in_place(made, modules / paths[kind])
            began = time.time()
            event = child.event("ReloadError", paths[kind])
            taken[kind] = event["at"] - began
            assert event["error"] == words
            assert any(
                line.startswith(f"{paths[kind]}: {words}; ") and line.endswith(still(child, paths[kind]))
                for line in child.lines("error")
            )
        report = child.report()
        longest = max(said["longest"] for word, said in child.said if word == "report")
        assert report["served"] == served
        assert (report["health"], report["reloads_failed"]) == (["ok"], len(KINDS))
        stopped = child.end()
    assert longest < 3.0  # a read of what never ends, or a wait for a writer, would be no beat at all
    assert max(taken.values()) < 10.0  # on a machine with much else to do
    words = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in taken.items())
    seen(f"rejected after {words}; the reactor's pulse {longest * 1e3:.0f} ms at most")
    seen(f"stopped in {stopped * 1e3:.0f} ms")


@row(28)
def test_row_28_what_a_manifest_lists_outside(modules: Path, save: Save, seen: Seen) -> None:
    """A manifest with a path that leads out is rejected whole, and what it lists that is no file by name.

    The manifest before it is still in force, and what lies outside is not read.
    """
    save("../secret.json", text(SECRET))
    save("npc/smith.json", text("Smith 1."))

    def lists(**paths: str) -> None:
        entries = {module_id: {"path": path} for module_id, path in paths.items()}
        save("manifest.json", json.dumps({"version": "1.0", "modules": entries}))

    (modules / "folder.json").mkdir()
    (modules / "link.json").symlink_to(modules.parent / "secret.json")
    (modules / "out").symlink_to(modules.parent)
    outside = {
        "../secret.json": "leads out of the modules directory",
        "npc/../../secret.json": "leads out of the modules directory",
        str(modules.parent / "secret.json"): "is absolute; name it relative to the modules directory",
    }
    no_module = {
        "link.json": "(a link leads out of it)",
        "out/secret.json": "(a link leads out of it)",
        "folder.json": "this is a folder, not a file",
    }
    lists(smith="npc/smith.json")
    taken: list[float] = []
    with serving(modules, settings={"rescan_interval": 30.0}) as child:
        for path, words in {**outside, **no_module}.items():
            mark = child.mark()
            save("npc/smith.json", text("It must not go live without the other."))
            began = time.time()
            lists(smith="npc/smith.json", other=path)
            event = child.event("ReloadError", "manifest.json" if path in outside else path, after=mark)
            taken.append(event["at"] - began)
            assert words in event["error"]
            assert path[:40] in event["error" if path in outside else "path"]
            report = child.report()
            assert report["served"].keys() == {"npc/smith.json"}
            assert report["health"] == ["ok"]
            lists(smith="npc/smith.json")
            save("npc/smith.json", text(f"Smith without {path}."))
            child.until(lambda report, path=path: report["served"]["npc/smith.json"] == f"Smith without {path}.")  # type: ignore[misc]
        longest = max(said["longest"] for word, said in child.said if word == "report")
        assert SECRET not in child.process.text
        stopped = child.end()
    assert longest < 3.0
    assert max(taken) < 10.0
    seen(
        f"6 manifests with `../`, a link out or a folder: rejected within {max(taken):.2f} s, nothing outside was read"
    )
    seen(f"stopped in {stopped * 1e3:.0f} ms")
