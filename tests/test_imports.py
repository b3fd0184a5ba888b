"""The layers of the package, read off its import statements."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import dspyreload

PACKAGE = Path(dspyreload.__file__).parent

BELOW: dict[str, set[str]] = {
    "model": set(),
    "disk": {"model"},
    "lm": {"model"},
    "raised": {"model"},
    "live": {"model", "disk", "raised"},
    "talk": {"model", "lm", "raised"},
    "engine": {"model", "disk", "lm", "live", "talk"},
    "edges": {"model", "disk", "lm", "live", "talk", "engine"},
}
"""What each layer may import, beside itself and :data:`SHARED`."""

SHARED = {"config", "errors", "lmconfig", "reactor"}
EDGES = {"tap", "__main__", "testing", "setups", "starting", "commands", "lmoptions"}


@attrs.frozen
class Source:
    """One file of the package.

    :ivar name: its dotted name.
    :ivar imports: what it imports, absolute, wherever the statement stands. ``at_top``: as it is imported itself.
    :ivar calls: the plain names that it calls.
    """

    name: str
    imports: frozenset[str]
    at_top: frozenset[str]
    calls: frozenset[str]

    @property
    def layer(self) -> str:
        """The layer that it belongs to; the public names and the shared files are layers of their own."""
        return layer_of(self.name)

    def uses(self, library: str) -> bool:
        """Say whether it imports a library or a part of it."""
        return any(name == library or name.startswith(f"{library}.") for name in self.imports)


def layer_of(name: str) -> str:
    """Return the layer of a dotted name inside the package."""
    parts = name.split(".")
    if len(parts) == 1:
        return "public"
    return "edges" if parts[1] in EDGES else parts[1]


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """List what the import statements of a tree name: modules, and the names that are taken from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def read(path: Path) -> Source:
    """Read one file's imports."""
    parts = [PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts]
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if is_package else name.rpartition(".")[0]
    top = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return Source(
        name,
        imports=frozenset(imported(tree, package)),
        at_top=frozenset(imported(top, package)),
        calls=frozenset(function.id for function in called if isinstance(function, ast.Name)),
    )


SOURCES = {source.name: source for source in map(read, sorted(PACKAGE.rglob("*.py")))}


def own_imports(source: Source) -> set[str]:
    """Return the files of the package that a file imports, by dotted name."""
    return {name for name in source.imports if name in SOURCES} - {source.name}


def users_of(*libraries: str) -> set[str]:
    """Return the files that import one of these."""
    return {name for name, source in SOURCES.items() if any(source.uses(library) for library in libraries)}


def of_layer(*layers: str) -> list[str]:
    """Return the files of some layers."""
    return [name for name, source in SOURCES.items() if source.layer in layers]


def test_every_file_is_in_a_layer() -> None:
    """No file escapes these rules by lying somewhere else."""
    assert {source.layer for source in SOURCES.values()} == {*BELOW, *SHARED, "public"}


@pytest.mark.parametrize("name", of_layer(*BELOW))
def test_imports_go_down_only(name: str) -> None:
    """A file imports from its own layer, from those below, and what all may import; never the public names."""
    source = SOURCES[name]
    allowed = {source.layer, *BELOW[source.layer], *SHARED}
    assert not {target for target in own_imports(source) if layer_of(target) not in allowed}


@pytest.mark.parametrize("name", of_layer(*SHARED))
def test_what_all_may_import_imports_nothing_above(name: str) -> None:
    """``config``, ``errors`` and ``reactor`` stand at the bottom: they know no layer."""
    assert {layer_of(target) for target in own_imports(SOURCES[name])} <= SHARED


def test_there_is_no_import_cycle() -> None:
    """Following the imports from any file never leads back to it."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " imports ".join([*way[way.index(name) :], name])
        if name in done:
            return
        for target in sorted(own_imports(SOURCES[name])):
            visit(target, (*way, name))
        done.add(name)

    for name in SOURCES:
        visit(name, ())


@pytest.mark.parametrize(
    "library", ["twisted", "zope", "os", "pathlib", "threading", "time", "asyncio", "subprocess", "socket", "logging"]
)
def test_the_model_is_values_alone(library: str) -> None:
    """``model`` knows no clock, thread, file, logger or Twisted."""
    assert not users_of(library) & set(of_layer("model"))


def test_the_model_opens_no_file() -> None:
    """``model`` opens and prints nothing, and runs nothing that it has read."""
    for name in of_layer("model"):
        assert not SOURCES[name].calls & {"open", "print", "eval", "exec", "__import__"}


def test_disk_knows_no_twisted() -> None:
    """Files are read without a reactor."""
    assert not users_of("twisted") & set(of_layer("disk"))


def test_only_lm_imports_dspy() -> None:
    """DSPy is imported by ``lm`` and by the public fake of a language model."""
    assert users_of("dspy") - {"dspyreload.testing.lm"} <= set(of_layer("lm"))
    assert users_of("dspy")


def test_dspy_is_imported_when_it_is_first_needed() -> None:
    """No file imports DSPy as it is imported itself."""
    assert not [name for name, source in SOURCES.items() if "dspy" in {n.split(".")[0] for n in source.at_top}]


def test_in_lm_only_the_loop_knows_twisted() -> None:
    """Programs and calls are asyncio's; one file joins them to Deferreds."""
    assert users_of("twisted") & set(of_layer("lm")) == {"dspyreload.lm.loop"}


def test_live_knows_no_lm() -> None:
    """What watches and commits is handed what it calls."""
    assert not {
        target for name in of_layer("live") for target in own_imports(SOURCES[name]) if layer_of(target) == "lm"
    }


def test_only_the_watcher_imports_watchdog() -> None:
    """One file for each optional or native dependency."""
    assert users_of("watchdog") == {"dspyreload.live.watcher"}


@pytest.mark.parametrize("library", ["rich", "prompt_toolkit"])
def test_only_the_commands_know_a_terminal(library: str) -> None:
    """A server neither draws nor asks."""
    assert users_of(library)
    assert all(name.startswith("dspyreload.commands.") for name in users_of(library))


def test_one_file_asks_the_writer() -> None:
    """prompt_toolkit belongs to an extra: what else needs no prompt works without it."""
    assert users_of("prompt_toolkit") == {"dspyreload.commands.prompting"}


def test_only_the_engine_wires_lm_and_live_together() -> None:
    """Below the edges, no other file imports both."""
    both = {
        name
        for name in of_layer("model", "disk", "lm", "live", "talk", "engine", *SHARED)
        if {"lm", "live"} <= {layer_of(target) for target in own_imports(SOURCES[name])}
    }
    assert both == {"dspyreload.engine"}


@pytest.mark.parametrize("name", of_layer("model", "disk", "lm", "live", "talk", "engine", "public", *SHARED))
def test_a_reactor_is_not_imported_at_the_top(name: str) -> None:
    """Importing a reactor installs one; that is the host's choice."""
    assert "twisted.internet.reactor" not in SOURCES[name].at_top


def test_nothing_is_imported_that_is_not_declared() -> None:
    """The libraries in use are the declared ones and the standard library."""
    used = {name.split(".")[0] for source in SOURCES.values() for name in source.imports}
    declared = {
        "twisted",
        "zope",
        "watchdog",
        "attrs",
        "msgspec",
        "dspy",
        "jiter",
        "jsonschema",
        "prompt_toolkit",
        "rich",
        "dspyreload",
        "__future__",
    }
    assert used - set(sys.stdlib_module_names) <= declared
