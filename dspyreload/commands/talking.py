"""``dspyreload talk DIR [MODULE]``: a conversation with a character while its file is edited."""

from __future__ import annotations

import argparse
import importlib.util
import os
from typing import TYPE_CHECKING

from dspyreload.commands.offline import add_directory, add_setup, check_directory_named
from dspyreload.config import HotReloadConfig
from dspyreload.errors import DSPyReloadError
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lmoptions import check_lm, read_lms
from dspyreload.setups import find_setup, run_setup

if TYPE_CHECKING:
    from dspyreload.engine import DSPyEngine

__all__ = ["add_talk"]


def add_talk(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("talk", help="talk to a character; what you save while you do is live at once")
    add_directory(parser)
    parser.add_argument("module", metavar="MODULE", nargs="?", help="its id, or its file; by default the first")
    parser.add_argument(
        "--lm",
        metavar="NAME",
        help=f"the language model: {DEMOS} (the demonstrations answer), or a name like openai/gpt-4o-mini",
    )
    parser.add_argument("--lm-config", metavar="FILE", help="the server's language models; --lm may name one of them")
    add_setup(parser)
    parser.add_argument("--poll", action="store_true", help="look every second instead of asking the kernel")
    parser.set_defaults(run=_talk)


def _talk(options: argparse.Namespace) -> int:
    missing = [name for name in ("dspy", "prompt_toolkit") if importlib.util.find_spec(name) is None]
    if missing:
        raise DSPyReloadError(f"talk needs {' and '.join(missing)}: python -m pip install 'dspyreload[talk]'")
    check_directory_named(options.directory)
    lms = read_lms(options.lm_config) if options.lm_config is not None else {}
    if options.lm is not None:
        check_lm(options.lm, lms)
    if options.setup is not None and (fault := find_setup(options.setup)) is not None:
        raise DSPyReloadError(fault)
    # DSPy asks GitHub for the prices of models before its first request, for up to 5 s; it brings a list of its own.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")

    from twisted.internet import asyncioreactor

    asyncioreactor.install()  # prompt_toolkit is asyncio inside
    from dspyreload.commands.session import Session
    from dspyreload.engine import DSPyEngine

    default = options.lm or (None if lms else DEMOS)
    engine = DSPyEngine(options.directory, lm=default, lms=lms, load=False)
    engine.offline = True
    if engine.lm is None:
        raise DSPyReloadError(f"--lm-config has several LMs; choose one with --lm: {', '.join(sorted(lms))}")
    if options.setup is not None:
        run_setup(options.setup, engine)
    config = HotReloadConfig(polling=options.poll)
    return Session(engine, config, _module_id(engine, options.module), str(engine.lm)).run()


def _module_id(engine: DSPyEngine, name: str | None) -> str | None:
    """Return what was named, as a path below the directory where it is the name of a file."""
    if name is None or not (name.endswith(".json") or os.sep in name):
        return name
    for path in (os.path.join(engine.directory, name), name):
        if os.path.isfile(path):
            return os.path.relpath(os.path.realpath(path), os.path.realpath(engine.directory)).replace(os.sep, "/")
    return name
