"""Ten thousand reloads of one module: whether the last ones take as long as the first, and what is left of each.

After each ten the module is called once, so that programs are made and thrown away as well. Beside us: DSPy's own
``load_state`` into a live program, which slows with each load and ends with ``RecursionError``.
"""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import provider

from benchmarks.alone import alone
from benchmarks.figures import Figure, at_most, flat, times
from benchmarks.invoke import ANSWER, QUESTION, bare_program, in_reactor
from benchmarks.memory import resident
from benchmarks.modules import text

__all__ = ["run"]

_CALLED_EACH = 10
_FIRST = "the first"


@provider(ILogObserver)
def _ignore(_event: dict[str, Any]) -> None:
    pass


def _left() -> tuple[int, int]:
    size = resident()  # first: what it imports is not left by reloads
    gc.collect()
    gc.collect()
    return len(gc.get_objects()), size


async def _settled() -> tuple[int, int]:
    """Return what is there when the threads of a call have ended, whose objects come and go."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    samples = []
    for _ in range(5):
        await deferLater(reactor, 0.05)
        samples.append(_left())
    return min(samples)


def reloads(count: int, warm: int, window: int) -> dict[str, float]:
    """Reload so often; say what the first and the last took in µs, and what grew after ``warm`` of them."""
    from dspyreload import DSPyEngine, ModuleChanged
    from dspyreload.testing import ScriptedLM

    # Before a server logs to somewhere, Twisted keeps the last thousand lines.
    globalLogBeginner.beginLoggingTo([_ignore], discardBuffer=True, redirectStandardIO=False)

    async def work() -> dict[str, float]:
        taken: list[float] = []
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "smith.json")
            path.write_text(text(0, 4096), encoding="utf-8")
            script = ScriptedLM({**ANSWER, "emotion": "weary"})
            engine = DSPyEngine(directory, lm=script.lm)
            before = after = (0, 0)
            for number in range(1, count + 1):
                path.write_text(text(0, 4096, number), encoding="utf-8")
                started = time.perf_counter()
                event = await engine.reload_module("smith")
                taken.append((time.perf_counter() - started) * 1e6)
                if not isinstance(event, ModuleChanged):
                    raise TypeError(f"reload {number} gave {event!r}")
                if number % _CALLED_EACH == 0:
                    await engine.invoke("smith", player_message=QUESTION)
                    script.prompts.clear()
                if number == warm:
                    before = await _settled()
            after = await _settled()
            await engine.close()
        return {
            "first": statistics.median(taken[:window]),
            "last": statistics.median(taken[-window:]),
            "objects": after[0] - before[0],
            "bytes": (after[1] - before[1]) / (count - warm),
        }

    return in_reactor(work)


def in_place(limit: int) -> dict[str, Any]:
    """Load into a live program until it can't; say how often it could, and what the first ten and the last took."""
    program = bare_program()
    state = json.loads(json.dumps(program.dump_state()))
    taken: list[float] = []
    try:
        while len(taken) < limit:
            started = time.perf_counter()
            program.load_state(state)
            taken.append((time.perf_counter() - started) * 1e6)
        ended = ""
    except RecursionError:
        ended = "RecursionError"
    return {
        "first": statistics.median(taken[:10]),
        "last": statistics.median(taken[-10:]),
        "loads": len(taken),
        "ended": ended,
    }


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, warm, window, repeat = (400, 300, 50, 1) if quick else (10_000, 1000, 100, 1)
    ours = [alone(reloads, count, warm, window) for _ in range(repeat)]
    loads = [alone(in_place, count) for _ in range(repeat)]
    lasted, ended = loads[0]["loads"], loads[0]["ended"] or "nothing"
    return [
        Figure(
            what=f"the last {window} of {count:,} reloads",
            unit="µs",
            ours=flat(ours, "last"),
            peers={_FIRST: flat(ours, "first")},
            limits=(times(1.2, _FIRST),),
        ),
        Figure(
            what=f"objects left by reloads {warm + 1:,} to {count:,}",
            unit="objects",
            ours=flat(ours, "objects"),
            limits=(at_most(0),),
        ),
        Figure(what="resident memory left by each of them", unit="bytes", ours=flat(ours, "bytes")),
        Figure(
            what="not ours: the last 10 loads of DSPy's load_state into a live program",
            unit="µs",
            ours=flat(loads, "last"),
            peers={_FIRST: flat(loads, "first")},
            note=f"it lasted {lasted:,} loads; then {ended}",
        ),
    ]
