"""Within one pass each file is read once, and what has the same bytes is judged once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dspyreload.disk.including import Source
from dspyreload.disk.judge import refreshed
from dspyreload.disk.reading import ReadFault
from tests.conftest import Save
from tests.disk.test_judge import judged


def test_a_file_is_read_once(modules: Path, save: Save, reads: list[str]) -> None:
    """Within one pass the second reading gives the bytes of the first, or its fault."""
    save("a.md", "old")
    source = Source(str(modules), 100)
    first = source.read("a.md")
    save("a.md", "new")
    assert source.read("a.md") is first
    for _ in range(2):
        with pytest.raises(ReadFault):
            source.read("b.md")
    assert reads == ["a.md", "b.md"]


def test_the_same_bytes_are_not_judged_again(modules: Path, save: Save) -> None:
    """A finding is refreshed with new signatures where all its bytes are as they were."""
    save("npc/smith.json", '{"instruction": "x", "include": ["rules.md"]}')
    save("npc/rules.md", "Rules.")
    before = judged(modules)
    os.utime(modules / "npc" / "rules.md", ns=(1, 1))
    again = refreshed(before, Source(str(modules), 100))
    assert again is not None
    assert again.stamps != before.stamps
    assert again.says_the_same(before)
    save("npc/rules.md", "Other.")
    assert refreshed(before, Source(str(modules), 100)) is None
    (modules / "npc" / "rules.md").unlink()
    assert refreshed(before, Source(str(modules), 100)) is None
