"""The settings are checked when they are made, and never change."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from dspyreload.config import HotReloadConfig, Limits


def test_the_defaults_are_the_documented_ones() -> None:
    """A tenth of a second of quiet, two seconds at most, a timer of ten, 4 MiB and 100,000 files."""
    assert attrs.asdict(HotReloadConfig()) == {
        "debounce": 0.1,
        "max_wait": 2.0,
        "rescan_interval": 10.0,
        "watch_manifest": True,
        "watch_extensions": (".json",),
        "polling": False,
        "max_file_size": 4 * 1024 * 1024,
        "max_files": 100_000,
        "strict": False,
    }


@pytest.mark.parametrize(
    "good",
    [
        {"debounce": 0},
        {"debounce": 1, "max_wait": 0},
        {"rescan_interval": 0.001},
        {"max_files": 1, "max_file_size": 1},
        {"polling": True, "watch_manifest": False},
    ],
)
def test_the_limits_themselves_are_allowed(good: dict[str, Any]) -> None:
    """No quiet window at all, and one file of one byte, are settings."""
    config = HotReloadConfig(**good)
    assert {name: getattr(config, name) for name in good} == good


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ({"debounce": -0.1}, ValueError),
        ({"debounce": "0.1"}, TypeError),
        ({"debounce": True}, TypeError),
        ({"debounce": None}, TypeError),
        ({"debounce": float("nan")}, (TypeError, ValueError)),
        ({"max_wait": float("inf")}, (TypeError, ValueError)),
        ({"max_wait": -1}, ValueError),
        ({"rescan_interval": 0}, ValueError),
        ({"rescan_interval": -1}, ValueError),
        ({"watch_manifest": 1}, TypeError),
        ({"polling": "yes"}, TypeError),
        ({"max_file_size": 0}, ValueError),
        ({"max_file_size": 1.5}, TypeError),
        ({"max_files": -1}, ValueError),
        ({"max_files": True}, TypeError),
        ({"watch_extensions": ".json"}, TypeError),
        ({"watch_extensions": [1]}, TypeError),
        ({"watch_extensions": None}, TypeError),
        ({"watch_extensions": ()}, ValueError),
        ({"watch_extensions": ("json",)}, ValueError),
        ({"watch_extensions": (".",)}, ValueError),
        ({"watch_extensions": (".a/b",)}, ValueError),
    ],
)
def test_a_setting_that_can_not_work_is_refused_by_name(
    bad: dict[str, Any], kind: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """The wrong kind is a TypeError and the wrong value a ValueError; a copy is checked as a new one is."""
    (name,) = bad
    with pytest.raises(kind) as made:
        HotReloadConfig(**bad)
    with pytest.raises(kind):
        HotReloadConfig().evolve(**bad)
    if bad[name] is not None:
        assert name in str(made.value)


@pytest.mark.parametrize("given", [[".json", ".JSON5"], (".JSON", ".json5")])
def test_endings_are_lower_case_whatever_holds_them(given: Any) -> None:
    """A list and a tuple give a tuple of lower-case endings."""
    assert HotReloadConfig(watch_extensions=given).watch_extensions == (".json", ".json5")


def test_a_copy_differs_in_what_was_changed() -> None:
    """The original keeps its value, and what is not a setting is refused."""
    config = HotReloadConfig(polling=True)
    copy = config.evolve(debounce=0.2)
    assert (copy.debounce, copy.polling, config.debounce) == (0.2, True, 0.1)
    with pytest.raises(TypeError):
        config.evolve(quiet=1)


def test_a_config_is_frozen_and_equal_by_value() -> None:
    """Nobody changes the settings of a running service behind its back."""
    config = HotReloadConfig()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.debounce = 1.0  # type: ignore[misc]
    assert config == HotReloadConfig()
    assert hash(config) == hash(HotReloadConfig())
    with pytest.raises(TypeError):
        HotReloadConfig(0.1)  # type: ignore[call-arg]


LIMITS = ("calls_per_minute", "module_calls_per_minute", "input_length", "tokens_per_hour", "key_tokens_per_hour")


def test_nothing_is_limited_by_default() -> None:
    """There are five limits, and each is off until a game sets it."""
    assert attrs.asdict(Limits()) == dict.fromkeys(LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_a_whole_number_of_one_or_more(name: str) -> None:
    """One is a limit; the wrong kind is a TypeError and the wrong value a ValueError, both by name."""
    assert getattr(Limits(**{name: 1}), name) == 1
    assert getattr(Limits(**{name: 1}).evolve(**{name: None}), name) is None
    for bad, kind in [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("20", TypeError), (True, TypeError)]:
        with pytest.raises(kind, match=f"^{name} must be"):
            Limits(**{name: bad})  # type: ignore[arg-type]
        with pytest.raises(kind, match=f"^{name} must be"):
            Limits().evolve(**{name: bad})


def test_limits_are_frozen_and_a_copy_differs_in_what_was_changed() -> None:
    """Limits are values: equal ones are equal, and only a copy differs."""
    limits = Limits(calls_per_minute=20)
    copy = limits.evolve(input_length=2_000)
    assert (copy.calls_per_minute, copy.input_length, limits.input_length) == (20, 2_000, None)
    assert hash(limits) == hash(Limits(calls_per_minute=20))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        limits.calls_per_minute = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        limits.evolve(calls=1)
    with pytest.raises(TypeError):
        Limits(20)  # type: ignore[call-arg]


def test_prose_makes_no_module() -> None:
    """Text files may be watched by their endings; what they hold is included, and never a module."""
    config = HotReloadConfig(watch_extensions=(".json", ".md", ".txt"))
    assert config.watch_extensions == (".json", ".md", ".txt")
    assert config.module_extensions == (".json",)
