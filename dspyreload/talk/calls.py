"""Calls as the reactor sees them: a snapshot, options and fields → a Deferred of a reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.errors import DSPyReloadError, EngineBusy, EngineClosed, NotReady, ReplyRefused, UnknownModule
from dspyreload.lm.call import Call
from dspyreload.lm.invoking import Invoking
from dspyreload.lm.loop import LMLoop
from dspyreload.lm.reply import Chunk, Reply
from dspyreload.model.snapshot import Snapshot
from dspyreload.raised import log_raised
from dspyreload.reactor import check_seconds, check_thread
from dspyreload.talk.replies import ReplyStream

if TYPE_CHECKING:
    from dspyreload.lm.programs import Program

__all__ = ["UNSET", "Calls", "Options", "ReplyFilter", "ReplyFilters"]

_log = Logger(namespace="dspyreload")

ReplyFilter = Callable[[Reply], object]
"""``reply_filter(reply)``: None to leave it, a changed reply or a mapping of changed fields; raises to refuse it."""

UNSET: Any = object()
"""Where a call leaves the fallback to the engine: None is one."""


@attrs.frozen(kw_only=True)
class Options:
    """The options of a call, as ``DSPyEngine.invoke`` has them."""

    timeout: float | None = None
    lm: Any = None
    key: str | None = None
    context: Any = None
    fallback: Any = UNSET

    def __attrs_post_init__(self) -> None:
        check_seconds("timeout", self.timeout, or_none=True)
        check_fallback(self.fallback)

    @classmethod
    def taken_from(
        cls, inputs: Mapping[str, Any] | None, keywords: Mapping[str, Any]
    ) -> tuple[Options, dict[str, Any]]:
        """Tell the options of a call from its fields. A field that is named like one goes into ``inputs``."""
        options = {name: value for name, value in keywords.items() if name in _OPTIONS}
        fields = {name: value for name, value in keywords.items() if name not in _OPTIONS}
        return cls(**options), {**(inputs or {}), **fields}


_OPTIONS = frozenset(field.name for field in attrs.fields(Options))


def check_count(name: str, count: object, least: int) -> None:
    """Refuse what is no number of things.

    :raises ValueError: for anything but a whole number from ``least``.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {count!r}")


def check_fallback(fallback: Any) -> None:
    """Refuse what is no fallback.

    :raises ValueError: for anything but ``"demos"``, None and False.
    """
    if fallback is not UNSET and fallback is not None and fallback is not False and fallback != "demos":
        raise ValueError(f'fallback must be "demos", None or False, not {fallback!r}')


class ReplyFilters:
    """What the game does with each reply before anybody hears it."""

    def __init__(self) -> None:
        self._filters: tuple[tuple[ReplyFilter, object], ...] = ()

    def add(self, reply_filter: ReplyFilter) -> Callable[[], None]:
        """Call ``reply_filter(reply)`` on the reactor thread, for each reply, after those that were added before.

        It may be plain, ``async def``, or return a Deferred, of None to leave the reply, ``reply.evolve(...)`` or a
        mapping of changed fields. What it raises refuses the reply: a fallback answers, or the call fails with
        ``ReplyRefused``. While there is one, a stream's pieces come when the reply has passed.

        :return: a function that removes it.
        """
        check_thread("reply_filters.add")
        if not callable(reply_filter):
            raise TypeError(f"a reply filter is a function of a reply, not {reply_filter!r}")
        mine = (reply_filter, object())
        self._filters = (*self._filters, mine)

        def remove() -> None:
            self._filters = tuple(other for other in self._filters if other is not mine)

        return remove

    def __bool__(self) -> bool:
        return bool(self._filters)

    async def passed(self, reply: Reply) -> Reply:
        """Return what the filters make of a reply. On the reactor thread.

        :raises ReplyRefused: where one of them refuses it.
        """
        for reply_filter, _mark in self._filters:
            try:
                made: Any = await maybeDeferred(reply_filter, reply)
            except ReplyRefused:
                raise
            except Exception as error:
                words = str(error) or type(error).__name__
                raise ReplyRefused(f"{reply.module_id}: the game refused the reply: {words}") from error
            if isinstance(made, Reply):
                reply = made
            elif isinstance(made, Mapping):
                reply = reply.evolve(**made)
            elif made is not None:
                raise ReplyRefused(f"{reply.module_id}: a reply filter gave {type(made).__name__}, and no reply")
        return reply


class Calls:
    """Begins calls, at most so many at once. All methods are for the reactor thread.

    :param places: how many calls may run and wait.
    :param timeout: seconds for calls that name none.
    :param fallback: for calls that name none.
    """

    def __init__(
        self,
        loop: LMLoop,
        invoking: Invoking,
        run: Callable[[Callable[[], Any]], Deferred[Any]],
        directory: str,
        *,
        max_concurrency: int,
        max_queue: int,
        timeout: float | None,
        fallback: Any,
    ) -> None:
        check_fallback(fallback)
        check_seconds("timeout", timeout, or_none=True)
        check_count("max_concurrency", max_concurrency, 1)
        check_count("max_queue", max_queue, 0)
        self.filters = ReplyFilters()
        self._loop, self._invoking, self._run_in_loop = loop, invoking, run
        self._directory, self._max_concurrency, self._max_queue = directory, max_concurrency, max_queue
        self._timeout, self._fallback = timeout, fallback
        self._open = 0

    @property
    def closed(self) -> bool:
        """Whether the engine is closed."""
        return self._loop.closed

    def invoke(
        self,
        snapshot: Snapshot,
        keep: dict[str, Program],
        module_id: str,
        fields: Mapping[str, Any],
        options: Options,
        on_chunk: Callable[[Chunk], None] | None = None,
    ) -> Deferred[Reply]:
        """Run a module of a snapshot; see ``DSPyEngine.invoke``.

        :param keep: holds the programs that it uses.
        :param on_chunk: called on the reactor thread with each piece of the reply.
        """
        if (failure := self._unready(snapshot, module_id)) is not None:
            return fail(failure)
        call = self._call(snapshot, keep, module_id, fields, options, on_chunk)
        if self._open < self._max_concurrency + self._max_queue:
            self._open += 1
            return self._run_in_loop(lambda: self._invoking.invoke(call)).addBoth(self._ended)
        busy = EngineBusy(self._max_concurrency, self._max_queue)
        # Whether the module has lines of its own is known in the loop; most have none, and hear it at once.
        if call.fallback is False or (call.fallback is None and b'"fallback"' not in call.version.data):
            return fail(busy)
        return self._run_in_loop(lambda: self._invoking.invoke(call, busy))

    def stream(
        self,
        snapshot: Snapshot,
        keep: dict[str, Program],
        module_id: str,
        fields: Mapping[str, Any],
        options: Options,
        on_chunk: Callable[[Chunk], object] | None,
    ) -> ReplyStream:
        """Run a module of a snapshot and hear it speak; see ``DSPyEngine.stream``."""
        stream = ReplyStream(on_chunk)
        stream.follow(self.invoke(snapshot, keep, module_id, fields, options, stream.put))
        return stream

    def preview(self, snapshot: Snapshot, module_id: str, fields: Mapping[str, Any], lm: Any) -> Deferred[Any]:
        """Return the messages that a call would send; see ``DSPyEngine.preview``."""
        if (failure := self._unready(snapshot, module_id)) is not None:
            return fail(failure)
        call = self._call(snapshot, {}, module_id, fields, Options(lm=lm), None)
        return self._run_in_loop(lambda: self._invoking.preview(call))

    def _unready(self, snapshot: Snapshot, module_id: str) -> DSPyReloadError | None:
        if self._loop.closed:
            return EngineClosed("the engine is closed")
        if snapshot.generation == 0:
            return NotReady(f"the modules in {self._directory} are not read yet; wait for service.when_ready()")
        return UnknownModule(module_id, snapshot) if module_id not in snapshot else None

    def _call(
        self,
        snapshot: Snapshot,
        keep: dict[str, Program],
        module_id: str,
        fields: Mapping[str, Any],
        options: Options,
        on_chunk: Callable[[Chunk], None] | None,
    ) -> Call:
        return Call(
            version=snapshot[module_id],
            generation=snapshot.generation,
            inputs=fields,
            on_reactor=lambda name, function: self._loop.on_reactor(lambda: self._tool(name, module_id, function)),
            timeout=options.timeout if options.timeout is not None else self._timeout,
            lm=options.lm,
            key=options.key,
            context=options.context,
            fallback=self._fallback if options.fallback is UNSET else options.fallback,
            keep=keep,
            on_chunk=(lambda chunk: self._loop.tell(lambda: on_chunk(chunk))) if on_chunk is not None else None,
            filtered=self._filtered if self.filters else None,
        )

    def _filtered(self, reply: Reply) -> Awaitable[Reply]:
        return self._loop.on_reactor(lambda: self.filters.passed(reply))

    def _tool(self, name: str, module_id: str, function: Callable[[], Any]) -> Deferred[Any]:
        def failed(failure: Failure) -> Failure:
            if failure.check(CancelledError) is None:
                log_raised(
                    _log,
                    "the tool {tool} of {module_id} failed; the LM is told",
                    failure,
                    private=True,
                    tool=name,
                    module_id=module_id,
                )
            return failure

        return maybeDeferred(function).addErrback(failed)

    def _ended(self, outcome: Any) -> Any:
        self._open -= 1
        return outcome
