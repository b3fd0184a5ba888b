"""What a machine must let a test do, before a fault can be injected: tried, not guessed."""

from __future__ import annotations

import functools
import subprocess
from typing import Literal

import pytest

__all__ = ["Faculty", "needs"]

Faculty = Literal["root", "strace", "prlimit", "setpriv", "mounts", "overlay", "inotify limits"]

_LIMIT = 30.0  # seconds that a trial may take

_OVERLAY = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/both
mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/both
"""

_TRIALS: dict[Faculty, tuple[str, tuple[str, ...]]] = {
    "root": ("be root", ("sh", "-c", 'test "$(id -u)" = 0 || { echo "run the tests as root" >&2; exit 1; }')),
    "strace": (
        "inject faults of system calls",
        ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=getppid", "-e", "inject=getppid:error=EIO", "true"),
    ),
    "prlimit": ("limit a process", ("prlimit", "--nofile=64:64", "true")),
    "setpriv": ("be another user", ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "true")),
    "mounts": (
        "mount in a namespace of its own",
        ("unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"),
    ),
    "overlay": (
        "mount an overlay in a namespace of its own",
        ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _OVERLAY),
    ),
    "inotify limits": (
        "limit inotify in a namespace of its own",
        (
            *("unshare", "--user", "--map-root-user", "sh", "-c"),
            "echo 3 > /proc/sys/user/max_inotify_watches && echo 0 > /proc/sys/user/max_inotify_instances",
        ),
    ),
}


def needs(*faculties: Faculty) -> None:
    """Skip the test that calls this where the machine can't do what it needs, with the reason.

    ``root``: the tests run as root. ``strace``: it may trace, and inject errors and delays. ``prlimit``: it may lower
    a limit. ``setpriv``: it may become another user. ``mounts``, ``overlay``: ``unshare --user --map-root-user
    --mount`` may mount a tmpfs, an overlay. ``inotify limits``: ``unshare --user --map-root-user`` may write
    ``/proc/sys/user/max_inotify_*``.
    """
    for faculty in faculties:
        if why := _try(faculty):
            pytest.skip(f"this machine can't {_TRIALS[faculty][0]}: {why}")


@functools.cache
def _try(faculty: Faculty) -> str:
    """Return why the machine can't do something, or ""."""
    command = _TRIALS[faculty][1]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"{command[0]} ended with {done.returncode}"
