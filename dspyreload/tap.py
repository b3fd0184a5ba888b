"""``twistd dspyreload``: its options, and the service that they make."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService, Service
from twisted.logger import Logger
from twisted.python import usage

from dspyreload.config import HotReloadConfig
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError
from dspyreload.live.service import HotReloadService
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lmoptions import check_dspy, check_lm, read_lms
from dspyreload.model.faults import shown
from dspyreload.setups import find_setup
from dspyreload.starting import OwnProcess, Setup, faults_of, may_read

__all__ = ["Options", "makeService"]

_log = Logger(namespace="dspyreload")

_STATE = "dspyreload.sqlite3"
_NONE = "none"


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
        [
            "state",
            None,
            None,
            f"a file that keeps what is live for a restart (by default {_STATE} beside the pid file; or {_NONE})",
        ],
        ["fallback", None, None, f"what answers when the language model can't: {DEMOS}"],
    ]
    optFlags: ClassVar[list[list[str | None]]] = [
        ["poll", None, "look at the directory every second instead of asking the kernel (network file systems)"],
        ["wait", None, "wait for a directory that is not there yet, or can't be read (a volume that is mounted late)"],
        [
            "strict",
            None,
            "do not start with a module that has a fault; refuse files and folders that their group or all may write",
        ],
    ]

    def parseOptions(self, options: Any = None) -> None:
        """Parse, and turn what is wrong into one line: usage.UsageError would print the whole help around it."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"twistd dspyreload: {error}; see twistd dspyreload --help") from None

    def parseArgs(self, *arguments: str) -> None:
        """Take no argument: a directory is named with ``--modules``."""
        if arguments:
            raise usage.UsageError(f"{shown(arguments[0])}: name the directory with --modules")

    def postOptions(self) -> None:
        """Check the values and make paths absolute: daemonizing changes the working directory."""
        if self["wait"] and self["strict"]:
            raise usage.UsageError("--wait and --strict: a directory that is waited for can't be checked; drop one")
        self["modules"] = _directory(self["modules"], self.parent or {}, wait=bool(self["wait"]))
        debounce, rescan = _seconds("debounce", self["debounce"]), _seconds("rescan", self["rescan"])
        try:
            self["config"] = HotReloadConfig(
                debounce=debounce, rescan_interval=rescan, polling=bool(self["poll"]), strict=bool(self["strict"])
            )
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
        self["state"] = _state(self["state"], self.parent or {}, self["modules"])


def _state(name: str | None, parent: Mapping[str, Any], modules: str) -> str | None:
    """Return where the state file is, absolute, or None for none; refuse one that another server uses."""
    if name == _NONE:
        return None
    if name is not None and not name.strip():
        raise usage.UsageError(f"--state needs a file, or {_NONE}")
    beside = os.path.dirname(os.path.abspath(parent.get("pidfile") or _STATE))
    path = os.path.abspath(name) if name is not None else os.path.join(beside, _STATE)
    if os.path.isdir(path):
        raise usage.UsageError(f"--state {shown(name or path)}: that is a folder; name a file in it")
    if not os.path.isdir(os.path.dirname(path)):
        raise usage.UsageError(f"--state {shown(name or path)}: there is no such folder")
    inside = os.path.realpath(path).startswith(os.path.join(os.path.realpath(modules), ""))
    if inside and path.lower().endswith(".json"):
        raise usage.UsageError(f"--state {shown(path)}: that would be a module; name another file")
    from dspyreload.disk.state import StateFile
    from dspyreload.disk.stored import StateFault

    try:
        StateFile(path, modules, 0).probe()
    except StateFault as fault:
        raise usage.UsageError(f"{fault} (with --state, or --state {_NONE})") from None
    return path


def _directory(name: str | None, parent: Mapping[str, Any], *, wait: bool = False) -> str:
    if not name:
        raise usage.UsageError("--modules DIR is required")
    path = os.path.abspath(name)
    if wait:
        return path
    if not os.path.exists(path):
        raise usage.UsageError(f"--modules {shown(name)}: there is no such directory")
    if not os.path.isdir(path):
        raise usage.UsageError(f"--modules {shown(name)}: that is a file; name the directory it lies in")
    if not may_read(path, parent.get("uid"), parent.get("gid")):
        raise usage.UsageError(f"--modules {shown(name)}: the server's user may not read the directory")
    return path


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise usage.UsageError(f"--{name} {shown(text)}: a number of seconds is needed, such as 0.5") from None


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
        self._engine.reload_all().addErrback(
            lambda failure: _log.error("{reason}", reason=shown(failure.getErrorMessage(), 300))
        )


def _drops_privileges(parent: Mapping[str, Any] | None) -> bool:
    return parent is not None and (parent.get("uid") is not None or parent.get("gid") is not None)


def makeService(options: Options) -> IService:
    """Make what ``twistd`` runs. Modules are read when it runs: by then privileges that ``--uid`` drops are gone.

    Only a strict server that drops none looks at them here too, while there is still a terminal to be told.

    :raises SystemExit: where it does not start, with one line.
    """
    # git init below the root, or stopping under load, makes watchdog print kilobytes of these.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
    # DSPy asks GitHub for the prices of models before its first request, for up to 5 s; it brings a list of its own.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")
    engine = DSPyEngine(
        options["modules"], lm=options["lm"], lms=options["lms"], fallback=options["fallback"], load=False
    )
    service = MultiService()
    strict, parent = options["config"].strict, options.parent
    drops = _drops_privileges(parent)
    if strict and not drops and (faults := faults_of(engine, complete=not options["setup"])):
        # Before anything is daemonized; what the game refuses comes out when it starts.
        raise SystemExit(f"twistd dspyreload: {faults.words}")
    unchecked = strict and (drops or options["setup"] is not None)
    Setup(engine, options["setup"], options["lms"], strict=unchecked, parent=parent).setServiceParent(service)
    hot_reload = HotReloadService(engine, options["config"], state=options["state"])
    hot_reload.setServiceParent(service)
    OwnProcess(hot_reload).setServiceParent(service)
    daemonized = parent is not None and not parent.get("nodaemon")
    if daemonized and hasattr(signal, "SIGHUP"):
        _Hangup(engine).setServiceParent(service)
    return service
