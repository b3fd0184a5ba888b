"""Words that would do harm if they came into a log as they are: in files, in their names, in a manifest."""

from __future__ import annotations

import json
from typing import Any

from tests.faults.game import text
from tests.faults.hostile import GOOD_STATE, state

__all__ = ["EVIL", "FILES", "MANIFESTS", "NAME", "PROGRAMS", "PROMPT", "REFUSED"]

EVIL = (
    "\x1b]0;evil\x07\x1b[2J\r\n2026-01-01T00:00:00+0000 [forged#info] "
    "\x00\x7f\x9b31m\u202eevil{x}{0.__class__}{log_level}%s%(a)d"
)
"""What a terminal obeys, what begins a line anew, what turns the direction of writing, and what formats fill in."""

NAME = EVIL.replace("\x00", "").replace("/", "")
"""The same as it may stand in the name of a file."""

PROMPT = "The treasure lies under the old oak"


def _whole(**changes: Any) -> bytes:
    module = {
        "module_id": "whole",
        "predictor_type": "predict",
        "signature_name": "none",
        "signature": {"inputs": [{"name": "a", "description": PROMPT}], "outputs": [{"name": "b"}]},
        "instruction": PROMPT,
        "demos": [{"inputs": {"a": PROMPT}, "outputs": {"b": PROMPT}}],
        "fallback": [{"b": PROMPT}],
    }
    return json.dumps({**module, **changes}).encode()


def _saved(**changes: Any) -> bytes:
    signature = {**GOOD_STATE["signature"], "instructions": PROMPT}
    return state({**GOOD_STATE, "signature": signature, **changes})


_FIELDS = GOOD_STATE["signature"]["fields"]
_UNKNOWN: dict[str, Any] = {EVIL: GOOD_STATE}
_ODD_FIELD = {"prefix": EVIL, "description": PROMPT}

FILES: dict[str, tuple[str, bytes]] = {
    "a good file's name": (f"n01{NAME}.json", text(PROMPT).encode()),
    "a broken file's name": (f"n02{NAME}.json", b'{"instruction": "' + PROMPT.encode()),
    "a folder's name": (f"n03{NAME}/x.json", b"{"),
    "an id": ("n04.json", _whole(module_id=f"n04{EVIL}")),
    "an id that waits": ("n05.json", _whole(module_id=f"n05{EVIL}", signature=None, signature_name=EVIL)),
    "a key": ("n06.json", json.dumps({"instruction": PROMPT, EVIL: PROMPT}).encode()),
    "a key twice": (
        "n07.json",
        f'{{"instruction": "{PROMPT}", "a": 1, {json.dumps(EVIL)}: 1, {json.dumps(EVIL)}: 2}}'.encode(),
    ),
    "a key beside a fault": ("n08.json", '{"instruction": "x", "\x9b2J\u202e\x7f{x}": {"a": [1, 2}}'.encode()),
    "a predictor type": ("n09.json", _whole(predictor_type=EVIL)),
    "a signature's name": ("n10.json", _whole(signature_name=[EVIL])),
    "a field's name": ("n11.json", _whole(signature={"inputs": [{"name": EVIL}], "outputs": [{"name": "b"}]})),
    "a field's type": ("n12.json", _whole(signature={"inputs": [], "outputs": [{"name": "b", "field_type": EVIL}]})),
    "a demonstration's field": ("n13.json", _whole(demos=[{"inputs": {EVIL: PROMPT}, "outputs": {"b": PROMPT}}])),
    "a fallback's field": ("n14.json", _whole(fallback=[{EVIL: PROMPT}])),
    "a demonstration": ("n15.json", _whole(demos=[PROMPT])),
    "an instruction": ("n16.json", _whole(instruction=[PROMPT])),
    "an included file": ("n17.json", json.dumps({"instruction": PROMPT, "include": [f"{EVIL}.md"]}).encode()),
    "one that is missing": ("n18.json", json.dumps({"instruction": PROMPT, "include": ["\x7f\u202e{x}.md"]}).encode()),
    "a tool": ("n19.json", _whole(tool_enabled=EVIL)),
    "metadata": ("n20.json", _whole(metadata={"optimizer": 7, "version": EVIL, EVIL: EVIL})),
    "bytes": ("n21.json", EVIL.encode() + b"\xff\xfe"),
    "a program's key": ("p1.json", _saved(**{EVIL: 1})),
    "a program's predictor": ("p2.json", state(**_UNKNOWN)),
    "a program's prefix": ("p3.json", _saved(signature={"instructions": PROMPT, "fields": [_FIELDS[0], _ODD_FIELD]})),
    "a program's demonstration": ("p4.json", _saved(demos=[{"topic": PROMPT, "title": PROMPT, EVIL: PROMPT}])),
    "a program's decisions": ("p5.json", _saved(fields={EVIL: {EVIL: EVIL}})),
    "a program's DSPy": ("p6.json", state(GOOD_STATE, dspy=EVIL)),
    "what the game says": ("r1.json", text(PROMPT).encode()),
}
"""What it is about: the name of a file, and its bytes."""

PROGRAMS = ("p1", "p2", "p3", "p4", "p5", "p6")
"""Ids for which the game has a program ``topic -> title``, with one predictor, ``name``."""

REFUSED = "r1"
"""An id that the game refuses, with evil words."""


def _entry(**keys: Any) -> dict[str, Any]:
    return {"modules": {"m": {"path": "smith.json", **keys}}}


MANIFESTS: dict[str, dict[str, Any]] = {
    "an id": {"modules": {EVIL: {"path": "smith.json"}}},
    "an id of a missing file": {"modules": {EVIL: {"path": "missing.json"}}},
    "a path": _entry(path=f"{EVIL}.json"),
    "a path outside": _entry(path=f"../{NAME}.json"),
    "a path of a missing file": _entry(path="\x7f\u202e{x}.json"),
    "a key": _entry(**{EVIL: PROMPT}),
    "a hash": _entry(hash=EVIL),
    "a tag": _entry(tags=[7, EVIL]),
    "a language model": _entry(lm=EVIL),
    "a program": _entry(path="saved.json", program=EVIL),
    "a signature": _entry(signature_name=EVIL),
    "a predictor type": _entry(predictor_type=EVIL),
    "one path twice": {"modules": {f"m1{EVIL}": {"path": "smith.json"}, f"m2{EVIL}": {"path": "smith.json"}}},
    "ids that are alike": {"modules": {f"m1{EVIL}": {"path": "smith.json"}, f"M1{EVIL}": {"path": "cook.json"}}},
    "no entry": {"modules": {EVIL: EVIL}},
    "a version": {"version": EVIL, "modules": {}},
    "a key at the top": {EVIL: PROMPT, "modules": {}},
    "defaults": {"modules": {}, "defaults": {EVIL: EVIL}},
}
"""What it is about, and a manifest."""
