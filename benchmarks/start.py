"""How long it takes to start: the whole life of a Python that imports dspyreload, and a server until it serves.

Beside the import: one that imports what we stand on, which are the parts of Twisted that we import, attrs and msgspec;
and one that imports dspy. Beside the server, ``twistd -n dspyreload`` until it watches a directory of modules: the same
Twisted with an application of nothing, until its reactor runs. All have bytecode, as what is installed has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, times
from benchmarks.modules import directory_of

__all__ = ["run", "with_bytecode"]

_FOUNDATION = (
    "import twisted.application.service, twisted.internet.defer, twisted.logger, attrs, msgspec.json, msgspec.inspect"
)
_ON_IT = "what we stand on"
_IMPORTS = {_ON_IT: _FOUNDATION, "import dspy": "import dspy", "nothing": "pass"}
_TWISTD = "from twisted.scripts.twistd import run; run()"
_NOTHING = """
from twisted.application.service import Application
from twisted.internet import reactor

application = Application("nothing")
reactor.callWhenRunning(print, "running", flush=True)
"""


@contextmanager
def with_bytecode() -> Iterator[dict[str, str]]:
    """Give an environment in which Python keeps bytecode, even where it is told to write none beside the sources."""
    with tempfile.TemporaryDirectory() as directory:
        yield {**os.environ, "PYTHONPYCACHEPREFIX": directory, "PYTHONDONTWRITEBYTECODE": ""}


def _imported(statement: str, environment: dict[str, str]) -> float:
    """Return the seconds of a Python that does this."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return time.perf_counter() - started


def _served(directory: str, arguments: list[str], word: str, environment: dict[str, str]) -> float:
    """Return the seconds until a twistd says a word."""
    command = [sys.executable, "-c", _TWISTD, "-n", *arguments]
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if word in line:
                taken = time.perf_counter() - started
                server.terminate()
                server.stdout.read()
                return taken
    raise RuntimeError("".join(said))


def _imports(repeat: int, environment: dict[str, str]) -> Figure:
    ours: list[float] = []
    peers: dict[str, list[float]] = {name: [] for name in _IMPORTS}
    for again in range(repeat + 1):
        mine = _imported("import dspyreload", environment)
        others = {name: _imported(statement, environment) for name, statement in _IMPORTS.items()}
        if again:  # the first one writes the bytecode
            ours.append(mine)
            for name, seconds in others.items():
                peers[name].append(seconds)
    return Figure(what="import dspyreload", unit="s", ours=ours, peers=peers, limits=(times(1.3, _ON_IT),))


def _servers(count: int, repeat: int, environment: dict[str, str]) -> Figure:
    ours: list[float] = []
    empty: list[float] = []
    with directory_of(count, 4096) as modules, tempfile.TemporaryDirectory() as directory:
        Path(directory, "nothing.tac").write_text(_NOTHING, encoding="utf-8")
        for _ in range(repeat + 1):
            empty.append(_served(directory, ["-y", "nothing.tac"], "running", environment))
            ours.append(_served(directory, ["dspyreload", "--modules", modules], "watching", environment))
            os.unlink(f"{directory}/dspyreload.sqlite3")  # each is a first start
    what = f"twistd -n dspyreload with {count:,} modules, until it watches"
    return Figure(what=what, unit="s", ours=ours[1:], peers={"twistd -n with nothing": empty[1:]})


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    with with_bytecode() as environment:
        return [
            _imports(1 if quick else 9, environment),
            _servers(200 if quick else 1000, 1 if quick else 7, environment),
        ]
