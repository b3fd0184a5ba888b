"""Which events of the file system count as a hint, and how a burst of them wakes the reactor once."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest

from dspyreload.live.burst import Burst, Interest

ROOT = "/mods"
JSON = Interest((".json",), lambda path: path == "lore/town.txt")


@attrs.frozen
class Event:
    """An event as watchdog gives it."""

    event_type: str
    src_path: str | bytes
    dest_path: str | bytes = ""
    is_directory: bool = False


@pytest.fixture
def wakes() -> list[int]:
    """One item for each time the reactor was woken."""
    return []


@pytest.fixture
def burst(wakes: list[int]) -> Burst:
    """A burst that belongs to :data:`ROOT`."""
    return Burst(ROOT, JSON, lambda: wakes.append(1))


@pytest.mark.parametrize(
    "path",
    [
        "npc/smith.json~", "npc/.smith.json.swp", "npc/smith.swp", "npc/4913", "npc/.#smith.json", "npc/#smith.json#",
        "npc/smith.json___jb_tmp___", "npc/smith.json___jb_old___", "npc/smith.json.tmp", ".git/config.json",
    ],
)  # fmt: skip
def test_editors_temporary_files_are_no_hint(path: str) -> None:
    """What vim, Emacs, JetBrains and git leave beside a module starts no pass."""
    for appeared in (True, False):
        assert JSON.hint(path, directory=False, appeared=appeared) is None


@pytest.mark.parametrize("path", ["smith.json", "npc/smith.json", "npc/SMITH.JSON", "manifest.json"])
def test_a_module_file_is_a_hint_at_itself(path: str) -> None:
    """A file with a watched ending, in either case, hints at its own path."""
    assert JSON.hint(path, directory=False, appeared=False) == path


def test_a_file_that_a_module_is_made_of_is_a_hint_whatever_its_ending() -> None:
    """An included text is hinted at; a text that no module names is not."""
    assert JSON.hint("lore/town.txt", directory=False, appeared=False) == "lore/town.txt"
    assert JSON.hint("lore/other.txt", directory=False, appeared=False) is None


@pytest.mark.parametrize("appeared", [True, False])
def test_a_directory_hints_at_the_whole_tree(appeared: bool) -> None:
    """Files that were made before the new folder is watched are reported by nobody."""
    assert JSON.hint("npc", directory=True, appeared=appeared) == ""


def test_the_root_itself_hints_at_the_whole_tree() -> None:
    """An event of the watched directory itself names no file."""
    assert JSON.hint(".", directory=True, appeared=False) == ""


@pytest.mark.parametrize("path", ["..data", "..data_tmp", "..2024_01_01_00_00_00.1", "..2024_01_01_00_00_00.1/a.json"])
def test_a_configmap_swap_hints_at_the_whole_tree(path: str) -> None:
    """Kubernetes swaps the symlink ..data; no event names the files that changed."""
    assert JSON.hint(path, directory=False, appeared=True) == ""


@pytest.mark.parametrize("path", ["npc/..data", "npc/..data_tmp", "quests/east/..data"])
def test_a_configmap_mounted_in_a_folder_hints_too(path: str) -> None:
    """A ConfigMap may be mounted at a folder of the modules directory; its swap counts as one at the root does."""
    assert JSON.hint(path, directory=False, appeared=True) == ""


def test_a_symlink_to_a_folder_that_appears_hints_at_the_whole_tree() -> None:
    """Such a link looks like a file without an ending; its content may be modules."""
    assert JSON.hint("quests", directory=False, appeared=True) == ""
    assert JSON.hint("quests", directory=False, appeared=False) is None


def test_both_ends_of_a_rename_are_looked_at(burst: Burst) -> None:
    """A save by rename shows the module's name only as the destination."""
    burst.dispatch(Event("moved", f"{ROOT}/npc/smith.json.tmp", f"{ROOT}/npc/smith.json"))
    assert burst.take(listen=True).paths == {"npc/smith.json"}
    burst.dispatch(Event("moved", f"{ROOT}/npc/smith.json", f"{ROOT}/npc/smith.json~"))
    assert burst.take(listen=True).paths == {"npc/smith.json"}
    burst.dispatch(Event("moved", f"{ROOT}/a.json", f"{ROOT}/b.json"))
    assert burst.take(listen=True).paths == {"a.json", "b.json"}


def test_a_name_in_bytes_is_understood(burst: Burst) -> None:
    """Names may come as bytes, and need not be UTF-8."""
    burst.dispatch(Event("modified", b"/mods/smith.json"))
    burst.dispatch(Event("modified", b"/mods/sm\xffth.json"))
    assert burst.take(listen=True).paths == {"smith.json", "sm\udcffth.json"}


def test_hundreds_of_events_wake_the_reactor_once(burst: Burst, wakes: list[int]) -> None:
    """The thread adds to a set; the reactor is woken for the first event only."""
    for number in range(200):
        burst.dispatch(Event("modified", f"{ROOT}/m{number % 50}.json"))
    assert len(wakes) == 1
    paths = burst.take(listen=True).paths
    assert paths is not None
    assert sorted(paths) == sorted(f"m{number}.json" for number in range(50))


def test_after_the_set_was_emptied_the_next_event_wakes_again(burst: Burst, wakes: list[int]) -> None:
    """No event is lost between two bursts."""
    for _ in range(3):
        burst.dispatch(Event("modified", f"{ROOT}/smith.json"))
        burst.take(listen=True)
    assert len(wakes) == 3
    assert list(burst.take(listen=True).paths or ()) == []


def test_until_the_reactor_listens_again_nobody_wakes_it(burst: Burst, wakes: list[int]) -> None:
    """Whoever came for one hint comes back for the others when the quiet window is over."""
    for _ in range(3):
        burst.dispatch(Event("modified", f"{ROOT}/smith.json"))
        assert burst.take(listen=False).paths == {"smith.json"}
    assert len(wakes) == 1
    assert burst.take(listen=True).latest is None
    burst.dispatch(Event("modified", f"{ROOT}/smith.json"))
    assert len(wakes) == 2


def test_it_says_when_the_latest_hint_came(wakes: list[int]) -> None:
    """The quiet window counts from there."""
    now = [0.0]
    burst = Burst(ROOT, JSON, lambda: wakes.append(1), clock=lambda: now[0])
    for now[0] in (1.0, 2.0):
        burst.dispatch(Event("modified", f"{ROOT}/smith.json"))
    now[0] = 3.0
    burst.dispatch(Event("modified", f"{ROOT}/.smith.json.swp"))
    assert burst.take(listen=False).latest == 2.0
    assert burst.take(listen=False).latest is None


def test_a_storm_wakes_a_reactor_that_does_not_listen(burst: Burst, wakes: list[int]) -> None:
    """The watch is to be dropped at once, and not when a window is over that events keep open."""
    for _ in range(1000):
        burst.dispatch(Event("modified", f"{ROOT}/smith.json"))
    assert burst.storm
    assert len(wakes) == 2


@pytest.mark.parametrize("above", ["", "npc/"])
def test_a_large_configmap_is_no_storm(burst: Burst, above: str) -> None:
    """All its files are written anew, beside the old ones, at each change; nobody has to wait for the next watch."""
    for number in range(2000):
        burst.dispatch(Event("created", f"{ROOT}/{above}..2026_11_29/m{number}.json"))
    burst.dispatch(Event("moved", f"{ROOT}/{above}..data_tmp", f"{ROOT}/{above}..data"))
    assert not burst.storm
    assert burst.take(listen=True).paths is None


def test_what_is_no_hint_wakes_nobody(burst: Burst, wakes: list[int]) -> None:
    """Events of temporary files cost the reactor nothing."""
    burst.dispatch(Event("modified", f"{ROOT}/npc/.smith.json.swp"))
    assert wakes == []


def test_very_many_paths_become_a_look_everywhere() -> None:
    """The set does not grow without bound, also where a storm is nothing special."""
    burst = Burst(ROOT, JSON, lambda: None, weathers=True)
    for number in range(5000):
        burst.dispatch(Event("modified", f"{ROOT}/m{number}.json"))
    assert burst.take(listen=True).paths is None
    burst.dispatch(Event("modified", f"{ROOT}/m1.json"))
    assert burst.take(listen=True).paths == {"m1.json"}


def test_the_handler_never_raises(wakes: list[int]) -> None:
    """Whatever an event holds, watchdog's thread lives on and the tree is looked at."""

    def broken(path: str) -> bool:
        raise RuntimeError(path)

    burst = Burst(ROOT, Interest((".json",), broken), lambda: wakes.append(1))
    odd: list[Any] = [object(), None, Event("modified", 5), Event("modified", f"{ROOT}/a.txt")]  # type: ignore[arg-type]
    for event in odd:
        burst.dispatch(event)
        assert burst.take(listen=True).paths is None
    assert len(wakes) == len(odd)


def test_a_reactor_that_is_gone_does_not_end_watchdogs_thread() -> None:
    """Waking may fail while the process shuts down; neither handler lets that out."""

    def gone() -> None:
        raise RuntimeError("the reactor is gone")

    Burst(ROOT, JSON, gone).dispatch(Event("modified", f"{ROOT}/smith.json"))
    Burst(ROOT, JSON, gone).handle(logging.LogRecord("watchdog", logging.WARNING, "", 1, "queue overflow", (), None))


def test_an_overflow_line_hints_at_the_whole_tree(burst: Burst, wakes: list[int]) -> None:
    """The kernel dropped events: watchdog says so in its log and nowhere else."""
    burst.handle(
        logging.LogRecord(
            "watchdog", logging.WARNING, "", 1, "Inotify queue overflowed; filesystem events were lost", (), None
        )
    )
    assert len(wakes) == 1
    assert burst.take(listen=True).paths is None


def test_another_line_of_the_log_is_no_hint(burst: Burst, wakes: list[int]) -> None:
    """watchdog's other warnings start no pass."""
    burst.handle(logging.LogRecord("watchdog", logging.WARNING, "", 1, "something else", (), None))
    assert wakes == []


def test_after_the_end_nobody_is_woken(burst: Burst, wakes: list[int]) -> None:
    """Events that arrive while the observer stops are let go."""
    burst.end()
    burst.dispatch(Event("modified", f"{ROOT}/smith.json"))
    burst.handle(logging.LogRecord("watchdog", logging.WARNING, "", 1, "queue overflow", (), None))
    assert wakes == []
