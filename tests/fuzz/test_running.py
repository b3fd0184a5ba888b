"""A run of the fuzzer counts, measures and says what it found; a worker of its own stands in for atheris."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import results
from tests.fuzz.counting import Counted, SlowInput
from tests.fuzz.targets import TARGETS

FIGURES = {"seconds": 3600.4, "executions": 1_234_567, "longest": 0.0314, "corpus": 432, "found": 0}
_PATIENCE = 60.0

_FINDS = """
import pathlib, sys
reader, figures, parent, *arguments = sys.argv[1:]
pathlib.Path(figures).write_text('{"seconds": 2.0, "executions": 10, "longest": 0.5}')
prefix = next(a for a in arguments if a.startswith("-artifact_prefix=")).partition("=")[2]
if reader == "module":
    pathlib.Path(prefix + "crash-1").write_bytes(b"{")
    print("AssertionError: a rule")
    sys.exit(77)
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds something in the reader of modules, and nothing in others."""
    monkeypatch.setattr(command, "WORKER", ("-c", _FINDS))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tests.fuzz", *arguments])
    return command.main()


@pytest.mark.usefixtures("worker")
class TestARun:
    def test_what_breaks_a_rule_is_shown_and_kept(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """The status is 1, and the input outlives the run."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert run(monkeypatch, "module", "--seconds", "1") == 1
        said = capsys.readouterr().out
        assert "AssertionError: a rule" in said
        assert said.endswith("1 found\n")
        assert (tmp_path / "fuzz-module-crash-1").read_bytes() == b"{"

    def test_a_run_that_finds_nothing_says_its_figures(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """A line for the reader, a plain last line, and a file of the figures."""
        assert run(monkeypatch, "state", "--seconds", "1", "--results", str(tmp_path)) == 0
        first, last = capsys.readouterr().out.splitlines()
        assert first.startswith("state: 10 executions in 2 s, 5 a second; corpus ")
        assert first.endswith("; the longest input took 0.500 s; nothing found")
        assert last == "nothing was found"
        assert json.loads((tmp_path / "state.json").read_text())["executions"] == 10

    def test_all_readers_run_one_after_the_other(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """What one of them finds keeps no other from its run, and decides the status."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert run(monkeypatch, "all", "--seconds", "1") == 1
        said = capsys.readouterr().out
        assert [reader for reader in command.READERS if f"\n{reader}: 10 executions" in f"\n{said}"] == [*TARGETS]


class TestCounting:
    def test_an_input_that_takes_too_long_is_found(self, tmp_path: Path) -> None:
        """It is tried twice, and its time is in the figures."""
        tries: list[bytes] = []

        def slow(data: bytes) -> None:
            tries.append(data)
            until = time.thread_time() + 0.05
            while time.thread_time() < until:
                pass

        counted = Counted(slow, tmp_path / "figures.json", 0.01)
        with pytest.raises(SlowInput, match="for an input of 3 bytes"):
            counted(b"abc")
        assert tries == [b"abc", b"abc"]
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert figures["executions"] == 1
        assert figures["longest"] >= 0.05

    def test_what_a_target_raises_ends_the_run(self, tmp_path: Path) -> None:
        """The fuzzer takes any exception for a find."""

        def broken(data: bytes) -> None:
            raise RecursionError

        with pytest.raises(RecursionError):
            Counted(broken, tmp_path / "figures.json")(b"")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked for it with prctl, which Linux has")
def test_a_worker_ends_with_who_started_it() -> None:
    """However that ended: libFuzzer would go on by itself, for hours."""
    waits = "import os, time; from tests.fuzz.counting import end_with; end_with(os.getppid()); print('up', flush=True)"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {waits + '; time.sleep(600)'!r}])"
    parent = subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE, cwd=command._SEEDS.parent.parent)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait(_PATIENCE)
        assert parent.stdout.read() == b""  # ends when nobody can write to it any more


class TestTheTable:
    def test_it_has_a_row_for_each_run(self) -> None:
        """With the figures of the run."""
        text = results.table({"module": FIGURES, "kept": {**FIGURES, "found": 2}})
        assert "| 3600 | 1,234,567 | 432 | 0.031 s | nothing |\n" in text
        assert text.endswith("| 3600 | 1,234,567 | 432 | 0.031 s | 2 |")

    def test_it_is_put_into_the_document(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Of those readers that have run."""
        put: list[tuple[str, str]] = []
        monkeypatch.setattr(results, "put_section", lambda name, text: put.append((name, text)))
        (tmp_path / "state.json").write_text(json.dumps(FIGURES))
        assert run(monkeypatch, "--write", "--results", str(tmp_path)) == 0
        assert put == [("fuzz", results.table({"state": FIGURES}))]
