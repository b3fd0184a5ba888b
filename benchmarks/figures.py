"""What a benchmark gives back: figures, each beside a peer or a limit of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import attrs
import msgspec

__all__ = ["Benchmark", "Figure", "Limit", "Results", "at_most", "demand", "flat", "more", "shown", "times"]


@attrs.frozen
class Limit:
    """What a figure must reach, of medians.

    :ivar kind: ``times``: the ratio to a peer is at most ``bound``; ``more``: it is above the peer by at most
        ``bound``; ``value``: it is at most ``bound`` itself.
    :ivar peer: which one.
    """

    kind: Literal["times", "more", "value"]
    bound: float
    peer: str = ""


def times(bound: float, peer: str) -> Limit:
    """Ask for at most ``bound`` times what a peer takes."""
    return Limit("times", bound, peer)


def more(bound: float, peer: str) -> Limit:
    """Ask for at most ``bound`` more than what a peer takes."""
    return Limit("more", bound, peer)


def at_most(bound: float) -> Limit:
    """Ask for at most ``bound``."""
    return Limit("value", bound)


@attrs.frozen(kw_only=True)
class Figure:
    """One thing that was measured again and again, and the same of peers.

    :ivar what: what it is, in words. ``unit``: of all samples.
    :ivar ours: the samples. ``peers``: those of each peer, by its name, measured in turn with ours.
    :ivar limits: what it must reach.
    :ivar note: what else a reader has to know.
    """

    what: str
    unit: str
    ours: Sequence[float]
    peers: Mapping[str, Sequence[float]] = attrs.field(factory=dict)
    limits: tuple[Limit, ...] = ()
    note: str = ""

    @property
    def median(self) -> float:
        """Ours."""
        return statistics.median(self.ours)

    def beside(self, peer: str) -> float:
        """Return a peer's median."""
        return statistics.median(self.peers[peer])

    def ratio(self, peer: str) -> float | None:
        """Return how many times a peer's median ours is; None where one of them is nothing, or below."""
        return self.median / self.beside(peer) if self.beside(peer) > 0 and self.median > 0 else None

    def reaches(self, limit: Limit) -> bool:
        """Say whether it is what it must be."""
        if limit.kind == "value":
            return self.median <= limit.bound
        if limit.kind == "more":
            return self.median - self.beside(limit.peer) <= limit.bound
        return self.median <= limit.bound * self.beside(limit.peer)

    @property
    def missed(self) -> tuple[Limit, ...]:
        """What it does not reach."""
        return tuple(limit for limit in self.limits if not self.reaches(limit))


class Benchmark(Protocol):
    """Measures one thing."""

    def __call__(self, *, quick: bool) -> list[Figure]: ...


def flat(samples: Sequence[Mapping[str, float]], key: str) -> list[float]:
    """Return one number of each sample."""
    return [float(sample[key]) for sample in samples]


def shown(samples: Sequence[float], unit: str) -> str:
    """Return the median with its spread, and the number of samples."""
    middle = f"{_number(statistics.median(samples))} {unit}".rstrip()
    if len(samples) == 1:
        return middle
    return f"{middle} ({_number(min(samples))} to {_number(max(samples))}; n = {len(samples)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def demand(figure: Figure, limit: Limit) -> str:
    """Return a limit in words, and whether it is reached."""
    bound = f"{limit.bound:g}"
    words = {
        "times": f"at most {bound} x {limit.peer}",
        "more": f"at most {bound} {figure.unit} above {limit.peer}",
        "value": f"at most {bound} {figure.unit}",
    }[limit.kind]
    return f"{words.rstrip()}: {'reached' if figure.reaches(limit) else 'MISSED'}"


@attrs.frozen(kw_only=True)
class Results:
    """All that was measured in one run.

    :ivar machine: what it was measured on. ``quick``: figures of such a run say only that all can be measured.
    :ivar figures: by the name of the benchmark.
    """

    machine: dict[str, str]
    quick: bool
    figures: dict[str, list[Figure]]

    def to_json(self) -> bytes:
        """Return the text of ``results.json``."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Results:
        """Return what :meth:`to_json` was called on."""
        return msgspec.json.decode(data, type=cls)
