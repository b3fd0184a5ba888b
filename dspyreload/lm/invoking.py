"""One call: a module version, input fields and an LM → a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dspyreload.errors import (
    DSPyNotInstalled,
    DSPyReloadError,
    InvokeTimeout,
    LMFailed,
    MissingInput,
    NoLM,
    UnknownInput,
)
from dspyreload.lm.demos import NAME as DEMOS
from dspyreload.lm.demos import make_demos_lm
from dspyreload.lm.programs import Program, Programs
from dspyreload.lm.registry import SignatureRegistry
from dspyreload.lm.reply import Reply
from dspyreload.model.faults import shown
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Invoking"]


class Invoking:
    """Runs module versions. Everything here runs in the LM loop's thread."""

    def __init__(self, signatures: SignatureRegistry, lm: Any) -> None:
        self.lm = lm
        self._programs = Programs(signatures)
        self._dspy: Any = None
        self._made: dict[str, Any] = {}  # LMs that we made, by name: those we close

    async def warm(self) -> None:
        """Import DSPy and make the engine's LM, so that the first call need not wait for it."""
        dspy = await self._import()
        if self.lm is not None:
            self._lm(dspy, self.lm, "")

    async def invoke(
        self, version: ModuleVersion, generation: int, inputs: Mapping[str, Any], timeout: float | None, lm: Any
    ) -> Reply:
        """Run one call.

        :raises DSPyNotInstalled, NoLM, MissingInput, UnknownInput, InvokeTimeout, LMFailed: see there.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self._invoke(version, generation, inputs, lm)
        except TimeoutError:
            if limit.expired() and timeout is not None:
                raise InvokeTimeout(version.module_id, timeout) from None
            raise

    async def _invoke(self, version: ModuleVersion, generation: int, inputs: Mapping[str, Any], lm: Any) -> Reply:
        dspy = await self._import()
        program = self._programs.program(version)
        _check_inputs(version.module_id, program, inputs)
        name, model = self._lm(dspy, lm if lm is not None else self.lm, version.module_id)
        # No history and no trace: both would keep every player's words, in three places, for as long as we run. And no
        # warning of a type that is not the field's: it would write the words into the log.
        with dspy.context(lm=model, disable_history=True, trace=None, warn_on_type_mismatch=False):
            try:
                prediction = await program.predictor.acall(**inputs)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise LMFailed(version.module_id, name, "it cancelled its own call") from error
            except DSPyReloadError:
                raise
            except Exception as error:
                raise LMFailed(version.module_id, name, _reason(error)) from error
        return Reply(dict(prediction.items()), version.module_id, version.version, generation, name)

    async def _import(self) -> Any:
        """Import DSPy, which takes more than a second, beside the loop: other calls and time limits go on."""
        if self._dspy is None:
            self._dspy = await asyncio.to_thread(_dspy)
        return self._dspy

    def forget(self, module_ids: tuple[str, ...]) -> None:
        """Let go of what was made for modules that were replaced or are gone."""
        self._programs.forget(module_ids)

    async def close(self) -> None:
        """Close the LMs that were made here, each whatever the others do.

        :raises Exception: what the first of them raised that could not be closed.
        """
        made, self._made = self._made, {}
        outcomes = await asyncio.gather(*(lm.aclose() for lm in made.values()), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _lm(self, dspy: Any, lm: Any, module_id: str) -> tuple[str, Any]:
        if lm is None:
            lm = dspy.settings.lm
        if lm is None:
            raise NoLM
        if not isinstance(lm, str):
            return str(getattr(lm, "model", type(lm).__name__)), lm
        if lm not in self._made:
            try:
                # No cache: DSPy's would give every player the same answer, and write what they said to the disk.
                self._made[lm] = make_demos_lm() if lm == DEMOS else dspy.LM(lm, cache=False)
            except Exception as error:
                raise LMFailed(module_id, lm, _reason(error)) from error
        return lm, self._made[lm]


def _dspy() -> Any:
    try:
        import dspy
    except ModuleNotFoundError as error:
        if error.name != "dspy":
            raise
        raise DSPyNotInstalled from None
    return dspy


def _check_inputs(module_id: str, program: Program, inputs: Mapping[str, Any]) -> None:
    if unknown := tuple(name for name in inputs if name not in program.inputs):
        raise UnknownInput(module_id, unknown, program.inputs)
    if missing := tuple(name for name in program.required if name not in inputs):
        raise MissingInput(module_id, missing)


def _reason(error: BaseException) -> str:
    return shown(str(error) or type(error).__name__, 500)
