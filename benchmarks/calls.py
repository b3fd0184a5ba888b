"""A thousand calls at once on a language model that takes 200 ms.

Beside us: the same program in a bare ``asyncio.gather``, and in Twisted's default pool of ten threads.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import dspy
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from benchmarks.figures import Figure
from dspyreload import DSPyEngine
from dspyreload.testing import ScriptedLM

__all__ = ["run"]

_ANSWER = {"response": "Is it? Mind the sparks."}
_DELAY = 0.2
_TICK = 0.005
_MODULE = {"instruction": "You are a smith.", "signature": {
    "inputs": [{"name": "player_message"}], "outputs": [{"name": "response"}],
}}  # fmt: skip


class _Slow:
    """The engine of a synchronous language model that takes as long."""

    def __init__(self, script: ScriptedLM) -> None:
        self._script = script

    def complete(self, request: Any) -> Any:
        time.sleep(_DELAY)
        return self._script.answer(request)


def _program() -> Any:
    return dspy.Predict(dspy.Signature("player_message -> response", _MODULE["instruction"]))


def _bare(count: int) -> float:
    """Return the seconds of a bare gather."""
    program, lm = _program(), ScriptedLM(_ANSWER, delay=_DELAY).lm

    async def all_of_them() -> float:
        with dspy.context(lm=lm, disable_history=True, trace=None):
            started = time.perf_counter()
            await asyncio.gather(*(program.acall(player_message="Good day!") for _ in range(count)))
            return time.perf_counter() - started

    return asyncio.run(all_of_them())


async def _pool(count: int) -> float:
    """Return the seconds of Twisted's default pool."""
    program, lm = _program(), dspy.LM("scripted/slow", engine=_Slow(ScriptedLM(_ANSWER)), cache=False)

    def one() -> Any:
        with dspy.context(lm=lm, disable_history=True, trace=None):
            return program(player_message="Good day!")

    started = time.perf_counter()
    await gatherResults([deferToThread(one) for _ in range(count)])
    return time.perf_counter() - started


async def _ours(engine: DSPyEngine, count: int) -> tuple[float, float]:
    """Return our seconds, and the longest time that the reactor did not tick meanwhile."""
    ticks: list[float] = []
    ticking = LoopingCall(lambda: ticks.append(time.perf_counter()))
    ticking.start(_TICK)
    started = time.perf_counter()
    await gatherResults([engine.invoke("smith", player_message="Good day!") for _ in range(count)])
    taken = time.perf_counter() - started
    ticking.stop()
    return taken, max(later - sooner for sooner, later in itertools.pairwise(ticks))


async def _measure(directory: str, count: int, repeat: int, pooled: int) -> list[Figure]:
    Path(directory, "smith.json").write_text(json.dumps(_MODULE), encoding="utf-8")
    engine = DSPyEngine(directory, lm=ScriptedLM(_ANSWER, delay=_DELAY).lm)
    await _ours(engine, 10)
    taken: list[float] = []
    stalls: list[float] = []
    bare: list[float] = []
    for _ in range(repeat):  # in turn: what slows the machine down slows both
        bare.append(await deferToThread(_bare, count))
        seconds, stall = await _ours(engine, count)
        taken.append(seconds)
        stalls.append(stall * 1000)
    pool = [await _pool(pooled) * count / pooled]
    await engine.close()
    return [
        Figure(f"{count} calls of {_DELAY} s", taken, "s", "bare asyncio.gather", bare, at_most=1.5),
        Figure(f"{count} calls of {_DELAY} s", taken, "s", f"Twisted's pool of ten threads (from {pooled})", pool),
        Figure("longest time without a tick of the reactor meanwhile", stalls, "ms"),
    ]


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory:

        def begin() -> None:
            work = Deferred.fromCoroutine(
                _measure(directory, 200 if quick else 1000, 2 if quick else 5, 50 if quick else 200)
            )
            work.addCallback(figures.extend).addErrback(lambda failure: failure.printTraceback())
            work.addBoth(lambda _result: reactor.stop())

        reactor.callWhenRunning(begin)
        reactor.run()
    return figures
