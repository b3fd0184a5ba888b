"""``dspyreload schema``: what it prints has an editor mark what a check would refuse, and nothing else."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from jsonschema import Draft7Validator

from dspyreload.__main__ import main
from dspyreload.model.manifest import MANIFEST
from tests.conftest import MODULE, Save
from tests.test_check_setup import Game, game

__all__ = ["game"]

Output = pytest.CaptureFixture[str]
Schema = Callable[..., Draft7Validator]

REGISTER = """
import dspy

def setup(engine):
    engine.signatures.register("npc.dialogue", dspy.Signature("player_message, mood: int -> response"))
"""
DEFAULT = REGISTER + '    engine.signatures.set_default("npc.dialogue")\n'


def full(**changes: Any) -> dict[str, Any]:
    """Return a module in full with changes; None deletes a key."""
    module = {**copy.deepcopy(MODULE), **changes}
    return {key: value for key, value in module.items() if value is not None}


def small(inputs: dict[str, Any], outputs: dict[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """Return a module with one demonstration, which names no signature."""
    demo = {"inputs": inputs, "outputs": outputs or {"response": "!"}}
    return {"instruction": "x", "demos": [demo], **more}


NAMED: dict[str, Any] = {"module_id": "m", "predictor_type": "predict", "signature_name": "npc.dialogue"}
GOOD: dict[str, dict[str, Any]] = {
    "the least": {"instruction": "x"},
    "a text of its own": {"instruction_file": "a.md", "$schema": "./.schemas/module.json"},
    "an include": {"instruction": "x", "include": ["a.md"]},
    "a demonstration": small({"player_message": "?"}),
    "a field that may be left out": small({"player_message": "?", "conversation_history": "..."}),
    "one that thinks": full(
        predictor_type="chain_of_thought",
        demos=[
            {"inputs": {"player_message": "?"}, "outputs": {"reasoning": "Hm.", "response": "!", "emotion": "calm"}},
        ],
    ),
    "in full": full(),
    "with everything": full(
        tool_enabled=False, fallback=[{"response": "Later.", "emotion": "calm"}],
        metadata={"optimizer": "x", "optimized_at": None, "metric_score": 0.5, "version": "1", "mine": [1]},
    ),
}  # fmt: skip
BAD: dict[str, Any] = {
    "no object": ["x"],
    "nothing to say": {},
    "a blank instruction": {"instruction": " \n"},
    "an instruction that is no text": {"instruction": 7},
    "two instructions": {"instruction": "x", "instruction_file": "a.md"},
    "a key that is misspelt": {"instruction": "x", "dmeos": []},
    "a file that is named without the others": {"instruction": "x", "module_id": "m"},
    "a type that there is not": full(predictor_type="guess"),
    "an include that is no list": {"instruction": "x", "include": "a.md"},
    "a demonstration without outputs": {"instruction": "x", "demos": [{"inputs": {"player_message": "?"}}]},
    "a demonstration that lacks a field": small({}),
    "a demonstration with a field too many": small({"player_message": "?", "mood": "?"}),
    "a field type that there is not": full(signature={"inputs": [], "outputs": [{"name": "a", "field_type": "text"}]}),
    "a score that is no number": full(metadata={"metric_score": "0.5"}),
    "a line with a field that there is not": {"instruction": "x", "fallback": [{"respone": "Later."}]},
}
GOOD_MANIFESTS: list[Any] = [
    {"modules": {}},
    {"version": "1.0", "modules": {"m": {"path": "m.json", "hash": None, "tags": ["npc"]}}},
    {"modules": {"m": {"path": "m.json", "hash": "0" * 64, "temperature": 2, "max_tokens": 1}}},
    {"modules": {"m": {"path": "m.json", "predictor_type": "predict", "signature_name": "x"}}},
    {
        "modules": {"m": {"path": "npc/m.json"}},
        "defaults": {"signature_name": "x", "folders": {"npc": {"predictor_type": "predict"}}},
    },
]
BAD_MANIFESTS: list[Any] = [
    {"version": "2.0", "modules": {}},
    {"modules": []},
    {"modules": {"m": "m.json"}},
    {"modules": {"m": {}}},
    {"modules": {"m": {"path": "/m.json"}}},
    {"modules": {"m": {"path": "npc\\m.json"}}},
    {"modules": {"m": {"path": "m.json", "hash": "beef"}}},
    {"modules": {"m": {"path": "m.json", "temperature": 2.5}}},
    {"modules": {"m": {"path": "m.json", "tag": []}}},
    {"modules": {}, "defaults": {"folders": {"npc": {"predictor_type": "guess"}}}},
]


@pytest.fixture
def schema(capsys: Output) -> Schema:
    """Run the command with options, and return what checks values against the schema that it prints."""

    def run(*options: str) -> Draft7Validator:
        capsys.readouterr()
        assert main(["schema", *options]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        printed = json.loads(out)
        Draft7Validator.check_schema(printed)
        return Draft7Validator(printed)

    return run


def finds(modules: Path, value: Any, capsys: Output, path: str = "m.json") -> bool:
    """Say whether a check has something against a file."""
    (modules / path).write_text(json.dumps(value))
    (modules / "a.md").write_text("A.")
    capsys.readouterr()
    main(["check", str(modules), "--json"])
    return any(remark["path"] == path for remark in json.loads(capsys.readouterr().out))


class TestModules:
    @pytest.mark.parametrize("options", [[], ["--of", "module"]])
    @pytest.mark.parametrize(
        ("value", "wrong"),
        [*(pytest.param(value, False, id=name) for name, value in GOOD.items()),
         *(pytest.param(value, True, id=name) for name, value in BAD.items())],
    )  # fmt: skip
    def test_it_says_what_a_check_says(
        self, modules: Path, capsys: Output, schema: Schema, value: Any, wrong: bool, options: list[str]
    ) -> None:
        """Good files have no mark in an editor, and bad ones have; in the schema of modules, and in that of both."""
        assert finds(modules, value, capsys) == wrong
        assert schema(*options).is_valid(value) == (not wrong)

    @pytest.mark.parametrize("options", [[], ["--of", "module"]])
    def test_what_dspy_saved_has_no_mark(self, modules: Path, schema: Schema, options: list[str]) -> None:
        """A check holds it against its program, which an editor does not know."""
        for program in (dspy.Predict("a -> b"), dspy.ChainOfThought("a -> b")):
            program.save(modules / "m.json")
            assert schema(*options).is_valid(json.loads((modules / "m.json").read_text()))

    @pytest.mark.parametrize("kind", ["module", "manifest"])
    def test_every_key_is_explained(self, schema: Schema, kind: str) -> None:
        """In words for writers, which an editor shows beside it."""
        name = {"module": "ModuleFile", "manifest": "EntryKeys"}[kind]
        keys = schema("--of", kind).schema["definitions"][name]["properties"]
        assert len(keys) > 8
        assert [key for key, value in keys.items() if key != "$schema" and not value.get("description")] == []


class TestManifests:
    @pytest.mark.parametrize("options", [[], ["--of", "manifest"]])
    @pytest.mark.parametrize(
        ("value", "wrong"), [*((value, False) for value in GOOD_MANIFESTS), *((value, True) for value in BAD_MANIFESTS)]
    )
    def test_it_says_what_a_check_says(
        self, modules: Path, save: Save, capsys: Output, schema: Schema, value: Any, wrong: bool, options: list[str]
    ) -> None:
        """Of the manifest itself: in its own schema, and in that of both."""
        assert finds(modules, value, capsys, MANIFEST) == wrong
        assert schema(*options).is_valid(value) == (not wrong)

    def test_a_manifest_is_no_module_and_a_module_no_manifest(self, schema: Schema) -> None:
        """Each schema refuses what the other is for."""
        assert not schema("--of", "module").is_valid({"modules": {}})
        assert not schema("--of", "manifest").is_valid({"instruction": "x"})

    def test_what_init_writes_has_no_mark(self, modules: Path, schema: Schema) -> None:
        """Neither its manifest nor its modules, whichever schema an editor has for them."""
        assert main(["init", str(modules), "--vscode"]) == 0
        for file in modules.rglob("[a-z]*.json"):
            if ".schemas" not in file.parts and ".vscode" not in file.parts:
                value = json.loads(file.read_text())
                kind = "manifest" if file.name == MANIFEST else "module"
                written = json.loads((modules / f".schemas/{kind}.json").read_text())
                assert [check.is_valid(value) for check in (Draft7Validator(written), schema())] == [True, True]


class TestWhatTheGameRegisters:
    def test_modules_that_name_a_signature_must_demonstrate_its_fields(self, schema: Schema, game: Game) -> None:
        """With their types; without the game nothing is known of them, and nothing is marked."""
        good = small({"player_message": "?", "mood": 3}, **NAMED)
        lacks, odd = (
            small({"player_message": "?"}, **NAMED),
            small({"player_message": "?", "mood": "3"}, **NAMED),
        )
        with_game = schema("--of", "module", "--setup", game(REGISTER))
        assert [with_game.is_valid(value) for value in (good, lacks, odd)] == [True, False, False]
        assert [schema("--of", "module").is_valid(value) for value in (good, lacks, odd)] == [True, True, True]
        other = {**lacks, "signature_name": "other"}
        assert with_game.is_valid(other)

    def test_a_default_of_the_game_may_serve_small_modules(self, schema: Schema, game: Game) -> None:
        """Beside the built-in one, since it may be for a folder; a third is marked still."""
        own, built_in, third = (
            small(inputs) for inputs in ({"player_message": "?", "mood": 3}, {"player_message": "?"}, {"x": 1})
        )
        with_game = schema("--of", "module", "--setup", game(DEFAULT))
        assert [with_game.is_valid(value) for value in (own, built_in, third)] == [True, True, False]

    def test_an_editor_offers_its_signatures_in_the_manifest(self, schema: Schema, game: Game) -> None:
        """By name."""
        found = schema("--of", "manifest", "--setup", game(REGISTER)).schema["definitions"]
        assert found["EntryKeys"]["properties"]["signature_name"]["examples"] == ["npc.dialogue"]

    def test_a_setup_that_fails_is_one_line(self, capsys: Output, game: Game) -> None:
        """And no schema is printed."""
        assert main(["schema", "--setup", game("def setup(engine): 1 / 0")]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), "ZeroDivisionError" in err) == ("", 1, True)


class TestADirectory:
    def test_the_defaults_of_its_manifest_may_serve_small_modules(
        self, modules: Path, save: Save, schema: Schema
    ) -> None:
        """For all, for a folder, for a tag: an editor does not know which, so each will do."""
        fields = {name: {"inputs": [{"name": name}], "outputs": [{"name": "response"}]} for name in "abc"}
        defaults = {
            "signature": fields["a"],
            "folders": {"npc": {"signature": fields["b"]}},
            "tags": {"quest": {"signature": fields["c"]}},
        }
        save(MANIFEST, json.dumps({"modules": {}, "defaults": defaults}))
        found = schema(str(modules), "--of", "module")
        assert [found.is_valid(small({name: "?"})) for name in "abcd"] == [True, True, True, False]
        assert [schema("--of", "module").is_valid(small({name: "?"})) for name in "abcd"] == [False] * 4

    def test_a_default_that_only_the_game_knows_allows_any_fields(
        self, modules: Path, save: Save, schema: Schema, game: Game
    ) -> None:
        """Until the game is named: then it is those."""
        save(MANIFEST, '{"modules": {}, "defaults": {"signature_name": "npc.dialogue"}}')
        options = (str(modules), "--of", "module")
        assert schema(*options).is_valid(small({"x": 1}))
        with_game = schema(*options, "--setup", game(REGISTER))
        assert [with_game.is_valid(small(given)) for given in ({"x": 1}, {"player_message": "?", "mood": 3})] == [
            False,
            True,
        ]

    def test_both_schemas_are_written_into_a_hidden_folder(self, modules: Path, capsys: Output, schema: Schema) -> None:
        """What would be printed; each path is a line, and a check takes none of it for a module."""
        assert main(["schema", str(modules), "--write"]) == 0
        paths = [modules / ".schemas" / name for name in ("module.json", "manifest.json")]
        assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
        for path in paths:
            assert json.loads(path.read_text()) == schema("--of", path.stem).schema
        assert main(["check", str(modules)]) == 0
        assert "0 modules checked" in capsys.readouterr().out

    def test_what_was_written_before_is_replaced(self, modules: Path, save: Save, capsys: Output, game: Game) -> None:
        """The game's signatures are in it now; nothing else lies there."""
        main(["schema", str(modules), "--write"])
        old = (modules / ".schemas" / "module.json").read_text()
        assert main(["schema", str(modules), "--write", "--setup", game(REGISTER)]) == 0
        assert (modules / ".schemas" / "module.json").read_text() != old
        assert sorted(os.listdir(modules / ".schemas")) == ["manifest.json", "module.json"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--write"], "schema --write needs DIR"),
            (["none", "--write"], "none is not there; correct its name, or make it with dspyreload init"),
            (["none"], "none is not there; correct its name, or make it with dspyreload init"),
            (["broken"], "manifest.json:1:2: the file ends too early"),
            (["broken", "--write"], "manifest.json:1:2: the file ends too early"),
        ],
    )
    def test_what_can_not_be_is_one_line(
        self, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
    ) -> None:
        """With exit status 1, and nothing is written."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / MANIFEST).write_text("{")
        assert main(["schema", *options]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"dspyreload: {words}")
        assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
            "broken",
            f"broken/{MANIFEST}",
        ]
