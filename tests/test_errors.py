"""Every exception is one of ours, and its text is what an operator reads."""

from __future__ import annotations

import pickle

import pytest

from dspyreload import errors
from dspyreload.errors import (
    DSPyNotInstalled,
    DSPyReloadError,
    EngineBusy,
    HotReloadFailed,
    InvokeTimeout,
    LimitExceeded,
    LMFailed,
    MaxIterationsReached,
    MissingInput,
    NoLM,
    OtherInputs,
    UnknownInput,
    UnknownModule,
)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_exception_has_the_one_root_and_says_what_it_is(name: str) -> None:
    """One except clause catches all of them, and each is described."""
    kind = getattr(errors, name)
    assert issubclass(kind, DSPyReloadError)
    assert kind.__doc__


def test_all_exceptions_are_named() -> None:
    """What the file defines and what it names are the same."""
    found = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, DSPyReloadError)
    }
    assert found == set(errors.__all__)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnknownModule("npc"), "no live module has the id 'npc'"),
        (UnknownModule("npc.smit", ["npc.smith", "bard"]), "the id 'npc.smit'; did you mean 'npc.smith'?"),
        (MissingInput("npc", ("a", "b")), "npc needs the input 'a', 'b'"),
        (UnknownInput("npc", ("c",), ("a", "b")), "npc has no input 'c'; its inputs are 'a', 'b'"),
        (HotReloadFailed("/srv/modules", "disk on fire"), "hot reload of /srv/modules failed: disk on fire"),
        (DSPyNotInstalled(), "pip install 'dspyreload[dspy]'"),
        (NoLM(), "no language model"),
        (LMFailed("npc", "demos", "no answer"), "npc: the LM demos failed: no answer"),
        (InvokeTimeout("npc", 2.50), "npc did not answer within 2.5 s"),
        (EngineBusy(256, 10_000), "256 calls run and 10,000 wait"),
        (LimitExceeded("npc", "calls_per_minute", "player:1 has made 3 calls"), "npc: player:1 has made 3 calls"),
        (MaxIterationsReached("npc", ()), "npc asked for tools 0 times"),
    ],
)
def test_the_text_says_what_and_where(error: Exception, text: str) -> None:
    """Names, reasons and what to do stand in the text itself."""
    assert text in str(error)


@pytest.mark.parametrize(
    ("error", "kind"), [(UnknownModule("npc"), KeyError), (InvokeTimeout("npc", 1.0), TimeoutError)]
)
def test_an_exception_is_what_python_calls_it(error: Exception, kind: type[Exception]) -> None:
    """An unknown module is a KeyError without the quotes of one, a timeout is a TimeoutError."""
    assert isinstance(error, kind)
    assert not str(error).startswith(("'", '"'))


def test_who_brings_other_inputs_is_told_of_both() -> None:
    """A call that has one too many and lacks another learns of both; the handlers of either error catch it."""
    error = OtherInputs("npc", ("c",), ("b",), ("a", "b"))
    assert isinstance(error, UnknownInput)
    assert isinstance(error, MissingInput)
    assert str(error) == "npc has no input 'c', and needs 'b'; its inputs are 'a', 'b'"
    assert (error.module_id, error.fields, error.missing, error.known) == ("npc", ("c",), ("b",), ("a", "b"))


def test_what_is_not_near_is_not_suggested() -> None:
    """A suggestion is made where one is near, and kept for programs."""
    assert UnknownModule("npc.smit", ["npc.smith"]).suggestion == "npc.smith"
    assert UnknownModule("npc.smith", ["tavern", "quest"]).suggestion is None
    assert "did you mean" not in str(UnknownModule("npc.smith", ["tavern"]))


def test_an_error_without_arguments_of_its_own_can_be_pickled() -> None:
    """A plain error crosses a process boundary with its text."""
    copied = pickle.loads(pickle.dumps(errors.ServiceStopped("stopped")))
    assert (type(copied), str(copied)) == (errors.ServiceStopped, "stopped")
