"""How a game speaks through an engine: :class:`Speaking`, the half of ``DSPyEngine`` that runs modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from dspyreload.lm.reply import Chunk, Reply
from dspyreload.model.snapshot import Snapshot
from dspyreload.reactor import IReactor, check_thread
from dspyreload.talk.bound import Bound
from dspyreload.talk.calls import UNSET, Calls, Options
from dspyreload.talk.leases import Lease, Leases
from dspyreload.talk.replies import ReplyStream

__all__ = ["Speaking"]


class Speaking:
    """Runs the modules of the live snapshot, or of a lease's. The engine says which that is."""

    _calls: Calls
    _leases: Leases

    @property
    def snapshot(self) -> Snapshot:
        """The live snapshot."""
        raise NotImplementedError

    def reactor(self) -> IReactor:
        """Return the reactor."""
        raise NotImplementedError

    def invoke(
        self,
        module_id: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        lm: Any = None,
        key: str | None = None,
        context: Any = None,
        fallback: Any = UNSET,
        **fields: Any,
    ) -> Deferred[Reply]:
        """Run the live version of a module with DSPy. All of it, its tools included, is of one snapshot.

        :param inputs: input fields, for those that are named like an option here; the others may be keywords.
        :param timeout: seconds, waiting for a place included, after which the call is cancelled; the engine's without.
        :param lm: the language model of this call, as for the engine.
        :param key: on whose account, such as ``"player:42"``: see :class:`~dspyreload.Limits`.
        :param context: handed to tools, such as the object of who asks; no language model sees it.
        :param fallback: of this call, as for the engine.
        :return: fires with a ``Reply``, a mapping of the output fields. It fails with ``UnknownModule``,
            ``MissingInput``, ``UnknownInput``, ``NoLM``, ``NotReady``, ``EngineBusy``, ``LimitExceeded``,
            ``InvokeTimeout``, ``LMFailed``, ``MaxIterationsReached``, ``ReplyRefused``, ``DSPyNotInstalled`` or
            ``EngineClosed``. Cancelling it cancels the call.
        :raises ValueError: for a timeout that is no number above 0, and for an unknown fallback.
        """
        check_thread("invoke")
        options = Options(timeout=timeout, lm=lm, key=key, context=context, fallback=fallback)
        return self._calls.invoke(self.snapshot, {}, module_id, {**(inputs or {}), **fields}, options)

    def stream(
        self,
        module_id: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        on_chunk: Callable[[Chunk], object] | None = None,
        **options_and_fields: Any,
    ) -> ReplyStream:
        """Run the live version of a module, and hear it speak while it thinks.

        The pieces of all text outputs but ``reasoning`` come as they are said, where the language model streams and
        DSPy's chat, JSON or XML adapter writes the prompt; else all at once, before the reply. A tool-enabled module's
        come once it is known that it asks for no tool: let it say ``tool_call`` first.

        :param on_chunk: called on the reactor thread with each :class:`~dspyreload.Chunk`, a ``str`` that knows its
            ``field``.
        :param options_and_fields: as for :meth:`invoke`.
        :return: a Deferred as :meth:`invoke` returns, and an async iterator of chunks, and last the ``Reply``.
        """
        check_thread("stream")
        options, fields = Options.taken_from(inputs, options_and_fields)
        return self._calls.stream(self.snapshot, {}, module_id, fields, options, on_chunk)

    def preview(
        self, module_id: str, inputs: Mapping[str, Any] | None = None, /, *, lm: Any = None, **fields: Any
    ) -> Deferred[list[dict[str, Any]]]:
        """Return the messages that :meth:`invoke` would send, exactly as DSPy writes them, and send none.

        :return: fires with dicts of ``role`` and ``content``; of a program with several predictors, those of its first
            request. It fails as :meth:`invoke` does.
        """
        check_thread("preview")
        return self._calls.preview(self.snapshot, module_id, {**(inputs or {}), **fields}, lm)

    def bind(self, module_id: str) -> Bound:
        """Return a function that runs the live version of a module, for Deferred code and for asyncio code."""
        return Bound(module_id, self.invoke, self.reactor)

    def lease(self, *, max_age: float | None = 3600.0, idle: float | None = 900.0) -> Lease:
        """Return a hold on the live snapshot, for turns that must not change under way.

        :param max_age: seconds after which it lets go; the next turn is of what is live then.
        :param idle: likewise, seconds without a turn. None for no limit.
        """
        check_thread("lease")
        return self._leases.begin(max_age, idle)

    def revoke(self, module_id: str, version: str) -> int:
        """Have no lease use a version of a module any more: the next turn of each is of what is live then.

        :param version: its SHA-256, or the beginning of it.
        :return: how many leases held it.
        """
        check_thread("revoke")
        return self._leases.revoke(module_id, version)
