"""The keys of a module."""

from __future__ import annotations

from dspyreload.model.registrations import PredictorShape, RegisteredProgram, Registrations
from tests.messages.case import Case, Checked, Group, fields, one, registered

__all__ = ["GROUPS"]

_SMITH = '"instruction": "You are a smith."'
_DIALOGUE = fields("player_message", "response emotion")
_REGISTERED = Checked(
    words="Checked with `--setup`; the game has a signature `npc.dialogue` with the input `player_message` and the"
    " outputs `response` and `emotion`.",
    registrations=Registrations(signatures=registered(**{"npc.dialogue": _DIALOGUE})),
    complete=True,
)
_RUN = Checked(
    words="Checked with `--setup`; the game has a program `npc.smith` of one predictor, and a program `quest.writer`"
    " of two, `plan` and `write`.",
    registrations=Registrations(
        programs={
            "npc.smith": RegisteredProgram((PredictorShape("", _DIALOGUE),), "program npc.smith#1"),
            "quest.writer": RegisteredProgram(
                (PredictorShape("plan", _DIALOGUE), PredictorShape("write", _DIALOGUE)), "program quest.writer#1"
            ),
        }
    ),
    complete=True,
)


def _full(**changes: str) -> str:
    keys = {
        "module_id": '"smith"',
        "predictor_type": '"predict"',
        "signature_name": '"npc.dialogue"',
        "instruction": '"You are a smith."',
        **changes,
    }
    return "{\n" + ",\n".join(f'  "{key}": {value}' for key, value in keys.items() if value) + "\n}\n"


_KEYS: tuple[Case, ...] = (
    one("A module that says nothing", '{\n  "demos": []\n}\n'),
    one("A key that is misspelt, and needed", '{\n  "instructions": "You are a smith."\n}\n'),
    one("A file's name that is misspelt, and needed", '{\n  "instruction_fil": "smith.md"\n}\n'),
    one("The name of a file in place of an instruction", '{\n  "instruction": "smith.md"\n}\n'),
    one("A key that is misspelt, and not needed", f'{{\n  {_SMITH},\n  "demo": []\n}}\n'),
    one("A key that nobody knows", f'{{\n  {_SMITH},\n  "mood": "gruff"\n}}\n'),
    one("An instruction without words", '{\n  "instruction": " "\n}\n'),
    one("An instruction file without a name", '{\n  "instruction_file": ""\n}\n'),
    one(
        "Both an instruction and an instruction file",
        f'{{\n  {_SMITH},\n  "instruction_file": "smith.md"\n}}\n',
    ),
    one(
        "A full form that is not full",
        _full(signature_name=""),
        note="A file that has one of `module_id`, `predictor_type` and `signature_name` has all three.",
    ),
    one("An id that is empty", _full(module_id='""', signature='{"inputs": [], "outputs": [{"name": "response"}]}')),
    one("An instruction that is a number", '{\n  "instruction": 5\n}\n'),
    one(
        "Values of another kind than is wanted",
        f'{{\n  {_SMITH},\n  "include": "town.md",\n  "demos": {{}},\n  "tool_enabled": "yes",\n  "metadata": null,\n'
        '  "fallback": ["Not now."]\n}\n',
    ),
    one("A way of answering that there is not", _full(predictor_type='"predictor"')),
    one("A time that is none", f'{{\n  {_SMITH},\n  "metadata": {{"optimized_at": "yesterday"}}\n}}\n'),
    one("Lines for when the language model can't, one of them empty", f'{{\n  {_SMITH},\n  "fallback": [{{}}]\n}}\n'),
    one(
        "Lines for when the language model can't, with a misspelt field",
        f'{{\n  {_SMITH},\n  "fallback": [{{"respons": "Not now."}}]\n}}\n',
    ),
    one("Tools, and no fields for them", f'{{\n  {_SMITH},\n  "tool_enabled": true\n}}\n'),
    one(
        "One that thinks, and gets its thoughts from outside",
        _full(
            predictor_type='"chain_of_thought"',
            signature='{"inputs": [{"name": "reasoning"}], "outputs": [{"name": "response"}]}',
        ),
    ),
)


def _signed(signature: str) -> str:
    return f'{{\n  {_SMITH},\n  "signature": {signature}\n}}\n'


_SIGNATURES: tuple[Case, ...] = (
    one("A signature without outputs", _signed('{"inputs": [{"name": "player_message"}], "outputs": []}')),
    one("A signature without one of its lists", _signed('{"inputs": []}')),
    one("A field without a name", _signed('{"inputs": [{}], "outputs": [{"name": "response"}]}')),
    one("A name that can't be one", _signed('{"inputs": [{"name": "player message"}], "outputs": [{"name": "2nd"}]}')),
    one(
        "A name that DSPy needs itself", _signed('{"inputs": [{"name": "config"}], "outputs": [{"name": "response"}]}')
    ),
    one("A name that stands twice", _signed('{"inputs": [{"name": "mood"}], "outputs": [{"name": "mood"}]}')),
    one(
        "A type that there is not",
        _signed('{"inputs": [], "outputs": [{"name": "response", "field_type": "text"}]}'),
    ),
    one(
        "A signature that only the game knows",
        _full(),
        note="Without `--setup` that is a warning: the demonstrations are not checked yet.",
    ),
    one("A signature that the game does not know", _full(signature_name='"npc.dialog"'), _REGISTERED),
    one(
        "A signature that differs from the game's",
        _full(signature='{"inputs": [{"name": "player"}], "outputs": [{"name": "response"}]}'),
        _REGISTERED,
    ),
)


def _demos(*demos: str) -> str:
    return f'{{\n  {_SMITH},\n  "demos": [\n    ' + ",\n    ".join(demos) + "\n  ]\n}\n"


_GOOD = '{"inputs": {"player_message": "Hi"}, "outputs": {"response": "Hm."}}'
_DEMOS: tuple[Case, ...] = (
    one(
        "A field that is missing",
        _full(demos=f"[\n    {_GOOD}\n  ]"),
        _REGISTERED,
    ),
    one("A field that is misspelt", _demos('{"inputs": {"player_mesage": "Hi"}, "outputs": {"response": "Hm."}}')),
    one(
        "A field that the signature does not have",
        _demos(_GOOD, '{"inputs": {"player_message": "Bye"}, "outputs": {"response": "Hm.", "mood": "gruff"}}'),
    ),
    one("A demonstration without its answer", _demos(_GOOD, '{"inputs": {"player_message": "Bye"}}')),
    one("A side that is misspelt", _demos('{"input": {"player_message": "Hi"}, "outputs": {"response": "Hm."}}')),
    one("A demonstration that is a text", _demos('"Hi. - Hm."')),
    one(
        "A value that is something else than the field holds",
        _demos('{"inputs": {"player_message": "Hi"}, "outputs": {"response": 5}}'),
        note="The language model sees it as it is; that may be meant.",
    ),
    one(
        "Several faults at once",
        _demos('{"inputs": {}, "outputs": {"mood": "gruff"}}', _GOOD, '{"inputs": {}, "outputs": {}}'),
    ),
)

_BY_PROGRAM: tuple[Case, ...] = (
    Case(
        "A program that only the game knows",
        {
            "manifest.json": '{"modules": {"smith": {"path": "smith.json", "program": "npc.smith"}}}\n',
            "smith.json": f"{{{_SMITH}}}\n",
        },
    ),
    Case(
        "A program that the game does not know",
        {
            "manifest.json": '{"modules": {"smith": {"path": "smith.json", "program": "npc.smiht"}}}\n',
            "smith.json": f"{{{_SMITH}}}\n",
        },
        _RUN,
    ),
    Case(
        "A program of several parts",
        {
            "manifest.json": '{"modules": {"smith": {"path": "smith.json", "program": "quest.writer"}}}\n',
            "smith.json": f"{{{_SMITH}}}\n",
        },
        _RUN,
    ),
    Case(
        "A signature beside a program's",
        {
            "manifest.json": '{"modules": {"smith": {"path": "smith.json", "program": "npc.smith"}}}\n',
            "smith.json": _signed('{"inputs": [], "outputs": [{"name": "response"}, {"name": "mood"}]}'),
        },
        _RUN,
    ),
)

GROUPS = (
    Group("The keys of a module", "", _KEYS),
    Group("Signatures", "A signature says which fields go in and which come out.", _SIGNATURES),
    Group("Demonstrations", "They are held against the signature, the default one where the file has none.", _DEMOS),
    Group("Modules that are run by a program of the game", "", _BY_PROGRAM),
)
