"""A conversation with a module while its file is edited: what each line that is typed does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from dspyreload.commands.asking import Asked, Questions
from dspyreload.commands.failures import no_answer
from dspyreload.commands.fields import typed_field
from dspyreload.commands.naming import named_in_talk
from dspyreload.commands.saves import Line
from dspyreload.commands.screen import Screen
from dspyreload.commands.speech import Speech, told
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError, UnknownModule
from dspyreload.lm.reply import Reply
from dspyreload.model.faults import did_you_mean, shown
from dspyreload.model.snapshot import ModuleVersion
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


class Conversation:
    """One writer, one module at a time.

    :param module_id: whom the writer talks to first; None for the first by name.
    :param lm_name: what answers where a module does not choose: the name of a language model.
    :ivar failed: whether a question had no answer.
    """

    def __init__(self, engine: DSPyEngine, screen: Screen, module_id: str | None, lm_name: str) -> None:
        self.engine, self.screen, self.module_id = engine, screen, module_id
        self._lm_name = lm_name
        self._questions = Questions(engine)
        self._asked: Asked | None = None
        self._lease = engine.lease(max_age=None, idle=None)
        self._before: Lease | None = None  # the last one that held another version of this module
        self._running: Deferred[Any] | None = None
        self._held_lines: list[Line] = []
        self.failed = False

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
        version = self._live().snapshot.get(str(self.module_id))
        if version is None:
            self.screen.line((f"{self.module_id} does not speak yet", "yellow"))
            return
        signature = self.engine.fields(version)
        sides = f"{', '.join(signature.input_names())} → {', '.join(signature.output_names()) or '...'}"
        self.screen.line((version.module_id, "bold"), (f" {version.version[:4]} ({sides})", "dim"))
        typed = typed_field(signature)
        if typed is None:
            self.screen.line(("it has no input for what you type: /set its fields, then /again", "yellow"))
        elif typed != "player_message":
            self.screen.line((f"what you type is its {typed}", "dim"))
        _inputs, lacking = self._questions.fields.fill(signature, version.module(), "")
        for name in lacking:
            self.screen.line((f"it needs {name}: /set {name} ...", "yellow"))

    def _live(self) -> Lease:
        """Return a hold on what is live now; the one before is kept while it holds another version."""
        if self._lease.stale:
            old, self._lease = self._lease, self.engine.lease(max_age=None, idle=None)
            before, now = (lease.snapshot.get(str(self.module_id)) for lease in (old, self._lease))
            if before is not None and (now is None or now.version != before.version):
                self._before = old
        return self._lease

    def tell(self, line: Line) -> None:
        """Print what a save came to, now or when the answer that is being said is over."""
        self._live()
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
        if name in ("/quit", "/exit"):
            return False
        try:
            if name.startswith("/"):
                await self._command(name)(rest.strip())
            elif text:
                await self._ask(text)
        except (ValueError, UnknownModule) as error:
            self.screen.line((str(error), "yellow"))
        except (DSPyReloadError, CancelledError, asyncio.CancelledError) as error:
            self.failed = True
            self.screen.line((no_answer(error), "red"))
        finally:
            self._running = None
            held, self._held_lines = self._held_lines, []
            for line in held:
                self._print(line)
        return True

    def _command(self, name: str) -> Callable[[str], Coroutine[Any, Any, None]]:
        methods = {
            "/again": self._again, "/both": self._both, "/prompt": self._prompt, "/set": self._set,
            "/module": self._module, "/forget": self._forget, "/help": self._help,
        }  # fmt: skip
        if name not in methods:
            hint = did_you_mean(name, methods)
            raise ValueError(f"there is no command {shown(name)}{hint or ';'} /help shows them")
        return methods[name]

    def _speaker(self, module_id: str | None = None) -> ModuleVersion:
        """Return the version that is talked to.

        :raises ValueError: where there is none, in words.
        """
        module_id = module_id or self.module_id
        if module_id is None:
            raise ValueError("nobody speaks yet: save a module first")
        version = self._live().snapshot.get(module_id)
        if version is None:
            raise ValueError(f"{shown(module_id)} does not speak: what keeps it is said above; mend it and save")
        return version

    async def _ask(self, text: str) -> None:
        version = self._speaker()
        if not self._questions.takes_text(version):
            raise ValueError("it has no input for what you type: /set its fields, then /again")
        history = self._questions.history
        await self._say(version, text, self._questions.inputs(version, text, history, {}), history)

    async def _say(self, version: ModuleVersion, text: str, inputs: dict[str, Any], history: str) -> None:
        chosen = version.entry.lm if version.entry is not None else None
        speech = Speech(self.screen, version.module_id, version.version, chosen or self._lm_name)
        self._asked = Asked(version.module_id, text, inputs, history, self._lease, version.version)
        stream = self._lease.stream(version.module_id, inputs, on_chunk=speech.hear)
        self._running = stream
        try:
            reply = await stream
        except BaseException:
            speech.broken()
            raise
        speech.over(reply)
        self._questions.remember(self._asked, reply)

    async def _again(self, _rest: str) -> None:
        asked = self._asked
        if asked is None and self.module_id is not None and not self._questions.takes_text(self._speaker()):
            version = self._speaker()  # there is nothing to type: its fields were set
            await self._say(version, "", self._questions.inputs(version, "", "", {}), "")
            return
        asked = self._last()
        version = self._speaker(asked.module_id)
        await self._say(version, asked.text, self._fitting(asked, version), asked.history)

    def _last(self) -> Asked:
        if self._asked is None:
            raise ValueError("nothing was asked yet")
        return self._asked

    def _fitting(self, asked: Asked, version: ModuleVersion) -> dict[str, Any]:
        """Return the inputs of a question for a version whose fields may be others."""
        return self._questions.inputs(version, asked.text, asked.history, asked.inputs)

    async def _both(self, _rest: str) -> None:
        asked = self._last()
        now = self._speaker(asked.module_id)
        old = asked.lease if asked.version != now.version else self._before
        before = old.snapshot.get(asked.module_id) if old is not None else None
        if old is None or before is None:
            raise ValueError("there is one version so far: change the file, save it, then /both")
        sides = [(old, self._fitting(asked, before)), (self._lease, self._fitting(asked, now))]
        both = DeferredList([lease.invoke(asked.module_id, inputs) for lease, inputs in sides], consumeErrors=True)
        self._running = both
        answers = [found.value if isinstance(found, Failure) else found for _success, found in await both]
        if all(isinstance(found, CancelledError) for found in answers):
            raise CancelledError
        self._asked = attrs.evolve(asked, lease=self._lease, version=now.version)
        self._before = old
        left, right = (told(found) if isinstance(found, Reply) else no_answer(found) for found in answers)
        self.screen.beside((f"{before.version[:4]} before", left), (f"{now.version[:4]} now", right))

    async def _prompt(self, rest: str) -> None:
        version = self._speaker()
        asked = self._asked
        if rest or asked is None:
            inputs = self._questions.inputs(version, rest or "...", self._questions.history, {})
        else:
            inputs = self._fitting(asked, version)
        preview = self.engine.preview(version.module_id, inputs)
        self._running = preview
        for message in await preview:
            self.screen.line((f"[{message.get('role')}]", "bold"))
            self.screen.line((_content(message.get("content")), ""))

    async def _set(self, rest: str) -> None:
        version = self._speaker()
        signature = self.engine.fields(version)
        name, _, value = rest.partition(" ")
        if name:
            self._questions.fields.set(signature, name, value.strip())
        for field, words in self._questions.fields.told(signature, version.module()):
            if name in ("", field):
                self.screen.line((f"  {field}: ", "bold"), (words, ""))

    async def _module(self, rest: str) -> None:
        if not rest:
            for module_id, version in sorted(self._live().snapshot.items()):
                mark = "*" if module_id == self.module_id else " "
                style = "bold" if mark == "*" else ""
                self.screen.line((f"{mark} {module_id} ", style), (version.version[:4], "dim"))
            return
        self.module_id = named_in_talk(rest, self._live().snapshot)
        self._asked = self._before = None
        self._questions.forget()
        self._introduce()

    async def _forget(self, _rest: str) -> None:
        self._questions.forget()
        if self._asked is not None:
            self._asked = attrs.evolve(self._asked, history="")
        self.screen.line(("what was said is forgotten", "dim"))

    async def _help(self, _rest: str) -> None:
        for name, words in COMMANDS.items():
            self.screen.line((f"  {name:<9}", "bold"), (words, ""))
        self.screen.line(("  anything else is said to the character", ""))


def _content(content: Any) -> str:
    if isinstance(content, list):  # of parts, as providers have them
        return "\n".join(str(part.get("text", part)) if isinstance(part, dict) else str(part) for part in content)
    return str(content)
