"""The faults that a reloader is put through, and what each must lead to. A test of each names its row."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

__all__ = ["ROWS", "Row", "Seen", "row"]

Seen = Callable[[str], None]
"""``seen("1 commit")``: what a test of a row saw, in a few words, for the table; several times where there is more."""


@attrs.frozen
class Row:
    """One fault: its name, how it is brought about, and what must come of it."""

    fault: str
    inject: str
    expect: str


ROWS: dict[int, Row] = {
    number: Row(*words)
    for number, words in enumerate(
        [
            ("save by rename", "temporary file, `os.replace`", "1 commit"),
            ("vim's save, same bytes", "rename to `~`, write, unlink", "0 commits, 1 skip, never absent"),
            ("slow torn write", "chunks 300 ms apart", "last good version throughout, then 1 commit"),
            ("JSON that stays bad", "garbage", "1 `ReloadError`, last good version, no retry storm"),
            (
                "valid half-and-half",
                "half of a rewrite, a listed hash",
                "rejected, then the good one commits",
            ),
            ("ConfigMap swap", "timestamped directory, `..data` renamed", "1 commit with all of it"),
            ("manifest before its modules", "the manifest written first", "the old set until complete, then 1 commit"),
            ("delete, write the same again", "unlink, write", "present afterwards"),
            ("silent change", "hard link from outside; mmap", "live within a timer pass"),
            ("no inotify", "overlay, the lower layer edited", "live within a timer pass"),
            ("same size and mtime", "`os.utime(ns=)`", "found"),
            ("queue overflow", "60,000 writes from a child while the interpreter lock is held", "converges"),
            ("no watches left", "user namespace, `max_inotify_watches=3`", "degraded, converges"),
            ("no instances left", "user namespace, `max_inotify_instances`", "polling"),
            ("root removed and made again", "rmtree, mkdir", "last good versions, then watched again"),
            ("root renamed, another in its place", "two renames", "watched again"),
            ("mount over, unmount", "`unshare -m`, tmpfs", "last good versions, watched again"),
            ("directory storm", "three threads: mkdir, mv, rm", "converges"),
            ("a tree moved in, then edited", "rename, write", "loaded, edits seen"),
            (
                "a subscriber raises; one never returns",
                "a bad callback; a Deferred that never fires",
                "others served, reloads go on, counted",
            ),
            (
                "stop in the middle of a pass",
                "the read blocks, `stopService`",
                "ends within its limit; no thread, timer or descriptor left",
            ),
            ("daemonized", "`twistd` without `-n`", "reloads"),
            ("readers", "`cat` every module in a loop", "0 passes that commit"),
            ("noise", "junk writes, 50 a second", "reload within `max_wait`"),
            (
                "I/O error, slow disk",
                "`strace -e inject=read:error=EIO`, `openat:delay_enter`",
                "last good version; the reactor's pulse unbroken",
            ),
            ("no permission", "another uid, mode 000", "rejected, last good version"),
            ("no descriptors left", "`prlimit --nofile`", "last good version, recovers"),
            ("FIFO, 8 GiB sparse, symlink out, `../`", "mkfifo, truncate, ln -s", "rejected within a second"),
            ("hostile JSON and DSPy state", "a file of each kind", "rejected by name, no crash"),
            ("readers on eight threads", "each holds one generation against a look", "no mix in a million reads"),
            (
                "killed at any moment",
                "SIGKILL, 200 times, a writer at work",
                "always starts with a whole snapshot",
            ),
        ],
        start=1,
    )
}


def row(number: int) -> pytest.MarkDecorator:
    """Say that a test shows a row."""
    assert number in ROWS
    return pytest.mark.row(number)
