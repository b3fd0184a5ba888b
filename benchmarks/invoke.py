"""What a call costs beside DSPy itself: ``engine.invoke``, one after the other, on a model that answers at once.

Beside us: ``program.acall`` of the same program in a bare asyncio loop. Of the reactor's thread the time on the
processor is counted; beside that, the way there and back alone: from the reactor to an asyncio loop in another thread
and back with ``callFromThread``, with nothing to do there.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, more, times

__all__ = ["ANSWER", "MODULE", "QUESTION", "bare_program", "in_reactor", "run", "smithy"]

T = TypeVar("T")

ANSWER = {"response": "Is it? Mind the sparks."}
QUESTION = "Good day!"
MODULE = {
    "instruction": "You are a smith.",
    "signature": {"inputs": [{"name": "player_message"}], "outputs": [{"name": "response"}]},
}
_WARM = 20
_HOP = "the way there and back alone"
_BARE = "program.acall, bare"


def bare_program() -> Any:
    """Return the program that the module stands for."""
    import dspy

    return dspy.Predict(dspy.Signature("player_message -> response", MODULE["instruction"]))


def smithy(directory: str, delay: float = 0.0, **options: Any) -> Any:
    """Return an engine that serves one module, ``smith``, with a scripted language model."""
    from dspyreload import DSPyEngine
    from dspyreload.testing import ScriptedLM

    Path(directory, "smith.json").write_text(json.dumps(MODULE), encoding="utf-8")
    return DSPyEngine(directory, lm=ScriptedLM(ANSWER, delay=delay).lm, **options)


def in_reactor(work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
    """Run the reactor for as long as a coroutine takes, and return its result."""
    from twisted.internet import reactor

    results: list[T | Failure] = []

    def begin() -> None:
        Deferred.fromCoroutine(work()).addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


def ours(count: int) -> dict[str, float]:
    """Return the median of a call in µs, and those of the reactor's thread for each."""

    async def work() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as directory:
            engine = smithy(directory)
            for _ in range(_WARM):
                await engine.invoke("smith", player_message=QUESTION)
            taken = []
            spent = time.thread_time()
            for _ in range(count):
                started = time.perf_counter()
                await engine.invoke("smith", player_message=QUESTION)
                taken.append(time.perf_counter() - started)
            spent = time.thread_time() - spent
            await engine.close()
        return {"median": statistics.median(taken) * 1e6, "reactor": spent / count * 1e6}

    return in_reactor(work)


def bare(count: int) -> float:
    """Return the median of a call in µs, without us."""
    import dspy

    from dspyreload.testing import ScriptedLM

    program, lm = bare_program(), ScriptedLM(ANSWER).lm

    async def work() -> float:
        taken = []
        with dspy.context(lm=lm, disable_history=True, trace=None):
            for _ in range(_WARM + count):
                started = time.perf_counter()
                await program.acall(player_message=QUESTION)
                taken.append(time.perf_counter() - started)
        return statistics.median(taken[_WARM:]) * 1e6

    return asyncio.run(work())


def hops(count: int) -> float:
    """Return the µs of the reactor's thread for a way to a loop in another thread and back."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def work() -> float:
        from twisted.internet import reactor

        spent = time.thread_time()
        for _ in range(count):
            back: Deferred[None] = Deferred()
            loop.call_soon_threadsafe(reactor.callFromThread, back.callback, None)  # type: ignore[attr-defined]
            await back
        return (time.thread_time() - spent) / count * 1e6

    return in_reactor(work)


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, repeat = (200, 1) if quick else (1000, 5)
    our_samples: list[dict[str, float]] = []
    bare_samples: list[float] = []
    hop_samples: list[float] = []
    for _ in range(repeat):
        bare_samples.append(alone(bare, count))
        our_samples.append(alone(ours, count))
        hop_samples.append(alone(hops, count))
    return [
        Figure(
            what="a call on a model that answers at once, median",
            unit="µs",
            ours=flat(our_samples, "median"),
            peers={_BARE: bare_samples},
            limits=(times(1.25, _BARE),),
        ),
        Figure(
            what="the reactor's thread for each call",
            unit="µs",
            ours=flat(our_samples, "reactor"),
            peers={_HOP: hop_samples},
            limits=(more(150, _HOP),),
        ),
    ]
