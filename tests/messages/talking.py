"""What ``dspyreload talk`` prints, without a terminal and without a reactor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger

from dspyreload.commands.conversation import Conversation
from dspyreload.commands.saves import Line, Saves
from dspyreload.commands.screen import Screen
from dspyreload.commands.session import Session
from dspyreload.config import HotReloadConfig
from dspyreload.disk.scan import Request, look
from dspyreload.engine import DSPyEngine
from dspyreload.live.report import report
from dspyreload.live.validators import Candidate, Validators
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Known, Look
from dspyreload.model.plan import Plan, apply, make_plan
from dspyreload.model.snapshot import EMPTY, Snapshot
from dspyreload.model.verdicts import candidates, with_verdicts
from dspyreload.testing import ReactorClock
from tests.messages.case import Made, Saved, Talked

__all__ = ["said", "said_of_saves"]

Write = Callable[[Path, Mapping[str, "str | Made | None"]], None]


def said(case: Talked, folder: Path) -> str:
    """Return what is printed, with what was typed."""
    printed: list[str] = []
    engine = DSPyEngine(folder, lm="demos")
    talk = Conversation(engine, Screen(printed.append, terminal=False), case.module_id, "demos")
    talk.greet()
    for text in case.typed:
        printed.append(f"{talk.module_id or ''}> {text}\n")
        taken: list[object] = []
        Deferred.fromCoroutine(talk.take(text)).addBoth(taken.append)
        assert taken == [True], f"{text!r} wants a reactor: {taken}"
    return "".join(printed)


def said_of_saves(case: Saved, folder: Path, write: Write) -> tuple[list[str], list[Fault]]:
    """Return the line that is printed of each save, and the faults that they tell of."""
    lines: list[Line] = []
    faults: list[Fault] = []
    saves = Saves(ReactorClock(), lines.append, lambda: case.spoken)
    session = Session(DSPyEngine(folder, load=False), HotReloadConfig(), None, "demos")
    session._saves, log = saves, Logger(observer=cast(ILogObserver, session._log))
    server = _Server(folder, case.refuses)
    server.look()
    for number, save in enumerate(case.saves, 1):
        write(folder, save)
        for name, text in save.items():
            if text is not None:  # two saves may fall into one tick of the clock
                os.utime(folder / name, (number, number))
        for plan in server.settled():
            faults += [Fault(event.error, event.line, event.column, event.mend) for event in plan.errors]
            faults += [warning for _path, warning in plan.warnings]
            for event in plan.events:
                saves.on_event(event)
            report(log, plan)
        saves.flush()
    return [f"{'!!' if line.bad else '--'} {line.text}" for line in lines], faults


@attrs.define
class _Server:
    """A server without its reactor: each look decides what the one before suspected."""

    folder: Path
    refuses: str
    snapshot: Snapshot = EMPTY
    known: Known = attrs.field(factory=Known)

    def settled(self) -> Iterator[Plan]:
        """Look until nothing is suspect any more."""
        plan = self.look()
        yield plan
        while plan.again:
            plan = self.look()
            yield plan

    def look(self) -> Plan:
        """Look at everything, and serve what is good."""
        first = self.snapshot is EMPTY
        ripe = None if first else frozenset(self.known.suspects)
        request = Request(root=str(self.folder), in_force=self.snapshot.manifest, first=first, ripe=ripe)
        seen = look(request, self.known)
        if self.refuses and not first:
            seen = self._judged(seen)
        plan = make_plan(self.snapshot, self.known, seen, ripe=ripe, asked=frozenset(), now=0.0)
        self.snapshot = plan.snapshot
        apply(self.known, plan)
        return plan

    def _judged(self, seen: Look) -> Look:
        clock = ReactorClock()
        validators = Validators(lambda: clock)
        validators.add(self._refuse)
        found = candidates(seen, self.known, self.snapshot, lambda module_id: True, also_live=False)
        asked = {path: Candidate(version, version.module()) for path, version in found.items()}
        validators.hear(asked)
        clock.advance(11)
        answers: list[dict[str, str | None]] = []
        validators.hear(asked).addCallback(answers.append)
        return with_verdicts(seen, self.known, answers[0], validators.token)

    def _refuse(self, module: object) -> object:
        if self.refuses == "...":
            return Deferred()
        raise ValueError(self.refuses)
