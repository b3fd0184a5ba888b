"""A directory and its server together, and what must hold whenever all is settled."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from dspyreload.errors import HotReloadFailed, ServiceStopped
from tests.model.drawn import Change, by_name
from tests.model.told import Complaints, check_commits, check_stats
from tests.model.tree import Event, Tree, same_signature
from tests.model.truth import FIRST, State, revived, truth
from tests.model.world import World

__all__ = ["LOOKS", "Settled"]

LOOKS = 1.0
"""Seconds: three quiet windows, and some."""

_BASE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_HELD = 31.0  # seconds that a hold can make a look wait


def _part(events: list[Event], how: str) -> list[Event]:
    return {
        "none": [],
        "some": events[::2],
        "all": events,
        "doubled": events * 2,
        "backwards": events[::-1],
    }[how]


class Settled(RuleBasedStateMachine):
    """What a machine has, and what must hold.

    :cvar done: how often each rule ran, in all machines. ``seen``: what came of it.
    """

    done: ClassVar[Counter[str]] = Counter()
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.base = tempfile.mkdtemp(prefix="dspyreload-model-", dir=_BASE)
        self.patches = ExitStack()
        self.due: list[Event] = []  # what the kernel will tell
        self.untold = False  # whether something changed that it does not tell
        self.hidden = False  # whether a stat signature hides a change
        self.seen_between = False  # whether something was looked at since the last settling
        self.running = False
        self.complaints = Complaints()

    @initialize(
        linked=st.booleans(),
        racy=st.booleans(),
        few=st.booleans(),
        kept=st.booleans(),
        load=st.booleans(),
        changes=st.lists(by_name["write"] | by_name["text"] | by_name["link"] | by_name["list all"], max_size=5),
    )
    def begin(self, linked: bool, racy: bool, few: bool, kept: bool, load: bool, changes: list[Change]) -> None:
        """Make a directory, and start a server.

        :param linked: whether the directory is a link to one. ``racy``: whether no stat signature proves anything.
        :param few: whether there are few files and ids, so that much happens to each.
        :param kept: whether the server has a state file. ``load``: whether it reads before it watches.
        """
        self.few = few
        self.racy = racy
        self.patches.enter_context(same_signature(racy))
        self.tree = Tree(self.base, linked=linked)
        self.world = World(self.tree, f"{self.base}/state" if kept else None)
        self.patches.callback(self.world.close)
        for change in changes:
            change.to(self.tree)
        self._launch(load, FIRST)

    def teardown(self) -> None:
        """Stop; leave nothing behind."""
        try:
            if self.running:
                self._stop()
        finally:
            self.patches.close()
            shutil.rmtree(self.base, ignore_errors=True)

    # What happens

    def _change(self, change: Change) -> None:
        links = self.tree.has_links
        self.due += (change.among_few() if self.few else change).to(self.tree)
        self.seen["changes"] += 1
        self.untold = self.untold or links or self.tree.has_links or change.name.startswith("rewrite")
        self.hidden = self.hidden or change.name.startswith("rewrite")

    def _tell(self, how: str) -> None:
        told = _part(self.due, how)
        heard = self.world.tell(told)
        if self.due and (not heard or how in ("none", "some")):
            self.untold = True
        self.due = []

    def _stop(self) -> None:
        world = self.world
        stopped = world.service.stopService()
        world.run()
        world.result_of(stopped)
        self.running = False
        assert world.clock.getDelayedCalls() == []
        assert world.observer is None

    def _start(self) -> None:
        self.due = []
        self.running = True
        self.seen["starts"] += 1
        self.world.service.startService()
        self.world.advance(LOOKS + self._slack())

    def _launch(self, load: bool, kept: State) -> None:
        load = load and self.tree.is_there
        if not (kept.modules or kept.manifest):
            kept = FIRST
        self.seen_between = False
        generation = self.world.kept_generation
        self.complaints.begin()
        self.world.make(load=load)
        before = kept
        if load:
            before = revived(self.tree.root, truth(self.tree.root, FIRST).state, kept)
        self.snapshot = self.world.engine.snapshot
        self._settle(self._start, whole=True, deep=True, before=before, most=2 if load else 1)
        if not kept.first and not load:
            assert self.world.engine.snapshot.generation >= generation

    # What must hold

    def _slack(self) -> float:
        return _HELD if self.tree.is_held else 0.0

    def _can_look(self) -> bool:
        """Say whether the directory is there, and is not one that is not mounted yet."""
        return bool(truth(self.tree.root, self.world.state).looked_at)

    def _forget(self, deferred: Any) -> None:
        deferred.addErrback(lambda failure: failure.trap(HotReloadFailed, ServiceStopped))

    def _settle(
        self,
        act: Callable[[], None],
        *,
        whole: bool,
        deep: bool = False,
        partial: bool = False,
        before: State | Callable[[State], State] | None = None,
        most: int = 1,
    ) -> None:
        before = before if before is not None else self.world.state
        exact = not (self.seen_between or partial)
        act()
        if whole:
            self.untold = False
        if deep or (self.racy and whole):
            self.hidden = False
        self.last_events = list(self.world.events)
        self._check_told()
        if self.untold or self.hidden:
            self.seen_between = True
        else:
            self.seen["settlings"] += 1
            now = self.world.state
            if not isinstance(before, State):
                before = before(now)
            found = truth(self.tree.root, before)
            assert now == found.state, f"{now} serves, and not {found.state}, after {before}"
            self.complaints.check(before, found, exact=exact, most=most)
            self.seen_between = self.seen_between and not found.looked_at
            self._check_settled(looked=bool(found.looked_at))

    def _check_settled(self, looked: bool) -> None:
        passes, world = self.world.engine.passes, self.world
        known = passes.committing.known
        assert not (known.suspects and looked)
        assert known.pending == {}
        assert not known.checking
        assert known.serves == {version.path: name for name, version in world.engine.snapshot.items()}
        if self.running and self.tree.is_there:
            assert self.world.is_watched
            assert self.world.observer is not None
        if self.running:
            good = self.tree.is_there and world.state.root == self.tree.identity
            assert (world.service.health().status == "ok") == good, world.service.health()

    def _check_told(self) -> None:
        self.seen["commits"] += len(self.world.commits)
        check_commits(self.snapshot, self.world)
        check_stats(self.world)
        assert not self.world.trouble()
        for version in self.world.engine.snapshot.values():
            assert hashlib.sha256(version.data).hexdigest() in self.tree.written, "nobody ever wrote that"
        self.snapshot = self.world.engine.snapshot
        self.complaints.hear(self.world)
        self.world.forget()
