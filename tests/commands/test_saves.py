"""One save, one line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from dspyreload.commands.saves import Line, Saves
from dspyreload.model.events import (
    EventsDropped,
    HotReloadEvent,
    LMHealthChanged,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)

A, B, C = "aaaa" + "0" * 60, "bbbb" + "0" * 60, "cccc" + "0" * 60


class Heard:
    """What is told of saves on a clock; the writer talks to ``npc.smith``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lines: list[Line] = []
        self.spoken: str | None = "npc.smith"
        self.has_manifest = True
        self.saves = Saves(self.clock, self.lines.append, lambda: self.spoken, has_manifest=lambda: self.has_manifest)

    def of(self, *events: HotReloadEvent) -> list[str]:
        """Take the events of one save; returns the texts that are told when all is quiet."""
        self.lines.clear()
        for event in events:
            self.saves.on_event(event)
        self.clock.advance(1)
        return [line.text for line in self.lines]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What is told; no timer is left at the end."""
    heard = Heard()
    yield heard
    assert heard.clock.getDelayedCalls() == []


def live(module_id: str = "npc.smith", version: str = A) -> ModuleChanged:
    return ModuleChanged(generation=1, module_id=module_id, path=f"{module_id}.json", version=version)


def rejected(module_id: str | None = "npc.smith", serving: str | None = A, **more: object) -> ReloadError:
    path = f"{module_id}.json" if module_id else "new.json"
    values = {"path": path, "line": 21, "column": 17, "error": 'demo 3 lacks "emotion"', **more}
    return ReloadError(generation=1, module_id=module_id, serving=serving, **values)  # type: ignore[arg-type]


def same(module_id: str = "npc.smith") -> ModuleSkipped:
    return ModuleSkipped(generation=1, module_id=module_id)


def test_a_version_that_is_live_is_told_with_the_one_before(heard: Heard) -> None:
    assert heard.of(live(version=A)) == ["npc.smith is live: aaaa"]
    assert heard.of(live(version=B)) == ["npc.smith is live: bbbb (was aaaa)"]
    assert heard.of(live(version=C)) == ["npc.smith is live: cccc (was bbbb)"]
    assert heard.lines == [Line("npc.smith is live: cccc (was bbbb)", changed=frozenset({"npc.smith"}))]


def test_a_version_that_is_rejected_is_told_with_what_speaks_and_the_mend(heard: Heard) -> None:
    assert heard.of(rejected(mend='add "emotion" to it')) == [
        'npc.smith.json:21:17: demo 3 lacks "emotion"; add "emotion" to it; aaaa still speaks'
    ]
    assert heard.lines[0].bad
    assert heard.lines[0].changed == frozenset()


def test_where_nothing_speaks_in_its_place_that_is_said(heard: Heard) -> None:
    [line] = heard.of(rejected(None, None, line=None, column=None))
    assert line == 'new.json: demo 3 lacks "emotion"; nothing speaks in its place'


def test_of_many_files_with_a_fault_the_one_that_is_talked_to_is_told(heard: Heard) -> None:
    faults = [rejected(f"npc.a{number}") for number in range(5)]
    [line] = heard.of(*faults, rejected("npc.smith"), *faults)
    assert line.startswith("npc.smith.json:21:17: ")
    assert "; 10 more files with a fault; " in line
    heard.spoken = None
    [line] = heard.of(rejected("npc.b"), rejected("npc.a"))
    assert line.startswith("npc.a.json:21:17: ")
    assert "; 1 more file with a fault; " in line


def test_a_shared_file_of_two_hundred_modules_is_one_line(heard: Heard) -> None:
    """Their events come in slices; the one who is talked to is named."""
    heard.of(live("npc.smith", A))
    heard.lines.clear()
    events = [live(f"npc.a{number:03}", B) for number in range(199)] + [live("npc.smith", B)]
    for start in range(0, 200, 50):
        for event in events[start : start + 50]:
            heard.saves.on_event(event)
        heard.clock.advance(0.03)
    assert heard.lines == []
    heard.clock.advance(0.03)
    [line] = heard.lines
    assert line.text == "npc.smith is live: bbbb (was aaaa), and 199 more modules"
    assert len(line.changed) == 200


def test_a_stream_of_saves_is_told_of_while_it_goes_on(heard: Heard) -> None:
    """Whoever saves all the time, as a tool that rewrites a whole directory does, is told within seconds."""
    for number in range(1000):
        heard.saves.on_event(live("npc.smith", f"{number:064}"))
        heard.clock.advance(0.04)
    assert heard.lines
    heard.clock.advance(1)


def test_two_saves_are_two_lines(heard: Heard) -> None:
    heard.saves.on_event(live(version=A))
    heard.clock.advance(0.2)
    heard.saves.on_event(live(version=B))
    heard.clock.advance(0.2)
    assert [line.text for line in heard.lines] == ["npc.smith is live: aaaa", "npc.smith is live: bbbb (was aaaa)"]


def test_good_and_bad_of_one_save_stand_in_one_line_and_the_bad_comes_first(heard: Heard) -> None:
    [line] = heard.of(live("npc.bard", B), rejected())
    assert line == 'npc.smith.json:21:17: demo 3 lacks "emotion"; aaaa still speaks; npc.bard is live: bbbb'
    assert heard.lines[0].bad
    assert heard.lines[0].changed == frozenset({"npc.bard"})


def test_a_changed_manifest_is_told_in_numbers(heard: Heard) -> None:
    assert heard.of(ManifestChanged(generation=1, added=("a", "b"), removed=("c",))) == [
        "manifest.json is live: 2 added, 1 removed"
    ]
    assert heard.of(ManifestChanged(generation=1, changed=("a",))) == ["manifest.json is live: 1 changed"]


def test_a_manifest_that_changes_no_entry_is_told_without_a_hole(heard: Heard) -> None:
    """Its version, or its defaults, may be all that changed."""
    [line] = heard.of(ManifestChanged(generation=1))
    assert line.startswith("manifest.json is live")
    assert not line.endswith((": ", ":"))


@pytest.mark.parametrize(
    ("serving", "words"),
    [(A, "the manifest before it still counts"), (None, "nothing is served until it is mended")],
)
def test_a_broken_manifest_says_what_counts(heard: Heard, serving: str | None, words: str) -> None:
    event = ReloadError(generation=1, path="manifest.json", error="it is no JSON", line=2, column=1, serving=serving)
    assert heard.of(event) == [f"manifest.json:2:1: it is no JSON; {words}"]


def gone(*module_ids: str) -> list[ModuleDeleted]:
    return [ModuleDeleted(generation=1, module_id=module_id) for module_id in module_ids]


def test_a_module_that_is_gone_is_told_with_the_reason(heard: Heard) -> None:
    """Its file is gone, or the manifest let go of it."""
    assert heard.of(*gone("npc.bard")) == ["npc.bard is gone: there is no file for it"]
    assert heard.of(ManifestChanged(generation=1, removed=("npc.bard",)), *gone("npc.bard")) == [
        "manifest.json is live: 1 removed; npc.bard is gone: manifest.json no longer lists it"
    ]


def test_of_several_that_are_gone_the_one_that_is_talked_to_is_named(heard: Heard) -> None:
    [line] = heard.of(*gone("npc.bard", "npc.smith"))
    assert line == "npc.smith and 1 more module are gone: there is no file for them"
    all_three = ("npc.bard", "npc.smith", "npc.cook")
    [line] = heard.of(ManifestChanged(generation=1, removed=all_three), *gone(*all_three))
    assert line.endswith("npc.smith and 2 more modules are gone: manifest.json no longer lists them")


def test_a_manifest_that_is_gone_is_told_with_what_counts_now(heard: Heard) -> None:
    """Then there is no manifest that would be live."""
    heard.has_manifest = False
    assert heard.of(ManifestChanged(generation=1, added=("a",)), live("a", B)) == [
        "a is live: bbbb; manifest.json is gone: every .json file is a module now"
    ]
    heard.has_manifest = True
    assert heard.of(ManifestChanged(generation=1, added=("a",))) == ["manifest.json is live: 1 added"]


def test_a_note_stands_in_the_line_of_its_save_and_is_nothing_bad(heard: Heard) -> None:
    heard.saves.on_note("manifest.json is whole again, as it was before")
    assert heard.of() == ["manifest.json is whole again, as it was before"]
    assert not heard.lines[0].bad
    heard.saves.on_note("manifest.json is whole again")
    heard.saves.on_warning("a.json: odd")
    assert heard.of(live()) == ["npc.smith is live: aaaa; manifest.json is whole again; warning: a.json: odd"]
    assert heard.of() == []


def test_a_fault_that_was_told_at_the_beginning_is_not_told_again(heard: Heard) -> None:
    """Once: who breaks the file in that way later hears of it; and so does who breaks it in another, or another."""
    lacks = 'demo 3 lacks "emotion"'
    told = [(f"npc.{name}.json", lacks) for name in ("smith", "bard", "guide")]
    heard.saves = Saves(heard.clock, heard.lines.append, lambda: "npc.smith", told=told)
    assert heard.of(rejected()) == []
    assert len(heard.of(rejected())) == 1
    assert len(heard.of(rejected("npc.bard", error="it is no JSON"))) == 1
    assert len(heard.of(rejected("npc.cook"))) == 1
    heard.of(live("npc.guide"))
    assert len(heard.of(rejected("npc.guide"))) == 1


def test_what_has_no_place_in_its_file_is_not_told_again_either(heard: Heard) -> None:
    """A pipe in the place of a file."""
    words = "this is a pipe or a device, not a file"
    heard.saves = Saves(heard.clock, heard.lines.append, lambda: "npc.smith", told=[("npc.smith.json", words)])
    assert heard.of(rejected(error=words, line=None, column=None)) == []


def test_a_version_that_was_live_before_is_told_without_it(heard: Heard) -> None:
    """The game registered something anew: the file is the one that it was."""
    heard.of(live(version=A))
    assert heard.of(live(version=A)) == ["npc.smith is live: aaaa"]


def test_a_broken_manifest_comes_before_the_files_that_it_lists(heard: Heard) -> None:
    event = ReloadError(generation=1, path="manifest.json", error="it is no JSON", line=2, column=1, serving=A)
    [line] = heard.of(rejected("npc.a"), event, rejected("npc.b"))
    assert line == "manifest.json:2:1: it is no JSON; 2 more files with a fault; the manifest before it still counts"


def test_a_module_that_comes_back_had_no_version_just_before(heard: Heard) -> None:
    heard.of(live(version=A))
    heard.of(ModuleDeleted(generation=1, module_id="npc.smith"))
    assert heard.of(live(version=B)) == ["npc.smith is live: bbbb"]


def test_two_hundred_modules_that_are_gone_fit_on_the_screen(heard: Heard) -> None:
    """A folder is moved away: one line says so, and names a few."""
    [line] = heard.of(*(ModuleDeleted(generation=1, module_id=f"npc.a{number}") for number in range(200)))
    assert len(line) < 500


def test_a_file_that_is_mended_to_what_it_was_is_whole_again(heard: Heard) -> None:
    """Nothing goes live then, and still the writer hears that the fault is gone; once."""
    heard.of(rejected("npc.bard"))
    assert heard.of(same("npc.bard")) == ["npc.bard is whole again, as it was before"]
    assert heard.of(same("npc.bard")) == []


def test_a_file_that_is_mended_to_something_new_is_not_told_twice(heard: Heard) -> None:
    heard.of(rejected())
    assert heard.of(live(version=B)) == ["npc.smith is live: bbbb"]
    assert heard.of(same()) == ["npc.smith was saved without a change"]


def test_a_save_without_change_is_told_of_who_is_talked_to_alone(heard: Heard) -> None:
    assert heard.of(same("npc.smith"), same("npc.bard")) == ["npc.smith was saved without a change"]
    assert heard.of(same("npc.bard")) == []
    heard.spoken = None
    assert heard.of(same("npc.smith")) == []


def test_what_is_odd_about_a_file_comes_with_its_save(heard: Heard) -> None:
    heard.saves.on_warning('npc.smith.json:3: the key "instrction" is not known')
    assert heard.of(live()) == ['npc.smith is live: aaaa; warning: npc.smith.json:3: the key "instrction" is not known']
    assert not heard.lines[0].bad
    heard.saves.on_warning("a.json: odd")
    assert heard.of() == ["warning: a.json: odd"]


def test_what_is_no_save_is_not_told(heard: Heard) -> None:
    health = LMHealthChanged(generation=1, lm="fast", healthy=False, reason="it is down")
    assert heard.of(health, EventsDropped(generation=1, count=3)) == []


def test_names_of_files_and_modules_move_no_cursor(heard: Heard) -> None:
    [line] = heard.of(rejected("npc.\x1b[2J"), live("a\nb\u202e", B))
    assert line.isprintable()


def test_telling_at_once_leaves_no_timer_and_nothing_to_tell(heard: Heard) -> None:
    heard.saves.on_event(live())
    heard.saves.flush()
    assert len(heard.lines) == 1
    assert heard.clock.getDelayedCalls() == []
    heard.saves.flush()
    assert len(heard.lines) == 1
