"""What a question is made of, for a version whose fields may be others than when it was asked: :class:`Questions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from dspyreload.commands.fields import HISTORY, Fields, typed_field
from dspyreload.commands.speech import spoken_first
from dspyreload.engine import DSPyEngine
from dspyreload.lm.reply import Reply
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.talk.leases import Lease

__all__ = ["Asked", "Questions"]

_MOST_TURNS = 40  # of the history: a language model reads only so much


@attrs.frozen
class Asked:
    """One question: to whom, what was typed, all input fields, and the hold on the version that answered it."""

    module_id: str
    text: str
    inputs: Mapping[str, Any]
    history: str
    lease: Lease
    version: str


class Questions:
    """Fills the fields of questions, and remembers what was said.

    :ivar fields: what was set.
    """

    def __init__(self, engine: DSPyEngine) -> None:
        self._engine = engine
        self.fields = Fields()
        self._said: list[tuple[str, str]] = []

    @property
    def history(self) -> str:
        """What was said so far, a line for each turn."""
        return "\n".join(f"{who}: {what}" for who, what in self._said)

    def forget(self) -> None:
        """Begin the conversation anew."""
        self._said = []

    def inputs(self, version: ModuleVersion, text: str, history: str, earlier: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a question for one version.

        :param text: what was typed.
        :param earlier: inputs of an earlier question, for fields that nothing else fills.
        :raises ValueError: where one is lacking, in words.
        """
        signature = self._engine.fields(version)
        filled, lacking = self.fields.fill(signature, version.module(), history)
        known = set(signature.input_names())
        kept = {name: value for name, value in earlier.items() if name in known and name != HISTORY}
        inputs = {**filled, **{name: value for name, value in kept.items() if name not in self.fields.values}}
        typed = typed_field(signature)
        if typed is not None and (text or typed not in inputs):
            inputs[typed] = text
        if missing := [name for name in lacking if name not in inputs]:
            raise ValueError("; ".join(f"it needs {name}: /set {name} ..." for name in missing))
        return inputs

    def takes_text(self, version: ModuleVersion) -> bool:
        """Say whether a version has an input for what is typed."""
        return typed_field(self._engine.fields(version)) is not None

    def remember(self, asked: Asked, reply: Reply) -> None:
        """Add a turn; of the same question asked again, the newest answer counts."""
        if not asked.text:
            return
        answer = next((str(value) for _name, value in spoken_first(reply)), "")
        last = [("Player", asked.text), (reply.module_id.rpartition(".")[2], answer)]
        if self._said[-2:-1] == last[:1]:
            del self._said[-2:]
        self._said = [*self._said, *last][-_MOST_TURNS:]
