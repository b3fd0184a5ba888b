"""Words of files on their way into the log of a real server: harmless, one line each, and never a prompt."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tests.end_to_end.processes import LIMIT, Process, running, twistd
from tests.faults.evil import EVIL, FILES, MANIFESTS, NAME, PROGRAMS, PROMPT, REFUSED
from tests.faults.game import text
from tests.faults.hostile import state

SECRET = re.compile(PROMPT.encode(), re.IGNORECASE)

GAME = f"""
import dspy

EVIL = {EVIL!r}


class Naming(dspy.Module):
    def __init__(self):
        super().__init__()
        self.name = dspy.Predict("topic -> title")


def refuse(module):
    raise ValueError("it says " + EVIL)


def setup(engine):
    for module_id in {PROGRAMS!r}:
        engine.programs.register(module_id, Naming())
    engine.validators.add(refuse, modules={REFUSED!r})
"""


class Log:
    """What a server wrote."""

    def __init__(self, file: Path, process: Process) -> None:
        self.file, self.process = file, process

    def data(self) -> bytes:
        """Return all of it so far, as it is."""
        return self.file.read_bytes()

    def wait_for(self, pattern: str, after: int = 0) -> None:
        """Wait until something is in it, behind so many bytes."""
        until = time.monotonic() + LIMIT
        while re.search(pattern.encode(), self.data()[after:]) is None:
            assert time.monotonic() < until, f"no {pattern!r} in:\n{self.data()[after:]!r}"
            assert self.process.popen.poll() is None, self.data()
            time.sleep(0.01)

    def end(self) -> None:
        """End the server; look at each byte of its log, and at what it printed."""
        self.process.end()
        printed = "\n".join(self.process.lines).encode()
        for data in (self.data(), printed):
            assert SECRET.search(data) is None
            for line in data.decode().split("\n"):
                harmful = [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
                assert harmful == [], ascii(line)
        lines = self.data().decode().removesuffix("\n").split("\n")
        strangers = [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* \[[\w.#-]+\] ", line)]
        assert strangers == []  # each line is one that the server began
        assert not any("[forged#info]" in line[:60] for line in lines)
        assert b"Unable to format" not in self.data()


@contextlib.contextmanager
def server(directory: Path) -> Iterator[Log]:
    """Run ``twistd`` in the foreground, with its log in a file."""
    (directory / "game.py").write_text(GAME, encoding="utf-8")
    log = directory / "log"
    options = ("--modules", "modules", "--debounce", "0.02", "--rescan", "0.5", "--setup", "game")
    command = twistd("-n", "--pidfile=", f"--logfile={log}", "dspyreload", *options)
    with running(*command, cwd=directory) as process:
        watched = Log(log, process)
        until = time.monotonic() + LIMIT
        while not log.exists():
            assert time.monotonic() < until, process.text
            time.sleep(0.01)
        watched.wait_for("watching ")
        yield watched


def put(path: Path, content: bytes) -> None:
    """Save by renaming: no half of it is seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = path.with_name(f".{os.urandom(4).hex()}.tmp")
    other.write_bytes(content)
    other.rename(path)


def test_words_of_modules_are_harmless_in_the_log(tmp_path: Path) -> None:
    """Whatever a module's file and its name hold, the log has no control character, no forged line and no prompt.

    Nothing of it is taken for a format: what stands in braces comes out as it is.
    """
    modules = tmp_path / "modules"
    modules.mkdir()
    with server(tmp_path) as log:
        for path, content in FILES.values():
            put(modules / path, content)
            log.wait_for(rf"\] {re.split(r'[^a-z0-9]', path)[0]}")  # each has a name of its own
        (modules / FILES["a good file's name"][0]).unlink()
        log.wait_for("is no longer served")
        log.end()
    told = log.data().decode()
    assert "n01\\x1b]0;evil\\x07\\x1b[2J\\r\\n2026" in told
    assert "{x}{0.__class__}{log_level}%s" in told


def test_words_of_the_manifest_are_harmless_in_the_log(tmp_path: Path) -> None:
    """Ids, paths, keys and names of a manifest likewise."""
    modules = tmp_path / "modules"
    modules.mkdir()
    put(modules / "smith.json", text(PROMPT).encode())
    put(modules / "cook.json", text(PROMPT).encode())
    put(modules / "saved.json", state())
    with server(tmp_path) as log:
        for number, whole in enumerate(MANIFESTS.values()):
            good = {"modules": {f"smith{number}": {"path": "smith.json"}}}
            put(modules / "manifest.json", json.dumps(good).encode())
            log.wait_for(rf"\] smith{number} is live")
            before = len(log.data())
            put(modules / "manifest.json", json.dumps(whole).encode())
            log.wait_for(r"\] manifest\.json[: ]", before)
        log.end()


def test_names_that_are_no_text_are_harmless_in_the_log(tmp_path: Path) -> None:
    """A name that is not UTF-8 keeps no other file from being served, and is logged as what it is."""
    modules = tmp_path / "modules"
    modules.mkdir()
    with server(tmp_path) as log:
        with open(os.fsencode(modules) + b"/n01\xff\xfe\x1b[2J.json", "wb") as file:
            file.write(text(PROMPT).encode())
        log.wait_for("n01.*: the name is not UTF-8; rename the file")
        put(modules / "smith.json", text(PROMPT).encode())
        log.wait_for("smith is live")
        log.end()


def test_names_of_directories_are_harmless_in_the_log(tmp_path: Path) -> None:
    """The modules directory, the state file and the game's module may be called anything, too."""
    directory = tmp_path / f"d{NAME[:40]}"
    (directory / "modules").mkdir(parents=True)
    put(directory / "modules/smith.json", text(PROMPT).encode())
    with server(directory) as log:
        (directory / "modules").rename(directory / "away")
        log.wait_for("the modules directory can't be looked at")
        (directory / "away").rename(directory / "modules")
        log.wait_for("the modules directory is back")
        log.end()
