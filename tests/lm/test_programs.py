"""Module versions become DSPy programs."""

from __future__ import annotations

import gc
import hashlib
import json
import weakref
from typing import Any

import dspy
import pytest

from dspyreload.lm.programs import Programs
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.snapshot import ModuleVersion
from tests.conftest import module_text
from tests.lm.conftest import make_programs


def version_of(text: str, **more: Any) -> ModuleVersion:
    """Make the version that a file with this text is."""
    data = text.encode()
    module_id = json.loads(text).get("module_id", "smith")
    version = hashlib.sha256(data).hexdigest()
    return ModuleVersion(module_id=module_id, path="smith.json", version=version, data=data, **more)


def one_field(side: str, **field: Any) -> str:
    """Return the text of a module that has this field among its inputs or outputs, beside a plain one."""
    signature: dict[str, Any] = {"inputs": [{"name": "message"}], "outputs": [{"name": "response"}]}
    signature[side].append({"name": "thing", **field})
    return module_text(signature=signature, demos=None)


@pytest.fixture
def signatures() -> SignatureRegistry:
    """A registry with nothing in it."""
    return SignatureRegistry(lambda name: None)


@pytest.fixture
def programs(signatures: SignatureRegistry) -> Programs:
    """Programs with none made yet."""
    return make_programs(signatures)


class TestOneProgramForAVersion:
    def test_it_is_made_once(self, programs: Programs) -> None:
        """A version has the same program at each call."""
        version = version_of(module_text())
        assert programs.program(version) is programs.program(version)

    def test_a_new_version_has_a_new_program(self, programs: Programs) -> None:
        """The old program is neither changed nor part of the new one."""
        old = programs.program(version_of(module_text(predictor_type="chain_of_thought")))
        state = json.dumps(old.runner.dump_state())
        new = programs.program(version_of(module_text(predictor_type="chain_of_thought", instruction="New words.")))
        assert new is not old
        assert new.runner.predict is not old.runner.predict
        assert json.dumps(old.runner.dump_state()) == state
        assert "New words." in json.dumps(new.runner.dump_state())

    def test_modules_have_programs_of_their_own(self, programs: Programs) -> None:
        """Two modules with one content share no predictor."""
        smith, bard = (programs.program(version_of(module_text(name))) for name in ("npc.smith", "npc.bard"))
        assert smith.runner is not bard.runner
        assert smith.runner.demos is not bard.runner.demos

    def test_the_program_of_a_replaced_version_is_freed(self, programs: Programs) -> None:
        """Nothing keeps an old program once a newer version was asked for."""
        old = weakref.ref(programs.program(version_of(module_text())))
        programs.program(version_of(module_text(instruction="New words.")))
        gc.collect()
        assert old() is None

    def test_hundreds_of_versions_make_good_programs(self, programs: Programs) -> None:
        """Programs are made from nothing each time: the three hundredth is as good as the first."""
        for number in range(300):
            program = programs.program(version_of(module_text(instruction=f"Words {number}.")))
        assert program.runner.signature.instructions == "Words 299."


class TestFromAFile:
    @pytest.mark.parametrize(
        ("predictor_type", "kind"), [("predict", dspy.Predict), ("chain_of_thought", dspy.ChainOfThought)]
    )
    def test_the_predictor_type_decides_how_it_runs(self, programs: Programs, predictor_type: str, kind: type) -> None:
        """Each predictor type is one of DSPy's modules."""
        assert type(programs.program(version_of(module_text(predictor_type=predictor_type))).runner) is kind

    @pytest.mark.parametrize("predictor_type", ["predict", "chain_of_thought"])
    def test_instruction_and_demonstrations_are_in_the_predictor(self, programs: Programs, predictor_type: str) -> None:
        """What the file says is what the predictor has; a demonstration is flat."""
        program = programs.program(version_of(module_text(predictor_type=predictor_type)))
        ((_name, predict),) = program.runner.named_predictors()
        assert predict.signature.instructions == "You are a smith."
        assert predict.demos == [
            {"player_message": "Good day!", "response": "Is it? Mind the sparks.", "emotion": "annoyed"}
        ]

    def test_instruction_files_and_includes_are_in_the_instruction(self, programs: Programs) -> None:
        """The texts that a version is made of stand before its own instruction, in order."""
        text = json.dumps({"include": ["rules.md", "town.md"], "instruction": "You are a smith."})
        program = programs.program(version_of(text, texts=(b"Be brief.\n", b"The town is Oak.\n")))
        assert program.runner.signature.instructions == "Be brief.\n\nThe town is Oak.\n\nYou are a smith."

    @pytest.mark.parametrize(
        ("field_type", "kind"),
        [("string", str), ("json", Any), ("int", int), ("float", float), ("bool", bool), ("list", list)],
    )
    def test_each_field_type_is_a_python_type(self, programs: Programs, field_type: str, kind: Any) -> None:
        """Inputs and outputs have the Python type of their field type."""
        for side in ("inputs", "outputs"):
            program = programs.program(version_of(one_field(side, field_type=field_type)))
            assert program.runner.signature.fields["thing"].annotation is kind

    @pytest.mark.parametrize("side", ["inputs", "outputs"])
    def test_descriptions_are_the_lms_to_read(self, programs: Programs, side: str) -> None:
        """A field's description is the one of DSPy's field."""
        program = programs.program(version_of(one_field(side, description="What it is")))
        assert program.runner.signature.fields["thing"].json_schema_extra["desc"] == "What it is"

    def test_all_inputs_of_an_own_block_are_required(self, programs: Programs) -> None:
        """A file can't make an input optional."""
        program = programs.program(version_of(one_field("inputs", optional=True)))
        assert program.inputs.names == ("message", "thing")
        assert program.inputs.required == ("message", "thing")

    def test_the_small_form_may_leave_the_conversation_out(self, programs: Programs) -> None:
        """The default signature asks for the player's message alone."""
        program = programs.program(version_of('{"instruction": "You are a smith."}'))
        assert program.inputs.names == ("player_message", "conversation_history")
        assert program.inputs.required == ("player_message",)
        assert tuple(program.runner.signature.output_fields) == ("response",)


class TestFromARegisteredSignature:
    FIELDS = (
        {
            "player_message": (str, dspy.InputField(desc="What was said")),
            "weather": (str, dspy.InputField(default="sunny")),
            "gold": (int | None, dspy.InputField()),
            "response": (str, dspy.OutputField()),
            "emotion": (str, dspy.OutputField()),
        },
        "The class's own words.",
    )

    def registered(self, signatures: SignatureRegistry, name: str = "npc.dialogue") -> str:
        """Register the class; returns the token."""
        signatures.register(name, dspy.Signature(*self.FIELDS))
        return signatures.registered()[name].token

    def test_its_optional_inputs_may_be_left_out(self, programs: Programs, signatures: SignatureRegistry) -> None:
        """Inputs with a default, or that may be None, are not required."""
        token = self.registered(signatures)
        program = programs.program(version_of(module_text(signature=None), registration=token))
        assert program.inputs.names == ("player_message", "weather", "gold")
        assert program.inputs.required == ("player_message",)

    def test_the_instruction_is_the_files(self, programs: Programs, signatures: SignatureRegistry) -> None:
        """The class gives the fields, the file the words; the game's class stays as it is."""
        token = self.registered(signatures)
        program = programs.program(version_of(module_text(signature=None), registration=token))
        assert program.runner.signature.instructions == "You are a smith."
        assert signatures.signature_class(token).instructions == "The class's own words."

    def test_a_registered_class_serves_before_the_files_block(
        self, programs: Programs, signatures: SignatureRegistry
    ) -> None:
        """Where a class is registered, the file's own block only has to name the same fields."""
        token = self.registered(signatures)
        program = programs.program(version_of(module_text(), registration=token))
        assert program.runner.signature.fields["player_message"].json_schema_extra["desc"] == "What was said"

    def test_the_manifest_may_name_the_signature(self, programs: Programs, signatures: SignatureRegistry) -> None:
        """A signature and a predictor type in the manifest's entry serve instead of the file's."""
        token = self.registered(signatures, "other")
        entry = ModuleEntry(path="smith.json", signature_name="other", predictor_type="chain_of_thought")
        program = programs.program(version_of(module_text(signature=None), registration=token, entry=entry))
        assert isinstance(program.runner, dspy.ChainOfThought)
        assert program.inputs.names == ("player_message", "weather", "gold")

    def test_a_version_keeps_the_registration_that_it_was_checked_against(
        self, programs: Programs, signatures: SignatureRegistry
    ) -> None:
        """A class that is registered anew serves when a pass has checked the module against it, not before."""
        version = version_of(module_text(signature=None), registration=self.registered(signatures))
        signatures.register("npc.dialogue", dspy.Signature("question -> response, emotion"))
        program = programs.program(version)
        assert tuple(program.runner.signature.input_fields) == ("player_message", "weather", "gold")
        assert program.inputs.names == ("player_message", "weather", "gold")
        assert program.inputs.required == ("player_message",)
