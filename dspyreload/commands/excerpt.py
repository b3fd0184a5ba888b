"""The line of a file that a remark is about, with a mark under the place."""

from __future__ import annotations

import os

from dspyreload.disk.reading import ReadFault, read_file
from dspyreload.model.faults import shown

__all__ = ["Excerpts"]

_WIDTH = 100


class Excerpts:
    """Lines of files below a directory; each file is read once."""

    def __init__(self, directory: str, limit: int) -> None:
        self._root, self._limit = os.path.realpath(directory), limit
        self._files: dict[str, list[str]] = {}

    def at(self, path: str, line: int, column: int) -> list[str]:
        """Return a line with a mark under a column (both from 1), or nothing where the file can't be shown."""
        lines = self._lines(path)
        if not 0 < line <= len(lines):
            return []
        text = lines[line - 1]
        if not text.strip():
            return []
        start = max(0, column - 1 - _WIDTH // 2) if len(text) > _WIDTH else 0
        before, after = (_plain(part) for part in (text[start : column - 1], text[column - 1 : start + _WIDTH]))
        if start:
            before = "…" + before
        cut = "…" if len(text) > start + _WIDTH else ""
        gutter = f"{line:>5} | "
        mark = " " * (len(gutter) - 2) + "| " + " " * _cells(before) + "^"
        return [(gutter + before + after + cut).rstrip(), mark]

    def _lines(self, path: str) -> list[str]:
        if path not in self._files:
            try:
                data = read_file(self._root, path, self._limit).data
            except ReadFault:
                data = b""
            text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
            self._files[path] = [] if "\x00" in text[:1000] else text.split("\n")
        return self._files[path]


def _plain(text: str) -> str:
    return shown(text.rstrip("\r").replace("\t", "    "), 2 * _WIDTH)


def _cells(text: str) -> int:
    """Return how wide a text is on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)
