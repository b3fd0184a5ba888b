"""The parts of ``docs/reliability.md`` that are made by runs."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DOCUMENT", "put_section"]

DOCUMENT = Path(__file__).parent.parent / "docs" / "reliability.md"


def put_section(name: str, text: str) -> None:
    """Write what a run has seen between the two comments that name it."""
    begin, end = f"<!-- {name}: made by a run -->", f"<!-- end of {name} -->"
    before = DOCUMENT.read_text(encoding="utf-8")
    after, count = re.subn(
        re.escape(begin) + ".*?" + re.escape(end),
        lambda _match: f"{begin}\n\n{text.strip()}\n\n{end}",
        before,
        flags=re.S,
    )
    if count != 1:
        raise ValueError(f"{DOCUMENT.name} has {count} places for {name}, and needs one")
    DOCUMENT.write_text(after, encoding="utf-8")
