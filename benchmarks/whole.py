"""A save until a reply is the new one, whole and with default settings, and the requests that are lost meanwhile.

A client asks a server every 5 ms, each time on a connection of its own, and saves the character's instruction by
rename; the first reply of the new revision ends the measurement. A request that is refused, cut off or not answered
with 200 within 10 s is lost. Each server is a process of its own, one after the other:

- ours, in a Twisted web server, with the LM of ``dspyreload.testing``, which says the revision in its prompt;
- ``dspy-cli serve --reload``, with the same LM, where the instruction stands in the module's Python file;
- the same web server, where ``watchfiles`` calls ``load`` on the program that serves, in place;
- the same web server, where the instruction is a flag in LaunchDarkly's file data source, and no LM is asked.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure, Limit, at_most, flat, times
from benchmarks.servers import CLI, CONFIG, FLAG, SERVERS

__all__ = ["run"]

_EVERY = 0.005
_PATIENCE = 10.0
_SETTLED = 1.0  # seconds between two saves, and after the last
_REQUEST = b'{"player_message": "Good day!"}'


async def _ask(port: int, path: str) -> str:
    """Return the body of an answer.

    :raises OSError: where there is none, or it is none of 200.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: inn\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(_REQUEST)}\r\n\r\n".encode() + _REQUEST)
        answer = (await reader.read()).decode()
    finally:
        writer.close()
    if not answer.startswith("HTTP/1.1 200") or "revision" not in answer:
        raise ConnectionError(answer[:80])
    return answer


class _Client:
    """Asks again and again, and sees what comes."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._asking: set[asyncio.Task[None]] = set()
        self._wanted, self._seen = "", asyncio.Event()
        self.lost, self.longest, self.at = 0, 0.0, 0.0

    async def _one(self) -> None:
        started = time.perf_counter()
        try:
            answer = await asyncio.wait_for(_ask(self._port, self._path), _PATIENCE)
        except (OSError, TimeoutError):
            self.lost += 1
            return
        now = time.perf_counter()
        self.longest = max(self.longest, now - started)
        if self._wanted in answer and not self._seen.is_set():
            self.at = now
            self._seen.set()

    async def ask_on(self) -> None:
        while True:
            task = asyncio.create_task(self._one())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            await asyncio.sleep(_EVERY)

    async def wait_for(self, revision: int) -> None:
        self._wanted, self.at = f"revision {revision:06}", 0.0
        self._seen.clear()
        await asyncio.wait_for(self._seen.wait(), 60)

    async def measure(self, save: Callable[[int], None], count: int) -> list[dict[str, float]]:
        """Return the seconds of each save, what was lost until it was settled, and the longest wait of a request."""
        found: list[dict[str, float]] = []
        asking = asyncio.create_task(self.ask_on())
        await self.wait_for(1)
        for revision in range(2, count + 2):
            await asyncio.sleep(_SETTLED)
            self.lost, self.longest = 0, 0.0
            save(revision)
            saved = time.perf_counter()
            await self.wait_for(revision)
            seconds = self.at - saved
            await asyncio.sleep(_SETTLED)
            found.append({"seconds": seconds, "lost": self.lost, "longest": self.longest * 1000})
        asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        return found


def _measure(name: str, count: int) -> list[dict[str, float]]:
    """Measure one server, over so many saves."""
    serving, file, write = SERVERS[name]
    with tempfile.TemporaryDirectory(prefix="dspyreload-bench-") as directory:
        path = Path(directory, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write(1), encoding="utf-8")
        if name == CLI:
            Path(directory, "dspy.config.yaml").write_text(CONFIG, encoding="utf-8")
            Path(directory, "src/inn/__init__.py").touch()

        def save(revision: int) -> None:
            fresh = path if name == FLAG else path.with_suffix(".tmp")
            fresh.write_text(write(revision), encoding="utf-8")
            fresh.replace(path)

        with serving(directory) as port:
            return asyncio.run(_Client(port, "/Guest").measure(save, count))


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    rounds, count = (1, 1) if quick else (2, 4)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SERVERS}
    for _ in range(rounds):  # in turn: what slows the machine down slows all
        for name, samples in found.items():
            samples += _measure(name, count if name != CLI else min(count, 2))

    def figure(what: str, unit: str, key: str, limit: Limit | None, note: str = "") -> Figure:
        peers = {name: flat(samples, key) for name, samples in found.items() if name != "ours"}
        limits = () if limit is None else (limit,)
        return Figure(what=what, unit=unit, ours=flat(found["ours"], key), peers=peers, limits=limits, note=note)

    note = (
        "LaunchDarkly's is saved in place: it does not hear of a rename. No LM is asked there. It hears itself read: "
        "from the first save on it reads the file without a pause."
    )
    return [
        figure("save to a new reply, whole, default settings", "s", "seconds", times(0.1, CLI), note),
        figure("requests lost at a save", "", "lost", at_most(0)),
        figure("the longest that one request waits at a save", "ms", "longest", None),
    ]
