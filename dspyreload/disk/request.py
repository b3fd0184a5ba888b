"""Where a look at the disk is to go, and how hard: :class:`Request`."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from dspyreload.model.manifest import ModuleManifest
from dspyreload.model.registrations import NOTHING, Registrations
from dspyreload.model.steps import Steps, at_once

__all__ = ["Request", "RootMissing"]


class RootMissing(Exception):
    """The modules directory is not there, or can't be listed; nothing is known of its files."""


@attrs.frozen(kw_only=True)
class Request:
    """Where to look, and how hard.

    :ivar root: the modules directory, absolute; a symlink is followed anew each time.
    :ivar in_force: the manifest in force.
    :ivar registrations: what the game registered.
    :ivar paths: files that may have changed; None for the whole tree.
    :ivar asked: ids that somebody asked for: their files are read whatever their stat signature says.
    :ivar deep: read every byte that is looked at.
    :ivar names: what was registered since, such as ``signature npc.dialogue``: what it decides about is judged anew.
    :ivar first: nothing was ever served.
    :ivar ripe: suspects whose second look this is; None where a first look decides.
    :ivar strict: files that group or world may write are not read.
    :ivar progress: told now and then how many files were looked at, and of how many.
    :ivar steps: how its long loops go.
    """

    root: str
    in_force: ModuleManifest | None
    registrations: Registrations = NOTHING
    extensions: tuple[str, ...] = (".json",)
    max_file_size: int = 4 * 1024 * 1024
    max_files: int = 100_000
    watch_manifest: bool = True
    paths: frozenset[str] | None = None
    asked: frozenset[str] = frozenset()
    deep: bool = False
    names: frozenset[str] = frozenset()
    first: bool = False
    ripe: frozenset[str] | None = frozenset()
    strict: bool = False
    progress: Callable[[int, int], None] = lambda done, of: None
    steps: Steps = at_once
