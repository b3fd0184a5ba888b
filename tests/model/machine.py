"""A state machine that does to a modules directory, and to its server, whatever people and machines do, in any order.

After each settling what serves must be what :func:`~tests.model.truth.truth` says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dspyreload.errors import HotReloadFailed, UnknownModule
from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from tests.model.drawn import Change, by_name
from tests.model.settled import LOOKS, Settled
from tests.model.truth import FIRST, perhaps_revived, revived, truth

__all__ = ["Machine"]

_TIMER, _DEEP = 10.0, 100.0  # seconds until the timer has looked at the tree, and until it has read every byte

_told = st.sampled_from(("none", "some", "all", "doubled", "backwards"))


def _step(**arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """Make a rule of a method, and count how often it runs."""

    def made(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def counted(self: Machine, **drawn: Any) -> None:
            Machine.done[function.__name__] += 1
            function(self, **drawn)

        return rule(**arguments)(counted)

    return made


def _changing(name: str) -> Any:
    """Return a rule that makes one kind of change."""

    def change(self: Machine, change: Change) -> None:
        self._change(change)

    change.__name__ = change.__qualname__ = name.replace(" ", "_")
    return precondition(lambda self: self.tree.is_there)(_step(change=by_name[name])(change))


class Machine(Settled):
    """Whatever may happen to both, in any order."""

    # What happens to the disk

    write, replace, corrupt, text, touch = map(_changing, ("write", "replace", "corrupt", "text", "touch"))
    rename, delete, delete_folder, move = map(_changing, ("rename", "delete", "delete folder", "move"))
    rewrite, link, swap, hold = map(_changing, ("rewrite", "link", "swap", "hold"))
    list_all, edit, break_manifest, unlist = map(_changing, ("list all", "edit", "break manifest", "unlist"))

    @precondition(lambda self: self.tree.is_there)
    @_step(after=st.integers(0, 5), change=st.one_of(*by_name.values()))
    def change_in_the_middle_of_a_look(self, after: int, change: Change) -> None:
        """Change something when a look has read some of the files."""
        self.world.meanwhile = (after, lambda: self._change(change))
        self._forget(self.world.engine.reload_all())
        self.world.run()
        if self.world.meanwhile is not None:
            self._change(change)
            self.world.meanwhile = None
        self.world.advance(0)
        self.seen_between = True

    @precondition(lambda self: self.tree.is_there)
    @_step(what=st.sampled_from(("lost", "copied", "emptied")))
    def change_root(self, what: str) -> None:
        """Unmount it, or put another directory in its place."""
        if what == "lost":
            self.tree.lose_root()
        else:
            self.tree.replace_root(copy=what == "copied")
        self.untold = True

    @precondition(lambda self: not self.tree.is_there)
    @_step(other=st.booleans())
    def bring_root_back(self, other: bool) -> None:
        """Mount it, or an empty one."""
        if other:
            self.tree.replace_root(copy=False)
        elif self.tree.is_away:
            self.tree.bring_root_back()
        self.untold = True

    # What happens to the server

    @precondition(lambda self: self.running)
    @_step(how=_told, seconds=st.sampled_from((0.0, 0.05, 0.1, 0.3)))
    def look(self, how: str, seconds: float) -> None:
        """Tell of some of the changes, and let some time pass: not enough to be done."""
        self._tell(how)
        self.world.advance(seconds)
        self.seen_between = True

    @precondition(lambda self: self.running)
    @_step(backwards=st.booleans())
    def settle_by_events(self, backwards: bool) -> None:
        """Tell of all changes; the quiet windows pass."""
        whole = any(event.is_whole for event in self.due) and self.world.is_watched

        def act() -> None:
            self._tell("backwards" if backwards else "doubled")
            self.world.advance(LOOKS + self._slack())

        self._settle(act, whole=whole)

    @precondition(lambda self: self.running)
    @_step(how=_told)
    def settle_by_the_timer(self, how: str) -> None:
        """Tell of some changes or none; the timer looks."""
        how = self._decide_by_part(how)

        def act() -> None:
            self._tell(how)
            self.world.advance(_TIMER + LOOKS + self._slack())

        self._settle(act, whole=True, partial=how != "none")

    @precondition(lambda self: self.running)
    @_step(how=_told)
    def settle_by_reading_everything(self, how: str) -> None:
        """Ten times the timer looks: once, it reads every byte."""
        how = self._decide_by_part(how)

        def act() -> None:
            self._tell(how)
            self.world.advance(_DEEP + LOOKS + self._slack())

        self._settle(act, whole=True, deep=True, partial=how != "none")

    def _decide_by_part(self, how: str) -> str:
        """Tell of some changes where others are not known of: an id may then go to one file, and not to a better one.

        :return: what is left to be told.
        """
        if how == "none" or not self.untold:
            return how
        self._tell(how)
        self.world.advance(LOOKS + self._slack())
        self.seen_between = True
        return "none"

    @_step()
    def reload_all(self) -> None:
        """Somebody asks for everything."""
        results: list[Any] = []

        def act() -> None:
            self.world.engine.reload_all().addBoth(results.append)
            self.world.advance(LOOKS + self._slack())

        there = self._can_look()
        self._settle(act, whole=True, deep=True)
        (result,) = results
        if there:
            assert set(result) <= set(self.last_events), (result, self.last_events)
        else:
            assert result.check(HotReloadFailed)

    @_step(module_id=st.sampled_from(("a", "b", "x", "X", "d.a", "d.b", "e.a", "l", "n")))
    def reload_module(self, module_id: str) -> None:
        """Somebody asks for one module."""
        results: list[Any] = []
        there = self._can_look()
        self.world.engine.reload_module(module_id).addBoth(results.append)
        self.world.advance(LOOKS + self._slack())
        (result,) = results
        if there:
            self._check_answer(module_id, result)
        else:
            assert result.check(HotReloadFailed)
        self.seen_between = True

    def _check_answer(self, module_id: str, result: Any) -> None:
        snapshot = self.world.engine.snapshot
        if isinstance(result, (ModuleChanged, ModuleSkipped)):
            version = snapshot[module_id]
            if module_id in truth(self.tree.root, self.world.state).waiting:
                return  # it is kept as it is
            with open(f"{self.tree.root}/{version.path}", "rb") as file:
                assert file.read() == version.data
        elif isinstance(result, ModuleDeleted):
            assert module_id not in snapshot
        elif not isinstance(result, ReloadError):
            assert result.check(UnknownModule)
            assert module_id not in snapshot

    @precondition(lambda self: self.running)
    @_step(in_a_pass=st.booleans())
    def stop(self, in_a_pass: bool) -> None:
        """Stop the service, perhaps while it looks."""
        if in_a_pass:
            self._forget(self.world.engine.reload_all())
        self._stop()

    @precondition(lambda self: not self.running)
    @_step(anew=st.booleans(), looked=st.booleans())
    def start(self, anew: bool, looked: bool) -> None:
        """Start the service, or another one, for the same engine."""
        if looked:
            self.reload_all()
        if anew:
            self._check_told()
            self.world.serve()
        if self.world.state_path is None:
            self._settle(self._start, whole=True, deep=True)
            return
        before, kept = self.world.state, self.world.kept
        if looked and self.tree.is_there:
            expected = revived(self.tree.root, before, kept)
            self._settle(self._start, whole=True, deep=True, before=expected, most=2)
        else:
            by_now = functools.partial(perhaps_revived, before, kept)
            self._settle(self._start, whole=True, deep=True, before=by_now, most=2)

    @_step(load=st.booleans(), killed=st.booleans())
    def restart(self, load: bool, killed: bool) -> None:
        """Start another process."""
        self._check_told()
        if self.running and killed:
            self.world.crash()
        elif self.running:
            self._stop()
        self.seen["restarts"] += 1
        self._launch(load, self.world.kept if self.world.state_path is not None else FIRST)
