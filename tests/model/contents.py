"""What the files of the model hold."""

from __future__ import annotations

import json

from tests.conftest import MODULE

__all__ = ["CONTENTS"]


def _full(module_id: str, number: int) -> str:
    return json.dumps({**MODULE, "module_id": module_id, "instruction": f"Full {number}."})


CONTENTS: dict[str, bytes] = {
    name: text.encode()
    for name, text in {
        **{f"small {number}": json.dumps({"instruction": f"Small {number}."}) for number in range(4)},
        **{f"full {name} {number}": _full(name, number) for name in ("x", "X", "a", "d.a") for number in range(2)},
        "includes text": '{"instruction": "It.", "include": ["base.txt"]}',
        "includes text above": '{"include": ["../base.txt"], "instruction": "Up."}',
        "includes a module": '{"instruction": "It.", "include": ["b.json"]}',
        "torn": _full("x", 0)[:200],
        "torn again": _full("x", 1)[:201],
        "a wrong field": '{"instruction": 7777777777}',
        "a wrong key": '{"instructions": "Hm."}',
        "nothing": "",
        "text 0": "A text, 0.",
        "text 1": "A text, 1.",
    }.items()
}
"""What files hold, by name."""
