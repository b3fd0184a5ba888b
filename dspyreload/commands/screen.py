"""What is printed in a conversation, above the prompt."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dspyreload.model.faults import harmless, shown

__all__ = ["Screen", "clean"]


def clean(text: str) -> str:
    """Make a text of several lines harmless for a terminal: control characters are escaped."""
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return "".join(c if c == "\n" or harmless(c) else shown(c) for c in text)


class Screen:
    """Prints lines with rich; in colour on a terminal.

    :param write: writes text where it belongs; by default to the standard output.
    """

    def __init__(self, write: Callable[[str], None] | None = None, *, terminal: bool | None = None) -> None:
        self._write = write or _to_stdout
        self._terminal = sys.stdout.isatty() if terminal is None else terminal
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
        self._colours = self._terminal and not plain

    def _print(self, what: Any, end: str = "\n") -> None:
        buffer = io.StringIO()
        width = shutil.get_terminal_size().columns
        console = Console(
            file=buffer,
            force_terminal=self._terminal,
            color_system="standard" if self._colours else None,
            width=width,
            highlight=False,
        )
        console.print(what, end=end, soft_wrap=not self._terminal or not end)
        self._write(buffer.getvalue())

    def line(self, *parts: tuple[str, str], end: str = "\n") -> None:
        """Print texts, each with a style such as ``dim``; control characters in them do nothing."""
        self._print(Text.assemble(*((clean(text), style) for text, style in parts)), end)

    def raw(self, text: str) -> None:
        """Print a piece of a text that is still being said."""
        self._write(clean(text))

    def said(self, text: str) -> None:
        """Print a piece of what a language model says; further lines are indented: none can look like the prompt."""
        self._write(clean(text).replace("\n", "\n    "))

    def beside(self, left: tuple[str, str], right: tuple[str, str]) -> None:
        """Print two texts beside each other, each under its title."""
        table = Table(expand=True, box=box.ROUNDED)
        for title, _text in (left, right):
            table.add_column(Text(clean(title)), ratio=1, overflow="fold")
        table.add_row(*(Text(clean(text)) for _title, text in (left, right)))
        self._print(table)


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
