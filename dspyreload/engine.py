"""The facade: :class:`DSPyEngine`. The only file that wires ``lm`` and ``live`` together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.python.failure import Failure

from dspyreload.config import HotReloadConfig, Limits
from dspyreload.disk.scan import RootMissing
from dspyreload.errors import DSPyReloadError, EngineClosed, HotReloadFailed, UnknownModule
from dspyreload.live.handle import HotReloadHandle
from dspyreload.live.live import Live
from dspyreload.live.lm_health import tell_of_lm
from dspyreload.live.passes import Passes
from dspyreload.live.service import HotReloadService
from dspyreload.live.validators import Validators
from dspyreload.lm.health import Health, LMState
from dspyreload.lm.invoking import Invoking
from dspyreload.lm.limiting import Limiter
from dspyreload.lm.loop import LMLoop
from dspyreload.lm.models import LanguageModels
from dspyreload.lm.programs import Programs
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.templates import ProgramRegistry
from dspyreload.lm.tools import ToolRegistry
from dspyreload.lmconfig import check_keys, parse_lms
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.module import OptimizedModule, SignatureDefinition
from dspyreload.model.registrations import Registrations
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from dspyreload.reactor import AtShutdown, IReactor, check_thread
from dspyreload.talk.calls import Calls, check_count
from dspyreload.talk.leases import Leases
from dspyreload.talk.speaking import Speaking

__all__ = ["DSPyEngine"]


class DSPyEngine(Speaking):
    """A directory of modules, read, and served to a game.

    ``engine[id]`` and ``engine.snapshot`` may be used on any thread; everything else belongs to the reactor thread,
    and raises :class:`~dspyreload.errors.WrongThread` elsewhere once the reactor runs.

    :param directory: the modules directory; made absolute now.
    :param lm: the language model of calls that name none: one of ``lms``, ``"demos"``, a name that ``dspy.LM`` takes,
        or a ``dspy.LM``. Without one: that of ``lms`` that is called ``default`` or is the only one, else
        ``dspy.settings.lm`` as the host configured it.
    :param lms: language models by name, for ``lm`` and for manifest entries: settings (see
        :class:`~dspyreload.LMSettings`) as a mapping, or a ``dspy.LM``.
    :param load: read the directory now, on this thread, starting none; with False the reading is left to the
        service, and until then :meth:`invoke` fails with :class:`~dspyreload.errors.NotReady`.
    :param limits: what each key and module may ask for.
    :param fallback: what answers when the language model can't: ``"demos"`` for a module's own lines, else its
        demonstrations; None for its own lines alone, where it has some; False for nothing.
    :param timeout: seconds for calls that name none; None for no limit.
    :param max_concurrency: calls that run at once. ``max_queue``: calls that wait for a place.
    :param max_iterations: how often a tool-enabled module may ask for a tool in one call.
    :param reactor: the reactor to work with; by default the one that is installed when it is first needed.
    :ivar signatures, programs, tools, validators, reply_filters: what the game registers.
    :ivar offline: whether no server runs, but ``dspyreload check`` or ``talk``: a ``setup`` opens no port then.
    :raises HotReloadFailed: where the directory is not there or can't be looked at.
    :raises LMConfigInvalid: where one of ``lms`` can't be used.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        lm: Any = None,
        *,
        lms: Mapping[str, Any] | None = None,
        load: bool = True,
        limits: Limits | None = None,
        fallback: Any = None,
        timeout: float | None = 60.0,
        max_concurrency: int = 256,
        max_queue: int = 10_000,
        max_iterations: int = 5,
        reactor: Any = None,
    ) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        check_count("max_iterations", max_iterations, 1)
        self._reactor = reactor
        self._at_shutdown = AtShutdown(self.close)
        self.offline = False
        self.live = Live(self.reactor)
        configured = parse_lms(lms or {})
        check_keys(configured, os.environ)
        self._models = LanguageModels(lm, configured)
        self._make_registries()
        self._programs = Programs(self.signatures, self.programs, self.tools, self.live.is_live)
        self.passes = Passes(
            self.directory,
            self.live,
            self.reactor,
            self.registrations,
            validators=self.validators,
            retired=lambda module_ids: self._loop.soon(lambda: self._programs.forget(module_ids)),
        )
        health = Health(self._seconds, self._health_changed)
        self.live.ledger.lms = health.states
        self._invoking = Invoking(
            self._programs,
            self._models,
            self.tools,
            Limiter(limits or Limits(), self._seconds),
            health,
            self._seconds,
            self.live.ledger.record,
            max_concurrency=max_concurrency,
            max_iterations=max_iterations,
        )
        self._loop = LMLoop(self.reactor, self._models.close)
        self._calls = Calls(
            self._loop,
            self._invoking,
            self._run,
            self.directory,
            max_concurrency=max_concurrency,
            max_queue=max_queue,
            timeout=timeout,
            fallback=fallback,
        )
        self.reply_filters = self._calls.filters
        self._leases = Leases(lambda: self.live.snapshot, self._calls, self.reactor)
        if load:
            try:
                self.passes.look_here()
            except RootMissing as error:
                raise HotReloadFailed(self.directory, f"the modules directory can't be looked at ({error})") from None

    def _make_registries(self) -> None:
        self.signatures = SignatureRegistry(
            lambda what: self.passes.registered(what),  # noqa: PLW0108 - passes are made later
            lambda: check_thread("signatures.register"),
        )
        self.programs = ProgramRegistry(
            lambda name: self.passes.registered(f"program {name}"), lambda: check_thread("programs.register")
        )
        self.tools = ToolRegistry(
            lambda: self._loop.soon(self._programs.forget_all), lambda: check_thread("tools.register")
        )
        self.validators = Validators(
            self.reactor, lambda: self.passes.registered("validators"), lambda: check_thread("validators.add")
        )

    def registrations(self) -> Registrations:
        """Return what the game registered, as the readers of files need it."""
        return Registrations(
            signatures=dict(self.signatures.registered()),
            programs=dict(self.programs.registered()),
            defaults=self.signatures.defaults,
            defaults_token=self.signatures.defaults_token,
            lms=self._models.bounds(),
            dspy=self.programs.dspy,
            validators=self.validators.token,
            prove=self._programs.prove,
        )

    def _seconds(self) -> float:
        return self.reactor().seconds()

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
        return self._models.lm

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

    def fields(self, module: str | ModuleVersion) -> SignatureDefinition:
        """Return what a call of a module brings, and what it gives. Any thread.

        Of a program with several predictors the outputs are not known, and none are given.

        :param module: the id of a live one, or any version.
        :raises UnknownModule: where there is no such module.
        """
        version = self.live.snapshot.get(module) if isinstance(module, str) else module
        if version is None:
            raise UnknownModule(str(module), self.live.snapshot)
        return self._programs.fields(version)

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
            ``HotReloadFailed`` where the disk can't be looked at, with ``ServiceStopped`` and with ``EngineClosed``.
            Cancelling it detaches; the pass goes on.
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

    # The language models

    def warm(self) -> Deferred[None]:
        """Import DSPy in the LM thread now, so that the first ``invoke`` is as quick as the next.

        :return: fires when that is done; fails with ``DSPyNotInstalled`` or ``LMFailed``.
        """
        check_thread("warm")
        return self._run(self._invoking.warm)

    def close(self) -> Deferred[None]:
        """Cancel all calls, end the LM thread and close the language models that were made here. Twice does no harm.

        It is called when the reactor shuts down. A running service goes on; without one, what reloads is ended too.

        :return: fires when the threads have ended.
        """
        check_thread("close")
        self._at_shutdown.cancel()
        self._leases.end_all()
        ended = [self._loop.close()]
        if not self.passes.active:
            ended.append(self.passes.stop(lambda: EngineClosed("the engine was closed before the pass was done")))
        return gatherResults(ended).addCallback(lambda _results: None)

    def _run(self, make: Callable[[], Any]) -> Deferred[Any]:
        if not self._loop.closed:
            self._at_shutdown.expect(self.reactor())
        try:
            return self._loop.run(make)
        except DSPyReloadError as error:
            return fail(error)

    def _health_changed(self, name: str, state: LMState, retry_in: float) -> None:
        """Tell of a language model that fails again and again, or answers again. On the LM thread."""
        healthy, reason = state.healthy, state.reason
        self._loop.tell(lambda: tell_of_lm(self.live, name, healthy=healthy, reason=reason, retry_in=retry_in))
