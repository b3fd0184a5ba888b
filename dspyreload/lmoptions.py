"""The options that choose language models, on every command line."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection

from dspyreload.errors import DSPyReloadError, LMConfigInvalid
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lmconfig import LMSettings, check_keys, read_lm_config
from dspyreload.model.faults import did_you_mean, shown

__all__ = ["check_dspy", "check_lm", "read_lms"]


def check_lm(name: str, lms: Collection[str]) -> None:
    """Check the value of ``--lm``, as far as that can be done without DSPy.

    :param lms: the names in ``--lm-config``.
    :raises DSPyReloadError: where it can't be one.
    """
    if not name.strip() or name.endswith("/"):
        raise DSPyReloadError(f"--lm {name!r}: name a model, such as openai/gpt-4o-mini, or {DEMOS}")
    if lms and name not in lms and name != DEMOS and "/" not in name:
        hint = did_you_mean(name, lms) or f"; it has {', '.join(sorted(lms))}"
        raise DSPyReloadError(f"--lm {shown(name)}: --lm-config has no LM of that name{hint}")


def check_dspy(option: str) -> None:
    """Check that an option's library is installed.

    :raises DSPyReloadError: where it is not.
    """
    if importlib.util.find_spec("dspy") is None:
        raise DSPyReloadError(f"{option} needs DSPy: python -m pip install 'dspyreload[dspy]'")


def read_lms(path: str) -> dict[str, LMSettings]:
    """Read ``--lm-config``, and check that the variables which it names are set.

    :raises DSPyReloadError: where it can't be used.
    """
    try:
        lms = read_lm_config(path)
        check_keys(lms, os.environ, path)
    except LMConfigInvalid as error:
        raise DSPyReloadError(f"--lm-config {error}") from None
    return lms
