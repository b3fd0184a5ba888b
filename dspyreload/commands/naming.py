"""Which module a writer means by a name."""

from __future__ import annotations

from collections.abc import Mapping

from dspyreload.errors import UnknownModule
from dspyreload.model.faults import nearest, quoted, shown
from dspyreload.model.snapshot import Snapshot

__all__ = ["named", "named_in_talk"]


def named(name: str, snapshot: Snapshot) -> str:
    """Return the id that was meant: it may be cut short at the front, or be the path of a file.

    :raises UnknownModule: where there is none.
    :raises ValueError: where there are several.
    """
    if name in snapshot:
        return name
    by_path = [version.module_id for version in snapshot.values() if version.path == name]
    ends = by_path or sorted(module_id for module_id in snapshot if module_id.endswith(f".{name}"))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ValueError(f"{shown(name)} is the end of {', '.join(ends)}; say which")
    raise UnknownModule(name, snapshot)


def named_in_talk(name: str, snapshot: Snapshot) -> str:
    """Return the id that was meant by a name that was typed.

    :raises ValueError: where there is none, in words.
    """
    try:
        return named(name, snapshot)
    except UnknownModule:
        ends: Mapping[str, str] = {module_id.rpartition(".")[2].casefold(): module_id for module_id in snapshot}
        near = nearest(name.rpartition(".")[2].casefold(), ends)
        hint = f"; did you mean {quoted(ends[near])}?" if near is not None else "; /module shows them"
        raise ValueError(f"there is no character {quoted(name)}{hint}") from None
