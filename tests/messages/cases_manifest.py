"""``manifest.json``."""

from __future__ import annotations

from dspyreload.model.registrations import LMBounds, Registrations
from tests.messages.case import PLAIN, Case, Checked, Group, fields, registered

__all__ = ["GROUPS"]

_SMITH = '{\n  "instruction": "You are a smith."\n}\n'
_BAKER = '{\n  "instruction": "You are a baker."\n}\n'

_LMS = Checked(
    words="Checked with `--lm-config`; there is a language model `fast`, which allows 300 `max_tokens` and a"
    " `temperature` of 1, and one that answers where nothing is said, which allows 500 and 1.",
    registrations=Registrations(
        lms={"fast": LMBounds(max_tokens=300, max_temperature=1.0), "": LMBounds(max_tokens=500, max_temperature=1.0)}
    ),
)
_GAME = Checked(
    words="Checked with `--setup`; the game has a signature `npc.dialogue`, and its own default for the tag `quest`.",
    registrations=Registrations(
        signatures=registered(**{"npc.dialogue": fields("player_message", "response emotion")}),
        defaults={("tag", "quest"): "quest.dialogue"},
        defaults_token="defaults#1",
    ),
    complete=True,
)


def _manifest(*entries: str, more: str = "") -> str:
    rows = ",\n".join(f"    {entry}" for entry in entries)
    return f'{{\n{more}  "modules": {{\n{rows}\n  }}\n}}\n'


def _listed(title: str, *entries: str, how: Checked = PLAIN, note: str = "") -> Case:
    return Case(title, {"manifest.json": _manifest(*entries), "smith.json": _SMITH}, how, note)


def _full(module_id: str) -> str:
    return (
        f'{{\n  "module_id": "{module_id}",\n  "predictor_type": "predict",\n  "signature_name": "talk",\n'
        '  "signature": {"inputs": [], "outputs": [{"name": "response"}]},\n'
        '  "instruction": "You are a smith."\n}\n'
    )


def _smith(more: str) -> str:
    return f'"smith": {{"path": "smith.json", {more}}}'


_WHOLE: tuple[Case, ...] = (
    Case("A list instead of an object", {"manifest.json": '["smith.json"]\n'}),
    Case("No modules", {"manifest.json": '{\n  "version": "1.0"\n}\n'}),
    Case("A misspelt key", {"manifest.json": '{\n  "module": {}\n}\n'}),
    Case("A version of another program", {"manifest.json": '{\n  "version": "2.0",\n  "modules": {}\n}\n'}),
    Case("A list of modules", {"manifest.json": '{\n  "modules": ["smith.json"]\n}\n'}),
    Case(
        "A key that nobody knows",
        {
            "manifest.json": _manifest('"smith": {"path": "smith.json"}', more='  "owner": "Ada",\n'),
            "smith.json": _SMITH,
        },
    ),
)

_ENTRIES: tuple[Case, ...] = (
    _listed("An entry that is a text", '"smith": "smith.json"'),
    _listed("An entry without a path", '"smith": {"tags": []}'),
    _listed("An id that is empty", '"": {"path": "smith.json"}'),
    _listed("A path that leads out", '"smith": {"path": "../smith.json"}'),
    _listed("The manifest in the manifest", '"smith": {"path": "smith.json"}', '"all": {"path": "manifest.json"}'),
    _listed("Two ids for one file", '"smith": {"path": "smith.json"}', '"hild": {"path": "smith.json"}'),
    _listed("Ids that differ in capital letters", '"smith": {"path": "smith.json"}', '"Smith": {"path": "baker.json"}'),
    _listed("A key that nobody knows, and one that is misspelt", _smith('"owner": "Ada", "tag": ["npc"]')),
    _listed("A hash that is none", _smith('"hash": "sha256:9f86"')),
    _listed("A hash in quotation marks that should be null", _smith('"hash": "null"')),
    _listed(
        "A hash of other bytes",
        _smith(f'"hash": "sha256:{"9f86d081" * 8}"'),
        note="Hashes are for releases. While you write, leave them out or null.",
    ),
    _listed("A temperature out of range", _smith('"temperature": 3')),
    _listed("No tokens at all", _smith('"max_tokens": 0')),
    _listed("Tags that are a text", _smith('"tags": "npc"')),
)

_FILES: tuple[Case, ...] = (
    Case("A file that is not there", {"manifest.json": _manifest('"smith": {"path": "smith.json"}')}),
    Case(
        "A path that is misspelt", {"manifest.json": _manifest('"smith": {"path": "smiht.json"}'), "smith.json": _SMITH}
    ),
    Case(
        "A file that is not listed",
        {
            "manifest.json": _manifest('"smith": {"path": "smith.json"}'),
            "smith.json": _SMITH,
            "old/baker.json": _BAKER,
        },
    ),
    Case(
        "A file that says it is another module",
        {
            "manifest.json": _manifest('"smith": {"path": "smith.json"}'),
            "smith.json": _full("baker"),
        },
    ),
    Case(
        "Two files with one id, without a manifest",
        dict.fromkeys(
            ("forge.json", "smith.json"),
            _full("smith"),
        ),
    ),
    _listed("A pickle", '"smith": {"path": "smith.pkl"}'),
)

_OF_LMS: tuple[Case, ...] = (
    _listed("A language model that only the server knows", _smith('"lm": "fast"')),
    _listed("A language model that there is not", _smith('"lm": "fats"'), how=_LMS),
    _listed("One whose name is near to none", _smith('"lm": "gpt"'), how=_LMS),
    _listed("More tokens than it allows", _smith('"lm": "fast", "max_tokens": 1000'), how=_LMS),
    _listed("More tokens than the usual one allows", _smith('"max_tokens": 1000'), how=_LMS),
    _listed("A higher temperature than a chosen one allows", _smith('"lm": "fast", "temperature": 1.5'), how=_LMS),
    _listed("A higher temperature than the usual one allows", _smith('"temperature": 1.5'), how=_LMS),
)


def _default(defaults: str, tags: str = '["npc"]') -> dict[str, str]:
    entry = f'"smith": {{"path": "npc/smith.json", "tags": {tags}}}'
    return {"manifest.json": _manifest(entry, more=f'  "defaults": {defaults},\n'), "npc/smith.json": _SMITH}


_FIELDS = '{"inputs": [{"name": "player_message"}], "outputs": [{"name": "response"}, {"name": "emotion"}]}'
_DEFAULTS: tuple[Case, ...] = (
    Case(
        "Which defaults are used",
        {**_default(f'{{"folders": {{"npc": {{"signature": {_FIELDS}}}}}}}')},
        note="No fault: `check` says what modules take that say nothing themselves.",
    ),
    Case("Both a signature and its name", _default(f'{{"signature": {_FIELDS}, "signature_name": "npc.dialogue"}}')),
    Case("Defaults that are a text", _default('"npc.dialogue"')),
    Case("Folders that are a text", _default('{"folders": "npc"}')),
    Case("A key that is misspelt", _default('{"folders": {"npc": {"signature_nam": "npc.dialogue"}}}')),
    Case("A way of answering that there is not", _default('{"tags": {"npc": {"predictor_type": "think"}}}')),
    Case(
        "Defaults for a folder and a tag that no module has",
        _default(
            '{"folders": {"ncp": {"predictor_type": "predict"}}, "tags": {"quest": {"predictor_type": "predict"}}}'
        ),
    ),
    Case("A folder that leads out", _default('{"folders": {"../npc": {"predictor_type": "predict"}}}')),
    Case("A signature without outputs", _default('{"signature": {"inputs": [], "outputs": []}}')),
    Case("A signature that only the game knows", _default('{"signature_name": "npc.dialogue"}')),
    Case("A signature that the game does not know", _default('{"signature_name": "npc.dialog"}'), _GAME),
    Case("A default of the game whose signature it does not have", _default("{}", '["quest"]'), _GAME),
)

GROUPS = (
    Group("The manifest as a whole", "`manifest.json` says which modules there are.", _WHOLE),
    Group("The entries of the manifest", "", _ENTRIES),
    Group("The files that the manifest lists", "", _FILES),
    Group("What an entry asks of the language model", "", _OF_LMS),
    Group("Defaults in the manifest", "What serves modules that name no signature.", _DEFAULTS),
)
