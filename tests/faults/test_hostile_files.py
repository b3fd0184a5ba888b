"""JSON and saved programs that are wrong on purpose: the real service in a real reactor."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import dspy
import pytest
import pytest_twisted

from dspyreload import ModuleChanged, ReloadError
from tests.faults.game import LIMIT, Game, Play, reactor, text, until
from tests.faults.hostile import (
    GOOD_STATE,
    HOSTILE_JSON,
    HOSTILE_STATES,
    ODD_STATES,
    SOUND_JSON,
    Hostile,
    pickled,
    state,
)
from tests.faults.parent import STOP_LIMIT
from tests.faults.rows import Seen, row

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

SAID = 20  # lines of a kind; of more in one pass the log has a summary


def batches(hostile: Hostile) -> list[Hostile]:
    """Return them in as many parts as the log names each of."""
    items = [*hostile.items()]
    return [dict(items[start : start + SAID]) for start in range(0, len(items), SAID)]


def path_of(number: int) -> str:
    return f"n{number}.json"


async def refused(
    game: Game, hostile: Hostile, served: dict[str, str], now_served: Callable[[Game], dict[str, str]] = Game.served
) -> float:
    """Put hostile bytes in the place of modules: each is rejected once by name, and what served before serves.

    :param now_served: says what serves.
    :return: the seconds until the last of them was rejected.
    """
    said = {path_of(number): words for number, (_data, words) in enumerate(hostile.values())}
    already, began = len(game.events), time.monotonic()
    for path, (data, _words) in zip(said, hostile.values(), strict=True):
        (game.modules / path).write_bytes(data)

    def rejections() -> list[ReloadError]:
        return [event for event in game.events[already:] if isinstance(event, ReloadError)]

    await until(lambda: {event.path for event in rejections()} == said.keys())
    took = time.monotonic() - began
    await game.passes(2)
    assert len(rejections()) == len(said)
    lines = game.lines("error")
    for name, event in zip(hostile, sorted(rejections(), key=lambda event: int(event.path[1:-5])), strict=True):
        assert said[event.path] in event.error, name
        assert event.serving == game.engine.snapshot[str(event.module_id)].version
        (line,) = [line for line in lines if line.startswith(f"{event.where}: {event.error}")]
        assert line.endswith(f"version {str(event.serving)[:12]} of {event.module_id} is still serving"), name
    assert now_served(game) == served
    assert game.lines("critical") == []
    assert game.service.health().status == "ok"
    return took


async def stopped(game: Game) -> float:
    """Stop, and return how many seconds that took."""
    began = time.monotonic()
    await game.service.stopService().addTimeout(LIMIT, reactor)
    assert time.monotonic() - began < STOP_LIMIT
    return time.monotonic() - began


@row(29)
@pytest.mark.parametrize("number", range(len(batches(HOSTILE_JSON))))
@pytest_twisted.ensureDeferred
async def test_row_29_hostile_json(play: Play, modules: Path, seen: Seen, number: int) -> None:
    """Whatever is in a module's place is rejected by name; the last good version serves until a better one comes."""
    hostile = batches(HOSTILE_JSON)[number]
    served = {path_of(number): f"Number {number}." for number in range(len(hostile))}
    for path, instruction in served.items():
        (modules / path).write_text(text(instruction))
    game = await play(rescan_interval=1.0)
    took = await refused(game, hostile, served)
    for path in served:
        (modules / path).write_text(text(f"Mended {path}."))
    await until(lambda: game.served() == {path: f"Mended {path}." for path in served})
    seconds = await stopped(game)
    seen(f"{len(hostile)} files of JSON rejected by name within {took:.1f} s; stopped in {seconds * 1e3:.0f} ms")


@row(29)
@pytest_twisted.ensureDeferred
async def test_row_29_hostile_manifest(play: Play, modules: Path, seen: Seen) -> None:
    """The same in the place of the manifest: it is rejected by name, and the manifest before it is in force."""
    (modules / "smith.json").write_text(text("Smith 0."))
    whole = json.dumps({"modules": {"npc.smith": {"path": "smith.json"}}})
    (modules / "manifest.json").write_text(whole)
    game = await play(rescan_interval=1.0)
    began = time.monotonic()
    for number, (name, (data, words)) in enumerate(HOSTILE_JSON.items(), 1):
        before = len(game.heard(ReloadError))
        (modules / "manifest.json").write_bytes(data)
        await until(lambda before=before: len(game.heard(ReloadError)) > before)  # type: ignore[misc]
        event = game.heard(ReloadError)[-1]
        assert event.path == "manifest.json"
        assert words in event.error, name
        (modules / "smith.json").write_text(text(f"Smith {number}."))  # what is listed goes on being live
        await until(lambda number=number: game.served() == {"smith.json": f"Smith {number}."})  # type: ignore[misc]
        assert [*game.engine.snapshot] == ["npc.smith"]
    took = time.monotonic() - began
    (modules / "manifest.json").write_text(whole)
    await game.passes(2)
    assert len(game.heard(ReloadError)) == len(HOSTILE_JSON)
    assert game.lines("critical") == []
    assert game.service.health().status == "ok"
    seen(f"{len(HOSTILE_JSON)} manifests of them rejected in {took:.0f} s, the one before in force")


@row(29)
@pytest_twisted.ensureDeferred
async def test_row_29_odd_and_sound_json(play: Play, modules: Path, seen: Seen) -> None:
    """A BOM is dropped, and what else is odd and allowed goes live."""
    game = await play()
    for name, data in SOUND_JSON.items():
        (modules / "npc.json").write_bytes(data)
        before = len(game.heard(ModuleChanged))
        await until(lambda before=before: len(game.heard(ModuleChanged)) > before)  # type: ignore[misc]
        assert game.served() == {"npc.json": "You are hostile."}, name
    assert game.heard(ReloadError) == []
    seen(f"{len(SOUND_JSON)} odd and sound files live, a BOM among them")


class Naming(dspy.Module):  # type: ignore[misc]
    """A program of one predictor."""

    def __init__(self) -> None:
        super().__init__()
        self.name = dspy.Predict("topic -> title")


async def with_programs(play: Play, count: int) -> tuple[Game, dict[str, str]]:
    """Start a game that serves saved programs, and return it with what is served."""
    game = await play(rescan_interval=1.0)
    served = {path_of(number): f"Name it, {number}." for number in range(count)}
    for number, (path, instructions) in enumerate(served.items()):
        signature = {**GOOD_STATE["signature"], "instructions": instructions}
        (game.modules / path).write_bytes(state({**GOOD_STATE, "signature": signature}))
        game.engine.programs.register(f"n{number}", Naming())
    await until(lambda: programs(game) == served)
    return game, served


def programs(game: Game) -> dict[str, str]:
    """Return the instructions of the programs that are served, by file."""
    found = {}
    for version in game.engine.snapshot.values():
        (predictor,) = version.module().predictors.values()
        found[version.path] = predictor.instructions
    return found


@row(29)
@pytest.mark.parametrize("number", range(len(batches(HOSTILE_STATES))))
@pytest_twisted.ensureDeferred
async def test_row_29_hostile_states(play: Play, modules: Path, seen: Seen, number: int) -> None:
    """What would change more of a program than an optimizer does is rejected by name; the last good one serves."""
    hostile = batches(HOSTILE_STATES)[number]
    game, served = await with_programs(play, len(hostile))
    took = await refused(game, hostile, served, programs)
    seconds = await stopped(game)
    seen(f"{len(hostile)} saved programs rejected by name within {took:.1f} s; stopped in {seconds * 1e3:.0f} ms")


@row(29)
@pytest_twisted.ensureDeferred
async def test_row_29_odd_states(play: Play, modules: Path, seen: Seen) -> None:
    """What is odd and does no harm goes live, with a warning that names it."""
    game, _served = await with_programs(play, len(ODD_STATES))
    for number, (data, _words) in enumerate(ODD_STATES.values()):
        (modules / path_of(number)).write_bytes(data)
    await until(lambda: programs(game) == dict.fromkeys(map(path_of, range(len(ODD_STATES))), "Name it."))
    assert game.heard(ReloadError) == []
    warnings = game.lines("warn")
    for number, (name, (_data, words)) in enumerate(ODD_STATES.items()):
        assert any(line.startswith(f"{path_of(number)}:") and words in line for line in warnings), name
    seen(f"{len(ODD_STATES)} odd ones live with a warning")


@row(29)
@pytest_twisted.ensureDeferred
async def test_row_29_pickles(play: Play, modules: Path, seen: Seen) -> None:
    """A pickle is never loaded, whatever it is called and whoever lists it."""
    proof = modules.parent / "proof"
    data = pickled(str(proof))
    names = ("program.pkl", "program.pickle", "PROGRAM.PKL", "program.json")
    for name in names:
        (modules / name).write_bytes(data)
    (modules / "smith.json").write_text(text("Smith."))
    game = await play()
    assert game.served() == {"smith.json": "Smith."}
    for name in names:
        entries = {"npc.smith": {"path": "smith.json"}, "program": {"path": name}}
        (modules / "manifest.json").write_text(json.dumps({"modules": entries}))
        await until(lambda name=name: any(name in line for line in game.lines("error")))  # type: ignore[misc]
        assert game.served() == {"smith.json": "Smith."}
    said = {event.path: event.error for event in game.heard(ReloadError) if event.path in names[:3]}
    words = "a pickle can run code, and is never read; save the program as .json"
    assert said == dict.fromkeys(names[:3], words)
    assert game.lines("critical") == []
    assert not proof.exists()
    pickle.loads(data).close()  # it would have
    assert proof.exists()
    seen("no pickle was loaded")
