"""How a directory is watched: :class:`HotReloadConfig`. How much may be asked for: :class:`Limits`."""

from __future__ import annotations

import math
from typing import Any

import attrs

__all__ = ["HotReloadConfig", "Limits"]


_PROSE = (".md", ".txt", ".markdown")


def _seconds(allow_zero: bool) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise TypeError(f"{attribute.name} must be a number of seconds, not {value!r}")
        if value < 0 or (value == 0 and not allow_zero):
            raise ValueError(
                f"{attribute.name} must be {'0 or more' if allow_zero else 'more than 0'} seconds, not {value!r}"
            )

    return check


def _count(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{attribute.name} must be 1 or more, not {value!r}")


def _extensions(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"watch_extensions must be a list of endings such as ('.json',), not {value!r}")
    found = tuple(item.lower() for item in value)
    for item in found:
        if len(item) < 2 or not item.startswith(".") or "/" in item:
            raise ValueError(f"watch_extensions holds {item!r}; an ending looks like '.json'")
        if item in (".pkl", ".pickle"):
            raise ValueError(f"watch_extensions holds {item!r}; a pickle can run code, and is never read")
    if not found:
        raise ValueError("watch_extensions is empty: no file would ever be read")
    return found


@attrs.frozen(kw_only=True)
class HotReloadConfig:
    """The settings of a :class:`~dspyreload.HotReloadService`. Frozen; ``evolve`` makes a changed copy.

    :param debounce: seconds that changes must be silent before a pass starts (the quiet window).
    :param max_wait: seconds after which a pass starts even though changes go on (never less than ``debounce``).
    :param rescan_interval: seconds between the timer's passes over the whole tree.
    :param watch_manifest: whether a changed ``manifest.json`` is reloaded; if not, the first one read stays in force.
    :param watch_extensions: endings of the files that are modules, lower case, each with its dot. The texts that
        modules include are watched whatever their endings; ``.md`` and ``.txt`` may stand here, and make no module.
    :param polling: look at the tree every second instead of asking the kernel (network and shared file systems).
    :param max_file_size: bytes; a larger file is rejected before it is read.
    :param strict: reject files that group or world may write: who writes them decides what characters say.
    :param max_files: how many files are looked at; beyond it the rest is left out, with a message.
    """

    debounce: float = attrs.field(default=0.1, validator=_seconds(allow_zero=True))
    max_wait: float = attrs.field(default=2.0, validator=_seconds(allow_zero=True))
    rescan_interval: float = attrs.field(default=10.0, validator=_seconds(allow_zero=False))
    watch_manifest: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    watch_extensions: tuple[str, ...] = attrs.field(default=(".json",), converter=_extensions)
    polling: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    max_file_size: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    max_files: int = attrs.field(default=100_000, validator=_count)
    strict: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))

    @property
    def module_extensions(self) -> tuple[str, ...]:
        """The endings of modules: prose is never one, and only watched, as what modules include is in any case."""
        return tuple(ending for ending in self.watch_extensions if ending not in _PROSE)

    def evolve(self, **changes: Any) -> HotReloadConfig:
        """Return a copy with ``changes`` made, validated as a new one is.

        :raises TypeError, ValueError: where a change is not a field or not valid.
        """
        return attrs.evolve(self, **changes)


_limit = attrs.validators.optional(_count)


@attrs.frozen(kw_only=True)
class Limits:
    """How much may be asked for. Frozen; ``evolve`` makes a changed copy. None, the default of all, is no limit.

    A minute and an hour are the last 60 and 3,600 seconds. A key is what the game names with a call, such as a player.

    :param calls_per_minute: calls of one key.
    :param module_calls_per_minute: calls of one module.
    :param input_length: characters of one input field.
    :param tokens_per_hour: tokens of all calls; while fewer were spent, a call is let through, whatever it will cost.
    :param key_tokens_per_hour: tokens of one key, likewise.
    """

    calls_per_minute: int | None = attrs.field(default=None, validator=_limit)
    module_calls_per_minute: int | None = attrs.field(default=None, validator=_limit)
    input_length: int | None = attrs.field(default=None, validator=_limit)
    tokens_per_hour: int | None = attrs.field(default=None, validator=_limit)
    key_tokens_per_hour: int | None = attrs.field(default=None, validator=_limit)

    def evolve(self, **changes: Any) -> Limits:
        """Return a copy with ``changes`` made, validated as a new one is.

        :raises TypeError, ValueError: where a change is not a field or not valid.
        """
        return attrs.evolve(self, **changes)
