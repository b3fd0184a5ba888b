"""What ``dspyreload talk`` says: of saves, and of what is typed."""

from __future__ import annotations

from tests.messages.case import Group, Saved, Talked

__all__ = ["GROUPS"]

_SMITH = '{\n  "instruction": "You are a gruff smith."\n}\n'
_KIND = '{\n  "instruction": "You are a kind smith."\n}\n'
_BROKEN = '{\n  "instruction": "You are a kind smith.\n}\n'
_BAKER = '{\n  "instruction": "You are a baker."\n}\n'
_FULL = (
    '{\n  "module_id": "smith",\n  "predictor_type": "predict",\n  "signature_name": "npc.dialogue",\n'
    '  "instruction": "You are a smith."\n}\n'
)


def _listing(*names: str) -> str:
    rows = ",\n".join(f'    "{name}": {{"path": "{name}.json"}}' for name in names)
    return f'{{\n  "modules": {{\n{rows}\n  }}\n}}\n'


_SAVES: tuple[Saved, ...] = (
    Saved("A good save", {"smith.json": _SMITH}, ({"smith.json": _KIND},)),
    Saved("A save without a change", {"smith.json": _SMITH}, ({"smith.json": _SMITH},)),
    Saved("A broken save, and its mending", {"smith.json": _SMITH}, ({"smith.json": _BROKEN}, {"smith.json": _SMITH})),
    Saved("A broken file that never spoke", {"smith.json": _SMITH}, ({"baker.json": '{"mood": "kind"}\n'},)),
    Saved("Several saves at once", {"smith.json": _SMITH}, ({"smith.json": _KIND, "baker.json": _BAKER},)),
    Saved("Several broken saves at once", {"smith.json": _SMITH}, ({"smith.json": _BROKEN, "baker.json": "{\n"},)),
    Saved(
        "A save with something odd in it",
        {"smith.json": _SMITH},
        ({"smith.json": _SMITH.replace("{\n", '{\n  "mood": 1,\n')},),
    ),
    Saved("A file that is deleted", {"smith.json": _SMITH, "baker.json": _BAKER}, ({"baker.json": None},)),
    Saved(
        "A manifest with one module less",
        {"manifest.json": _listing("smith", "baker"), "smith.json": _SMITH, "baker.json": _BAKER},
        ({"manifest.json": _listing("smith")},),
    ),
    Saved(
        "A manifest with one more module",
        {"manifest.json": _listing("smith"), "smith.json": _SMITH, "baker.json": _BAKER},
        ({"manifest.json": _listing("smith", "baker")},),
    ),
    Saved(
        "A manifest with a fault, and its mending",
        {"manifest.json": _listing("smith"), "smith.json": _SMITH},
        (
            {"manifest.json": _listing("smith").replace("}\n  }", "},\n  }")},
            {"manifest.json": _listing("smith")},
        ),
    ),
    Saved(
        "A manifest that lists a file which is not there yet",
        {"manifest.json": _listing("smith"), "smith.json": _SMITH},
        ({"manifest.json": _listing("smith", "baker")}, {"baker.json": _BAKER}),
    ),
    Saved(
        "A manifest that is ahead of its files",
        {"manifest.json": _listing("smith"), "smith.json": _SMITH},
        ({"manifest.json": _listing("smith", "baker", "guide"), "guide.json": '{"instruction": 1}\n'},),
        note="It is live once all of its files are there and good.",
    ),
    Saved(
        "A module that the game refuses",
        {"smith.json": _SMITH},
        ({"smith.json": _KIND},),
        refuses="smith does not name her town",
    ),
    Saved(
        "A game that does not answer",
        {"smith.json": _SMITH},
        ({"smith.json": _KIND},),
        refuses="...",
        note="The game has a check of its own, and it takes more than ten seconds.",
    ),
)

_LINES: tuple[Talked, ...] = (
    Talked("A command that there is not", {"smith.json": _SMITH}, ("/promt", "/")),
    Talked("All commands", {"smith.json": _SMITH}, ("/help",)),
    Talked(
        "A module that there is not",
        {"npc/smith.json": _SMITH, "baker.json": _BAKER},
        ("/module smiht", "/module bakr", "/module dragon"),
    ),
    Talked(
        "A name that two modules have",
        {"npc/smith.json": _SMITH, "dwarves/smith.json": _KIND},
        ("/module smith", "/module npc.smith"),
    ),
    Talked("Before anything was asked", {"smith.json": _SMITH}, ("/again", "/both")),
    Talked("A module that is broken from the start", {"smith.json": _BROKEN}, ("Hello",), "smith"),
    Talked("A directory without modules", {}, ("Hello",)),
    Talked(
        "Input fields",
        {
            "smith.json": '{\n  "instruction": "You are a smith.",\n  "signature": {\n    "inputs": [\n'
            '      {"name": "mood", "description": "How she feels"},\n'
            '      {"name": "strength", "field_type": "int"},\n'
            '      {"name": "items", "field_type": "list"},\n'
            '      {"name": "player_message"}\n    ],\n    "outputs": [{"name": "response"}]\n  }\n}\n'
        },
        ("Hello", "/set mod", "/set strength much", "/set items a, b", "/set mood gruff", "/set"),
    ),
    Talked(
        "Nothing to type",
        {
            "smith.json": '{\n  "instruction": "You are a smith.",\n  "signature": {\n'
            '    "inputs": [{"name": "strength", "field_type": "float"}],\n'
            '    "outputs": [{"name": "response"}]\n  }\n}\n'
        },
        ("/set strength 0.5", "Hello"),
    ),
    Talked(
        "A field of another name",
        {
            "smith.json": '{\n  "instruction": "You are a smith.",\n  "signature": {\n'
            '    "inputs": [{"name": "question"}],\n    "outputs": [{"name": "response"}]\n  }\n}\n'
        },
        ("/set",),
    ),
    Talked(
        "Two ways to say yes",
        {
            "smith.json": '{\n  "instruction": "You are a smith.",\n  "signature": {\n'
            '    "inputs": [{"name": "open", "field_type": "bool"}],\n    "outputs": [{"name": "response"}]\n  }\n}\n'
        },
        ("/set open yes", "/set open true", "/set open"),
    ),
    Talked("Forgetting", {"smith.json": _SMITH}, ("/forget",)),
)

GROUPS = (
    Group("What `dspyreload talk` says of a save", "", _SAVES),
    Group("What `dspyreload talk` says to what is typed", "", _LINES),
)
