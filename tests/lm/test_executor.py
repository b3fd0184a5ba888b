"""What DSPy runs in threads, and what of it is done at once."""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dspyreload.lm.executor import DaemonLoop


def named(module: str, name: str) -> Any:
    """Return a function of that name, which says on which thread it was called."""

    def function(*_arguments: object) -> int:
        return threading.get_ident()

    function.__module__, function.__name__ = module, name
    return function


PREPARE = named("dspy.clients.execution", "prepare")
PRICE = named("dspy.clients.execution", "_price_result")
PRICED = (None, None, None, "openai", None)  # lm, result, response, provider, request
PRICELESS = (None, None, None, None, None)


def is_at_once(function: Any, *arguments: object) -> bool:
    loop = DaemonLoop()
    try:
        return bool(loop.run_until_complete(asyncio.to_thread(function, *arguments)) == threading.get_ident())
    finally:
        loop.executor.shutdown()
        loop.close()


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """DSPy's list of prices, not read yet."""
    prices = SimpleNamespace(_data=None)
    monkeypatch.setitem(sys.modules, "dspy.clients.model_metadata", prices)
    return prices


def test_a_request_is_prepared_at_once() -> None:
    """It only computes; two switches of threads would cost more."""
    assert is_at_once(PREPARE)


def test_other_functions_run_in_a_thread() -> None:
    """Nobody knows how long they take."""
    assert not is_at_once(named("game", "prepare"), *PRICED)


def test_the_list_of_prices_is_read_in_a_thread(prices: SimpleNamespace) -> None:
    """It is read from a file, or from the network, with the first answer."""
    assert not is_at_once(PRICE, *PRICED)
    prices._data = {}
    assert is_at_once(PRICE, *PRICED)


def test_without_prices_it_is_always_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DSPy keeps its list otherwise, nothing is assumed."""
    monkeypatch.delitem(sys.modules, "dspy.clients.model_metadata", raising=False)
    assert not is_at_once(PRICE, *PRICED)


def test_what_has_no_price_needs_no_list(prices: SimpleNamespace) -> None:
    """A language model of the game's own."""
    assert is_at_once(PRICE, *PRICELESS)


def test_dspy_has_functions_of_these_names() -> None:
    """Else none of this does anything."""
    execution = pytest.importorskip("dspy.clients.execution")
    metadata = pytest.importorskip("dspy.clients.model_metadata")
    assert callable(execution.prepare)
    assert callable(execution._price_result)
    assert hasattr(metadata, "_data")
    names = execution._price_result.__code__.co_varnames
    assert names[:5] == ("lm", "result", "response", "provider", "request")
