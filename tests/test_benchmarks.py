"""What the benchmarks make of their samples; that each of them runs is seen by ``python -m benchmarks --quick``."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.__main__ import HERE, NAMES, PAGE
from benchmarks.document import fill_in
from benchmarks.figures import Figure, Limit, Results, at_most, demand, more, shown, times
from benchmarks.modules import module_id, paths, rewritten, text
from dspyreload import DSPyEngine

FIGURE = Figure(what="a call", unit="ms", ours=[3.0, 1.0, 2.0], peers={"bare": [1.0, 1.0, 9.0], "nothing": [0.0]})


def asked(limit: Limit) -> Figure:
    return Figure(what=FIGURE.what, unit=FIGURE.unit, ours=FIGURE.ours, peers=FIGURE.peers, limits=(limit,))


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        (times(2, "bare"), True), (times(1.9, "bare"), False), (more(1, "bare"), True), (more(0.9, "bare"), False),
        (at_most(2), True), (at_most(1.9), False), (times(2, "nothing"), False),
    ],
)  # fmt: skip
def test_a_limit_is_one_of_medians(limit: Limit, reached: bool) -> None:
    """A single slow sample of ours misses nothing, and one of a peer's excuses nothing."""
    figure = asked(limit)
    assert figure.reaches(limit) is reached
    assert bool(figure.missed) is not reached
    assert demand(figure, limit).endswith("reached" if reached else "MISSED")


def test_a_figure_is_shown_with_its_spread() -> None:
    """And beside a peer as a ratio, where there is one."""
    assert shown(FIGURE.ours, "ms") == "2 ms (1 to 3; n = 3)"
    assert shown([7.0], "") == "7"
    assert FIGURE.ratio("bare") == 2.0
    assert FIGURE.ratio("nothing") is None


def test_results_survive_the_file() -> None:
    """All samples are in it, not medians alone."""
    results = Results(machine={"cores": "2"}, quick=False, figures={"calls": [asked(times(2, "bare"))]})
    assert Results.from_json(results.to_json()) == results


def test_the_page_is_filled_in_between_its_marks() -> None:
    """What is written around them stays."""
    results = Results(machine={"cores": "2"}, quick=False, figures={"calls": [asked(times(1.5, "bare"))]})
    page = "# Title\n<!-- figures: calls -->\nold\n<!-- end -->\nwords\n<!-- figures: other -->\n<!-- end -->\n"
    filled = fill_in(page, results)
    assert "| a call | 2 ms (1 to 3; n = 3) | bare: 1 ms (1 to 9; n = 3)<br>nothing: 0 ms | 2<br> |" in filled
    assert "**missed**" in filled
    assert "old" not in filled
    assert filled.endswith("words\n<!-- figures: other -->\nNot measured.\n<!-- end -->\n")
    assert fill_in(filled, results) == filled


@pytest.mark.parametrize("quick", [True, False])
def test_what_is_measured_in_part_or_in_haste_takes_no_place(
    quick: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Results and page are those of a whole run; what is less goes where nobody looks for those."""
    monkeypatch.setattr(command, "plot", lambda results, into: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = [(HERE / "results.json").read_bytes(), PAGE.read_bytes()]
    names = NAMES if quick else NAMES[:1]
    results = Results(machine={"cores": "2"}, quick=quick, figures={name: [FIGURE] for name in names})
    path, _plots = command._write(results, None)
    assert Results.from_json(path.read_bytes()) == results
    assert HERE not in path.parents
    assert [(HERE / "results.json").read_bytes(), PAGE.read_bytes()] == kept


def test_what_is_lacking_is_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after ten minutes."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "watchfiles" else object())
    assert command.main(["--only", "lookup"]) == 2
    assert capsys.readouterr().err == "the benchmarks need watchfiles: python -m pip install -e '.[bench]'\n"


def test_the_page_on_performance_is_what_was_measured() -> None:
    """Its tables are those of the results beside the benchmarks, from a run of all of them that was not in haste."""
    results = Results.from_json((HERE / "results.json").read_bytes())
    assert not results.quick
    assert set(results.figures) == set(NAMES)
    page = PAGE.read_text(encoding="utf-8")
    assert fill_in(page, results) == page
    assert {f"<!-- figures: {name} -->" for name in NAMES} <= set(page.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_says_what_it_measures_and_has_a_plot(name: str) -> None:
    """``python -m benchmarks`` finds it by its name."""
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.run)
    assert module.__doc__
    assert (HERE / "plots" / f"{name}.png").is_file()


@pytest.mark.parametrize("size", [1024, 4096, 20_000])
def test_the_modules_that_are_measured_with_are_good_ones(tmp_path: Path, size: int) -> None:
    """They have the size that they are to have, in each revision, and the engine serves them."""
    (path,) = paths(str(tmp_path), 1)
    Path(path).parent.mkdir()
    Path(path).write_text(text(0, size), encoding="utf-8")
    version = DSPyEngine(tmp_path).snapshot[module_id(0)]
    assert len(version.data) == size
    ((_path, data),) = rewritten(str(tmp_path), 1, 17)
    assert len(data) == size
    assert data != version.data
