"""What serves a module that names no signature: the manifest's word before the game's, the nearest before the wider."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from dspyreload.disk.placing import faults_of, warnings_of
from dspyreload.model.defaults import BUILT_IN, Default, Scope, effective_default
from dspyreload.model.faults import Fault, FaultError
from dspyreload.model.manifest import ModuleManifest, parse_manifest
from dspyreload.model.module import DEFAULT_SIGNATURE, FieldDefinition, SignatureDefinition
from dspyreload.model.module_file import parse_module
from dspyreload.model.snapshot import ModuleVersion

TALK = {"inputs": [{"name": "heard"}], "outputs": [{"name": "said"}]}
TALK_READ = SignatureDefinition(inputs=(FieldDefinition(name="heard"),), outputs=(FieldDefinition(name="said"),))
SMALL = b'{"instruction": "x"}'
OWN = json.dumps({"instruction": "x", "signature": TALK}).encode()

FOR_ALL = {"signature_name": "all"}
FOLDERS = {"npc": {"signature_name": "folder"}, "npc/town": {"signature_name": "deeper"}}
TAGS = {"quest": {"signature_name": "tag"}, "shop": {"signature_name": "other tag"}}
GAME: dict[Scope, str] = {("", ""): "game", ("folder", "npc"): "game folder", ("tag", "quest"): "game tag"}


def listed(defaults: Any, path: str = "npc/town/smith.json", *tags: str, **entry: Any) -> ModuleManifest:
    """Return a manifest with these ``defaults`` that lists one module, ``x``."""
    row = {"path": path, "tags": list(tags), **entry}
    return parse_manifest(json.dumps({"defaults": defaults, "modules": {"x": row}}).encode())


def default_of(
    manifest: ModuleManifest | None,
    names: dict[Scope, str] | None = None,
    path: str = "npc/town/smith.json",
    tags: tuple[str, ...] = (),
) -> Default:
    """Return what serves a file that says nothing, by the manifest and by what the game says."""
    entry = manifest["x"] if manifest is not None else None
    if entry is not None:
        path, tags = entry.path, entry.tags
    return effective_default(entry.default if entry is not None else None, names or {}, path, tags)


def taken(default: Default, data: bytes = SMALL, predictor_type: Any = None) -> Default | None:
    """Return what a module file takes of a default, as its version remembers it."""
    return parse_module(data, "x", predictor_type=predictor_type, default=default).default


class TestWhatCountsMost:
    @pytest.mark.parametrize(
        ("path", "tags", "name"),
        [
            ("npc/town/smith.json", ("quest",), "tag"),
            ("npc/town/smith.json", ("unknown", "shop", "quest"), "other tag"),
            ("npc/town/smith.json", (), "deeper"),
            ("npc/town/gate/guard.json", (), "deeper"),
            ("npc/village/smith.json", (), "folder"),
            ("npc/smith.json", ("unknown",), "folder"),
            ("npcs/smith.json", (), "all"),
            ("town/npc.json", (), "all"),
            ("npc.json", (), "all"),
        ],
    )
    def test_the_nearest_word_of_the_manifest_counts(self, path: str, tags: tuple[str, ...], name: str) -> None:
        """A tag, the first of the module's, before a deeper folder, before the one around it, before all."""
        manifest = listed({**FOR_ALL, "folders": FOLDERS, "tags": TAGS}, path, *tags)
        assert default_of(manifest, GAME).signature_name == name

    @pytest.mark.parametrize(
        ("path", "tags", "name"),
        [
            ("npc/town/smith.json", ("quest",), "game tag"),
            ("npc/town/smith.json", (), "game folder"),
            ("smith.json", (), "game"),
        ],
    )
    def test_so_does_the_games(self, path: str, tags: tuple[str, ...], name: str) -> None:
        """Where the manifest says nothing, or there is none."""
        assert default_of(None, GAME, path, tags).signature_name == name
        assert default_of(listed({}, path, *tags), GAME).signature_name == name

    def test_the_manifest_comes_before_the_game(self) -> None:
        """Even what it says for all before what the game says for a tag."""
        assert default_of(listed(FOR_ALL, "npc/a.json", "quest"), GAME).signature_name == "all"

    def test_without_either_it_is_a_conversation(self) -> None:
        """The default signature, answered at once."""
        assert default_of(None) == default_of(listed({"folders": {"quest": FOR_ALL}})) == BUILT_IN
        assert (BUILT_IN.signature, BUILT_IN.signature_name) == (DEFAULT_SIGNATURE, "")

    @pytest.mark.parametrize("defaults", [{}, {"folders": {"quest": FOR_ALL}}, {"tags": {"quest": {}}, "folders": {}}])
    def test_an_entry_of_which_nothing_is_said_is_as_it_was(self, defaults: Any) -> None:
        """What is said of a folder touches no entry elsewhere: a file that is broken there holds up no manifest."""
        assert listed(defaults)["x"] == parse_manifest(b'{"modules": {"x": {"path": "npc/town/smith.json"}}}')["x"]

    @pytest.mark.parametrize("folder", ["npc", "npc/", "/npc", "./npc", "npc/.", "npc//"])
    def test_a_folder_may_be_written_as_people_do(self, folder: str) -> None:
        """With a slash at its end, or a dot before it, it is the same folder."""
        assert default_of(listed({"folders": {folder: FOR_ALL}})).signature_name == "all"


class TestWhatIsLeftOpen:
    def test_a_predictor_type_alone_keeps_the_signature_of_the_next(self) -> None:
        """Each of the two is taken from the nearest that says it."""
        think = {"predictor_type": "chain_of_thought"}
        manifest = listed({**FOR_ALL, "tags": {"quest": think}}, "npc/a.json", "quest")
        found = default_of(manifest, GAME)
        assert (found.signature_name, found.predictor_type) == ("all", "chain_of_thought")
        found = default_of(listed({"folders": {"npc": think}}, "npc/a.json"), GAME)
        assert (found.signature_name, found.predictor_type) == ("game folder", "chain_of_thought")
        found = default_of(listed(think))
        assert (found.signature, found.predictor_type) == (DEFAULT_SIGNATURE, "chain_of_thought")

    def test_a_signature_alone_keeps_the_predictor_type_of_the_next(self) -> None:
        """Fields in a folder, and how to think from what is said for all."""
        manifest = listed({"predictor_type": "chain_of_thought", "folders": {"npc": {"signature": TALK}}})
        found = default_of(manifest)
        assert (found.signature, found.predictor_type) == (TALK_READ, "chain_of_thought")

    @pytest.mark.parametrize(("near", "wide"), [({"signature": TALK}, FOR_ALL), (FOR_ALL, {"signature": TALK})])
    def test_fields_and_a_name_are_never_mixed(self, near: dict[str, Any], wide: dict[str, Any]) -> None:
        """The nearer one replaces the other, whichever of the two it is."""
        found = default_of(listed({**wide, "folders": {"npc": near}}), GAME)
        assert found.signature_name == near.get("signature_name", "")
        assert (found.signature is None) == ("signature_name" in near)


class TestWhatAModuleTakes:
    def test_it_is_what_its_file_does_not_say(self) -> None:
        """The module has it, and its version remembers it, and no more than that."""
        default = default_of(listed({"signature": TALK, "predictor_type": "chain_of_thought"}))
        draft = parse_module(SMALL, "x", default=default)
        assert (draft.module.signature, draft.module.predictor_type) == (TALK_READ, "chain_of_thought")
        assert (draft.default, draft.borrowed) == (default, True)

    def test_one_that_says_all_takes_nothing(self) -> None:
        """The full form, and a small one with a signature where no predictor type is said."""
        full = {"module_id": "x", "predictor_type": "predict", "signature_name": "own", "instruction": "x"}
        default = default_of(listed({**FOR_ALL, "predictor_type": "chain_of_thought"}))
        draft = parse_module(json.dumps(full).encode(), "x", default=default)
        assert (draft.module.signature_name, draft.module.predictor_type) == ("own", "predict")
        assert (draft.default, draft.borrowed) == (None, False)
        assert taken(default_of(listed(FOR_ALL)), OWN) is None

    def test_of_the_predictor_type_it_takes_that_alone(self) -> None:
        """A file with fields of its own is the same version whatever the default signature becomes."""
        before = taken(default_of(listed({"predictor_type": "chain_of_thought", **FOR_ALL})), OWN)
        after = taken(default_of(listed({"predictor_type": "chain_of_thought", "signature": TALK})), OWN)
        assert before is not None
        assert after is not None
        assert before.predictor_type == "chain_of_thought"
        assert before == after
        assert '"all"' not in before.words()

    def test_of_the_signature_it_takes_that_alone(self) -> None:
        """Where its entry says how it thinks, a change of the default predictor type is none of the module."""
        before = taken(default_of(listed({**FOR_ALL, "predictor_type": "chain_of_thought"})), predictor_type="predict")
        after = taken(default_of(listed(FOR_ALL)), predictor_type="predict")
        assert before is not None
        assert before.signature_name == "all"
        assert before == after

    def test_a_version_is_decoded_with_what_it_took(self) -> None:
        """Long after the manifest has changed."""
        default = default_of(listed({"signature": TALK}))
        version = ModuleVersion(module_id="x", path="x.json", version="0", data=SMALL, default=default)
        assert version.module().signature == TALK_READ

    @pytest.mark.parametrize(
        ("said", "taken_of_it"),
        [
            ({"predictor_type": "predict"}, {"signature_name": "all"}),
            ({"signature_name": "own"}, {"predictor_type": "chain_of_thought"}),
        ],
    )
    def test_a_small_one_that_says_one_of_the_two_takes_the_other(self, said: Any, taken_of_it: Any) -> None:
        """And its version is the same whatever becomes of what it said itself."""
        default = default_of(listed({**FOR_ALL, "predictor_type": "chain_of_thought"}))
        found = taken(default, json.dumps({"instruction": "x", **said}).encode())
        assert found == Default(**taken_of_it, whose="the default of manifest.json")

    def test_it_is_no_work_for_the_garbage_collector(self) -> None:
        """Each of ten thousand modules may hold one that was put together for it."""
        found = taken(default_of(listed({"predictor_type": "chain_of_thought"})))
        assert found is not None
        assert not gc.is_tracked(found)


class TestWords:
    @pytest.mark.parametrize(
        ("default", "words"),
        [
            (BUILT_IN, "the default signature: the fields player_message, conversation_history → response"),
            (default_of(None, GAME, "a.json"), 'the game\'s default: the signature "game"'),
            (default_of(None, GAME, "npc/a.json"),
             'the game\'s default for the folder "npc": the signature "game folder"'),
            (
                default_of(listed({"tags": {"q": {"signature": TALK, "predictor_type": "predict"}}}, "a.json", "q")),
                'the default of manifest.json for the tag "q": the fields heard → said and "predict"',
            ),
        ],
    )  # fmt: skip
    def test_they_say_what_is_taken_and_from_whom(self, default: Default, words: str) -> None:
        """As ``check`` prints them after "takes"."""
        assert default.words() == words


def manifest_text(block: str) -> str:
    return '{"defaults": ' + block + ',\n "modules": {}}'


def at(text: str, part: str) -> tuple[int, int]:
    """Return line and column of the ``^`` in a part of a text that stands there once."""
    bare = part.replace("^", "")
    assert text.count(bare) == 1
    offset = text.index(bare) + part.index("^")
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


# fmt: off
FAULTS = [
    ("7", '"defaults" must be an object in { }, not a whole number', "^7", ""),
    ("null", '"defaults" must be an object in { }, not null', "^null", ""),
    ('{"folders":\n [1]}', '"defaults", "folders" must be an object in { }, not a list', "^[1]", ""),
    ('{"tags": null}', '"defaults", "tags" must be an object in { }, not null', "^null", ""),
    ('{"tags": {"q":\n  "x"}}', '"defaults", "tags", "q" must be an object in { }, not text', '^"x"', ""),
    ('{"signature_name": 5}', '"defaults", "signature_name" must be text, not a whole number', "^5",
     "put it in double quotes"),
    ('{"predictor_type": "think"}',
     '"defaults", "predictor_type" must be one of "predict", "chain_of_thought"', '^"think"', ""),
    ('{"folders": {"npc":\n {"predictor_type": "think"}}}',
     '"defaults", "folders", "npc", "predictor_type" must be one of "predict", "chain_of_thought"', '^"think"', ""),
    ('{"signature": {"inputs": []}}', '"defaults", "signature" lacks "outputs"', '^{"inputs"',
     'add "outputs" to it'),
    ('{"signature": {"inputs": [], "outputs": []}}', 'the signature has no "outputs"', '"outputs": ^[]',
     "name what the character answers"),
    ('{"tags": {"q": {"signature": {"inputs": [{"name": "a b"}],\n "outputs": [{"name": "said"}]}}}}',
     '"a b" can\'t name a field; use letters, digits and _, a letter first', '^"a b"', ""),
    ('{"tags": {"q": {"signature": {"inputs": [{"name": "said"}],\n "outputs": [{"name": "said"}]}}}}',
     'the signature has two fields "said"; rename or delete one', '"outputs": [{"name": ^"said"', ""),
    ('{"signature_name": "a",\n "signature": {"inputs": [], "outputs": [{"name": "said"}]}}',
     '"signature" and "signature_name" are both given; delete one', '^"signature_name"', ""),
    ('{"tags": {"q": {"signature": {"inputs": [], "outputs": [{"name": "said"}]}, "signature_name": "a"}}}',
     '"signature" and "signature_name" are both given; delete one', '^"signature_name"', ""),
]
# fmt: on


def oddities(text: str) -> tuple[Fault, ...]:
    return warnings_of(parse_manifest(text.encode()).warnings, text.encode())


class TestOnesThatNobodyTakes:
    TEXT = """{"defaults": {
        "folders": {"npc": {"signature_name": "a"}, "npc/twon": {"signature_name": "b"}, "x": {"signature_name": "c"}},
        "tags": {"quest": {"signature_name": "d"}, "qest": {"signature_name": "e"}, "y": {"signature_name": "f"}}},
      "modules": {"smith": {"path": "npc/town/smith.json", "tags": ["quest"]}}}"""

    def test_a_folder_and_a_tag_that_no_entry_has_are_warned_of(self) -> None:
        """At their names, with what was perhaps meant; a folder around others is one that they have."""
        delete = "delete it, or correct the name"
        assert oddities(self.TEXT) == (
            Fault('no listed module lies in the folder "npc/twon"; did you mean "npc/town"?',
                  *at(self.TEXT, '^"npc/twon"')),
            Fault('no listed module lies in the folder "x"', *at(self.TEXT, '^"x"'), delete),
            Fault('no listed module has the tag "qest"; did you mean "quest"?', *at(self.TEXT, '^"qest"')),
            Fault('no listed module has the tag "y"', *at(self.TEXT, '^"y"'), delete),
        )  # fmt: skip

    @pytest.mark.parametrize("folder", ["npc/", "./npc", "/npc//"])
    def test_so_it_is_however_a_folder_is_written(self, folder: str) -> None:
        """The warning stands at the name as it is in the file."""
        text = manifest_text('{\n"folders": {\n' + json.dumps(folder) + ': {"signature_name": "a"}}}')
        (found,) = oddities(text)
        assert (found.message, found.line, found.column) == ('no listed module lies in the folder "npc"', 3, 1)

    def test_one_that_says_nothing_is_left_in_peace(self) -> None:
        """There is nothing to take."""
        assert oddities(manifest_text('{"folders": {"npc": {}}, "tags": {"q": {}}}')) == ()


class TestWhatIsWrong:
    @pytest.mark.parametrize(("block", "message", "where", "mend"), FAULTS)
    def test_each_fault_stands_where_it_is(self, block: str, message: str, where: str, mend: str) -> None:
        """With what to do about it; the whole manifest is refused."""
        text = manifest_text(block)
        with pytest.raises(FaultError) as raised:
            parse_manifest(text.encode())
        assert faults_of(raised.value, text.encode()) == (Fault(message, *at(text, where), mend),)

    def test_all_of_them_come_at_once(self) -> None:
        """Those of the defaults, in their order, then those of the modules."""
        text = '{"defaults": {"predictor_type": 1, "folders": {"a": 2}, "tags": {"q": 3}}, "modules": {"x": 4}}'
        with pytest.raises(FaultError) as raised:
            parse_manifest(text.encode())
        columns = [fault.column for fault in faults_of(raised.value, text.encode())]
        assert columns == [text.index(f": {number}") + 3 for number in (1, 2, 3, 4)]

    @pytest.mark.parametrize("folder", ["", "/", ".", "../npc"])
    def test_a_folder_that_is_none_is_not_passed_over(self, folder: str) -> None:
        """No file is below it: somebody would wait for ever for what it says."""
        text = manifest_text(json.dumps({"folders": {folder: FOR_ALL}}))
        with pytest.raises(FaultError) as raised:
            parse_manifest(text.encode())
        (fault,) = faults_of(raised.value, text.encode())
        assert (fault.line, fault.column) == at(text, "^" + json.dumps(folder))

    @pytest.mark.parametrize(
        ("block", "where", "message", "mend"),
        [
            ('{"signatur_name": "a"}', '^"sig', '"signatur_name" is not known and is ignored; did you mean'
             ' "signature_name"?', ""),
            ('{"folder": {}}', '^"folder"', '"folder" is not known and is ignored; did you mean "folders"?', ""),
            ('{"tags": {"q": {\n "lm": "big"}}}', '^"lm"', '"lm" is not known and is ignored',
             "delete it, or correct it"),
            ('{"tags": {"q": {\n "folders": {}}}}', '^"folders"', '"folders" is not known and is ignored',
             "delete it, or correct it"),
        ],
    )  # fmt: skip
    def test_an_unknown_key_is_a_warning(self, block: str, where: str, message: str, mend: str) -> None:
        """At its place, with what was perhaps meant; a folder or a tag has no folders of its own."""
        text = manifest_text(block)
        found = parse_manifest(text.encode())
        assert warnings_of(found.warnings, text.encode()) == (Fault(message, *at(text, where), mend),)
