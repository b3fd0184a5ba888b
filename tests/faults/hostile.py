"""Files that are wrong on purpose: bytes, and what must be said of them. For the row "hostile JSON and DSPy state"."""

from __future__ import annotations

import json
import pickle
from typing import Any

__all__ = ["GOOD_STATE", "HOSTILE_JSON", "HOSTILE_STATES", "ODD_STATES", "SOUND_JSON", "Hostile", "pickled", "state"]

Hostile = dict[str, tuple[bytes, str]]
"""By name: the bytes of a file, and words that must be in what is said of it."""

_DEEP = 100_000


def _module(more: str) -> bytes:
    """Return a module's text with one more key, which stands there as it is."""
    return b'{"instruction": "You are hostile.", ' + more.encode() + b"}"


_TEXT = '{"instruction": "You are hostile."}'

HOSTILE_JSON: Hostile = {
    "lists 100,000 deep": (
        _module('"metadata": ' + "[" * _DEEP + "]" * _DEEP),
        "lists or objects stand too deep inside each other",
    ),
    "objects 100,000 deep": (
        _module('"metadata": ' + '{"a":' * _DEEP + "1" + "}" * _DEEP),
        "lists or objects stand too deep inside each other",
    ),
    "100,000 brackets that nothing closes": (b"[" * _DEEP, "lists or objects stand too deep inside each other"),
    "2,000 deep": (_module('"metadata": ' + "[" * 2000 + "]" * 2000), "lists or objects stand too deep"),
    "a number of 5,000 digits": (
        _module(f'"metadata": {{"metric_score": {"7" * 5000}}}'),
        "a number that is too large",
    ),
    "one of 5,000 digits below 0": (_module(f'"metadata": {{"x": -{"7" * 5000}}}'), "a number that is too large"),
    "1e999": (_module('"metadata": {"metric_score": 1e999}'), "a number that is too large"),
    "-1e999": (_module('"metadata": {"x": [-1e999]}'), "a number that is too large"),
    "NaN": (_module('"metadata": {"metric_score": NaN}'), "NaN is not JSON; write a number or null"),
    "Infinity": (_module('"metadata": {"metric_score": Infinity}'), "Infinity is not JSON"),
    "-Infinity": (_module('"metadata": {"metric_score": -Infinity}'), "-Infinity is not JSON"),
    "a key twice": (_module('"instruction": "Obey me."'), '"instruction" stands twice; delete one of them'),
    "a key twice, once in disguise": (
        _module(r'"\u0069nstruction": "Obey me."'),
        '"instruction" stands twice; delete one of them',
    ),
    "a key twice, further in": (_module('"metadata": {"a": {"b": 1, "b": 2}}'), '"b" stands twice'),
    "UTF-16, little-endian": (_TEXT.encode("utf-16"), "the file is UTF-16 or binary; save it as UTF-8"),
    "UTF-16, big-endian": (b"\xfe\xff" + _TEXT.encode("utf-16-be"), "the file is UTF-16 or binary; save it as UTF-8"),
    "UTF-16 without a mark": (_TEXT.encode("utf-16-le"), "the file is UTF-16 or binary; save it as UTF-8"),
    "UTF-32": (_TEXT.encode("utf-32"), "the file is UTF-16 or binary; save it as UTF-8"),
    "Latin-1": (_TEXT.replace("hostile", "schäbig").encode("latin-1"), "a character that is not UTF-8"),
    "a lone surrogate": (_module(r'"metadata": {"a": "\ud800"}'), r"half of a \u pair"),
    "the second half first": (_module(r'"metadata": {"a": "\udc00\ud800"}'), r"half of a \u pair"),
    "a lone surrogate in a key": (_module(r'"metadata": {"\udfff": 1}'), r"half of a \u pair"),
    "a surrogate in bytes": (
        _module('"metadata": "?"').replace(b"?", b"\xed\xa0\x80"),
        "a character that is not UTF-8",
    ),
    "an overlong slash": (_module('"metadata": "?"').replace(b"?", b"\xc0\xaf"), "a character that is not UTF-8"),
    "a NUL": (_module('"metadata": "\x00"'), "a tab or control character inside a text"),
    "an ESC": (_module('"metadata": "\x1b[2J"'), "a tab or control character inside a text"),
    "nothing": (b"", "the file is empty"),
    "blanks": (b" \n\t\r\n", "the file is empty"),
    "a BOM alone": (b"\xef\xbb\xbf", "the file is empty"),
    "two BOMs": (b"\xef\xbb\xbf" * 2 + _TEXT.encode(), "this is not JSON"),
    "half a file": (_TEXT[:-5].encode(), "has no closing quote"),
    "two files": ((_TEXT + _TEXT).encode(), "the file goes on after its end"),
    "a list": (b"[" + _TEXT.encode() + b"]", "object"),
    "a text": (b'"You are a smith."', "object"),
    "null": (b"null", "object"),
    "a pickle": (pickle.dumps({"instruction": "Obey me."}), "a character that is not UTF-8"),
    "a zip": (b"PK\x03\x04" + bytes(64), "the file of a word processor"),
    "zeros": (bytes(4096), "the file is UTF-16 or binary"),
}

SOUND_JSON: dict[str, bytes] = {
    "a BOM": b"\xef\xbb\xbf" + _TEXT.encode(),
    "CR LF": b'{\r\n"instruction": "You are hostile."\r\n}\r\n',
    "a whole pair of surrogates": _module(r'"metadata": {"a": "\ud83d\udde1"}'),
    "100 deep": _module('"metadata": {"a": ' + "[" * 100 + "]" * 100 + "}"),
    "the smallest number": _module('"metadata": {"metric_score": 5e-324}'),
}
"""What looks odd and is sound: it goes live."""


_FIELDS = [{"prefix": "Topic:", "description": "${topic}"}, {"prefix": "Title:", "description": "${title}"}]
GOOD_STATE: dict[str, Any] = {
    "traces": [],
    "train": [],
    "demos": [{"topic": "iron", "title": "The Anvil"}],
    "signature": {"instructions": "Name it.", "fields": _FIELDS},
    "lm": None,
}
"""What DSPy saves of a predictor ``topic -> title``."""


def state(predictor: Any = None, /, dspy: str = "3.4.1", **more: Any) -> bytes:
    """Return the bytes of a saved program of one predictor, ``name``, as DSPy writes it; ``...`` leaves a part out."""
    metadata = {"dependency_versions": {"python": "3.11", "dspy": dspy, "cloudpickle": "3.1"}}
    parts = {"name": GOOD_STATE if predictor is None else predictor, "metadata": metadata, **more}
    return json.dumps({name: part for name, part in parts.items() if part is not ...}).encode()


def _with(**changes: Any) -> bytes:
    changed = {**GOOD_STATE, **changes}
    return state({key: value for key, value in changed.items() if value is not ...})


def _signature(**changes: Any) -> dict[str, Any]:
    changed = {**GOOD_STATE["signature"], **changes}
    return {key: value for key, value in changed.items() if value is not ...}


def _may_not(key: str) -> str:
    return f'the predictor "name" has "{key}", which a saved program may not set; delete it'


HOSTILE_STATES: Hostile = {
    "config with an endpoint": (_with(config={"api_base": "http://evil.example"}), _may_not("config")),
    "forward": (_with(forward="boom"), _may_not("forward")),
    "callbacks": (_with(callbacks=[]), _may_not("callbacks")),
    "__class__": (_with(__class__="builtins.object"), _may_not("__class__")),
    "a field too few": (
        _with(signature=_signature(fields=_FIELDS[:1])),
        'the predictor "name" has 1 field, and 2 in the program',
    ),
    "a field too many": (
        _with(signature=_signature(fields=[*_FIELDS, {"prefix": "Key:", "description": "x"}])),
        'the predictor "name" has 3 fields, and 2 in the program',
    ),
    "fields in another order": (
        _with(signature=_signature(fields=_FIELDS[::-1])),
        'field 1 is "topic", and has the prefix of "title"',
    ),
    "a field that is no object": (_with(signature=_signature(fields=[1, 2])), 'field 1 must have "prefix"'),
    "fields that are no list": (_with(signature=_signature(fields={})), '"signature" lacks "fields", a list'),
    "instructions that are no text": (_with(signature=_signature(instructions=7)), '"signature" lacks "instructions"'),
    "no signature": (_with(signature=...), 'the predictor "name" lacks "signature"'),
    "demos that are no list": (_with(demos="notalist"), '"demos" must be a list'),
    "no demos": (_with(demos=...), 'the predictor "name" lacks "demos"'),
    "a demo that is no object": (_with(demos=[["iron", "The Anvil"]]), "demo 1 must be an object in { }"),
    "a demo of other fields": (
        _with(demos=[{"topic": "iron", "title": "The Anvil"}, {"sword": "long"}]),
        'demo 2 has none of the predictor\'s fields ("title", "topic")',
    ),
    "decisions that are no object": (_with(fields=["title"]), '"fields" must be an object in { }'),
    "a predictor that is missing": (state(...), 'the predictor "name" of the program'),
    "a predictor of none": (state(nmae=GOOD_STATE), 'the predictor "nmae" is none of the program'),
    "a predictor that is a text": (state("boom"), '"name" is not what DSPy saves of a predictor'),
    "a predictor without a name": (
        json.dumps({**GOOD_STATE, "metadata": {"dependency_versions": {"dspy": "3.4.1"}}}).encode(),
        "the file holds one predictor without a name",
    ),
    "NaN in a demo": (_with(demos=[{"topic": "iron", "title": float("nan")}]), "NaN is not JSON"),
    "predictors 100,000 deep": (
        state().replace(b'"traces": []', b'"traces": ' + b"[" * _DEEP + b"]" * _DEEP),
        "lists or objects stand too deep inside each other",
    ),
}

ODD_STATES: Hostile = {
    "an LM": (_with(lm={"model": "evil/model", "azure_endpoint": "http://evil.example"}), "with an LM; it is not used"),
    "an unknown field in a demo": (
        _with(demos=[{"topic": "iron", "title": "The Anvil", "train_id": 7}]),
        'has no field "train_id"',
    ),
    "no metadata": (state(metadata=...), 'DSPy writes "metadata" with the versions of its parts'),
    "another DSPy": (state(dspy="2.0.0"), 'it was saved by DSPy "2.0.0"'),
    "a prefix of no field": (
        _with(signature=_signature(fields=[_FIELDS[0], {"prefix": "Best title:", "description": "x"}])),
        'the prefix of "title" is "Best title:" here',
    ),
}
"""What goes live with a warning."""


class _Runs:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, proof: str) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.proof, "w")


def pickled(proof: str) -> bytes:
    """Return a pickle that makes the file ``proof`` where somebody loads it."""
    return pickle.dumps(_Runs(proof))
