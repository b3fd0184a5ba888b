"""The soak can fail: what goes wrong on purpose is what its checks say; and a run of some seconds is clean."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from dspyreload.model.module_file import parse_module
from tests.soak.__main__ import main
from tests.soak.checks import MIB, checks_of
from tests.soak.content import WRITERS, Place, WrongRead, number_in, number_of, places, text_of
from tests.soak.record import Record, Sample, read_events, read_journals, undocumented
from tests.soak.run import ROOT
from tests.soak.saving import STYLES

LIMIT = 60.0
PLACES = tuple(places(60))
NAMES = ["lost changes", "wrong reads", "memory", "threads", "descriptors", "state file", "events"]


def sample(number: int = 0, **changes: int) -> Sample:
    steady = Sample(
        at=float(number), memory=80 * MIB, threads=20, descriptors=18, state=MIB, generation=number, looks=number + 1,
        wrong=0, passes=number, reloads=number,
    )  # fmt: skip
    return attrs.evolve(steady, **changes)


def record(**changes: Any) -> Record:
    """Return what a clean soak has seen."""
    clean = Record(
        modules=2,
        seconds=30.0,
        samples=[sample(number) for number in range(30)],
        did=Counter(save=10, same=1, broken=1),
        disk={"a.json": "1", "b.json": "2"},
        served={"a.json": "1", "b.json": "2"},
        stats={"reloads_total": 12, "reloads_failed": 1, "reloads_skipped": 3, "subscriber_errors": 2},
        counted={"ModuleChanged": 12, "ReloadError": 1, "ModuleSkipped": 3, "raised": 2},
        wrong=(),
        wrong_count=0,
    )
    return attrs.evolve(clean, **changes)


def failed(seen: Record) -> list[str]:
    return [check.name for check in checks_of(seen) if not check.passed]


def growing(**steps: int) -> list[Sample]:
    """Return samples in which something grows by a step each."""
    return [
        sample(number, **{name: getattr(sample(), name) + step * number for name, step in steps.items()})
        for number in range(30)
    ]


class TestChecks:
    def test_a_clean_record_passes_all_seven(self) -> None:
        """The seven names, in the order of the table."""
        assert [check.name for check in checks_of(record())] == NAMES
        assert failed(record()) == []

    @pytest.mark.parametrize(
        ("changes", "check"),
        [
            ({"served": {"a.json": "1", "b.json": "1"}}, "lost changes"),
            ({"served": {"a.json": "1"}}, "lost changes"),
            ({"served": {"a.json": "1", "b.json": "2", "c.json": "3"}}, "lost changes"),
            ({"disk": {}, "served": {}}, "lost changes"),
            ({"did": Counter()}, "lost changes"),
            ({"wrong_count": 1}, "wrong reads"),
            ({"away": ["a is away"]}, "wrong reads"),
            ({"samples": [sample(looks=0)] * 30}, "wrong reads"),
            ({"samples": growing(memory=MIB)}, "memory"),
            ({"samples": growing(threads=1)}, "threads"),
            ({"left": ["dspyreload-pass"]}, "threads"),
            ({"samples": growing(descriptors=1)}, "descriptors"),
            ({"samples": growing(state=MIB)}, "state file"),
            ({"counted": {**record().counted, "ModuleChanged": 11}}, "events"),
            ({"counted": {**record().counted, "ReloadError": 2}}, "events"),
            ({"counted": {**record().counted, "ModuleSkipped": 0}}, "events"),
            ({"counted": {**record().counted, "raised": 1}}, "events"),
            ({"counted": {**record().counted, "EventsDropped": 1}}, "events"),
            ({"problems": {"a pass failed": 1}}, "events"),
            ({"health": "degraded"}, "events"),
        ],
    )
    def test_each_fails_for_what_it_is_about(self, changes: dict[str, Any], check: str) -> None:
        """And no other does."""
        assert failed(record(**changes)) == [check]

    def test_what_comes_and_goes_is_no_leak(self) -> None:
        """A pass has a thread and reads files; what counts is what is there when none runs."""
        busy = [sample(number, threads=20 + number % 3, descriptors=18 + number % 4) for number in range(30)]
        assert failed(record(samples=busy)) == []

    def test_a_leak_of_100_bytes_a_save_is_found(self) -> None:
        """100,000 saves over as many samples as a run has: 9.5 MiB, of which the last third sees a third more."""
        leak = [sample(number, memory=80 * MIB + number * 100 * 100_000 // 480 * 8) for number in range(480)]
        assert failed(record(samples=leak)) == ["memory"]


class TestContent:
    @pytest.mark.parametrize("place", [PLACES[0], PLACES[14]], ids=["town", "roving"])
    def test_what_was_written_is_read(self, place: Place) -> None:
        """In bytes and decoded, for each number; it is a module that needs nothing of a game."""
        for number in (0, 7, 123_456):
            data = text_of(place, number)
            assert number_of(place.module_id, data) == number
            assert number_in(place.module_id, parse_module(data, place.module_id).complete(())) == number

    @pytest.mark.parametrize("place", [PLACES[0], PLACES[14]], ids=["town", "roving"])
    def test_a_torn_or_mixed_file_is_told(self, place: Place) -> None:
        """Half of one version, the halves of two, another module's, or one letter that is another."""
        old, new = text_of(place, 100), text_of(place, 250)
        assert len(old) == len(new)
        other = text_of(PLACES[40], 250)
        changed = new.replace(b"w0000250 w", b"w0000250 v", 1)
        for data in (b"", new[:-5], new[9:], *(new[:cut] + old[cut:] for cut in range(300, 900, 100)), other, changed):
            with pytest.raises(WrongRead):
                number_of(place.module_id, data)

    def test_a_mixed_module_is_told_when_it_is_decoded(self) -> None:
        """Its parts are of different versions."""
        place = PLACES[14]
        old, new = (parse_module(text_of(place, number), place.module_id).complete(()) for number in (1, 2))
        for mixed in (
            attrs.evolve(old, demos=new.demos),
            attrs.evolve(old, metadata=new.metadata),
            attrs.evolve(old, instruction=old.instruction.replace("w0000001", "w0000002")),
            attrs.evolve(old, instruction="torn"),
        ):
            with pytest.raises(WrongRead):
                number_in(place.module_id, mixed)

    def test_each_module_has_one_writer_and_most_folders_have_all(self) -> None:
        """Only so a number can't go back; and what is moved is one writer's own."""
        writers: dict[str, set[str]] = {}
        for place in places(500):
            writers.setdefault(place.folder, set()).add(place.writer)
        assert len(writers) == 20
        assert all(len(who) == (1 if folder.startswith("roving") else 3) for folder, who in writers.items())
        assert len({place.module_id for place in places(500)}) == 500

    @pytest.mark.parametrize("writer", WRITERS)
    def test_each_style_leaves_the_new_bytes_and_nothing_else(self, writer: str, tmp_path: Path) -> None:
        """Over a file that is there, and where there is none."""
        path = tmp_path / "m.json"
        for data in (b"one", b"another " * 200):
            STYLES[writer](path, data, random.Random(1))
            assert path.read_bytes() == data
        assert [file.name for file in tmp_path.iterdir()] == ["m.json"]


class TestRecord:
    def test_an_absence_is_right_where_the_file_was_deleted(self, tmp_path: Path) -> None:
        """From the deletion to a while after the file was made again, and of no other module."""
        journal, events = tmp_path / "journal", tmp_path / "events"
        journal.write_text("delete a 100.0 -\nmake a 101.0 d1\ndelete b 200.0 -\n", encoding="ascii")
        events.write_text(
            "absent a 100.5 -\nback a 102.0 -\nabsent a 99.0 -\nabsent a 500.0 -\nabsent b 900.0 -\nabsent c 1.0 -\n",
            encoding="ascii",
        )
        _did, saved, gaps = read_journals([journal])
        _latencies, absences = read_events(events, saved)
        assert [words.split(" and ")[0] for words in undocumented(absences, gaps)] == [
            "a is away at 99.000,",
            "a is away at 500.000,",
            "c is away at 1.000,",
        ]

    def test_a_latency_is_from_the_save_to_the_word_that_it_is_live(self, tmp_path: Path) -> None:
        """Of each version once; what was there before the writers has none."""
        journal, events = tmp_path / "journal", tmp_path / "events"
        journal.write_text("save a 100.0 d1\nbroken a 101.0 d2\nsave a 102.0 d3\n", encoding="ascii")
        events.write_text("live a 90.0 d0\nlive a 100.25 d1\nlive a 102.5 d3\nlive a 103.0 d3\n", encoding="ascii")
        did, saved, _gaps = read_journals([journal])
        assert read_events(events, saved)[0] == [0.25, 0.5]
        assert did == {"save": 2, "broken": 1}


class TestRuns:
    """Real ones, of some seconds."""

    def test_a_run_is_clean_and_says_so(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """All seven pass; exit status 0; no folder is left."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        status = main(["--minutes", "0.15", "--saves", "300", "--modules", "120"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == "7 passed, 0 failed", "\n".join(lines)
        assert status == 0
        assert list(tmp_path.iterdir()) == []

    def test_what_goes_wrong_on_purpose_is_what_fails(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A torn look, a service that ends too soon, and leaks of three kinds; exit status 1."""
        faults = [
            word for fault in ("torn", "stopped", "threads", "descriptors", "memory") for word in ("--fault", fault)
        ]
        status = main(["--minutes", "0.15", "--saves", "300", "--modules", "120", *faults])
        lines = capsys.readouterr().out.splitlines()
        wrong = [name for name in NAMES if any(re.match(rf"{name} +FAILED", line) for line in lines)]
        assert wrong == ["lost changes", "wrong reads", "memory", "threads", "descriptors"], "\n".join(lines)
        assert (lines[-1], status) == ("2 passed, 5 failed", 1)

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_no_process_outlives_the_one_that_was_started(self, how: signal.Signals, tmp_path: Path) -> None:
        """Even where that is killed, and can't end them; where it can, it removes its folder too."""
        command = [sys.executable, "-m", "tests.soak", "--minutes", "5", "--modules", "60"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as soak:
            try:
                _until(lambda: len(_children(soak.pid)) == 1 + len(WRITERS))
                children = _children(soak.pid)
            finally:
                soak.send_signal(how)
        _until(lambda: not any(_runs(pid) for pid in children))
        assert bool(list(tmp_path.iterdir())) is (how is signal.SIGKILL)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(true: Callable[[], bool]) -> None:
    latest = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < latest, f"not so within {LIMIT} s"
        time.sleep(0.05)
