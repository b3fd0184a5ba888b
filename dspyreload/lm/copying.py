"""A copy of a DSPy program that shares no predictor with it, and everything else.

DSPy's own ``deepcopy`` clones whatever a program can reach, the game's world with it, and where that fails it shares
predictors with the original. Here modules and what holds them are made anew; tools and the game's objects stay the
very same.
"""

from __future__ import annotations

import copy
import functools
import types
from collections import UserList, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Shared", "copied"]

_DEPTH = 3  # how far a shared object is searched for a part of the program
_MOST = 2000  # things that are looked at in that search


class Shared(Exception):
    """A copy would share a predictor with the original; the text says where it is held."""


def copied(program: Any, *, check: bool = False) -> Any:
    """Return a copy of a ``dspy.Module``.

    :param check: search what the copy shares; once is enough for one program.
    :raises Shared: where a predictor is held by something that can't be copied, such as an object of the game.
    """
    copier = _Copier()
    made = copier.module(program)
    if check:
        copier.check()
    return made


class _Copier:
    def __init__(self) -> None:
        import dspy

        self.dspy = dspy
        self.made: dict[int, Any] = {}  # by the id of the original
        self.kept: list[Any] = []  # originals and what was looked at: an id is only its own while the thing lives
        self.shared: list[tuple[str, Any, bool]] = []  # where, what, and whether a tool is made of it

    def module(self, original: Any) -> Any:
        """Copy a module with all of its attributes; a predictor's own lists and settings too."""
        new = object.__new__(type(original))
        self._remember(original, new)
        predictor = isinstance(original, self.dspy.Predict)
        where = type(original).__name__
        for name, value in vars(original).items():
            if name == "history":
                new.__dict__[name] = []
            elif name == "callbacks":
                new.__dict__[name] = list(value)
            elif predictor and name == "demos":
                new.__dict__[name] = [demo.copy() if hasattr(demo, "copy") else demo for demo in value]
            elif predictor and name in ("traces", "train", "config", "fields"):
                new.__dict__[name] = copy.copy(value)
            else:
                new.__dict__[name] = self.value(value, f"{where}.{name}")
        return new

    def value(self, original: Any, where: str, *, tool: bool = False) -> Any:
        """Copy what is or holds a module; return anything else as it is."""
        if id(original) in self.made:
            return self.made[id(original)]
        if isinstance(original, self.dspy.Module):
            return self.module(original)
        if type(original) in (list, tuple, dict) and self._holds_module(original):
            return self._container(original, where)
        if isinstance(original, types.MethodType):
            return self._bound(original, where)
        if isinstance(original, functools.partial):
            return self._partial(original, where)
        if isinstance(original, self.dspy.Tool):
            return self._tool(original, where)
        if type(original) is dict:  # of tools, as ReAct has it
            parts = {key: self.value(value, f"{where}[{key!r}]") for key, value in original.items()}
            return parts if any(parts[key] is not value for key, value in original.items()) else original
        if type(original) in (list, tuple):
            items = [self.value(value, f"{where}[{index}]") for index, value in enumerate(original)]
            changed = any(new is not old for new, old in zip(items, original, strict=True))
            return type(original)(items) if changed else original
        self.shared.append((where, original, tool))
        return original

    def _remember(self, original: Any, new: Any) -> Any:
        self.made[id(original)] = new
        self.kept.append(original)
        return new

    def _container(self, original: Any, where: str) -> Any:
        if type(original) is dict:
            new = self._remember(original, {})
            new.update((key, self.value(value, f"{where}[{key!r}]")) for key, value in original.items())
            return new
        if type(original) is list:
            new = self._remember(original, [])
            new.extend(self.value(value, f"{where}[{index}]") for index, value in enumerate(original))
            return new
        return self._remember(
            original, tuple(self.value(value, f"{where}[{index}]") for index, value in enumerate(original))
        )

    def _holds_module(self, value: Any, depth: int = 0) -> bool:
        if isinstance(value, self.dspy.Module):
            return True
        if depth > 50 or type(value) not in (list, tuple, dict):
            return False
        return any(self._holds_module(item, depth + 1) for item in (value.values() if type(value) is dict else value))

    def _bound(self, original: types.MethodType, where: str) -> Any:
        """Bind a method of a part of the program to that part's copy: a tool that the program itself is."""
        owner = original.__self__
        if isinstance(owner, self.dspy.Module):
            return types.MethodType(original.__func__, self.value(owner, where))
        return original

    def _partial(self, original: functools.partial[Any], where: str) -> Any:
        parts = [original.func, *original.args, *original.keywords.values()]
        new = [self.value(part, where) for part in parts]
        if all(mine is theirs for mine, theirs in zip(new, parts, strict=True)):
            return original
        count = len(original.args) + 1
        return functools.partial(new[0], *new[1:count], **dict(zip(original.keywords, new[count:], strict=True)))

    def _tool(self, original: Any, where: str) -> Any:
        func = self.value(original.func, f"{where}.func", tool=True)
        return original if func is original.func else original.model_copy(update={"func": func})

    def check(self) -> None:
        """Refuse a program of which a shared part holds one of its modules, or is all that holds one.

        What lies further off is the game's: its world may hold programs of its own.
        """
        for where, thing, tool in self.shared:
            near = [] if tool else _near(thing)
            if any(isinstance(part, self.dspy.Module) for part in near) or self._finds_own(thing):
                raise Shared(
                    f"{where} ({type(thing).__name__}) holds a DSPy module that DSPy does not see there; make it an"
                    " attribute of the program itself, or a list or dict of one; if it is another program of the game,"
                    " reach it through a method or a function"
                )

    def _finds_own(self, thing: Any) -> bool:
        seen: set[int] = set()
        around = [thing]
        for _ in range(_DEPTH):
            found: list[Any] = []
            for part in around:
                if id(part) not in seen and len(seen) < _MOST:
                    seen.add(id(part))
                    self.kept.append(part)
                    found += _held(part)
            if any(isinstance(part, self.dspy.Module) and id(part) in self.made for part in found):
                return True
            around = found
        return False


_CONTAINERS = (Mapping, list, tuple, set, frozenset, deque, UserList)
_PLAIN: tuple[type, ...] = (str, bytes, int, float, bool, type(None), type, types.ModuleType)


def _near(thing: Any) -> Iterator[Any]:
    """Name what a thing holds by itself, or in a container of its own."""
    for part in _held(thing):
        yield part
        if isinstance(part, _CONTAINERS):
            yield from _held(part)


def _held(thing: Any) -> Iterator[Any]:
    """Name what a thing holds: items, attributes, and what a function closes over."""
    if isinstance(thing, _PLAIN):
        return
    if isinstance(thing, types.FunctionType):
        yield from _closed_over(thing)
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, _CONTAINERS):
        yield from thing
    else:
        yield from getattr(thing, "__dict__", {}).values()
        for kind in type(thing).__mro__:
            slots = getattr(kind, "__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if (value := getattr(thing, name, None)) is not None:
                    yield value


def _closed_over(function: Callable[..., Any]) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
