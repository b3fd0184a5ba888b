"""A game in namespaces of its own, as a test sees it from without."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.end_to_end.processes import LIMIT, ROOT, Process, running

__all__ = ["LIMITED", "MOUNTS", "Namespace", "namespace"]

MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")
LIMITED = ("unshare", "--user", "--map-root-user")

_ENTER = 'script="$1"; shift; eval "$script" && exec "$@"'


@attrs.frozen
class Look:
    """How a game does, as it says itself."""

    health: str
    reasons: list[str]
    served: dict[str, str]
    generation: int
    reloads: int
    rejected: int
    passes: int


class Namespace:
    """A game's process, with a namespace around it.

    :ivar said: all that it has said so far.
    """

    def __init__(self, process: Process, orders: Path, modules: Path) -> None:
        self._process, self._orders, self._modules = process, orders, modules
        self.said: list[dict[str, Any]] = []
        self._next("ready")

    def look(self) -> Look:
        """Ask how it does."""
        answer = self._ask("look")
        return Look(**{name: answer[name] for name in attrs.fields_dict(Look)})

    def until(self, true: Callable[[Look], bool]) -> Look:
        """Ask until something is so, and return the answer."""
        latest = time.monotonic() + LIMIT
        while not true(look := self.look()):
            assert time.monotonic() < latest, f"not so within {LIMIT} s: {look}"
            time.sleep(0.02)
        return look

    def reload(self) -> str:
        """Have it look at everything; return why that came to nothing, if it did."""
        return str(self._ask("reload")["why"])

    def stop(self) -> float:
        """Stop the service, with nothing left of it, and the process; return how many seconds the first took."""
        seconds = float(self._ask("stop")["seconds"])
        assert self._process.finish() == 0, self._process.text
        return seconds

    def save(self, path: str, text: str) -> None:
        """Write a file of the modules directory as it is inside."""
        file = Path(f"/proc/{self._process.popen.pid}/root{self._modules}") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, script: str) -> None:
        """Run a shell's script inside, in the parent of the modules directory."""
        inside = ("nsenter", "--target", str(self._process.popen.pid), "--user", "--mount", "--preserve-credentials")
        cd = f"cd '{self._modules.parent}' && {script}"
        done = subprocess.run((*inside, "sh", "-ec", cd), capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, f"{script}: {done.stderr}"

    def lines(self, *levels: str) -> list[str]:
        """Return the lines of its log so far, of the levels that are named."""
        return [said["line"] for said in self.said if said["what"] == "log" and said["level"] in levels]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return its events so far, of the kinds that are named."""
        return [said for said in self.said if said["what"] == "event" and said["kind"] in kinds]

    def _ask(self, order: str) -> dict[str, Any]:
        with self._orders.open("w") as orders:
            orders.write(f"{order}\n")
        return self._next(order)

    def _next(self, what: str) -> dict[str, Any]:
        """Wait until it says something, and keep what it says before."""
        while True:
            said: dict[str, Any] = json.loads(self._process.wait_for(r"^\{.*\}$").group())
            assert said["what"] != "failed", said["why"]
            self.said.append(said)
            if said["what"] == what:
                return said


@contextlib.contextmanager
def namespace(modules: Path, *around: str, script: str = "true", **settings: Any) -> Iterator[Namespace]:
    """Run a game in a namespace for the time of a ``with`` block.

    :param around: the command that makes the namespace: :data:`MOUNTS`, :data:`LIMITED`.
    :param script: is run inside before the game starts, in the parent of the modules directory.
    """
    name = f"orders-{time.monotonic_ns()}"
    orders = modules.parent / name
    os.mkfifo(orders)
    before = f"(cd '{modules.parent}' && {script})"
    game = (sys.executable, "-m", "tests.faults.inside", str(orders), str(modules), json.dumps(settings))
    with running(*around, "sh", "-c", _ENTER, "sh", before, *game, cwd=ROOT) as process:
        yield Namespace(process, orders, modules)
