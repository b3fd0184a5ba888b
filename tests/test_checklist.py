"""The hot-reload checklist's unit tests, box by box; those on real files are in ``end_to_end/test_checklist.py``."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dspyreload import DSPyEngine, HotReloadConfig, ModuleChanged, ModuleSkipped, ReloadError
from dspyreload.disk.reading import read_file
from dspyreload.live.burst import Interest
from dspyreload.model.manifest import parse_manifest
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text

CASE = SynchronousTestCase()


def reload(engine: DSPyEngine, clock: ReactorClock, module_id: str) -> object:
    """Look at a module until its event is known."""
    event = engine.reload_module(module_id)
    while not event.called:
        clock.wait()
        if not event.called:
            clock.advance(0.1)  # the second look; its thread may be done before this returns
    return CASE.successResultOf(event)


def test_hot_reload_config_default_values() -> None:
    """100 ms of quiet, the manifest watched, .json files."""
    config = HotReloadConfig()
    assert (config.debounce, config.watch_manifest, config.watch_extensions) == (0.1, True, (".json",))


def test_hot_reload_config_builder_pattern() -> None:
    """``evolve`` gives a changed copy, step by step, and changes nothing."""
    first = HotReloadConfig()
    second = first.evolve(debounce=0.5).evolve(watch_extensions=[".json", ".prompt"], watch_manifest=False)
    assert (second.debounce, second.watch_extensions, second.watch_manifest) == (0.5, (".json", ".prompt"), False)
    assert first == HotReloadConfig()


def test_should_watch_file_filters_correctly() -> None:
    """Files with a watched ending count; other endings, hidden files and what editors leave behind do not."""
    interest = Interest((".json",), is_known=lambda path: path == "npc/smith.md")
    watched = ["smith.json", "npc/SMITH.JSON", "manifest.json", "npc/smith.md"]
    passed = ["notes.txt", "npc/.smith.json", "smith.json~", ".git/x.json", "#smith.json#", "smith.json.swp", "4913"]
    assert [interest.hint(path, directory=False, appeared=True) for path in watched] == watched
    assert [interest.hint(path, directory=False, appeared=True) for path in passed] == [None] * len(passed)


def test_path_to_module_id_mapping_works_correctly() -> None:
    """A listed path is one module; a path that no entry lists is none."""
    manifest = parse_manifest(b'{"modules": {"npc.smith": {"path": "npc/smith.json"}}}')
    assert manifest.paths.get("npc/smith.json") == "npc.smith"
    assert manifest.paths.get("npc/bard.json") is None


def test_compute_file_hash_produces_consistent_results(modules: Path, save: Save) -> None:
    """The same bytes have the same SHA-256, under any name."""
    save("a.json", "{}")
    save("b.json", "{}")
    digests = {read_file(str(modules.resolve()), name, 100).digest for name in ("a.json", "b.json", "a.json")}
    assert digests == {"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}


def test_compute_file_hash_differs_for_different_content(modules: Path, save: Save) -> None:
    """One more blank is another hash."""
    save("a.json", "{}")
    save("b.json", "{ }")
    root = str(modules.resolve())
    assert read_file(root, "a.json", 100).digest != read_file(root, "b.json", 100).digest


def test_should_reload_returns_true_for_no_stored_hash(modules: Path, save: Save) -> None:
    """A file that was never read is read, and goes live."""
    clock = ReactorClock()
    engine = DSPyEngine(modules, reactor=clock)
    save("npc/smith.json", module_text())
    assert isinstance(reload(engine, clock, "npc.smith"), ModuleChanged)


def test_should_reload_returns_false_for_unchanged_files(modules: Path, save: Save) -> None:
    """The same bytes, saved again, are skipped and counted; the generation stays."""
    save("npc/smith.json", module_text())
    clock = ReactorClock()
    engine = DSPyEngine(modules, reactor=clock)
    save("npc/smith.json", module_text())
    assert isinstance(reload(engine, clock, "npc.smith"), ModuleSkipped)
    assert engine.snapshot.generation == 1


def test_update_hash_stores_hash_correctly(modules: Path, save: Save) -> None:
    """After a reload its hash is the known one: the next look skips."""
    save("npc/smith.json", module_text())
    clock = ReactorClock()
    engine = DSPyEngine(modules, reactor=clock)
    file = save("npc/smith.json", module_text(instruction="New."))
    assert isinstance(reload(engine, clock, "npc.smith"), ModuleChanged)
    digest = read_file(str(modules.resolve()), "npc/smith.json", 10_000).digest
    assert file.exists()
    assert engine.snapshot["npc.smith"].version == digest
    assert isinstance(reload(engine, clock, "npc.smith"), ModuleSkipped)


def test_hot_reload_stats_tracking(modules: Path, save: Save) -> None:
    """One reload, one rejection, one skip: each has its counter."""
    save("npc/smith.json", module_text())
    clock = ReactorClock()
    engine = DSPyEngine(modules, reactor=clock)
    stats = engine.passes.committing.stats
    before = (stats.reloads_total, stats.reloads_failed, stats.reloads_skipped)
    save("npc/smith.json", module_text(instruction="New."))
    assert isinstance(reload(engine, clock, "npc.smith"), ModuleChanged)
    assert isinstance(reload(engine, clock, "npc.smith"), ModuleSkipped)
    save("npc/smith.json", "{")
    assert isinstance(reload(engine, clock, "npc.smith"), ReloadError)
    after = (stats.reloads_total, stats.reloads_failed, stats.reloads_skipped)
    assert tuple(new - old for new, old in zip(after, before, strict=True)) == (1, 1, 1)
    assert stats.last_reload > 0
