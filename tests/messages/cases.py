"""All cases, in the order of the document."""

from __future__ import annotations

from tests.messages import (
    cases_commands,
    cases_files,
    cases_includes,
    cases_json,
    cases_manifest,
    cases_module,
    cases_programs,
    cases_talk,
)
from tests.messages.case import Group

__all__ = ["GROUPS"]

_GOOD, *_FILES = cases_files.GROUPS

GROUPS: tuple[Group, ...] = (
    _GOOD,
    *cases_json.GROUPS,
    *cases_module.GROUPS,
    *cases_includes.GROUPS,
    *cases_manifest.GROUPS,
    *cases_programs.GROUPS,
    *_FILES,
    *cases_talk.GROUPS,
    *cases_commands.GROUPS,
)
