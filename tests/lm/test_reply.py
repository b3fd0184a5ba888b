"""What an invocation gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from dspyreload.lm.reply import Reply

VERSION = "0f" * 32


@pytest.fixture
def reply() -> Reply:
    """The answer of a smith."""
    return Reply({"response": "Aye.", "emotion": "gruff"}, "npc.smith", VERSION, 3, "demos")


def test_a_reply_is_a_mapping_of_the_output_fields(reply: Reply) -> None:
    """Its items are the output fields, in order, and nothing else."""
    assert isinstance(reply, Mapping)
    assert reply["response"] == "Aye."
    assert list(reply) == ["response", "emotion"]
    assert len(reply) == 2
    assert {**reply} == {"response": "Aye.", "emotion": "gruff"}
    assert "emotion" in reply
    assert reply.get("module_id") is None


def test_a_field_that_is_not_there_is_a_key_error(reply: Reply) -> None:
    """A reply has no field that the signature has not."""
    with pytest.raises(KeyError):
        reply["mood"]


def test_a_reply_is_stamped_with_what_gave_it(reply: Reply) -> None:
    """Module id, version, generation and LM stand beside the fields."""
    assert (reply.module_id, reply.version, reply.generation, reply.lm) == ("npc.smith", VERSION, 3, "demos")


def test_fields_named_like_stamps_do_not_hide_them() -> None:
    """An output field may be named ``version``: the item is the field, the attribute the stamp."""
    reply = Reply({"version": "old", "lm": "steam"}, "npc.smith", VERSION, 1, "demos")
    assert reply["version"] == "old"
    assert reply.version == VERSION
    assert reply["lm"] == "steam"
    assert reply.lm == "demos"


def test_a_reply_does_not_change(reply: Reply) -> None:
    """Neither its fields nor its stamps can be assigned."""
    changeable: Any = reply
    with pytest.raises(TypeError):
        changeable["response"] = "Nay."
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        changeable.generation = 4
