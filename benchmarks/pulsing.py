"""The ``--setup`` of a ``twistd dspyreload`` whose pulse is taken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.pulse import Pulse
from dspyreload import DSPyEngine

__all__ = ["setup"]

_SETTLED = 2.0  # seconds


def setup(engine: DSPyEngine) -> None:
    """Begin once all is loaded, and end the process with what was measured in the file ``BENCH_TOLD``."""
    from twisted.internet import reactor

    count = int(os.environ["BENCH_COUNT"])

    def done(result: dict[str, Any]) -> None:
        Path(os.environ["BENCH_TOLD"]).write_text(json.dumps(result), encoding="utf-8")
        reactor.stop()

    def begin() -> None:
        if len(engine.snapshot) < count:
            reactor.callLater(0.1, begin)
        else:
            pulse = Pulse(engine.directory, count, lambda: engine.snapshot, done)
            reactor.callLater(_SETTLED, pulse.start)

    reactor.callLater(0.1, begin)
