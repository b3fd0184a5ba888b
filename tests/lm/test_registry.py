"""Signatures that a game registers."""

from __future__ import annotations

from typing import Any, Literal

import dspy
import pytest

from dspyreload.errors import SignatureRefused
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.model.defaults import Scope
from dspyreload.model.module import FieldDefinition


def signature(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """Make a ``dspy.Signature`` class of field names and types."""
    fields = {name: (kind, dspy.InputField(desc=f"the {name}")) for name, kind in inputs.items()}
    fields |= {name: (kind, dspy.OutputField(desc=f"the {name}")) for name, kind in outputs.items()}
    return dspy.Signature(fields, "Say something.")


DIALOGUE = signature({"player_message": str}, {"response": str})


@pytest.fixture
def changed() -> list[str]:
    """What the registry said has changed."""
    return []


@pytest.fixture
def registry(changed: list[str]) -> SignatureRegistry:
    """A registry with nothing in it."""
    return SignatureRegistry(changed.append)


class TestWhatIsRead:
    def test_fields_keep_their_order_and_descriptions(self, registry: SignatureRegistry) -> None:
        """The definition of a registered class names its fields in its order, with what DSPy writes before each."""
        registry.register("npc", signature({"who": str, "message": str}, {"response": str, "mood": str}))
        definition = registry.registered()["npc"].definition
        assert definition.input_names() == ("who", "message")
        assert definition.output_names() == ("response", "mood")
        assert definition.inputs[0] == FieldDefinition(name="who", description="the who", prefix="Who:")

    @pytest.mark.parametrize(
        ("kind", "field_type"),
        [(str, "string"), (int, "int"), (float, "float"), (bool, "bool"), (list, "list"), (dict, "json")],
    )
    def test_python_types_are_field_types(self, registry: SignatureRegistry, kind: type, field_type: str) -> None:
        """Each Python type has the field type that a module file would give it."""
        registry.register("npc", signature({"message": kind}, {"response": kind}))
        definition = registry.registered()["npc"].definition
        assert definition.inputs[0].field_type == field_type
        assert definition.outputs[0].field_type == field_type

    @pytest.mark.parametrize("kind", [Any, dict[str, int], Literal["a", "b"]])
    def test_any_other_type_is_json(self, registry: SignatureRegistry, kind: Any) -> None:
        """A type that module files have no word for is ``json``."""
        registry.register("npc", signature({"message": kind}, {"response": str}))
        assert registry.registered()["npc"].definition.inputs[0].field_type == "json"

    def test_an_input_with_a_default_is_optional(self, registry: SignatureRegistry) -> None:
        """A call may leave out an input that has a default."""
        fields = {
            "message": (str, dspy.InputField()),
            "history": (str, dspy.InputField(default="")),
            "response": (str, dspy.OutputField()),
        }
        registry.register("npc", dspy.Signature(fields, "Talk."))
        message, history = registry.registered()["npc"].definition.inputs
        assert not message.optional
        assert history.optional

    @pytest.mark.parametrize("kind", [str | None, list[int] | None])
    def test_an_input_that_may_be_none_is_optional(self, registry: SignatureRegistry, kind: Any) -> None:
        """A call may leave out an input whose type allows None."""
        registry.register("npc", signature({"history": kind}, {"response": str}))
        assert registry.registered()["npc"].definition.inputs[0].optional

    def test_a_signature_of_text_is_a_signature(self, registry: SignatureRegistry) -> None:
        """DSPy's short form is registered like a class."""
        registry.register("npc", dspy.Signature("who, message -> response"))
        assert registry.registered()["npc"].definition.input_names() == ("who", "message")


class TestRegistering:
    def test_the_change_is_told_when_it_is_to_be_seen(self) -> None:
        """Whoever is told of a registration finds it."""
        seen: list[tuple[str, bool]] = []
        told = SignatureRegistry(lambda what: seen.append((what, told.contains("npc"))))
        told.register("npc", DIALOGUE)
        assert seen == [("signature npc", True)]

    def test_names_are_sorted(self, registry: SignatureRegistry) -> None:
        """``names`` lists what is registered, sorted."""
        for name in ("quest", "npc", "shop"):
            registry.register(name, DIALOGUE)
        assert registry.names() == ("npc", "quest", "shop")
        assert registry.contains("npc")
        assert "npc" in registry
        assert "smith" not in registry

    def test_a_second_registration_replaces_the_first(self, registry: SignatureRegistry, changed: list[str]) -> None:
        """The newest class under a name is the registered one, and the change is told."""
        registry.register("npc", DIALOGUE)
        registry.register("npc", signature({"question": str}, {"answer": str}))
        assert registry.names() == ("npc",)
        assert registry.registered()["npc"].definition.input_names() == ("question",)
        assert changed == ["signature npc", "signature npc"]

    def test_each_registration_has_its_own_token(self, registry: SignatureRegistry) -> None:
        """A version that was checked against an earlier registration still finds that class."""
        other = signature({"question": str}, {"answer": str})
        registry.register("npc", DIALOGUE)
        first = registry.registered()["npc"].token
        registry.register("npc", other)
        second = registry.registered()["npc"].token
        assert registry.signature_class(first) is DIALOGUE
        assert registry.signature_class(second) is other

    def test_the_registered_mapping_is_a_view_that_nobody_can_change(self, registry: SignatureRegistry) -> None:
        """``registered`` is read-only."""
        registry.register("npc", DIALOGUE)
        view: Any = registry.registered()
        with pytest.raises(TypeError):
            view["smith"] = view["npc"]


class TestRefusals:
    @pytest.mark.parametrize("name", ["", None, 3])
    def test_a_signature_needs_a_name(self, registry: SignatureRegistry, name: Any) -> None:
        """What is registered has a name, as text."""
        with pytest.raises(SignatureRefused, match="name"):
            registry.register(name, DIALOGUE)

    @pytest.mark.parametrize(
        "wrong",
        [None, "message -> response", int, object(), dspy.Predict("message -> response")],
        ids=["None", "text", "int", "object", "program"],
    )
    def test_only_signature_classes_are_registered(self, registry: SignatureRegistry, wrong: Any) -> None:
        """Anything else is refused, and the text says under which name."""
        with pytest.raises(SignatureRefused, match="'npc'"):
            registry.register("npc", wrong)

    def test_a_signature_without_outputs_is_refused(self, registry: SignatureRegistry) -> None:
        """A signature that gives nothing back is of no use."""
        with pytest.raises(SignatureRefused, match="no output"):
            registry.register("npc", signature({"message": str}, {}))

    @pytest.mark.parametrize(
        "name", ["demos", "config", "lm", "new_signature", "prediction", "completions", "instance"]
    )
    def test_an_input_that_predict_takes_for_itself_is_refused(self, registry: SignatureRegistry, name: str) -> None:
        """An input that DSPy's Predict would take as an argument of its own never reaches a call."""
        with pytest.raises(SignatureRefused, match=f"'{name}'"):
            registry.register("npc", signature({name: str}, {"response": str}))

    def test_a_refusal_changes_nothing(self, registry: SignatureRegistry, changed: list[str]) -> None:
        """What was registered before stays, and no change is told."""
        registry.register("npc", DIALOGUE)
        before = registry.registered()["npc"]
        with pytest.raises(SignatureRefused):
            registry.register("npc", int)
        assert registry.registered()["npc"] is before
        assert changed == ["signature npc"]


class TestDefaults:
    def test_the_change_is_told_when_it_is_to_be_seen(self) -> None:
        """Whoever is told finds it, under a token that was never there before."""
        seen: list[tuple[str, dict[Scope, str], str]] = []
        told = SignatureRegistry(lambda what: seen.append((what, told.defaults, told.defaults_token)))
        told.set_default("npc")
        told.set_default("npc")
        assert [(what, names) for what, names, _token in seen] == [("defaults", {("", ""): "npc"})] * 2
        assert len({"", *(token for _what, _names, token in seen)}) == 3

    def test_there_is_one_for_all_and_for_each_folder_and_tag(self, registry: SignatureRegistry) -> None:
        """The newest of each counts; the name need not be registered yet."""
        registry.set_default("all")
        registry.set_default("old", folder="npc")
        registry.set_default("older", folder="./npc")
        registry.set_default("folder", folder="/npc//")
        registry.set_default("deeper", folder="npc/town")
        registry.set_default("tag", tag="npc")
        assert registry.defaults == {
            ("", ""): "all", ("folder", "npc"): "folder", ("folder", "npc/town"): "deeper", ("tag", "npc"): "tag",
        }  # fmt: skip
        assert "all" not in registry

    def test_a_pass_keeps_those_that_it_began_with(self, registry: SignatureRegistry) -> None:
        """They are read on another thread: what is set meanwhile is another mapping."""
        registry.set_default("all")
        before = registry.defaults
        registry.set_default("tag", tag="npc")
        assert before == {("", ""): "all"}

    @pytest.mark.parametrize("name", ["", None, 3, DIALOGUE])
    def test_a_default_is_a_name(self, registry: SignatureRegistry, changed: list[str], name: Any) -> None:
        """A class is registered first; what is refused changes nothing."""
        with pytest.raises(SignatureRefused, match="name"):
            registry.set_default(name)
        assert (registry.defaults, registry.defaults_token, changed) == ({}, "", [])

    @pytest.mark.parametrize(
        "scope",
        [{"folder": "npc", "tag": "npc"}, *({"folder": folder} for folder in ("", "/", ".", "./", "../npc", "npc/.."))],
    )
    def test_it_is_for_one_thing_that_there_is(
        self, registry: SignatureRegistry, changed: list[str], scope: dict[str, str]
    ) -> None:
        """A folder or a tag; and no file is below a folder without a name."""
        with pytest.raises(SignatureRefused, match="'npc'"):
            registry.set_default("npc", **scope)
        assert (registry.defaults, registry.defaults_token, changed) == ({}, "", [])

    def test_another_thread_is_refused_before_anything_changes(self, changed: list[str]) -> None:
        """As it is for a registration."""

        def refuse() -> None:
            raise RuntimeError("another thread")

        registry = SignatureRegistry(changed.append, refuse)
        with pytest.raises(RuntimeError):
            registry.set_default("npc")
        assert (registry.defaults, changed) == ({}, [])
