"""``docs/performance.md``: its tables are made from what was measured, and stand between marks."""

from __future__ import annotations

import re

from benchmarks.figures import Figure, Results, demand, shown

__all__ = ["fill_in"]

_MARK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill_in(page: str, results: Results) -> str:
    """Return the page with the tables of these results."""

    def table(found: re.Match[str]) -> str:
        name = found[2]
        if name == "machine":
            body = ", ".join(f"{key} {value}" for key, value in results.machine.items()) + "\n"
        else:
            body = _table(results.figures[name]) if name in results.figures else "Not measured.\n"
        return f"{found[1]}{body}{found[3]}"

    return _MARK.sub(table, page)


def _table(figures: list[Figure]) -> str:
    rows = ["| what | dspyreload | beside | ours ÷ theirs | must be |", "|---|---|---|---|---|"]
    for figure in figures:
        peers = "<br>".join(f"{peer}: {shown(samples, figure.unit)}" for peer, samples in figure.peers.items())
        found = [figure.ratio(peer) for peer in figure.peers]
        ratios = "<br>".join("" if ratio is None else f"{ratio:.3g}" for ratio in found)
        limits = "<br>".join(demand(figure, limit).replace("MISSED", "**missed**") for limit in figure.limits)
        rows.append(f"| {figure.what} | {shown(figure.ours, figure.unit)} | {peers} | {ratios} | {limits} |")
    notes = dict.fromkeys(figure.note for figure in figures if figure.note)
    return "\n".join(rows) + "\n" + "".join(f"\n{note}\n" for note in notes)
