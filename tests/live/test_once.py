"""Each rejection is said once for each content, and once more when it is mended; what others may write, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from dspyreload import HotReloadConfig, HotReloadEvent, ModuleChanged, ReloadError
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text
from tests.live.test_service import CASE, Rig, advance, ours, settle

CONFIG = HotReloadConfig(debounce=0.125, rescan_interval=1.0)
GOOD, BROKEN, WORSE = module_text(), '{"instruction": "You are a smith.",}', '{"instruction": 7}'


@pytest.fixture
def clock() -> Iterator[ReactorClock]:
    """The reactor; at the end there is no delayed call and no thread of ours."""
    clock = ReactorClock()
    yield clock
    settle(clock)
    assert clock.getDelayedCalls() == []
    assert ours() == []


class Told:
    """What a service said, by the log and by events."""

    def __init__(self, rig: Rig, log: Any) -> None:
        self.rig, self.log = rig, log
        self.events: list[HotReloadEvent] = []
        rig.service.subscribe(self.events.append)

    def lines(self, *levels: str) -> list[str]:
        events: list[LogEvent] = list(self.log)
        return [str(formatEvent(event)) for event in events if event["log_level"].name in levels]

    def rejections(self) -> tuple[int, int]:
        """How many there were, as events and as lines."""
        lines = [line for line in self.lines("error") if line.startswith(("smith.json:", "manifest.json:"))]
        return len([event for event in self.events if isinstance(event, ReloadError)]), len(lines)

    def mended(self) -> int:
        """How many lines said that something is whole again."""
        return len([line for line in self.lines("info") if "is whole again" in line])

    def save(self, path: Path, text: str) -> None:
        """Save by renaming, tell of it, and let two looks be over."""
        new = path.with_name(".new")
        new.write_text(text)
        os.replace(new, path)
        self.rig.observer.tell(path.name)
        self.rig.clock.run_calls()
        advance(self.rig.clock, 0.5)


@pytest.fixture
def told(modules: Path, save: Save, clock: ReactorClock) -> Iterator[Told]:
    """A service that is ready, with one good module."""
    save("smith.json", GOOD)
    modules.chmod(0o755)
    (modules / "smith.json").chmod(0o644)
    rig = Rig(modules, clock, CONFIG)
    with capturedLogs() as log:
        told = Told(rig, log)
        rig.start()
        yield told
        if rig.service.running:
            rig.stop()


def test_a_rejection_is_said_once_whatever_passes_follow(told: Told, modules: Path) -> None:
    """Those of the timer, every tenth of which reads all bytes, and those that are asked for."""
    told.save(modules / "smith.json", BROKEN)
    assert told.rejections() == (1, 1)
    passes = told.rig.service.stats.passes
    advance(told.rig.clock, 25)
    told.rig.engine.reload_all()
    advance(told.rig.clock, 1)
    assert told.rig.service.stats.passes >= passes + 20
    assert told.rejections() == (1, 1)
    assert told.rig.service.stats.reloads_failed == 1


def test_a_touch_and_the_same_bytes_again_are_no_news(told: Told, modules: Path) -> None:
    """It is the content that counts."""
    told.save(modules / "smith.json", BROKEN)
    os.utime(modules / "smith.json")
    told.rig.observer.tell("smith.json")
    told.save(modules / "smith.json", BROKEN)
    advance(told.rig.clock, 3)
    assert told.rejections() == (1, 1)


def test_another_broken_content_is_said(told: Told, modules: Path) -> None:
    """And the first one again, when it comes back."""
    for number, content in enumerate((BROKEN, WORSE, BROKEN), start=1):
        told.save(modules / "smith.json", content)
        assert told.rejections() == (number, number)


def test_it_is_said_once_when_it_is_mended_by_what_serves_already(told: Told, modules: Path) -> None:
    """Nothing goes live, and who waits for word gets one line."""
    told.save(modules / "smith.json", BROKEN)
    told.save(modules / "smith.json", GOOD)
    advance(told.rig.clock, 12)
    assert told.mended() == 1
    assert [line for line in told.lines("info") if "whole again" in line] == [
        "npc.smith is whole again, and is what serves already"
    ]


def test_it_is_said_once_when_it_is_mended_by_something_new(told: Told, modules: Path) -> None:
    """That it is live says it."""
    told.save(modules / "smith.json", BROKEN)
    told.save(modules / "smith.json", module_text(instruction="New."))
    advance(told.rig.clock, 12)
    assert len([event for event in told.events if isinstance(event, ModuleChanged)]) == 1
    assert told.mended() == 0


def test_what_was_mended_and_is_broken_again_is_said_again(told: Told, modules: Path) -> None:
    """With the very same content."""
    for number in (1, 2, 3):
        told.save(modules / "smith.json", BROKEN)
        assert told.rejections() == (number, number)
        told.save(modules / "smith.json", GOOD)
        assert told.mended() == number


def test_a_restart_of_the_service_says_nothing_again(told: Told, modules: Path) -> None:
    """The same engine knows what it said; what came meanwhile is said."""
    told.save(modules / "smith.json", BROKEN)
    for _ in range(2):
        told.rig.stop()
        told.rig.service.startService()
        advance(told.rig.clock, 12)
        CASE.successResultOf(told.rig.service.when_ready())
    assert told.rejections() == (1, 1)
    told.rig.stop()
    (modules / "smith.json").write_text(WORSE)
    told.rig.service.startService()
    advance(told.rig.clock, 3)
    assert told.rejections() == (2, 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_said_once(told: Told, modules: Path) -> None:
    """As long as that lasts."""
    (modules / "smith.json").chmod(0)
    advance(told.rig.clock, 12)
    assert told.rejections() == (1, 1)


def test_a_file_that_is_no_file_is_said_once(told: Told, modules: Path) -> None:
    """It has no content; then it is the reason that counts."""
    (modules / "smith.json").unlink()
    os.mkfifo(modules / "smith.json")
    advance(told.rig.clock, 12)
    assert told.rejections() == (1, 1)
    (modules / "smith.json").unlink()
    told.save(modules / "smith.json", GOOD)
    assert told.mended() == 1


def test_a_broken_manifest_is_said_once_and_once_when_it_is_mended(told: Told, modules: Path) -> None:
    """As often as it is broken."""
    good = '{"modules": {"npc.smith": {"path": "smith.json", "hash": null}}}'
    told.save(modules / "manifest.json", good)
    assert told.rejections() == (0, 0)
    for number in (1, 2):
        told.save(modules / "manifest.json", "{")
        advance(told.rig.clock, 12)
        assert told.rejections() == (number, number)
        told.save(modules / "manifest.json", good)
        advance(told.rig.clock, 2)
        assert told.mended() == number


def test_a_manifest_that_lists_what_is_not_there_is_said_once(told: Told, modules: Path) -> None:
    """Whatever passes follow."""
    told.save(modules / "manifest.json", '{"modules": {"npc.smith": {"path": "smith.json", "hash": null}}}')
    told.save(modules / "manifest.json", '{"modules": {"x": {"path": "nowhere.json", "hash": null}}}')
    advance(told.rig.clock, 25)
    assert told.rejections() == (1, 1)


def test_a_manifest_that_waited_and_was_taken_back_is_said_to_be_mended(told: Told, modules: Path) -> None:
    """And it is said again when it comes back, with the same content."""
    good = '{"modules": {"npc.smith": {"path": "smith.json", "hash": null}}}'
    told.save(modules / "manifest.json", good)
    for number in (1, 2):
        told.save(modules / "manifest.json", '{"modules": {"x": {"path": "nowhere.json", "hash": null}}}')
        advance(told.rig.clock, 12)
        assert told.rejections() == (number, number)
        told.save(modules / "manifest.json", good)
        advance(told.rig.clock, 2)
        assert told.mended() == number


DECIDES = "the group or all may write {}, and so decide what characters say; run chmod -R go-w on the modules directory"


class TestWritable:
    """Who may write a module decides what a character says."""

    def warnings(self, told: Told) -> list[str]:
        return [line for line in told.lines("warn") if "may write" in line]

    def test_the_directory_is_warned_about_once(self, told: Told, modules: Path) -> None:
        """By the first pass that sees it."""
        assert self.warnings(told) == []
        modules.chmod(0o775)
        advance(told.rig.clock, 25)
        assert self.warnings(told) == [DECIDES.format("the modules directory")]

    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
    def test_a_file_is_warned_about_once(self, told: Told, modules: Path, mode: int) -> None:
        """Of its group's, and of all."""
        (modules / "smith.json").chmod(mode)
        advance(told.rig.clock, 25)
        assert self.warnings(told) == [DECIDES.format("smith.json")]
        assert told.rig.instruction() == "You are a smith."

    @pytest.mark.parametrize("name", ["manifest.json", "rules.md", "npc/rules.txt"])
    def test_so_is_what_else_modules_are_made_of(self, told: Told, save: Save, modules: Path, name: str) -> None:
        """The manifest, and texts that modules include, whatever their endings."""
        if name == "manifest.json":
            save(name, '{"modules": {"npc.smith": {"path": "smith.json", "hash": null}}}').chmod(0o666)
        else:
            save(name, "Be kind.").chmod(0o666)
        for folder in (modules, modules / "npc"):
            folder.chmod(0o755) if folder.exists() else None
        advance(told.rig.clock, 25)
        assert self.warnings(told) == [DECIDES.format(name)]

    def test_many_are_one_line(self, told: Told, save: Save) -> None:
        """The first of them, and how many more."""
        for number in range(30):
            save(f"npc/{number:02}.json", module_text(f"npc.{number}")).chmod(0o666)
        advance(told.rig.clock, 5)
        assert self.warnings(told) == [DECIDES.format("npc/00.json and 29 more")]

    def test_what_was_put_right_and_is_wrong_again_is_said_again(self, told: Told, modules: Path) -> None:
        """It is news."""
        for number in (1, 2):
            (modules / "smith.json").chmod(0o666)
            advance(told.rig.clock, 3)
            (modules / "smith.json").chmod(0o644)
            advance(told.rig.clock, 3)
            assert len(self.warnings(told)) == number

    def test_strict_does_not_read_it(self, modules: Path, save: Save, clock: ReactorClock) -> None:
        """It is rejected once; the version before serves on, and it goes live when nobody else may write it."""
        save("smith.json", GOOD).chmod(0o644)
        rig = Rig(modules, clock, CONFIG.evolve(strict=True))
        with capturedLogs() as log:
            told = Told(rig, log)
            rig.start()
            new = modules / ".new"
            new.write_text(module_text(instruction="Be cruel."))
            new.chmod(0o666)
            os.replace(new, modules / "smith.json")
            advance(clock, 12)
            assert rig.instruction() == "You are a smith."
            assert told.rejections() == (1, 1)
            (modules / "smith.json").chmod(0o644)
            advance(clock, 3)
            assert rig.instruction() == "Be cruel."
            assert told.rejections() == (1, 1)
            rig.stop()
