"""A conversation with a module while its file is edited: what each line that is typed does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults

from dspyreload.commands.fields import Fields, typed_field
from dspyreload.commands.saves import Line
from dspyreload.commands.screen import Screen
from dspyreload.commands.speech import Speech, told
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError, LMFailed, UnknownModule
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lm.reply import Reply
from dspyreload.model.faults import did_you_mean, shown
from dspyreload.talk.leases import Lease

__all__ = ["COMMANDS", "Conversation"]

COMMANDS: Mapping[str, str] = {
    "/again": "ask the last question again, of the version that is live now",
    "/both": "ask it of the version before and of the one that is live, and show both",
    "/prompt": "show the messages as the language model gets them; /prompt TEXT: for that question",
    "/set": "show the input fields; /set FIELD VALUE: set one; /set FIELD: let go of it",
    "/module": "show the modules; /module NAME: talk to another one",
    "/forget": "forget what was said so far",
    "/help": "show this",
    "/quit": "leave (also: Ctrl-D)",
}


@attrs.frozen
class Asked:
    """One question: to whom, all input fields, and the hold on the versions that answered it."""

    module_id: str
    inputs: Mapping[str, Any]
    lease: Lease
    version: str


class Conversation:
    """One writer, one module at a time.

    :param module_id: whom the writer talks to first; None for the first by name.
    :param lm_name: what answers where a module does not choose: the name of a language model.
    """

    def __init__(self, engine: DSPyEngine, screen: Screen, module_id: str | None, lm_name: str) -> None:
        self.engine, self.screen, self.module_id = engine, screen, module_id
        self._lm_name = lm_name
        self._fields = Fields()
        self._said: list[tuple[str, str]] = []
        self._asked: Asked | None = None
        self._now = engine.lease(max_age=None, idle=None)
        self._before: dict[str, Lease] = {}
        self._running: Deferred[Any] | None = None
        self._held_lines: list[Line] = []

    # What is going on

    def greet(self) -> None:
        """Say whom the writer talks to, and how to go on."""
        ids = self.engine.module_ids()
        if self.module_id is None and ids:
            self.module_id = ids[0]
        if self.module_id is None:
            self.screen.line(("nobody speaks yet: save a module, and it is live", "yellow"))
            return
        self._introduce()
        others = [shown(other) for other in ids if other != self.module_id]
        if others:
            self.screen.line((f"also here: {', '.join(others[:8])}{' ...' if len(others) > 8 else ''}", "dim"))
        self.screen.line(("save a file and it is live; /help for more", "dim"))

    def _introduce(self) -> None:
        version = self.engine.snapshot.get(str(self.module_id))
        if version is None:
            self.screen.line((f"{self.module_id} does not speak yet", "yellow"))
            return
        signature = self.engine.fields(version.module_id)
        sides = f"{', '.join(signature.input_names())} → {', '.join(signature.output_names()) or '...'}"
        self.screen.line((version.module_id, "bold"), (f" {version.version[:4]} ({sides})", "dim"))
        _inputs, lacking = self._fields.fill(signature, version.module(), "")
        for name in lacking:
            self.screen.line((f"it needs {name}: /set {name} ...", "yellow"))

    def tell(self, line: Line) -> None:
        """Print what a save came to, now or when the answer that is being said is over."""
        before, self._now = self._now, self.engine.lease(max_age=None, idle=None)
        for module_id in line.changed:
            if module_id in before.snapshot:
                self._before[module_id] = before
        if self.module_id is None and line.changed:
            self.module_id = min(line.changed)
        if self._running is not None:
            self._held_lines.append(line)
        else:
            self._print(line)

    def _print(self, line: Line) -> None:
        self.screen.line(("!! " if line.bad else "-- ", "bold red" if line.bad else "bold green"), (line.text, ""))

    def interrupt(self) -> bool:
        """Give up the answer that is waited for; say whether there was one."""
        running = self._running
        if running is not None:
            running.cancel()
        return running is not None

    def completions(self, command: str) -> list[tuple[str, str]]:
        """Return what may follow a command, each with its meaning."""
        if command == "/module":
            return [(module_id, "") for module_id in self.engine.module_ids()]
        if command == "/set" and self.module_id in self.engine:
            return [(field.name, field.description) for field in self.engine.fields(str(self.module_id)).inputs]
        return []

    # What is typed

    async def take(self, text: str) -> bool:
        """Do what a line says.

        :return: whether to go on.
        """
        text = text.strip()
        name, _, rest = text.partition(" ")
        try:
            if name in ("/quit", "/exit"):
                return False
            if name.startswith("/"):
                await self._command(name)(rest.strip())
            elif text:
                await self._ask(text)
        except (ValueError, UnknownModule) as error:
            self.screen.line((str(error), "yellow"))
        except LMFailed as error:
            self.screen.line((f"no answer: {error.reason}{self._hint(error)}", "red"))
        except DSPyReloadError as error:
            self.screen.line((f"no answer: {error}", "red"))
        except (CancelledError, asyncio.CancelledError):
            self.screen.line(("given up", "yellow"))
        finally:
            self._running = None
            held, self._held_lines = self._held_lines, []
            for line in held:
                self._print(line)
        return True

    def _hint(self, error: LMFailed) -> str:
        return " with --lm, such as --lm openai/gpt-4o-mini" if error.lm == DEMOS else ""

    def _command(self, name: str) -> Callable[[str], Coroutine[Any, Any, None]]:
        methods = {
            "/again": self._again, "/both": self._both, "/prompt": self._prompt, "/set": self._set,
            "/module": self._module, "/forget": self._forget, "/help": self._help,
        }  # fmt: skip
        if name not in methods:
            hint = did_you_mean(name, methods)
            raise ValueError(f"there is no command {shown(name)}{hint}; /help shows them")
        return methods[name]

    def _whom(self) -> str:
        if self.module_id is None:
            raise ValueError("nobody speaks yet: save a module first")
        if self.module_id not in self.engine:
            raise ValueError(f"{self.module_id} does not speak yet: what keeps it is said above; mend it and save")
        return self.module_id

    def _inputs(self, text: str) -> dict[str, Any]:
        module_id = self._whom()
        signature = self.engine.fields(module_id)
        history = "\n".join(f"{who}: {what}" for who, what in self._said)
        inputs, lacking = self._fields.fill(signature, self.engine[module_id], history)
        if lacking:
            raise ValueError("; ".join(f"it needs {name}: /set {name} ..." for name in lacking))
        typed = typed_field(signature)
        if typed is None:
            raise ValueError("it has no input for what you type: /set its fields, then /again")
        return inputs if typed in self._fields.values and not text else {**inputs, typed: text}

    async def _ask(self, text: str) -> None:
        await self._say(self._whom(), self._inputs(text), self._now)

    async def _say(self, module_id: str, inputs: Mapping[str, Any], lease: Lease) -> None:
        version = lease.snapshot[module_id]
        entry_lm = version.entry.lm if version.entry is not None else None
        speech = Speech(self.screen, module_id, version.version, entry_lm or self._lm_name)
        self._asked = Asked(module_id, inputs, lease, version.version)
        stream = lease.stream(module_id, dict(inputs), on_chunk=speech.hear)
        self._running = stream
        try:
            reply = await stream
        except BaseException:
            speech.broken()
            raise
        speech.over(reply)
        self._remember(inputs, reply)

    def _remember(self, inputs: Mapping[str, Any], reply: Reply) -> None:
        typed = typed_field(self.engine.fields(reply.module_id)) if reply.module_id in self.engine else None
        question = str(inputs.get(typed, "")) if typed is not None else ""
        answer = str(next(iter(reply.values()), ""))
        last = [("Player", question), (reply.module_id.rpartition(".")[2], answer)]
        if self._said[-2:-1] == last[:1]:  # the same question again: its newest answer counts
            del self._said[-2:]
        self._said += last

    async def _again(self, _rest: str) -> None:
        asked = self._last()
        if asked.module_id not in self.engine:
            raise ValueError(f"{asked.module_id} does not speak any more")
        await self._say(asked.module_id, self._fitting(asked), self._now)

    def _last(self) -> Asked:
        if self._asked is None:
            raise ValueError("nothing was asked yet")
        return self._asked

    def _fitting(self, asked: Asked) -> dict[str, Any]:
        """Return the inputs of a question for the version that is live now, whose fields may be others."""
        signature = self.engine.fields(asked.module_id)
        known = set(signature.input_names())
        inputs, _lacking = self._fields.fill(signature, self.engine[asked.module_id], "")
        asked_inputs = {name: value for name, value in asked.inputs.items() if name in known}
        set_now = {name: value for name, value in inputs.items() if name in self._fields.values}
        return {**inputs, **asked_inputs, **set_now}

    async def _both(self, _rest: str) -> None:
        asked, live = self._last(), self._now
        old = asked.lease if asked.version != live.snapshot[asked.module_id].version else None
        old = old or self._before.get(asked.module_id)
        if old is None or asked.module_id not in old.snapshot:
            raise ValueError("there is one version so far: change the file, save it, then /both")
        calls = [
            lease.invoke(asked.module_id, dict(inputs))
            for lease, inputs in ((old, asked.inputs), (live, self._fitting(asked)))
        ]
        both = gatherResults(calls, consumeErrors=True)
        self._running = both
        try:
            before, now = await both
        except FirstError as error:
            error.subFailure.raiseException()
            raise  # it never comes here
        self._asked = attrs.evolve(asked, lease=live, version=now.version)
        self._before[asked.module_id] = old
        self.screen.beside((f"{before.version[:4]} before", told(before)), (f"{now.version[:4]} now", told(now)))

    async def _prompt(self, rest: str) -> None:
        module_id = self._whom()
        same = self._asked is not None and self._asked.module_id == module_id
        inputs = self._inputs(rest or "...") if rest or not same else self._fitting(self._last())
        preview = self.engine.preview(module_id, inputs)
        self._running = preview
        for message in await preview:
            self.screen.line((f"[{message.get('role')}]", "bold"))
            self.screen.line((_content(message.get("content")), ""))

    async def _set(self, rest: str) -> None:
        module_id = self._whom()
        signature = self.engine.fields(module_id)
        name, _, value = rest.partition(" ")
        if name:
            self._fields.set(signature, name, value.strip())
        lines = self._fields.told(signature, self.engine[module_id])
        for field, words in lines:
            if name in ("", field):
                self.screen.line((f"  {field}: ", "bold"), (words, ""))

    async def _module(self, rest: str) -> None:
        ids = self.engine.module_ids()
        if not rest:
            for module_id in ids:
                mark = "*" if module_id == self.module_id else " "
                self.screen.line((f"{mark} {module_id} ", "bold" if mark == "*" else ""),
                                 (self.engine.snapshot[module_id].version[:4], "dim"))  # fmt: skip
            return
        self.module_id = self.named(rest)
        self._said = []
        self._asked = None
        self._introduce()

    def named(self, name: str) -> str:
        """Return the id that was meant: it may be cut short at the front, or be the path of a file.

        :raises UnknownModule: where there is none.
        """
        ids = self.engine.module_ids()
        if name in ids:
            return name
        by_path = [version.module_id for version in self.engine.snapshot.values() if version.path == name]
        ends = by_path or [module_id for module_id in ids if module_id.endswith(f".{name}")]
        if len(ends) == 1:
            return ends[0]
        if ends:
            raise ValueError(f"{shown(name)} is the end of {', '.join(ends)}; say which")
        raise UnknownModule(name, self.engine.snapshot)

    async def _forget(self, _rest: str) -> None:
        self._said = []
        self.screen.line(("what was said is forgotten", "dim"))

    async def _help(self, _rest: str) -> None:
        for name, words in COMMANDS.items():
            self.screen.line((f"  {name:<9}", "bold"), (words, ""))
        self.screen.line(("  anything else is said to the character", ""))


def _content(content: Any) -> str:
    if isinstance(content, list):  # of parts, as providers have them
        return "\n".join(str(part.get("text", part)) if isinstance(part, dict) else str(part) for part in content)
    return str(content)
