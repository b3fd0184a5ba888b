"""The facade: :class:`DSPyEngine`. The only file that wires ``lm`` and ``live`` together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure

from dspyreload.config import HotReloadConfig
from dspyreload.disk.scan import RootMissing
from dspyreload.errors import DSPyReloadError, EngineClosed, HotReloadFailed, NotReady, UnknownModule
from dspyreload.live.live import Live
from dspyreload.live.passes import Passes
from dspyreload.live.service import HotReloadHandle, HotReloadService
from dspyreload.lm.invoking import Invoking
from dspyreload.lm.loop import LMLoop
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.module import OptimizedModule
from dspyreload.model.snapshot import Snapshot
from dspyreload.reactor import IReactor, check_thread

if TYPE_CHECKING:
    from dspyreload.lm.reply import Reply

__all__ = ["DSPyEngine"]


class DSPyEngine:
    """A directory of modules, read, and served to a game.

    ``engine[id]`` and ``engine.snapshot`` may be used on any thread; everything else belongs to the reactor thread,
    and raises :class:`~dspyreload.errors.WrongThread` elsewhere once the reactor runs.

    :param directory: the modules directory; made absolute now.
    :param lm: the language model of calls that name none: ``"demos"``, a name that ``dspy.LM`` takes, or a
        ``dspy.LM``. Without one, ``dspy.settings.lm`` as the host configured it.
    :param load: read the directory now, on this thread, starting none; with False the reading is left to the
        service, and until then :meth:`invoke` fails with :class:`~dspyreload.errors.NotReady`.
    :param reactor: the reactor to work with; by default the one that is installed when it is first needed.
    :raises HotReloadFailed: where the directory is not there or can't be looked at.
    """

    def __init__(
        self, directory: str | os.PathLike[str], lm: Any = None, *, load: bool = True, reactor: Any = None
    ) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        self._reactor = reactor
        self.live = Live(self.reactor)
        self.signatures = SignatureRegistry(
            lambda name: self.passes.signature_changed(name),  # noqa: PLW0108 - there are no passes yet
            lambda: check_thread("signatures.register"),
        )
        self.passes = Passes(self.directory, self.live, self.reactor, self.signatures.registered, retired=self._retired)
        self._invoking = Invoking(self.signatures, lm)
        self._loop = LMLoop(self.reactor, self._invoking.close)
        self._trigger: Any = None
        if load:
            try:
                self.passes.look_here()
            except RootMissing as error:
                raise HotReloadFailed(self.directory, f"the modules directory can't be looked at ({error})") from None

    def reactor(self) -> IReactor:
        """Return the reactor; the first call imports it."""
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        return cast("IReactor", self._reactor)

    # What is served

    @property
    def snapshot(self) -> Snapshot:
        """The live snapshot: a mapping of id to ``ModuleVersion``, with ``generation`` and ``manifest``. Any thread."""
        return self.live.snapshot

    @property
    def lm(self) -> Any:
        """The language model of calls that name none."""
        return self._invoking.lm

    def __getitem__(self, module_id: str) -> OptimizedModule:
        """Return the live module, freshly decoded: changing it changes nothing for others. Any thread.

        :raises UnknownModule: where there is none; a ``KeyError``.
        """
        snapshot = self.live.snapshot
        try:
            version = snapshot[module_id]
        except KeyError:
            raise UnknownModule(module_id, snapshot) from None
        return version.module()

    def __contains__(self, module_id: object) -> bool:
        return module_id in self.live.snapshot

    def module_ids(self) -> tuple[str, ...]:
        """Return the ids of all live modules, sorted."""
        return tuple(sorted(self.live.snapshot))

    def modules_with_tag(self, tag: str) -> tuple[str, ...]:
        """Return the ids that the manifest gives a tag, sorted."""
        return self.live.snapshot.with_tag(tag)

    # Reloading

    def reload_module(self, module_id: str) -> Deferred[HotReloadEvent]:
        """Look at one module's file now.

        :return: fires with that module's event: ``ModuleChanged``, ``ModuleSkipped``, ``ModuleDeleted``, or
            ``ReloadError``, which is an event and no errback. It fails with ``UnknownModule``, with
            ``HotReloadFailed`` where the disk can't be looked at, and with ``ServiceStopped``. Cancelling it
            detaches; the pass goes on.
        """
        check_thread("reload_module")
        return self.passes.reload_module(module_id)

    def reload_all(self) -> Deferred[tuple[HotReloadEvent, ...]]:
        """Look at every byte of the whole tree now.

        :return: fires with the events of that pass; it fails and is cancelled as :meth:`reload_module` is.
        """
        check_thread("reload_all")
        return self.passes.reload_all()

    def enable_hot_reload(self, config: HotReloadConfig | None = None) -> Deferred[HotReloadHandle]:
        """Start a ``HotReloadService`` for this engine.

        :return: fires with a handle when the service is ready; its ``stop()`` ends it, and this may be called again. It
            fails with ``AlreadyRunning``, and with ``ServiceStopped``; cancelling it stops the service.
        """
        check_thread("enable_hot_reload")
        service = HotReloadService(self, config)
        try:
            service.startService()
        except DSPyReloadError as error:
            return fail(error)

        def cancelled(failure: Failure) -> Failure:
            if failure.check(CancelledError):
                service.stopService()
            return failure

        return service.when_ready().addErrback(cancelled).addCallback(HotReloadHandle)

    # Speaking

    def invoke(
        self,
        module_id: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        lm: Any = None,
        **fields: Any,
    ) -> Deferred[Reply]:
        """Run the live version of a module with DSPy.

        :param inputs: input fields, for those that are named like an option here; the others may be keywords.
        :param timeout: seconds, after which the call is cancelled. Anything but a number above 0 raises ValueError.
        :param lm: the language model of this call, as for the engine.
        :return: fires with a ``Reply``, a mapping of the output fields. It fails with ``UnknownModule``,
            ``MissingInput``, ``UnknownInput``, ``NoLM``, ``NotReady``, ``InvokeTimeout``, ``LMFailed``,
            ``DSPyNotInstalled`` or ``EngineClosed``. Cancelling it cancels the call.
        """
        check_thread("invoke")
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
            raise ValueError(f"timeout must be a number of seconds above 0, or None, not {timeout!r}")
        snapshot = self.live.snapshot
        if self._loop.closed:
            return fail(EngineClosed("the engine is closed"))
        if snapshot.generation == 0:
            return fail(NotReady(f"the modules in {self.directory} are not read yet; wait for service.when_ready()"))
        version = snapshot.get(module_id)
        if version is None:
            return fail(UnknownModule(module_id, snapshot))
        given = {**(inputs or {}), **fields}
        return self._run(lambda: self._invoking.invoke(version, snapshot.generation, given, timeout, lm))

    def warm(self) -> Deferred[None]:
        """Import DSPy in the LM thread now, so that the first ``invoke`` is as quick as the next.

        :return: fires when that is done; fails with ``DSPyNotInstalled`` or ``LMFailed``.
        """
        check_thread("warm")
        return self._run(self._invoking.warm)

    def close(self) -> Deferred[None]:
        """Cancel all calls, end the LM thread and close the language models that were made here. Twice does no harm.

        It is called when the reactor shuts down. A running service goes on; stop it by itself.

        :return: fires when the thread has ended.
        """
        check_thread("close")
        if self._trigger is not None:
            self.reactor().removeSystemEventTrigger(self._trigger)  # type: ignore[attr-defined]
            self._trigger = None
        return self._loop.close()

    def _close_with_reactor(self) -> Deferred[None]:
        self._trigger = None  # it is being fired: there is none to remove
        return self._loop.close()

    def _run(self, make: Callable[[], Any]) -> Deferred[Any]:
        reactor = self.reactor()
        if self._trigger is None and not self._loop.closed and hasattr(reactor, "addSystemEventTrigger"):
            self._trigger = reactor.addSystemEventTrigger("before", "shutdown", self._close_with_reactor)
        try:
            return self._loop.run(make)
        except DSPyReloadError as error:
            return fail(error)

    def _retired(self, module_ids: tuple[str, ...]) -> None:
        self._loop.soon(lambda: self._invoking.forget(module_ids))
