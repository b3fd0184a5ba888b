"""The texts of all messages, read off the source: each as a regular expression."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

import dspyreload

__all__ = ["AT_A_PLACE", "IN_A_LINE", "Template", "templates"]

_ROOT = Path(dspyreload.__file__).parent
_FILES = ("model/*.py", "disk/*.py", "live/validators.py", "commands/*.py")

AT_A_PLACE = {"FaultError": 0, "Fault": 0, "Warned": 0, "Waits": 0, "ReadFault": 0, "lacks": 0, "unknown_key": 0}
"""What makes a message at a place of a file: which argument is its text."""

IN_A_LINE = {"HotReloadFailed": 1, "DSPyReloadError": 0, "ValueError": 0}
"""What makes the line that a command prints, likewise. ``ValueError`` counts in the commands only."""

_MENDS = {"Warned": 2, "Fault": 3}
_ANY = ".*"
_MOST = 64


@attrs.frozen(order=True)
class Template:
    """A text of the source.

    :ivar where: file and line. ``call``: what it is handed to. ``pattern``: a regular expression for it.
    """

    where: str
    call: str
    pattern: str

    @property
    def words(self) -> str:
        """The text with ``...`` for what is put in."""
        return re.sub(r"\\(.)", r"\1", self.pattern.replace(_ANY, "..."))


def templates() -> list[Template]:
    """Return all of them, in the order of the source."""
    found: dict[tuple[str, str], Template] = {}
    for glob in _FILES:
        for path in sorted(_ROOT.glob(glob)):
            for template in _Reader(path).templates():
                found.setdefault((template.call, template.pattern), template)
    return list(found.values())


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(_ROOT).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        self.constants = _assigned(self.tree.body)

    def templates(self) -> Iterator[Template]:
        """Give each text with what it is handed to."""
        inside = {id(node): function for function in self.functions.values() for node in ast.walk(function)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                scope = inside.get(id(node))
                names = self.constants if scope is None else {**self.constants, **_assigned(ast.walk(scope))}
                for call, text in self._texts(node):
                    yield from self._all(call, text, names)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("self.found.problems["):
                yield from self._all("problems", node.value, self.constants)
            elif (
                isinstance(node, ast.Assign)
                and ast.unparse(node.targets[0]) == "(self.found.problems[''], self.found.cut)"
            ):
                assert isinstance(node.value, ast.Tuple)
                yield from self._all("problems", node.value.elts[0], self.constants)

    def _texts(self, node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called == "ValueError" and not self.name.startswith("commands/"):
            return
        number = {**AT_A_PLACE, **IN_A_LINE}.get(called)
        if number is None:
            return
        if called == "lacks":
            name = node.args[0]
            parts = [ast.FormattedValue(name, -1), ast.Constant(' lacks "'), ast.FormattedValue(node.args[1], -1)]
            yield called, ast.copy_location(ast.JoinedStr([*parts, ast.Constant('".*')]), node)
            return
        if len(node.args) > number:
            yield called, node.args[number]
        mend = _MENDS.get(called)
        if mend is not None and len(node.args) > mend:
            yield called, node.args[mend]
        yield from ((called, keyword.value) for keyword in node.keywords if keyword.arg == "mend")

    def _all(self, call: str, text: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[Template]:
        for pattern in dict.fromkeys(self._patterns(text, names, direct=True)):
            if len(re.findall(r"[a-z]", pattern.replace(_ANY, ""))) >= 3:
                yield Template(f"{self.name}:{text.lineno}", call, pattern)

    def _patterns(self, text: ast.expr, names: dict[str, list[ast.expr]], *, direct: bool) -> list[str]:
        """Return what an expression may be. ``direct``: what functions of this file return is looked at too."""
        if isinstance(text, ast.Constant):
            return [re.escape(text.value).replace(r"\.\*", _ANY)] if isinstance(text.value, str) else [_ANY]
        if isinstance(text, ast.JoinedStr):
            return self._product(text.values, names)
        if isinstance(text, ast.FormattedValue):
            return self._patterns(text.value, names, direct=False) if text.conversion == -1 else [_ANY]
        if isinstance(text, ast.IfExp):
            return [
                *self._patterns(text.body, names, direct=direct),
                *self._patterns(text.orelse, names, direct=direct),
            ]
        if direct and isinstance(text, ast.BoolOp):
            return [pattern for value in text.values for pattern in self._patterns(value, names, direct=True)]
        if isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add):
            return self._product([text.left, text.right], names)
        if isinstance(text, ast.Name) and text.id in names:
            others = {name: found for name, found in names.items() if name != text.id}
            return [found for value in names[text.id] for found in self._patterns(value, others, direct=False)]
        if direct and isinstance(text, ast.Call):
            return self._returned(text)
        return [_ANY]

    def _product(self, parts: list[ast.expr], names: dict[str, list[ast.expr]]) -> list[str]:
        choices = [self._patterns(part, names, direct=False) for part in parts]
        return ["".join(chosen) for chosen in itertools.islice(itertools.product(*choices), _MOST)]

    def _returned(self, call: ast.Call) -> list[str]:
        """Return what a function of this file returns, or what a dictionary of it holds."""
        name = ast.unparse(call.func)
        table = self.constants.get(name.removesuffix(".get"), [None])[0]
        if name.endswith(".get") and isinstance(table, ast.Dict):
            values = [*table.values, *call.args[1:]]
            return [pattern for value in values for pattern in self._patterns(value, {}, direct=False)]
        function = self.functions.get(name)
        if function is None:
            return [_ANY]
        names = {**self.constants, **_assigned(ast.walk(function))}
        returned = [
            node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None
        ]
        return [pattern for value in returned for pattern in self._patterns(value, names, direct=False)]


def _assigned(nodes: Iterator[ast.AST] | list[ast.stmt]) -> dict[str, list[ast.expr]]:
    """Return what is assigned to each name, in order."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ):
            for target, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(value)
    return found
