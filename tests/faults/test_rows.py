"""No row is without a test."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.rows import ROWS


def test_each_row_of_the_faults_has_a_test_that_names_it() -> None:
    """The test's name begins with its row, and so does its mark."""
    marked: dict[int, set[int]] = {}
    for file in Path(__file__).parent.glob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        for mark, name in re.findall(r"^@row\((\d+)\)\n(?:@.*\n|[ )].*\n)*(?:async )?def test_row_(\d+)_", text, re.M):
            marked.setdefault(int(mark), set()).add(int(name))
    assert marked == {number: {number} for number in ROWS}
