"""What is told of the language models' health."""

from __future__ import annotations

from dspyreload.live.live import Live
from dspyreload.model.events import LMHealthChanged
from dspyreload.model.faults import shown

__all__ = ["tell_of_lm"]


def tell_of_lm(live: Live, name: str, *, healthy: bool, reason: str, retry_in: float) -> None:
    """Tell subscribers and the board that a language model fails again and again, or answers again."""
    generation = live.snapshot.generation
    live.publish((LMHealthChanged(generation=generation, lm=name, healthy=healthy, reason=reason, retry_in=retry_in),))
    source, lm = f"lm {name}", f"the LM {shown(name)}"
    if healthy:
        live.board.solve(source, f"{lm} is forgotten: {reason}" if reason else f"{lm} answers again")
    else:
        words = "fallbacks answer, and it is tried again now and then"
        live.board.report(source, "degraded", f"{lm} fails: {shown(reason)}; {words}")
