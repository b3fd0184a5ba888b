"""Plots of what was measured: for each benchmark, medians with their spread, ours beside the peers'."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Results

__all__ = ["plot"]

_OURS, _PEER = "#1b6e53", "#9aa5b1"


def plot(results: Results, into: Path) -> None:
    """Write a PNG for each benchmark."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    into.mkdir(parents=True, exist_ok=True)
    for name, figures in results.figures.items():
        shown = [figure for figure in figures if any(sample > 0 for sample in figure.ours)]
        if not shown:
            continue
        heights = [0.8 + 0.32 * len(figure.peers) for figure in shown]
        drawing, axes = pyplot.subplots(
            len(shown), 1, figsize=(9, sum(heights) + 0.4 * len(shown)), squeeze=False, height_ratios=heights
        )
        for axis, figure in zip(axes[:, 0], shown, strict=True):
            _bars(axis, figure)
        drawing.tight_layout()
        drawing.savefig(into / f"{name}.png", dpi=80, metadata={"Software": None})
        pyplot.close(drawing)


def _bars(axis: Any, figure: Figure) -> None:
    rows = [("dspyreload", figure.ours), *figure.peers.items()]
    for place, (who, samples) in enumerate(reversed(rows)):
        middle = statistics.median(samples)
        spread = [[max(0.0, middle - min(samples))], [max(samples) - middle]]
        axis.barh(place, middle, color=_OURS if who == "dspyreload" else _PEER, xerr=spread, height=0.7, capsize=2)
    axis.set_yticks(range(len(rows)), [who for who, _samples in reversed(rows)])
    middles = [statistics.median(samples) for _who, samples in rows]
    if min(middles) > 0 and max(middles) > 20 * min(middles):
        axis.set_xscale("log")
    axis.set_title(f"{figure.what} [{figure.unit}]" if figure.unit else figure.what, loc="left", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
