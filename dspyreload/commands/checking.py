"""``dspyreload check DIR``: every fault, with the same checks as the server's."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dspyreload.commands.excerpt import Excerpts
from dspyreload.commands.offline import Refuses, absent, add_directory, add_setup, registered
from dspyreload.commands.reporting import as_github, as_json, as_text, summary
from dspyreload.config import HotReloadConfig
from dspyreload.disk.check import Remark, Report, check_directory
from dspyreload.disk.scan import RootMissing
from dspyreload.errors import DSPyReloadError
from dspyreload.model.registrations import Registrations

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_check"]

_PATIENCE = 0.5  # seconds without a word, before there is a progress bar


def add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("check", help="name every fault, with its line and how to mend it")
    add_directory(parser)
    add_setup(parser)
    parser.add_argument("--lm-config", metavar="FILE", help="the server's language models, which entries may name")
    parser.add_argument("--watch", action="store_true", help="check again whenever something is saved")
    parser.add_argument(
        "--format",
        choices=("text", "github", "json"),
        default="text",
        help="text for people (the default), github for annotations of a pull request, json for programs",
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    parser.set_defaults(run=_check)


class _Checking:
    def __init__(self, options: argparse.Namespace) -> None:
        self.named, self.format = options.directory, options.format
        self.directory = os.path.abspath(options.directory)  # a setup may go elsewhere
        self.registrations: Registrations
        self.refuses: Refuses
        self.registrations, self.refuses = registered(options.setup, options.lm_config, options.directory)
        self.complete = bool(options.setup)
        self.config = HotReloadConfig()

    def check(self) -> Report:
        """Look at everything.

        :raises RootMissing: where there is nothing to look at.
        """
        with _progress() as progress:
            return check_directory(
                self.directory,
                self.config,
                self.registrations,
                self.refuses,
                complete=self.complete,
                progress=progress,
            )

    def show(self, report: Report, console: Console) -> None:
        """Print a report in the form that was asked for."""
        if self.format == "json":
            sys.stdout.write(as_json(report) + "\n")
        elif self.format == "github":
            sys.stdout.write("".join(line + "\n" for line in as_github(report, self.named)))
            print(summary(report), file=sys.stderr)
        else:
            for line in as_text(report, Excerpts(self.directory, self.config.max_file_size)):
                console.print(line, style=_style(line), soft_wrap=True)


def _check(options: argparse.Namespace) -> int:
    checking = _Checking(options)
    console = _console()
    if options.watch:
        if options.format != "text":
            raise DSPyReloadError("--watch is for people; use it without --format")
        from dspyreload.commands.watching import watch

        return watch(checking.directory, checking.config, _Again(checking, console))
    try:
        report = checking.check()
    except RootMissing as error:
        if options.format == "json":
            words = absent(options.directory) or f"it can't be looked at: {error}"
            missing = Remark(options.directory, 1, 1, "fault", words)
            print(as_json(Report((missing,), (), frozenset(), {})))
        raise
    checking.show(report, console)
    sys.stdout.flush()
    return int(any(remark.level == "fault" for remark in report.remarks))


class _Again:
    """Checks and prints, with the time: after each save, and else where something is new."""

    def __init__(self, checking: _Checking, console: Console) -> None:
        self._checking, self._console = checking, console
        self._before: Report | str | None = None

    def __call__(self, saved: bool) -> frozenset[str]:
        found: Report | str
        try:
            found = self._checking.check()
        except RootMissing as error:
            found = absent(self._checking.directory) or f"the directory can't be looked at: {error}"
        if saved or found != self._before:
            self._console.clear()  # of a terminal; nothing where it is none
            self._console.print(f"-- {time.strftime('%H:%M:%S')}", style="dim")
            if isinstance(found, Report):
                self._checking.show(found, self._console)
            else:
                self._console.print(found, style="red")
            sys.stdout.flush()
        self._before = found
        return found.texts if isinstance(found, Report) else frozenset()


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def _style(line: str) -> str:
    if line.startswith("  ") or ":" not in line:
        return "green" if line.startswith("      = ") else ""
    place, _, rest = line.partition(": ")
    if place.count(":") < 2:
        return "bold" if " checked: " in line else ""
    return "yellow" if rest.startswith("warning: ") else "red"


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Give a callback that draws a progress bar on a terminal, once it has taken a while."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    since = time.monotonic()

    def progress(done: int, of: int) -> None:
        if not bar.tasks:
            if time.monotonic() - since < _PATIENCE:
                return
            bar.start()
            bar.add_task("checking", total=of)
        bar.update(bar.task_ids[0], completed=done)

    try:
        yield progress
    finally:
        bar.stop()
