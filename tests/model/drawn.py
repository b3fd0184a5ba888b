"""What happens to a modules directory, drawn: :class:`Change`, by strategies of Hypothesis."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import attrs
from hypothesis import strategies as st

from dspyreload.model.manifest import MANIFEST, default_id
from tests.model.contents import CONTENTS
from tests.model.tree import Events, Tree

__all__ = ["Change", "by_name"]

_PATHS = ("a.json", "b.json", "d/a.json", "d/b.json", "e/a.json", "d/d/a.json")
_TEXTS = ("base.txt", "d/base.txt")
_FOLDERS = ("d", "e", "d/d")
_LINKS = ("l.json", "d/l.json", "e", "d", "d/e", "a.json", "base.txt", MANIFEST)
_TARGETS = (
    "a.json", "b.json", "../a.json", "d", "e", ".", "..", "l.json", "nowhere.json", "base.txt",
    "../outside", "../outside/a.json", "../../outside", "..data", "..data/a.json", "..data/d", f"..data/{MANIFEST}",
)  # fmt: skip
_IDS = ("a", "b", "x", "X", "d.a", "n")
_HASHES = ("none", "right", "right", "wrong")
_NO_MANIFEST = {
    "torn": b'{"modules": {"a": {"path"',
    "nothing": b"",
    "no modules": b"{}",
    "a path twice": b'{"modules": {"a": {"path": "a.json"}, "b": {"path": "a.json"}}}',
    "empty": b'{"modules": {}}',
}
_FEW = {
    **{"d/b.json": "a.json", "e/a.json": "b.json", "d/d/a.json": "d/a.json", "d/base.txt": "base.txt"},
    **{"small 0": "full x 0", "small 1": "full x 1", "small 2": "full a 0", "small 3": "full a 1"},
    **{"full d.a 0": "full a 0", "full d.a 1": "full x 1", "includes text above": "full x 0", "full X 1": "full x 1"},
}


@attrs.frozen
class Change:
    """One change: the method of :class:`Tree`, or the function here, and what it is called with."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}{self.arguments!r}"

    def among_few(self) -> Change:
        """Return it with another file or content, where it is of one that is left out where there are few."""
        return Change(
            self.name, tuple(_FEW.get(value, value) if isinstance(value, str) else value for value in self.arguments)
        )

    def to(self, tree: Tree) -> Events:
        """Make it; return what the kernel tells."""
        function = globals().get(f"_{self.name}")
        if function is not None:
            return list(function(tree, *self.arguments))
        values = [CONTENTS.get(value, value) if isinstance(value, str) else value for value in self.arguments]
        told = getattr(tree, self.name)(*values)
        return list(told) if isinstance(told, list) else []


def _save(tree: Tree, data: bytes, how: str) -> Events:
    return tree.write(MANIFEST, data) if how == "write" else tree.replace(MANIFEST, data)


def _hash(kind: str, data: bytes | None) -> str | None:
    if kind == "none":
        return None
    return "sha256:" + hashlib.sha256(data if data is not None and kind == "right" else b"another").hexdigest()


def _list_all(tree: Tree, kind: str, but: int | None, wrong: int | None, how: str) -> Events:
    """Write a manifest that lists what is there. ``but``: not that one; ``wrong``: the hash of that one is wrong."""
    entries: dict[str, Any] = {}
    for number, (path, data) in enumerate(tree.files().items()):
        if path != MANIFEST and number != but:
            try:
                name = json.loads(data).get("module_id") or default_id(path)
            except ValueError:
                name = default_id(path)
            entries[name] = {"path": path, "hash": _hash("wrong" if number == wrong else kind, data)}
    return _save(tree, json.dumps({"modules": entries}).encode(), how)


def _edit(tree: Tree, change: tuple[Any, ...], how: str) -> Events:
    """Change one entry of the manifest, or take it out."""
    files = tree.files()
    try:
        entries = json.loads(files.get(MANIFEST, b"{}")).get("modules", {})
    except ValueError:
        entries = {}
    name, entry = change[0], change[1:]
    if entry:
        path, kind, tags = entry
        entries[name] = {"path": path, "hash": _hash(kind, files.get(path)), "tags": list(tags)}
    else:
        entries.pop(name, None)
    return _save(tree, json.dumps({"modules": entries}).encode(), how)


def _rewrite_manifest(tree: Tree, old: str, new: str) -> Events:
    """Change what it says, and neither its size nor its stat signature."""
    data = tree.files().get(MANIFEST)
    if data is not None:
        tree.rewrite(MANIFEST, data.replace(old.encode(), new.encode()))
    return []


def _break(tree: Tree, what: str, how: str) -> Events:
    return _save(tree, _NO_MANIFEST[what], how)


def _swap_data(tree: Tree, names: dict[str, str]) -> Events:
    contents = {path: CONTENTS[name] for path, name in names.items()}
    listed = {default_id(path): {"path": path} for path in contents if path.endswith(".json")}
    if "d/a.json" in contents:
        contents[MANIFEST] = json.dumps({"modules": listed}).encode()
    return tree.swap_data(contents)


_contents = st.sampled_from(sorted(CONTENTS))
_good = st.sampled_from([name for name in sorted(CONTENTS) if name.startswith(("small", "full", "includes"))])
_bad = st.sampled_from(["torn", "torn again", "a wrong field", "a wrong key", "nothing", "text 0"])
_paths = st.sampled_from(_PATHS)
_files = st.sampled_from((*_PATHS, *_TEXTS))
_names = st.sampled_from((*_PATHS, *_TEXTS, "l.json", "d/l.json", MANIFEST))
_how = st.sampled_from(("write", "replace"))
_number = st.none() | st.integers(0, 3)
_entry = st.tuples(st.sampled_from(_IDS), _paths, st.sampled_from(_HASHES), st.sampled_from(((), ("old",), ("new",))))


def _change(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Change]:
    return st.builds(Change, st.just(name), st.tuples(*arguments))


by_name: dict[str, st.SearchStrategy[Change]] = {
    "write": _change("write", _paths, _good),
    "replace": _change("replace", _paths, _good),
    "corrupt": _change("write", _paths, _bad) | _change("replace", _paths, _bad),
    "text": _change("write", st.sampled_from(_TEXTS), st.sampled_from(["text 0", "text 1", "nothing"])),
    "rename": _change("rename", _names, _files),
    "delete": _change("delete", _names),
    "delete folder": _change("delete", st.sampled_from(_FOLDERS)),
    "move": _change("move", st.sampled_from(_FOLDERS), st.sampled_from((*_FOLDERS, "e/d"))),
    "touch": _change("touch", _names),
    "rewrite": _change("rewrite", _files, _contents)
    | st.sampled_from([Change("rewrite_manifest", swap) for swap in (("a.json", "b.json"), ("{", "["), ("[", "{"))]),
    "link": _change("link", st.sampled_from(_LINKS), st.sampled_from(_TARGETS)),
    "swap": _change("swap_data", st.dictionaries(st.sampled_from(("a.json", "d/a.json", "base.txt")), _good)),
    "list all": _change("list_all", st.sampled_from(("none", "right")), _number, _number, _how),
    "edit": _change("edit", _entry | st.tuples(st.sampled_from(_IDS)), _how),
    "break manifest": _change("break", st.sampled_from(sorted(_NO_MANIFEST)), _how),
    "unlist": _change("delete", st.just(MANIFEST)),
    "hold": st.sampled_from((Change("hold"), Change("release"), Change("release"))),
}
"""Changes that need the root to be there."""
