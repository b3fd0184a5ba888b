"""The language models that a server may use, by name: :class:`LMSettings`, from code or from a TOML file.

What holds here:

- A key is never a setting: a setting names the environment variable that holds it.
- No message shows a text that a setting was given, since that may be a key in the wrong place.
- Every fault is one line, and says the file, the table and the setting.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from dspyreload.errors import LMConfigInvalid

__all__ = ["LMSettings", "check_keys", "parse_lms", "read_lm_config"]

DEMOS = "demos"

_EXAMPLE = 'model = "openai/gpt-4o-mini"'
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")  # no lower case: many a key would pass as a name then
_TOML_PLACE = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)

Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def _model(_instance: object, _attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str):
        raise LMConfigInvalid(f'"model" must be a text, such as {_EXAMPLE}, not {_kind(value)}')
    if not value or not value.isprintable() or value != value.strip():
        raise LMConfigInvalid(f'"model" must be a name, such as {_EXAMPLE}, without blanks around it')


def _address(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good or parts is None:
        raise LMConfigInvalid(f'"{attribute.name}" must be an address such as http://localhost:11434/v1')
    if "@" in parts.netloc:
        raise LMConfigInvalid(f'"{attribute.name}" must hold no user name and no password')


def _variable(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise LMConfigInvalid(
            f'"{attribute.name}" must be the name of an environment variable, such as OPENAI_API_KEY '
            "(capital letters, digits and _), never the key itself"
        )


def _number(words: str, allowed: Callable[[Any], bool], kinds: tuple[type, ...] = (int, float)) -> Validator:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, kinds) or not _finite(value) or not allowed(value):
            raise LMConfigInvalid(f'"{attribute.name}" must be {words}, not {_kind(value)}')

    return check


def _whole(least: int) -> Validator:
    return _number(f"a whole number, {least} or more", lambda value: value >= least, (int,))


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _not_above(instance: LMSettings, _attribute: attrs.Attribute[Any], highest: float) -> None:
    if instance.temperature is not None and instance.temperature > highest:
        raise LMConfigInvalid(f'"temperature" is {instance.temperature:g}, above "max_temperature", {highest:g}')


def _without_query(address: str | None) -> str:
    return repr(address.partition("?")[0] if address is not None else None)  # some servers take a key there


_optional = attrs.validators.optional
_warmth = _number("a number, 0 or more", lambda value: value >= 0)


@attrs.frozen(kw_only=True)
class LMSettings:
    """How one language model is called. Frozen; what can't work raises :class:`~dspyreload.errors.LMConfigInvalid`.

    :param model: a name that ``dspy.LM`` takes, or ``"demos"``.
    :param api_base: the address of the server, where it is not the model's usual one.
    :param api_key_env: the name of the environment variable that holds the key; capital letters, digits and ``_``.
    :param max_tokens: of a reply; also the most that a manifest's entry may ask for.
    :param temperature: what is used where a manifest's entry asks for none.
    :param max_temperature: the most that a manifest's entry may ask for.
    :param timeout: seconds of one attempt.
    :param retries: how many attempts follow one that failed.
    :param concurrency: calls at once.
    """

    model: str = attrs.field(validator=_model)
    api_base: str | None = attrs.field(default=None, validator=_optional(_address), repr=_without_query)
    api_key_env: str | None = attrs.field(default=None, validator=_optional(_variable))
    max_tokens: int | None = attrs.field(default=None, validator=_optional(_whole(1)))
    temperature: float | None = attrs.field(default=None, validator=_optional(_warmth))
    max_temperature: float = attrs.field(default=2.0, validator=[_warmth, _not_above])
    timeout: float | None = attrs.field(
        default=None, validator=_optional(_number("a number of seconds, more than 0", lambda value: value > 0))
    )
    retries: int = attrs.field(default=2, validator=_whole(0))
    concurrency: int | None = attrs.field(default=None, validator=_optional(_whole(1)))


_KNOWN = tuple(field.name for field in attrs.fields(LMSettings))


def parse_lms(lms: Mapping[str, Any], where: str = "lms") -> dict[str, LMSettings | Any]:
    """Check language models by name.

    :param lms: each an :class:`LMSettings`, a mapping of its settings, a model's name, or any other object, such as a
        ``dspy.LM``, which is passed through.
    :param where: what the messages begin with.
    :raises LMConfigInvalid: at the first fault.
    """
    if not isinstance(lms, Mapping):
        raise LMConfigInvalid(f"{where}: must be a mapping of names to language models, not {_kind(lms)}")
    found: dict[str, LMSettings | Any] = {}
    for name, value in lms.items():
        _check_name(name, where)
        found[name] = lm = _settings(value, f"{where}: [{_shown(name)}]")
        if name == DEMOS and not (isinstance(lm, LMSettings) and lm.model == DEMOS):
            raise LMConfigInvalid(f'{where}: [{DEMOS}] must have model = "{DEMOS}"; give another model another name')
    return found


def read_lm_config(path: str) -> dict[str, LMSettings]:
    """Read language models from a TOML file: its tables, or, where it has a table ``lms``, those below that.

    :raises LMConfigInvalid: where it can't be read, is no TOML, holds no language model, or one has a fault.
    """
    where = _shown(path, 500)
    document = _toml(_text(path, where), where)
    tables = _tables(document, where)
    for name, value in tables.items():
        if not isinstance(value, dict):
            raise LMConfigInvalid(
                f"{where}: {_quoted(name)} must be a table such as [smart], or stand in one; it is {_kind(value)}"
            )
    if not tables:
        raise LMConfigInvalid(f"{where}: holds no LM; one is a table such as [smart] with {_EXAMPLE}")
    return parse_lms(tables, where)


def check_keys(lms: Mapping[str, Any], environ: Mapping[str, str], where: str = "lms") -> None:
    """Check that every key that is named is there.

    :param lms: what :func:`parse_lms` or :func:`read_lm_config` gave. ``environ``: such as ``os.environ``.
    :raises LMConfigInvalid: where a variable is not set or is empty.
    """
    for name, lm in lms.items():
        variable = lm.api_key_env if isinstance(lm, LMSettings) else None
        if variable is None or environ.get(variable, "").strip():
            continue
        state = "is empty" if variable in environ else "is not set"
        raise LMConfigInvalid(f"{where}: [{_shown(name)}] needs the environment variable {variable}, which {state}")


def _check_name(name: Any, where: str) -> None:
    if not isinstance(name, str):
        raise LMConfigInvalid(f"{where}: the name of an LM must be a text, not {_kind(name)}")
    if name in (*_KNOWN, "api_key"):
        raise LMConfigInvalid(f'{where}: "{name}" is a setting and names no LM; an LM has a name, such as "smart"')
    if not name.strip() or not name.isprintable():
        raise LMConfigInvalid(f"{where}: {_quoted(name)} can't be the name of an LM; use letters, such as smart")
    if "/" in name:
        raise LMConfigInvalid(
            f"{where}: {_quoted(name)} can't be the name of an LM: with a / it is a model; use one such as smart"
        )


def _settings(value: Any, where: str) -> Any:
    if isinstance(value, str):
        value = {"model": value}
    if isinstance(value, Mapping):
        return _from_mapping(value, where)
    if value is None or isinstance(value, (bool, int, float, bytes, list, tuple, set, frozenset)):
        raise LMConfigInvalid(f"{where} must be a model's name, settings or a dspy.LM, not {_kind(value)}")
    return value


def _from_mapping(settings: Mapping[Any, Any], where: str) -> LMSettings:
    for key in settings:
        if key == "api_key":
            raise LMConfigInvalid(
                f'{where} has "api_key", and a key does not belong here; '
                'put it into an environment variable and name that in "api_key_env"'
            )
        if key not in _KNOWN:
            near = difflib.get_close_matches(str(key).lower()[:60], _KNOWN, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(_KNOWN)}"
            raise LMConfigInvalid(f"{where} has {_quoted(str(key))}, which is not known; {hint}")
    if "model" not in settings:
        raise LMConfigInvalid(f'{where} needs "model", such as {_EXAMPLE}')
    try:
        return LMSettings(**settings)
    except LMConfigInvalid as error:
        raise LMConfigInvalid(f"{where} {error}") from None


def _text(path: str, where: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LMConfigInvalid(f"{where}: can't be read: {_shown(reason)}; name another file") from None
    try:
        return data.decode("utf-8-sig")  # some editors write a mark at the start, which TOML has not
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LMConfigInvalid(f"{where}, line {line}: is not UTF-8") from None


def _toml(text: str, where: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise LMConfigInvalid(f"{where}: not TOML: brackets within brackets, too many of them") from None
    except ValueError as error:
        place = _TOML_PLACE.fullmatch(str(error))
        what = _shown(place["what"] if place else str(error), 200)
        if place is None:
            raise LMConfigInvalid(f"{where}: not TOML: {what}") from None
        spot = f"line {place['line']}, column {place['column']}" if place["line"] else "at its end"
        raise LMConfigInvalid(f"{where}, {spot}: not TOML: {what[:1].lower()}{what[1:]}") from None


def _tables(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Return what should be the tables of LMs: a file with ``lms`` may hold other things beside it, but no LM."""
    if "lms" not in document:
        return document
    below = document["lms"]
    if not isinstance(below, dict):
        raise LMConfigInvalid(f'{where}: "lms" must hold tables such as [lms.smart], not {_kind(below)}')
    for name, value in document.items():
        if name != "lms" and isinstance(value, dict) and "model" in value:
            raise LMConfigInvalid(f"{where}: [{_shown(name)}] stands beside [lms]; write [lms.{_shown(name)}]")
    return below


_KINDS = ((str, "a text"), (Mapping, "a table"), ((list, tuple), "a list"), (bytes, "bytes"))


def _kind(value: Any) -> str:
    """Say what was given: a number itself, and of anything else its kind alone."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return _shown(repr(value), 30) if _finite(value) or isinstance(value, float) else "a number that large"
    return next((words for kind, words in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")


def _quoted(text: str) -> str:
    return _shown(json.dumps(text, ensure_ascii=False))


def _shown(text: str, limit: int = 60) -> str:
    """Make a text harmless for a terminal and a log line, and short."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
