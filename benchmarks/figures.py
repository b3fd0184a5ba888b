"""What a benchmark gives back, and how it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Protocol

import attrs

__all__ = ["Benchmark", "Figure", "table"]


@attrs.frozen
class Figure:
    """One thing that was measured again and again.

    :ivar samples: in ``unit``. ``beside``: those of the peer or limit, measured in the same run.
    :ivar at_most: the ratio of the two medians that must be reached, or None.
    :ivar at_most_more: how much the one median may be above the other, or None.
    """

    what: str
    samples: Sequence[float]
    unit: str
    peer: str = ""
    beside: Sequence[float] = ()
    at_most: float | None = None
    at_most_more: float | None = None

    @property
    def ratio(self) -> float | None:
        """The median beside that of the peer."""
        return statistics.median(self.samples) / statistics.median(self.beside) if self.beside else None

    @property
    def reached(self) -> bool | None:
        """Whether the figure is what it must be; None where nothing is asked of it."""
        if self.at_most_more is not None and self.beside:
            return statistics.median(self.samples) - statistics.median(self.beside) <= self.at_most_more
        return None if self.at_most is None or self.ratio is None else self.ratio <= self.at_most


class Benchmark(Protocol):
    """Measures one thing."""

    def __call__(self, *, quick: bool) -> list[Figure]: ...


def _shown(samples: Sequence[float], unit: str) -> str:
    middle = statistics.median(samples)
    return f"{middle:.3g} {unit} ({min(samples):.3g} to {max(samples):.3g})"


def table(name: str, figures: Sequence[Figure]) -> str:
    """Return lines of text: medians with their spread, and ratios."""
    lines = [f"== {name}"]
    for figure in figures:
        line = f"{figure.what}: {_shown(figure.samples, figure.unit)}"
        if figure.ratio is not None:
            line += f"; {figure.peer}: {_shown(figure.beside, figure.unit)}; ratio {figure.ratio:.2f}"
        if figure.at_most is not None:
            line += f" (at most {figure.at_most:g}: {'reached' if figure.reached else 'MISSED'})"
        if figure.at_most_more is not None:
            state = "reached" if figure.reached else "MISSED"
            line += f" (at most {figure.at_most_more:g} {figure.unit} more: {state})"
        lines.append(line)
    return "\n".join(lines)
