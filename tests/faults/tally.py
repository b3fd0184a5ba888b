"""What became of a game, counted four times: in the events, the snapshot, the stats and the log."""

from __future__ import annotations

import attrs

from dspyreload import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.events import ManifestChanged
from tests.faults.game import LIMIT, Game, reactor, until

__all__ = ["Tally", "settled", "tally"]


@attrs.frozen(kw_only=True)
class Tally:
    """What a game was told since it started.

    :ivar commits: snapshots that went live.
    :ivar changed: versions that went live. ``deleted``: modules that are no longer served.
    :ivar rejected: rejections. ``skipped``: files that were looked at and held the same bytes.
    """

    commits: int = 0
    changed: int = 0
    deleted: int = 0
    rejected: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        """Say it in a few words, for the table of what was seen."""
        return ", ".join(f"{number} {name}" for name, number in attrs.asdict(self).items() if number or name in _ALWAYS)


_ALWAYS = ("commits",)


async def settled(game: Game) -> Tally:
    """Look at every byte once more, so that nothing is left to be found, and return what became of the game."""
    await game.engine.reload_all().addTimeout(LIMIT, reactor)
    return await tally(game)


async def tally(game: Game) -> Tally:
    """Return what became of a game; its events, snapshot, stats and log must agree on it.

    For at most 20 changes, deletions or rejections a pass: of more the log has a summary.
    """
    await until(lambda: _by_events(game) == _by_stats(game))  # subscribers hear on a later turn
    found = _by_events(game)
    assert _by_log(game) == found, game.lines()
    return found


def _by_events(game: Game) -> Tally:
    kinds = (ModuleChanged, ModuleDeleted, ReloadError, ModuleSkipped)
    changed, deleted, rejected, skipped = (len(game.heard(kind)) for kind in kinds)
    committed = (ModuleChanged, ModuleDeleted, ManifestChanged)
    generations = {event.generation for event in game.events if isinstance(event, committed)}
    return Tally(commits=len(generations), changed=changed, deleted=deleted, rejected=rejected, skipped=skipped)


def _by_stats(game: Game) -> Tally:
    """Return what the stats and the snapshot say; of deletions there are no stats."""
    stats, commits = game.service.stats, game.engine.snapshot.generation - 1
    return Tally(
        commits=commits,
        changed=stats.reloads_total,
        deleted=len(game.heard(ModuleDeleted)),
        rejected=stats.reloads_failed,
        skipped=stats.reloads_skipped,
    )


def _by_log(game: Game) -> Tally:
    lines = game.lines()
    generations = {line.rpartition("generation ")[2].split(",")[0] for line in lines if _is_commit(line)}
    return Tally(
        commits=len(generations),
        changed=sum(" is live: version " in line for line in lines),
        deleted=sum(" is no longer served: " in line for line in lines),
        rejected=len(game.lines("error")),
        skipped=sum(line.endswith(" is unchanged, skipped") for line in lines),
    )


def _is_commit(line: str) -> bool:
    return any(words in line for words in (" is live: ", " is no longer served: "))
