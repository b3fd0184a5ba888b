"""A conversation from its beginning to its end: :class:`Session`. The file that wires it."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure

from dspyreload.commands.conversation import COMMANDS, Conversation
from dspyreload.commands.naming import named
from dspyreload.commands.prompting import PipePrompt, Prompt, prompt_for
from dspyreload.commands.saves import Line, Saves
from dspyreload.commands.screen import Screen
from dspyreload.config import HotReloadConfig
from dspyreload.disk.check import Remark, Report, check_directory
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError, EngineClosed, UnknownModule
from dspyreload.live.service import HotReloadService
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.model.faults import joined, shown
from dspyreload.model.manifest import MANIFEST

__all__ = ["Session"]

_MOST_FAULTS = 5


class Session:
    """Runs the reactor while a writer talks.

    :param module: whom they talk to: an id, the end of one, or a path; None for the first.
    :param lm: the name of the language model.
    """

    def __init__(self, engine: DSPyEngine, config: HotReloadConfig, module: str | None, lm: str) -> None:
        self._engine, self._config, self._module, self._lm = engine, config, module, lm
        self._service = HotReloadService(engine, config)
        self._talk: Conversation | None = None
        self._saves: Saves | None = None
        self._prompt: Prompt
        self._screen: Screen
        self._status = 0

    def run(self) -> int:
        """Talk until the writer leaves; return the exit status."""
        from twisted.internet import reactor as installed

        reactor: Any = installed
        self._prompt = prompt_for(self._label, self._complete, reactor)
        self._screen = Screen(self._prompt.write)
        globalLogBeginner.beginLoggingTo([cast(ILogObserver, self._log)], redirectStandardIO=False)
        reactor.callLater(0, self._start, reactor)  # once asyncio's loop runs
        try:
            reactor.run(installSignalHandlers=False)
        finally:
            self._prompt.close()
        return self._status

    def _start(self, reactor: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._told_to_end)
        done = Deferred.fromCoroutine(self._converse(reactor))
        done.addErrback(self._failed)
        done.addBoth(lambda _result: maybeDeferred(self._service.stopService))
        done.addBoth(lambda _result: self._engine.close())
        done.addBoth(lambda _result: reactor.stop())

    def _interrupted(self) -> None:
        if self._talk is None or not self._talk.interrupt():
            self._prompt.end()

    def _told_to_end(self) -> None:
        self._prompt.end()
        if self._talk is not None:
            self._talk.interrupt()

    async def _converse(self, reactor: Any) -> None:
        self._service.startService()
        warm = self._engine.warm()
        await self._service.when_ready()
        warm.addErrback(self._not_warm)
        report = check_directory(self._engine.directory, self._config, self._engine.registrations())
        faults = [remark for remark in report.remarks if remark.level == "fault" or remark.path in report.silent]
        talk = self._talk = Conversation(self._engine, self._screen, None, self._lm)
        try:
            talk.module_id = self._whom(report)
        except UnknownModule:
            self._tell_faults(talk, faults)
            raise
        if self._lm == DEMOS:
            words = "the demonstrations answer; for a language model, --lm NAME, such as --lm openai/gpt-4o-mini"
            self._screen.line((words, "dim"))
        talk.greet()
        self._tell_faults(talk, faults)
        before = {module_id: version.version for module_id, version in self._engine.snapshot.items()}
        self._saves = saves = Saves(
            reactor,
            talk.tell,
            lambda: talk.module_id,
            before,
            lambda: self._engine.snapshot.manifest is not None,
            [(fault.path, fault.message) for fault in faults],
        )
        self._service.subscribe(saves.on_event)
        while (line := await self._prompt.read()) is not None:
            if not await talk.take(line):
                break
        if talk.failed and isinstance(self._prompt, PipePrompt):
            self._status = 1  # a script may ask whether all was answered

    def _tell_faults(self, talk: Conversation, faults: list[Remark]) -> None:
        for fault in faults[:_MOST_FAULTS]:
            words = joined(fault.message, fault.mend)
            talk.tell(Line(f"{shown(fault.path, 300)}:{fault.line}:{fault.column}: {words}", bad=True))
        if len(faults) > _MOST_FAULTS:
            talk.tell(Line(f"{len(faults) - _MOST_FAULTS} more faults: dspyreload check shows them", bad=True))

    def _whom(self, report: Report) -> str | None:
        if self._module is None:
            return None
        try:
            return named(self._module, self._engine.snapshot)
        except UnknownModule:
            for path in report.silent:  # it speaks when it is mended
                if self._module in (path, report.ids[path], report.ids[path].rpartition(".")[2]):
                    return report.ids[path]
            raise

    def _failed(self, failure: Failure) -> None:
        self._status = 1
        if failure.check(DSPyReloadError, ValueError):
            self._screen.line((f"dspyreload: {failure.getErrorMessage()}", "red"))
        else:
            self._screen.line((f"dspyreload: the conversation ended: {failure.getErrorMessage()}", "red"))

    def _not_warm(self, failure: Failure) -> None:
        if not failure.check(EngineClosed):  # the writer has left
            self._screen.line((failure.getErrorMessage(), "red"))

    def _label(self) -> str:
        return f"{shown(self._talk.module_id or '')}> " if self._talk is not None else "> "

    def _complete(self, text: str) -> list[tuple[str, str]]:
        if not text.startswith("/") or self._talk is None:
            return []
        command, space, _rest = text.partition(" ")
        if not space:
            return list(COMMANDS.items())
        return self._talk.completions(command)

    def _log(self, event: LogEvent) -> None:
        """Show what nothing else shows: what is odd about a file, and what fails."""
        if event.get("whole") == MANIFEST and self._saves is not None:
            self._saves.on_note(f"{MANIFEST} is whole again, as it was before")
        if "remark" not in event and event.get("log_level", LogLevel.info) < LogLevel.warn:
            return
        if "remark" in event:
            where = ":".join(str(part) for part in (event.get("path"), event.get("line")) if part is not None)
            if self._saves is not None:
                self._saves.on_warning(f"{shown(where, 300)}: {event['remark']}")
        elif "path" not in event and "module_id" not in event:  # the others are events
            self._screen.line((f"!! {shown(formatEvent(event), 500)}", "yellow"))
