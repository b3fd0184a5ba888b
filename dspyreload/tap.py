"""``twistd dspyreload``: its options, and the service that they make."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Collection
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from dspyreload.config import HotReloadConfig
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError
from dspyreload.live.service import HotReloadService
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lmoptions import check_dspy, check_lm, read_lms
from dspyreload.model.faults import shown
from dspyreload.setups import find_setup, run_setup

__all__ = ["Options", "makeService"]

_log = Logger(namespace="dspyreload")


class Options(usage.Options):
    """The command line. A bad value ends with one line and exit status 1, before anything is daemonized."""

    synopsis = "--modules DIR [options]"
    longdesc = (
        "Serves a directory of DSPy modules, live: a saved file is served at once, whole or not at all; a broken one"
        " is explained in the log, and the last good version goes on serving."
    )
    optParameters: ClassVar[list[list[str | None]]] = [
        ["modules", "m", None, "the directory of the modules (required)"],
        ["debounce", None, "0.1", "seconds without a change before what was saved is looked at"],
        ["rescan", None, "10", "seconds between looks at the whole directory, for changes that no event tells of"],
        ["setup", None, None, "a dotted module; its setup(engine) registers what the game has, at start"],
        [
            "lm",
            None,
            None,
            f"the language model: {DEMOS} (answers from the demonstrations), a name like openai/gpt-4o-mini, or one of"
            " --lm-config",
        ],
        ["lm-config", None, None, "a TOML file of language models by name: model, api_base, api_key_env, ..."],
        ["fallback", None, None, f"what answers when the language model can't: {DEMOS}"],
    ]
    optFlags: ClassVar[list[list[str | None]]] = [
        ["poll", None, "look at the directory every second instead of asking the kernel (network file systems)"]
    ]

    def parseOptions(self, options: Any = None) -> None:
        """Parse, and turn what is wrong into one line: usage.UsageError would print the whole help around it."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"twistd dspyreload: {error}; see twistd dspyreload --help") from None

    def postOptions(self) -> None:
        """Check the values and make paths absolute: daemonizing changes the working directory."""
        self["modules"] = _directory(self["modules"])
        debounce, rescan = _seconds("debounce", self["debounce"]), _seconds("rescan", self["rescan"])
        try:
            self["config"] = HotReloadConfig(debounce=debounce, rescan_interval=rescan, polling=bool(self["poll"]))
        except (TypeError, ValueError) as error:
            raise usage.UsageError(str(error).replace("rescan_interval", "rescan")) from None
        try:
            self["lms"] = read_lms(self["lm-config"]) if self["lm-config"] is not None else {}
            if self["lm"] is not None:
                check_lm(self["lm"], self["lms"])
            for option in ("lm", "lm-config", "fallback"):
                if self[option] is not None:
                    check_dspy(f"--{option}")
        except DSPyReloadError as error:
            raise usage.UsageError(str(error)) from None
        if self["fallback"] not in (None, DEMOS):
            raise usage.UsageError(f"--fallback {shown(self['fallback'])}: it can be {DEMOS}")
        if self["setup"] is not None and (fault := find_setup(self["setup"])) is not None:
            raise usage.UsageError(fault)


def _directory(name: str | None) -> str:
    if not name:
        raise usage.UsageError("--modules DIR is required")
    path = os.path.abspath(name)
    if not os.path.exists(path):
        raise usage.UsageError(f"--modules {shown(name)}: there is no such directory")
    if not os.path.isdir(path):
        raise usage.UsageError(f"--modules {shown(name)}: that is a file; name the directory it lies in")
    if not os.access(path, os.R_OK | os.X_OK):
        raise usage.UsageError(f"--modules {shown(name)}: this user may not read the directory")
    return path


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise usage.UsageError(f"--{name} {shown(text)}: a number of seconds is needed, such as 0.5") from None


class _Setup(Service):
    """Runs the game's ``setup(engine)``, and ends the engine with the process."""

    def __init__(self, engine: DSPyEngine, module: str | None, lms: Collection[str]) -> None:
        self._engine, self._module, self._lms = engine, module, lms

    def startService(self) -> None:
        super().startService()
        if self._module is not None:
            try:
                run_setup(self._module, self._engine)
            except DSPyReloadError as error:
                _log.error("{error}", error=str(error))
                raise SystemExit(str(error)) from None  # one line: twistd would print its own frames around it
        if self._engine.lm is None and self._lms:
            _log.warn(
                "none of the LMs {names} is chosen for modules that name none: use --lm, or call one of them default",
                names=", ".join(sorted(self._lms)),
            )
        if self._engine.lm is not None:
            self._engine.warm().addErrback(self._not_warm)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self._engine.close()

    def _not_warm(self, failure: Failure) -> None:
        _log.error("the language model can't be used: {reason}", reason=failure.getErrorMessage())


class _Hangup(Service):
    """SIGHUP looks at everything; only where no terminal can send one by closing."""

    def __init__(self, engine: DSPyEngine) -> None:
        self._engine = engine
        self._before: Any = None

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, self._hung_up)

    def stopService(self) -> None:
        super().stopService()
        signal.signal(signal.SIGHUP, self._before)

    def _hung_up(self, _number: int, _frame: object) -> None:
        self._engine.reactor().callFromThread(self._look)

    def _look(self) -> None:
        _log.info("SIGHUP: looking at all modules")
        self._engine.reload_all().addErrback(lambda failure: _log.error("{reason}", reason=failure.getErrorMessage()))


def makeService(options: Options) -> IService:
    """Make what ``twistd`` runs. Nothing is read before it runs: by then privileges that ``--uid`` drops are gone."""
    # git init below the root, or stopping under load, makes watchdog print kilobytes of these.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
    # DSPy asks GitHub for the prices of models before its first request, for up to 5 s; it brings a list of its own.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")
    engine = DSPyEngine(
        options["modules"], lm=options["lm"], lms=options["lms"], fallback=options["fallback"], load=False
    )
    service = MultiService()
    _Setup(engine, options["setup"], options["lms"]).setServiceParent(service)
    HotReloadService(engine, options["config"]).setServiceParent(service)
    daemonized = options.parent is not None and not options.parent.get("nodaemon")
    if daemonized and hasattr(signal, "SIGHUP"):
        _Hangup(engine).setServiceParent(service)
    return service
