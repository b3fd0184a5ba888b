"""What a module includes: texts and other modules' files, placed in order, each once, and named where one is wrong."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from dspyreload.disk.including import Source
from dspyreload.disk.judge import judge
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.registrations import NOTHING
from tests.conftest import Save


def module(instruction: str = "", *include: str, **more: Any) -> str:
    """Return the text of a small module, each include on a line of its own from line 2 on."""
    keys = {"instruction": instruction, **more} if instruction else more
    names = ",\n".join(json.dumps(name) for name in include)
    rest = f", {json.dumps(keys)[1:-1]}" if keys else ""
    return f'{{"include": [\n{names}]{rest}}}'


def judged(root: Path, path: str = "smith.json", limit: int = 10_000) -> Finding:
    return judge(path, Source(str(root), limit), module_id=None, entry=None, last_id=None, registrations=NOTHING)


def instruction(root: Path, path: str = "smith.json") -> str:
    """Return what a module says in the end; it is good."""
    found = judged(root, path)
    assert found.version is not None, found.fault
    return found.version.module().instruction


def fault(root: Path, path: str = "smith.json", kind: Kind = Kind.BROKEN) -> Fault:
    """Return the one fault of a module; it is not served."""
    found = judged(root, path)
    assert (found.kind, found.version, found.more) == (kind, None, ())
    assert found.fault is not None
    return found.fault


class TestOrder:
    def test_a_module_that_is_included_says_its_includes_its_file_and_its_instruction(
        self, modules: Path, save: Save
    ) -> None:
        """Each file's parts come in that order, in the place where it is included, each relative to its own folder."""
        save("smith.json", module("", "before.md", "lore/town.json", "after.md", instruction_file="smith.md"))
        save("lore/town.json", module("Town.", "../map.md", "sea.json"))
        save("lore/sea.json", module("", "deep.md", instruction_file="deep/sea.md"))
        for path in ("before.md", "after.md", "smith.md", "map.md", "lore/deep.md", "lore/deep/sea.md"):
            save(path, f"{path}\n")
        parts = ["before.md", "map.md", "lore/deep.md", "lore/deep/sea.md", "Town.", "after.md", "smith.md"]
        assert instruction(modules) == "\n\n".join(parts)

    def test_only_what_an_included_module_says_counts(self, modules: Path, save: Save) -> None:
        """Its demonstrations, its fields and what is odd about it stay its own."""
        demo = {"inputs": {"player_message": "?"}, "outputs": {"response": "!"}}
        save("smith.json", module("Smith.", "town.json"))
        save("town.json", module("Town.", demos=[demo], predictor_type="nonsense", mood=1))
        found = judged(modules)
        assert found.version is not None
        served = found.version.module()
        assert (served.instruction, served.demos, served.predictor_type) == ("Town.\n\nSmith.", (), "predict")
        assert found.warnings == ()

    @pytest.mark.parametrize("text", ['["no", "module"]', '"a text"', '{"places": ["inn"]}', "7"])
    def test_a_json_file_that_is_no_module_is_a_text(self, modules: Path, save: Save, text: str) -> None:
        """It is placed as it stands."""
        save("smith.json", module("Smith.", "facts.json"))
        save("facts.json", text)
        assert instruction(modules) == f"{text}\n\nSmith."

    @pytest.mark.parametrize("end", ["md", "txt", "JSON.md", "json5", "yaml"])
    def test_what_does_not_end_in_json_is_a_text_whatever_is_in_it(self, modules: Path, save: Save, end: str) -> None:
        """Nothing in it is followed."""
        save("smith.json", module("Smith.", f"town.{end}"))
        text = module("Town.", "none.md")
        save(f"town.{end}", text)
        assert instruction(modules) == f"{text}\n\nSmith."

    def test_what_is_empty_leaves_no_gap(self, modules: Path, save: Save) -> None:
        """Blank texts, and modules without a word of their own, add nothing."""
        save("smith.json", module("Smith.", "blank.md", "only.json", "wide.md"))
        save("blank.md", " \n\t\n")
        save("only.json", '{"include": []}')
        save("wide.md", "\n\n  Wide.  \n\n")
        assert instruction(modules) == "Wide.\n\nSmith."

    def test_without_a_word_in_any_file_it_is_a_fault(self, modules: Path, save: Save) -> None:
        """A module that says nothing at all is rejected where its last file is named."""
        save("smith.json", '{"include": ["a.md"],\n "instruction_file": "b.md"}')
        save("a.md", "")
        save("b.md", " ")
        found = fault(modules)
        assert (found.line, found.column) == (2, 22)
        assert "empty in all of its files" in found.message


class TestOnce:
    @pytest.mark.parametrize("includes", list(itertools.permutations(["a.json", "b.json", "town.md"])))
    def test_what_several_files_include_is_said_once(
        self, modules: Path, save: Save, includes: tuple[str, ...]
    ) -> None:
        """Whoever names it first places it; that another names it too is no fault, in whatever order they stand."""
        save("smith.json", module("Smith.", *includes))
        save("a.json", module("A.", "town.md"))
        save("b.json", module("B.", "town.md"))
        save("town.md", "Town.")
        said = instruction(modules).split("\n\n")
        assert sorted(said) == ["A.", "B.", "Smith.", "Town."]
        assert said.index("Town.") < min(said.index("A."), said.index("B."))

    def test_a_module_that_two_include_is_said_once(self, modules: Path, save: Save) -> None:
        """A whole branch that is shared is no circle."""
        save("smith.json", module("Smith.", "a.json", "b.json"))
        save("a.json", module("A.", "land.json"))
        save("b.json", module("B.", "land.json"))
        save("land.json", module("Land.", "town.md"))
        save("town.md", "Town.")
        assert instruction(modules) == "Town.\n\nLand.\n\nA.\n\nB.\n\nSmith."

    @pytest.mark.parametrize("first", ["town.md", "land.json"])
    def test_one_that_the_module_itself_names_twice_is_a_fault(self, modules: Path, save: Save, first: str) -> None:
        """The second mention is named, with what to do."""
        save("smith.json", module("Smith.", first, f"./{first}"))
        save("town.md", "Town.")
        save("land.json", module("Land."))
        assert fault(modules) == Fault(f'"./{first}" is included twice; delete one of them', 3, 1)


class TestCircles:
    @pytest.mark.parametrize(
        ("links", "message"),
        [
            ("smith", '"smith.json" includes itself; delete it from its own includes'),
            (
                "smith a",
                'the includes go round in a circle: "smith.json" includes "a.json", which includes "smith.json";'
                " delete one of them",
            ),
            (
                "smith a b",
                'the includes go round in a circle: "smith.json" includes "a.json", which includes "b.json",'
                ' which includes "smith.json"; delete one of them',
            ),
        ],
    )
    def test_a_circle_is_named_link_by_link(self, modules: Path, save: Save, links: str, message: str) -> None:
        """Of one, two and three files: who includes whom, at the include in the module's own file."""
        names = [f"{name}.json" for name in links.split()]
        for name, following in zip(names, [*names[1:], names[0]], strict=True):
            save(name, module("x", "own.md", following))
        save("own.md", "Own.")
        assert fault(modules) == Fault(message, 3, 1)

    @pytest.mark.parametrize("length", [1, 2, 3])
    def test_a_circle_further_down_is_named_without_what_leads_to_it(
        self, modules: Path, save: Save, length: int
    ) -> None:
        """Only the files that go round are named, and not the module, which includes them."""
        names = ["a.json", "b.json", "c.json"][:length]
        save("smith.json", module("Smith.", "a.json"))
        for name, following in zip(names, [*names[1:], names[0]], strict=True):
            save(name, module("x", following))
        found = fault(modules)
        assert (found.line, found.column) == (2, 1)
        assert [name for name in ("smith.json", "a.json", "b.json", "c.json") if name in found.message] == names

    def test_a_circle_through_links_comes_to_an_end(self, modules: Path, save: Save) -> None:
        """The same file under another name is another file, and still goes round."""
        save("smith.json", module("Smith.", "link.json"))
        (modules / "link.json").symlink_to("smith.json")
        assert '"link.json" includes itself' in fault(modules).message


class TestHoles:
    def test_a_hole_is_named_with_the_file_that_was_perhaps_meant(self, modules: Path, save: Save) -> None:
        """The fault stands at the include; the name that is near lies in the folder of the one that is missing."""
        save("smith.json", module("Smith.", "lore/twon.md"))
        save("lore/town.md", "Town.")
        assert fault(modules) == Fault('the file "lore/twon.md" is missing; did you mean "town.md"?', 2, 1)

    def test_where_no_name_is_near_it_says_what_to_do(self, modules: Path, save: Save) -> None:
        """Names that editors leave behind are not meant by anybody."""
        save("smith.json", module("Smith.", "town.md"))
        for name in ("town.md~", ".town.md", "town.md.bak"):
            save(name, "x")
        found = fault(modules)
        assert found.message == 'the file "town.md" is missing'
        assert found.mend.startswith("make it, or correct its name")

    def test_a_hole_in_a_file_that_is_included_names_that_file(self, modules: Path, save: Save) -> None:
        """It is missing for the file that names it, wherever that is included; the place is in the module's own."""
        save("smith.json", module("Smith.", "ok.md", "land.json"))
        save("ok.md", "Ok.")
        save("land.json", module("Land.", "lore/all.json"))
        save("lore/all.json", module("All.", "twon.md"))
        save("lore/town.md", "Town.")
        assert fault(modules) == Fault(
            'the file "lore/twon.md", which "lore/all.json" includes, is missing; did you mean "town.md"?', 3, 1
        )
        assert ("lore/twon.md", None) in judged(modules).stamps

    def test_the_file_that_names_a_hole_is_not_what_was_meant(self, modules: Path, save: Save) -> None:
        """Who followed that advice would make a circle."""
        save("smith.json", module("Smith.", "land.json"))
        save("land.json", module("Land.", "lands.json"))
        assert "did you mean" not in fault(modules).message
        save("smith.json", '{"instruction_file": "smith.md"}')
        assert "did you mean" not in fault(modules).message


class TestFaultsInside:
    @pytest.mark.parametrize(
        ("text", "where", "words"),
        [
            ('{"instruction": "Town.",\n}', "lore/town.json:1:24", "a comma too many"),
            ('{"instruction": "Town.",\n "include": [\n 7]}', "lore/town.json:3:2", "must be text, not a whole number"),
            ('{"instruction": ["Town."]}', "lore/town.json:1:17", '"instruction" must be text, not a list'),
            ('{"instruction": "a",\n "instruction": "b"}', "lore/town.json:2:2", "stands twice"),
            ("", "lore/town.json:1:1", "empty"),
        ],
    )
    def test_a_fault_in_an_included_module_has_its_own_line(
        self, modules: Path, save: Save, text: str, where: str, words: str
    ) -> None:
        """The message begins with "in", file, line and column; the place is where it is included."""
        save("smith.json", module("Smith.", "lore/town.json"))
        save("lore/town.json", text)
        found = fault(modules)
        assert (found.line, found.column) == (2, 1)
        assert found.message.startswith(f"in {where}: ")
        assert words in found.message

    def test_so_it_does_two_files_down(self, modules: Path, save: Save) -> None:
        """The file with the fault is named, not the one between."""
        save("smith.json", module("Smith.", "a.json"))
        save("a.json", module("A.", "b.json"))
        save("b.json", '{"instruction"\n: 1}')
        assert fault(modules).message == 'in b.json:2:3: "instruction" must be text, not a whole number'

    @pytest.mark.parametrize(
        ("name", "words"), [("../../secret.md", "leads out"), ("/etc/passwd", "is absolute"), ("a\\b.md", "backslash")]
    )
    def test_a_path_that_no_file_may_have_is_named_with_the_file_that_has_it(
        self, modules: Path, save: Save, name: str, words: str
    ) -> None:
        """The module's own line does not show it, so the message must say where it stands."""
        save("smith.json", module("Smith.", "lore/town.json"))
        save("lore/town.json", module("Town.", name))
        message = fault(modules).message
        assert words in message
        assert "lore/town.json" in message
