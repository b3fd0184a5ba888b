"""A thousand calls at once, and ten thousand, on a language model that takes 200 ms.

Beside us: the same program in a bare ``asyncio.gather``, and in Twisted's default pool of ten threads, which is
measured with fewer calls and multiplied. The engine may run all of them at once (``max_concurrency``); with what it
allows by itself, the same is measured once more for a thousand. Also: the longest time that the reactor did not tick
meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from typing import Any

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, times
from benchmarks.invoke import ANSWER, QUESTION, bare_program, in_reactor, smithy

__all__ = ["run"]

_DELAY = 0.2
_TICK = 0.005
_WARM = 10
_DEFAULT = 256  # of the engine
_GATHER = "bare asyncio.gather"
_POOL = "Twisted's pool of ten threads"


class _Slow:
    """The engine of a synchronous language model that takes as long."""

    def __init__(self, script: Any) -> None:
        self._script = script

    def complete(self, request: Any) -> Any:
        time.sleep(_DELAY)
        return self._script.answer(request)


def gathered(count: int) -> float:
    """Return the seconds of a bare gather."""
    import dspy

    from dspyreload.testing import ScriptedLM

    program, lm = bare_program(), ScriptedLM(ANSWER, delay=_DELAY).lm

    async def all_of(number: int) -> float:
        with dspy.context(lm=lm, disable_history=True, trace=None):
            started = time.perf_counter()
            await asyncio.gather(*(program.acall(player_message=QUESTION) for _ in range(number)))
            return time.perf_counter() - started

    async def warm_then_all() -> float:
        await all_of(_WARM)
        return await all_of(count)

    return asyncio.run(warm_then_all())


def pooled(count: int) -> float:
    """Return the seconds of Twisted's default pool."""
    import dspy
    from twisted.internet.defer import gatherResults
    from twisted.internet.threads import deferToThread

    from dspyreload.testing import ScriptedLM

    program, lm = bare_program(), dspy.LM("scripted/slow", engine=_Slow(ScriptedLM(ANSWER)), cache=False)

    def one() -> None:
        with dspy.context(lm=lm, disable_history=True, trace=None):
            program(player_message=QUESTION)

    async def work() -> float:
        await gatherResults([deferToThread(one) for _ in range(_WARM)])
        started = time.perf_counter()
        await gatherResults([deferToThread(one) for _ in range(count)])
        return time.perf_counter() - started

    return in_reactor(work)


def ours(count: int, at_once: int) -> dict[str, float]:
    """Return our seconds, and the longest time in ms that the reactor did not tick meanwhile."""
    from twisted.internet.defer import gatherResults
    from twisted.internet.task import LoopingCall

    async def work() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as directory:
            engine = smithy(directory, _DELAY, max_concurrency=at_once)
            await gatherResults([engine.invoke("smith", player_message=QUESTION) for _ in range(_WARM)])
            ticks: list[float] = []
            ticking = LoopingCall(lambda: ticks.append(time.perf_counter()))
            ticking.start(_TICK)
            started = time.perf_counter()
            calls = [engine.invoke("smith", player_message=QUESTION) for _ in range(count)]
            asked = time.perf_counter()
            await gatherResults(calls)
            ended = time.perf_counter()
            ticking.stop()
            await engine.close()
        # The loop that asks is the measurement's own turn of the reactor.
        meanwhile = [asked, *(tick for tick in ticks if tick > asked), ended]
        stall = max(later - sooner for sooner, later in itertools.pairwise(meanwhile))
        return {"seconds": ended - started, "stall": stall * 1000, "asking": (asked - started) / count * 1e6}

    return in_reactor(work)


def _measure(count: int, repeat: int, few: int) -> list[Figure]:
    our_samples: list[dict[str, float]] = []
    bare: list[float] = []
    for _ in range(repeat):
        bare.append(alone(gathered, count))
        our_samples.append(alone(ours, count, count))
    pool = [alone(pooled, few) * count / few]
    return [
        Figure(
            what=f"{count:,} calls of {_DELAY} s at once, max_concurrency={count}",
            unit="s",
            ours=flat(our_samples, "seconds"),
            peers={_GATHER: bare, _POOL: pool},
            limits=(times(1.5, _GATHER),),
            note=f"the pool: {few} calls, multiplied",
        ),
        Figure(
            what=f"longest time without a tick of the reactor, {count:,} calls",
            unit="ms",
            ours=flat(our_samples, "stall"),
        ),
        Figure(
            what=f"asking on the reactor's thread, each of {count:,} calls",
            unit="µs",
            ours=flat(our_samples, "asking"),
        ),
    ]


def _by_itself(count: int, repeat: int) -> list[Figure]:
    bare, limited = [], []
    for _ in range(repeat):
        bare.append(alone(gathered, count))
        limited.append(alone(ours, count, _DEFAULT))
    what = f"{count:,} calls of {_DELAY} s at once, by default {_DEFAULT} of them at a time"
    stall = f"longest time without a tick of the reactor, {count:,} calls, {_DEFAULT} at a time"
    return [
        Figure(
            what=what,
            unit="s",
            ours=flat(limited, "seconds"),
            peers={_GATHER: bare},
            limits=(times(1.5, _GATHER),),
        ),
        Figure(what=stall, unit="ms", ours=flat(limited, "stall")),
    ]


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    if quick:
        return _measure(100, 1, 20) + _measure(200, 1, 20)
    return [*_by_itself(1000, 2), *_measure(1000, 3, 100), *_measure(10_000, 1, 100)]
