"""Large files, each made to be as much work as it can be."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["FORMATTED", "MANIFESTS", "MODULES", "STATES"]

_SIZE = 1024 * 1024  # where all is compared with all, that takes minutes already
_DEEP = 250


def _many(part: str, size: int = _SIZE) -> str:
    return ",".join([part] * (size // (len(part) + 1)))


def _different(form: str, size: int = _SIZE) -> str:
    """Return many parts, each with a number of its own for the ``#``."""

    def parts() -> Iterator[str]:
        used = number = 0
        while used < size:
            part = form.replace("#", f"{number:x}")
            used += len(part) + 1
            number += 1
            yield part

    return ",".join(parts())


def _module(rest: str) -> str:
    return '{"instruction": "x", ' + rest + "}"


def _fields(inputs: str, demos: str) -> str:
    return _module(f'"signature": {{"inputs": [{inputs}], "outputs": [{{"name": "b"}}]}}, "demos": [{demos}]')


_HALF = _SIZE // 2
_QUOTES = '\\"' * _HALF

MODULES = {
    "a wide list that is deep inside others, and a name that stands twice": _module(
        '"metadata": {"a": ' + "[" * _DEEP + _many("1") + "]" * _DEEP + ', "b": 1, "b": 2}'
    ),
    "the same, and a warning": _module('"odd": ' + "[" * _DEEP + _many("1") + "]" * _DEEP),
    "a warning behind a wide list": _module(f'"$schema": [{_many("1")}], "odd": 1'),
    "keys that are not known": _module(_different('"k#":1')),
    "keys that a demonstration does not have": _module(
        '"demos": [{"inputs": {"player_message": 1}, "outputs": {"response": 1}, ' + _different('"k#":1') + "}]"
    ),
    "demonstrations that are none": _module(f'"demos": [{_many("1")}]'),
    "demonstrations that lack both sides": _module('"demos": [' + _many('{"a":1}') + "]"),
    "demonstrations that lack a field": _module('"demos": [' + _many('{"inputs":{},"outputs":{}}') + "]"),
    "fields that a demonstration should not have": _module(
        '"demos": [' + _many('{"inputs":{"a":1},"outputs":{"b":2}}') + "]"
    ),
    "values of another kind": _module(
        '"demos": [' + _many('{"inputs":{"player_message":1},"outputs":{"response":1}}') + "]"
    ),
    "fallback lines of another kind": _module('"fallback": [' + _many('{"response":1}') + "]"),
    "a field with a name of half a million letters": _fields(
        '{"name": "' + "a" * _HALF + '"}', _many('{"inputs":{},"outputs":{"b":1}}', _HALF)
    ),
    "all fields in one demonstration": _fields(
        _different('{"name":"a#"}', _HALF),
        '{"inputs":{' + _different('"a#":1', _HALF * 2 // 3) + '},"outputs":{"b":1}}',
    ),
    "many fields, and as many that are none": _fields(
        _different('{"name":"a#"}', _HALF), '{"inputs":{' + _different('"b#":1', _HALF) + '},"outputs":{"b":1}}'
    ),
    "many fields, and many demonstrations": _fields(
        _different('{"name":"a#"}', _HALF), _many('{"inputs":{"c":1},"outputs":{"b":1}}', _HALF)
    ),
    "fields of one name": _fields(_many('{"name":"a"}'), ""),
    "quotation marks in a text that has a tab": '{"instruction": "' + _QUOTES + '\t"}',
    "quotation marks in a text that has a lone backslash": '{"instruction": "' + _QUOTES + '\\x"}',
    "a number that is none behind many that are some": _module(f'"metadata": {{"a": [{_many("1")}, NaN]}}'),
    "a number of a million digits": _module('"metadata": {"a": ' + "9" * _SIZE + "}"),
    "an include many times": _module('"include": [' + _many('"town.md"') + "]"),
    "a name of a file that is one of dots": '{"instruction": "' + "." * _SIZE + '"}',
}

_PREDICTOR = (
    '{"traces": [], "train": [], "demos": [%s], "signature": {"instructions": "x", "fields": ['
    '{"prefix": "Player Message:", "description": ""}, {"prefix": "Response:", "description": ""}]}%s,'
    ' "metadata": {"dependency_versions": {"dspy": %s}}}'
)

STATES = {
    "demonstrations that are none": _PREDICTOR % (_many("1"), "", '"3.4.1"'),
    "demonstrations with nothing of the predictor": _PREDICTOR % (_many('{"a":1}'), "", '"3.4.1"'),
    "fields of another training set": _PREDICTOR % ('{"response":1,' + _different('"k#":1') + "}", "", '"3.4.1"'),
    "keys that may not be set": _PREDICTOR % ("", ", " + _different('"k#":1'), '"3.4.1"'),
    "predictors of another program": '{"metadata": {"dependency_versions": {}}, ' + _different('"k#":{}') + "}",
    "a version that is a deep list": _PREDICTOR % ("", "", "[" * _DEEP + "]" * _DEEP),
    "a version that is a wide list": _PREDICTOR % ("", "", f"[{_many('1')}]"),
}

MANIFESTS = {
    "entries that are none": '{"modules": {' + _different('"k#":1') + "}}",
    "entries without a path": '{"modules": {' + _different('"k#":{}') + "}}",
    "entries of one path": '{"modules": {' + _different('"k#":{"path":"x.json"}') + "}}",
    "keys that an entry does not have": '{"modules": {"a": {"path": "x.json", ' + _different('"k#":1') + "}}}",
    "paths of two thousand folders": (
        '{"defaults": {"tags": {"q": {"signature_name": "z"}}}, "modules": {'
        + ",".join(f'"{i}": {{"path": "{i}/{"a/" * 2000}x"}}' for i in range(255))
        + "}}"
    ),
    "defaults for folders that are not there": (
        '{"modules": {}, "defaults": {"folders": {' + _different('"k#": {"signature_name": "z"}') + "}}}"
    ),
    "keys that are not known": '{"modules": {}, ' + _different('"k#":1') + "}",
    "a deep list that is not known": '{"modules": {}, "odd": ' + "[" * _DEEP + _many("1") + "]" * _DEEP + "}",
}

_WRITABLE = 250  # each level is some calls, and Python allows a thousand

FORMATTED = {
    "a wide list that is deep inside others": "[" * _WRITABLE + _many("1", 100_000) + "]" * _WRITABLE,
    "a long text that is deep inside others": "[" * _WRITABLE + '"' + "x" * _SIZE + '"' + "]" * _WRITABLE,
    "many short lists": f"[{_many('[1,2]', _SIZE // 4)}]",
}
