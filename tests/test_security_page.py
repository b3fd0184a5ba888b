"""``docs/security.md``: each test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def test_it_names_some() -> None:
    """What follows looks at something, and at all that looks like a test."""
    assert len(NAMED) > 20
    assert len(re.findall(r"tests/\S+\.py", PAGE)) == len(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_it_is_there(path: str, name: str) -> None:
    """A claim whose test was renamed or deleted has to be looked at again."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert not name or name in found
