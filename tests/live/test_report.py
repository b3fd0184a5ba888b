"""What a pass says in the log."""

from __future__ import annotations

import time
from collections.abc import ItemsView, Iterator, Sequence
from typing import Any

import attrs
import pytest
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs, formatEvent

from dspyreload.live.report import report, report_damage, report_pending, report_restored
from dspyreload.model.events import (
    HotReloadEvent,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.model.faults import Fault, quoted
from dspyreload.model.finding import Known
from dspyreload.model.manifest import ModuleEntry, ModuleManifest
from dspyreload.model.plan import Plan
from dspyreload.model.restoring import Restored
from dspyreload.model.snapshot import EMPTY

VERSION = "0123456789abcdef" * 4


def changed(module_id: str = "npc.smith") -> ModuleChanged:
    return ModuleChanged(generation=7, module_id=module_id, path=f"{module_id}.json", version=VERSION)


def said(
    *events: HotReloadEvent,
    first: bool = False,
    pending: Any = (),
    saved_at: Any = (),
    notes: Any = (),
    warnings: Any = (),
    mended: tuple[str, ...] = (),
    in_force: ModuleManifest | None = None,
) -> Sequence[LogEvent]:
    """Return the lines that a pass with these events leaves in the log."""
    values: dict[str, Any] = {str(field.alias): () for field in attrs.fields(Plan)}
    values |= {
        "snapshot": attrs.evolve(EMPTY, generation=7, manifest=in_force),
        "events": events,
        "manifest": tuple(event for event in events if isinstance(event, ManifestChanged)),
        "changed": tuple(event for event in events if isinstance(event, ModuleChanged)),
        "deleted": tuple(event for event in events if isinstance(event, ModuleDeleted)),
        "errors": tuple(event for event in events if isinstance(event, ReloadError)),
        "skipped": tuple(event for event in events if isinstance(event, ModuleSkipped)),
        "pending": dict(pending),
        "saved_at": dict(saved_at),
        "notes": notes,
        "warnings": warnings,
        "mended": mended,
    }
    plan = Plan(**values)
    with capturedLogs() as logs:
        report(Logger(namespace="dspyreload"), plan, first=first)
        report_pending(Logger(namespace="dspyreload"), plan.pending.items())
    return logs


def line(entry: LogEvent) -> str:
    """Return one line as an operator sees it, and check that it is one."""
    text = formatEvent(entry)
    assert text.isprintable(), repr(text)
    return text


def test_a_pass_that_changed_nothing_says_nothing() -> None:
    """A quiet disk leaves a quiet log."""
    assert said() == []


def test_a_module_that_is_live_is_one_line_with_fields() -> None:
    """The text names module, version, generation and delay; the fields hold the whole values."""
    (entry,) = said(changed(), saved_at={"npc.smith": time.time() - 0.5})
    text = line(entry)
    assert "npc.smith is live" in text
    assert VERSION[:12] in text
    assert "generation 7" in text
    assert 0.4 < entry["after"] < 5
    assert entry["log_level"] is LogLevel.info
    assert (entry["module_id"], entry["version"], entry["generation"]) == ("npc.smith", VERSION, 7)


def test_a_file_time_in_the_future_is_no_negative_delay() -> None:
    """Clocks of file servers run ahead."""
    (entry,) = said(changed(), saved_at={"npc.smith": time.time() + 3600})
    assert entry["after"] == 0


def test_twenty_modules_are_twenty_lines_and_above_that_one_summary() -> None:
    """A large pass does not flood the log."""
    assert len(said(*(changed(f"npc.n{number}") for number in range(20)))) == 20
    (entry,) = said(*(changed(f"npc.n{number}") for number in range(21)))
    assert entry["count"] == 21
    assert "21 modules are live" in line(entry)


def test_a_rejection_says_file_place_fault_and_what_serves() -> None:
    """path:line:column, in a form that terminals make a link of."""
    error = ReloadError(
        generation=7, path="npc/smith.json", error="a comma is missing", line=3, column=9, module_id="npc.smith",
        serving=VERSION,
    )  # fmt: skip
    (entry,) = said(error)
    text = line(entry)
    assert text.startswith("npc/smith.json:3:9: a comma is missing; ")
    assert f"version {VERSION[:12]} of npc.smith is still serving" in text
    assert entry["log_level"] is LogLevel.error
    fields = ("path", "line", "column", "module_id", "version", "generation", "error")
    assert [entry[name] for name in fields] == [
        "npc/smith.json", 3, 9, "npc.smith", VERSION, 7, "a comma is missing"
    ]  # fmt: skip


def test_a_rejection_of_a_new_file_says_that_nothing_serves() -> None:
    """An operator learns that players get no answer from it."""
    (entry,) = said(ReloadError(generation=7, path="new.json", error="it is empty"))
    assert line(entry) == "new.json: it is empty; nothing is served in its place"


@pytest.mark.parametrize(
    ("serving", "words"), [(VERSION, "the manifest before it is still in force"), (None, "no manifest is in force")]
)
def test_a_rejected_manifest_says_what_is_in_force(serving: str | None, words: str) -> None:
    """The manifest is no module; what serves in its place is the one before it."""
    (entry,) = said(ReloadError(generation=7, path="manifest.json", error="no JSON", serving=serving))
    assert words in line(entry)


def test_many_rejections_are_cut_short_with_their_number() -> None:
    """Twenty are named; the rest is counted."""
    logs = said(*(ReloadError(generation=7, path=f"n{number}.json", error="bad") for number in range(33)))
    assert len(logs) == 21
    assert "13 more" in line(logs[-1])


def test_control_characters_in_names_are_escaped() -> None:
    """A file name can't move the cursor of whoever reads the log, nor fake a line."""
    evil = "npc\x1b[2J\r\nroot: all is well\x00\u202e"
    logs = said(
        changed(evil),
        ModuleDeleted(generation=7, module_id=evil),
        ReloadError(generation=7, path=evil, error="bad", module_id=evil, serving=VERSION),
        ModuleSkipped(generation=7, module_id=evil),
        pending={evil: f"no program is registered as {quoted(evil)}"},
        notes=((evil, Fault("odd")),),
    )
    assert len(logs) == 6
    for entry in logs:
        assert "\\x1b[2J" in line(entry)


def test_a_long_path_is_cut_short_and_its_place_is_not() -> None:
    """A writer needs the line more than the end of the name."""
    (entry,) = said(ReloadError(generation=7, path="n" * 4000, error="a fault", line=12, column=3))
    assert line(entry) == "n" * 299 + "…:12:3: a fault; nothing is served in its place"


def test_braces_in_names_and_texts_are_no_format() -> None:
    """What stands in a file is never taken as a format string."""
    (entry,) = said(ReloadError(generation=7, path="{generation}{x}.json", error="{log_level} {0} {"))
    assert line(entry) == "{generation}{x}.json: {log_level} {0} {; nothing is served in its place"


def test_a_module_that_is_gone_is_a_warning() -> None:
    """Players will notice; the operator should before."""
    (entry,) = said(ModuleDeleted(generation=7, module_id="npc.smith"))
    assert entry["log_level"] is LogLevel.warn
    assert line(entry) == "npc.smith is no longer served: there is no file for it any more; generation 7"


def test_a_module_that_the_first_manifest_does_not_list_is_said_to_be_gone_for_that() -> None:
    """Its file is there: without a manifest it was served."""
    event = ModuleDeleted(generation=7, module_id="npc.smith")
    (entry,) = said(event, in_force=ModuleManifest("1.0", {"npc.cook": ModuleEntry(path="cook.json")}))
    assert line(entry) == "npc.smith is no longer served: manifest.json does not list it; generation 7"


def test_a_module_that_a_manifest_drops_is_said_to_be_gone_for_that() -> None:
    """What the one before listed and this one does not."""
    events = (ManifestChanged(generation=7, removed=("npc.smith",)), ModuleDeleted(generation=7, module_id="npc.smith"))
    _live, entry = said(*events, in_force=ModuleManifest("1.0", {}))
    assert line(entry) == "npc.smith is no longer served: manifest.json no longer lists it; generation 7"


def test_many_deletions_are_cut_short_with_their_number() -> None:
    """Twenty are named; the rest is counted."""
    logs = said(*(ModuleDeleted(generation=7, module_id=f"n{number}") for number in range(50)))
    assert len(logs) == 21
    assert "30 more" in line(logs[-1])


def test_a_manifest_that_is_live_is_one_line_of_counts() -> None:
    """How many entries it added, changed and removed."""
    (entry,) = said(ManifestChanged(generation=7, added=("a", "b"), changed=("c",), removed=()))
    assert "2 added, 1 changed, 0 removed" in line(entry)


def test_the_first_reading_is_one_line() -> None:
    """How many were loaded, and how many not; the rejections follow, each with its reason."""
    loaded, rejected = said(
        changed("npc.a"), changed("npc.b"), ReloadError(generation=7, path="c.json", error="bad"), first=True
    )
    assert "loaded 2 modules (npc.a, npc.b)" in line(loaded)
    assert "1 rejected" in line(loaded)
    assert line(rejected).startswith("c.json: bad")


def test_the_first_reading_of_a_large_tree_does_not_list_it() -> None:
    """Ten thousand ids are no line of a log."""
    (entry,) = said(*(changed(f"npc.n{number}") for number in range(10_000)), first=True)
    assert "loaded 10,000 modules" in line(entry) or "loaded 10000 modules" in line(entry)
    assert len(line(entry)) < 1000


def test_an_unchanged_file_is_a_line_for_debugging_only() -> None:
    """Saves without a change are of no interest in daily work."""
    (entry,) = said(ModuleSkipped(generation=7, module_id="npc.smith"))
    assert entry["log_level"] is LogLevel.debug


def test_a_module_that_waits_names_the_signature_that_it_waits_for() -> None:
    """The operator learns what the game must register."""
    (entry,) = said(pending={"npc.smith": 'the signature "npc.dialogue" is not registered'})
    assert line(entry) == 'npc.smith waits: the signature "npc.dialogue" is not registered'
    assert entry["module_id"] == "npc.smith"


def aside(kind: str, remarks: tuple[tuple[str, Fault], ...]) -> Sequence[LogEvent]:
    return said(warnings=remarks) if kind == "warnings" else said(notes=remarks)


def test_of_many_modules_that_wait_nobody_walks_through_all() -> None:
    """The lines are written on the reactor."""
    walked: list[str] = []

    class Many(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            for name in dict.__iter__(self):
                walked.append(name)
                yield name

    pending = ItemsView(Many({f"npc.n{number:04}": "signature npc.dialogue" for number in range(1000)}))
    with capturedLogs() as logged:
        report_pending(Logger(), pending)
    lines = [str(formatEvent(event)) for event in logged]
    assert lines[0] == "npc.n0000 waits: signature npc.dialogue"
    assert lines[20:] == ["980 more modules wait"]
    assert len(walked) <= 21


@pytest.mark.parametrize(("kind", "level"), [("warnings", LogLevel.warn), ("notes", LogLevel.info)])
def test_an_oddity_names_its_file_and_place(kind: str, level: object) -> None:
    """What is odd keeps nothing from being served: a warning, or for information."""
    (entry,) = aside(kind, (("npc/extra.json", Fault("it is odd", 4, 2)),))
    assert line(entry) == "npc/extra.json:4:2: it is odd"
    assert entry["path"] == "npc/extra.json"
    assert entry["log_level"] is level


@pytest.mark.parametrize("kind", ["warnings", "notes"])
def test_an_oddity_says_what_to_do(kind: str) -> None:
    """After what is odd, where that does not say it; its line is a field too."""
    (entry,) = aside(kind, (("a.json", Fault("it is odd", 4, 2, "delete it")),))
    assert (line(entry), entry["line"]) == ("a.json:4:2: it is odd; delete it", 4)


@pytest.mark.parametrize("name", ["npc.smith", "manifest.json"])
def test_what_is_whole_again_is_a_line(name: str) -> None:
    """A module by its id, and the manifest too: nothing else tells that its fault is gone."""
    (entry,) = said(mended=(name,))
    assert line(entry) == f"{name} is whole again, and is what serves already"
    assert (entry["whole"], entry["log_level"]) == (name, LogLevel.info)


@pytest.mark.parametrize("kind", ["warnings", "notes"])
def test_many_oddities_are_cut_short_with_their_number(kind: str) -> None:
    """A thousand files that no manifest lists are no thousand lines."""
    logs = aside(kind, tuple((f"n{number}.json", Fault("odd")) for number in range(1000)))
    assert len(logs) == 21
    assert "980 more" in line(logs[-1])


def test_a_damaged_state_file_is_cut_short_with_its_number() -> None:
    """Of ten thousand modules: the reactor would write lines for a second."""
    with capturedLogs() as logged:
        report_damage(Logger(), "/srv/state.sqlite3", tuple(f"npc.n{number}: it is damaged" for number in range(25)))
    lines = [str(formatEvent(event)) for event in logged]
    assert lines[0] == "/srv/state.sqlite3: npc.n0: it is damaged"
    assert lines[20:] == ["/srv/state.sqlite3: 5 more things are not what was written"]


def test_what_can_t_be_brought_back_is_cut_short_with_its_number() -> None:
    """Of files that it serves in place of, and of modules that it can't serve."""
    errors = tuple(ReloadError(generation=7, path=f"n{number}.json", error="broken") for number in range(23))
    faults = tuple((f"npc.n{number}", "broken") for number in range(22))
    with capturedLogs() as logged:
        report_restored(Logger(), Restored(snapshot=EMPTY, known=Known(), errors=errors, faults=faults))
    lines = [str(formatEvent(event)) for event in logged]
    assert lines[20] == "3 more files are rejected"
    assert lines[-1] == "2 more modules can't be brought back from the state file"
    assert len(lines) == 42
