"""What tests of faults share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.faults.game import Game, Play


@pytest_twisted.async_yield_fixture
async def play(modules: Path) -> AsyncIterator[Play]:
    """Start games, in the modules directory if not told else; they are stopped when the test is over."""
    games: list[Game] = []

    async def start(*, directory: Path = modules, **settings: Any) -> Game:
        game = Game(directory, **settings)
        games.append(game)
        await game.start()
        return game

    yield start
    for game in games:
        await game.stop()
