"""What goes into the log, read off the source: nothing from a file, an id, a path or an exception as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import dspyreload

PACKAGE = Path(dspyreload.__file__).parent
LEVELS = {"debug", "info", "warn", "error", "critical", "failure"}

HARMLESS = {"shown", "quoted", "counted", "len", "type"}
"""Functions whose result has no control character, whatever they are given: ``type`` for its name."""

KNOWN = {
    "generation": "a number of ours",
    "limit": "seconds, of ours",
    "seconds": "a number of ours",
    "count": "a number of ours",
    "health": "a status of ours",
    "version": "a SHA-256, in hex",
    "method": "the name of a class of watchdog's",
    "thread": "a name that we or watchdog gave",
    "since": "a text that is made of a number",
    "event_kind": "the name of a class of ours",
    "kind": "the name of a class",
}
"""Names of fields that never hold a text from elsewhere, each with the reason."""

ELSEWHERE = {
    ("live/report.py", "where"): "a path that is shown, and two numbers",
    ("live/report.py", "reason"): "one of two texts of ours",
    ("talk/calls.py", "tool"): "a name that the game registered, an identifier",
    ("talk/calls.py", "module_id"): "an id that is served, without control characters",
}
"""Fields that are made harmless elsewhere, by file, each with where."""


@attrs.frozen
class Logged:
    """One call that logs: where it stands, its level, its text, and the fields that the text shows."""

    path: str
    line: int
    level: str
    text: ast.expr
    fields: dict[str, ast.expr]
    names: dict[str, list[ast.expr]]

    @property
    def shows(self) -> dict[str, ast.expr]:
        """The fields that its text shows; others are for programs that read the log."""
        if not isinstance(self.text, ast.Constant):
            return self.fields
        shown = set(re.findall(r"\{(\w+)", str(self.text.value)))
        return {name: value for name, value in self.fields.items() if name in shown}


def harmless(value: ast.expr, names: dict[str, list[ast.expr]], depth: int = 3) -> bool:
    """Say whether an expression gives nothing that a file or an exception could have put into it."""
    if isinstance(value, ast.Constant):
        return True
    if isinstance(value, ast.Call):
        function = value.func
        if isinstance(function, ast.Name):
            words = value.args if function.id == "joined" else []
            return function.id in HARMLESS or (bool(words) and all(harmless(word, names, depth) for word in words))
        if isinstance(function, ast.Attribute) and function.attr == "join" and value.args:
            return harmless(value.args[0], names, depth)
        return False
    if isinstance(value, ast.JoinedStr):
        return all(harmless(part.value, names, depth) for part in value.values if isinstance(part, ast.FormattedValue))
    if isinstance(value, ast.FormattedValue):
        return harmless(value.value, names, depth)
    parts: list[ast.expr] = []
    if isinstance(value, ast.BinOp):
        parts = [value.left, value.right]
    elif isinstance(value, ast.BoolOp):
        parts = value.values
    elif isinstance(value, ast.IfExp):
        parts = [value.body, value.orelse]
    elif isinstance(value, ast.GeneratorExp):
        parts = [value.elt]
    if parts:
        return all(harmless(part, names, depth) for part in parts)
    if isinstance(value, ast.Name) and depth:
        return bool(names.get(value.id)) and all(harmless(part, names, depth - 1) for part in names[value.id])
    return False


def logged(path: Path) -> Iterator[Logged]:
    """List the calls of a file that log."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        names: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names.setdefault(node.targets[0].id, []).append(node.value)
        for call in ast.walk(function):
            level = _level(call)
            if level is None or not isinstance(call, ast.Call) or not call.args:
                continue
            if path.name == "raised.py" and level == "failure":
                continue  # the text and the fields are those of whoever calls log_raised, which are looked at
            text = call.args[1 if level == "log_raised" else 0]
            fields = {keyword.arg or "**": keyword.value for keyword in call.keywords}
            yield Logged(path.relative_to(PACKAGE).as_posix(), call.lineno, level, text, fields, names)


def _level(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    if isinstance(function, ast.Name) and function.id in ("say", "log_raised"):
        return function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.attr in LEVELS:
        return function.attr if function.value.id in ("_log", "log") else None
    return None


ALL = list({(one.path, one.line): one for file in sorted(PACKAGE.rglob("*.py")) for one in logged(file)}.values())


def test_there_are_such_calls() -> None:
    """What follows looks at something."""
    assert {"live/report.py", "live/service.py", "starting.py"} <= {one.path for one in ALL}
    assert len(ALL) > 30


def test_nothing_is_logged_by_another_way() -> None:
    """No ``print``, no logger of the standard library: each line goes through Twisted's log, and is found here."""
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if path.startswith(("commands/", "testing/")) or path == "__main__.py":
            continue  # they talk to whoever started them
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", path
            if isinstance(node, ast.Attribute) and node.attr in {"msg", "err"}:
                assert not (isinstance(node.value, ast.Name) and node.value.id in {"log", "_log"}), path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in {*LEVELS, "log"}:
                assert node.value.id not in {"logging", "_LOGGER", "logger"}, path


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.path}:{one.line}")
def test_a_text_of_the_log_is_ours(one: Logged) -> None:
    """Never a string from elsewhere as a format, which would be read for fields."""
    assert isinstance(one.text, ast.Constant)
    assert isinstance(one.text.value, str)


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.path}:{one.line}")
def test_what_a_line_of_the_log_shows_is_made_harmless(one: Logged) -> None:
    """By ``shown`` or what is built on it, or it is a number, or of ours; or it is listed above, with the reason."""
    left = {
        name
        for name, value in one.shows.items()
        if not harmless(value, one.names) and name not in KNOWN and (one.path, name) not in ELSEWHERE
    }
    assert left == set()


def test_no_exception_is_listed_in_vain() -> None:
    """Each field that is listed above is shown somewhere, and would not pass without."""
    needed = {(one.path, name) for one in ALL for name, value in one.shows.items() if not harmless(value, one.names)}
    assert set(ELSEWHERE) - needed == set()
    assert set(KNOWN) - {name for _path, name in needed} == set()


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        ("shown(path, 300)", True),
        ("counted(len(plan.changed), 'module')", True),
        ("', '.join(shown(name) for name in names)", True),
        ("f'{shown(name)} and {len(names)}'", True),
        ("joined(shown(a), 'b')", True),
        ("path", False),
        ("str(error)", False),
        ("repr(path)", False),
        ("f'{path} and {len(names)}'", False),
        ("', '.join(names)", False),
        ("joined(a, 'b')", False),
        ("failure.getErrorMessage()", False),
        ("event.path", False),
    ],
)
def test_such_a_field_would_be_found(code: str, passes: bool) -> None:
    """The reader above knows these apart."""
    value = ast.parse(code, mode="eval").body
    assert harmless(value, {}) is passes
