"""Runs a function in a process of its own, so that nothing of one measurement is left in the next."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["alone", "begin", "finish"]

_PATIENCE = 300.0


def begin(function: Callable[..., Any], *arguments: Any, **environment: str) -> subprocess.Popen[str]:
    """Start a function of a module in a new Python; it may read its standard input.

    :param arguments: values that JSON knows; so must be what it returns.
    :param environment: variables for that process.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.alone", name, json.dumps(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str]) -> Any:
    """Wait for a function that was begun, and return what it returned.

    :raises RuntimeError: where it raised; what it was stands on the standard error.
    :raises subprocess.TimeoutExpired: where it takes minutes; it is ended then.
    """
    try:
        out, _err = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return json.loads(out.splitlines()[-1])


def alone(function: Callable[..., Any], *arguments: Any, **environment: str) -> Any:
    """Run a function of a module in a new Python, and return what it returned."""
    return finish(begin(function, *arguments, **environment))


if __name__ == "__main__":
    _module, _name = sys.argv[1].split(":")
    _function: Any = getattr(importlib.import_module(_module), _name)
    print(json.dumps(_function(*json.loads(sys.argv[2]))))
