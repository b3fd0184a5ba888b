"""Files of each format from a row of choices: mostly right, with something odd here and there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz.choices import Choices
from tests.fuzz.tree import Pairs, Raw, written

__all__ = ["DIGEST", "GRAMMARS", "ODD", "WORDS", "document"]

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

ODD: tuple[Any, ...] = tuple(map(Raw, (
    "null", "true", "false", "0", "-0", "-1", "1", "0.5", "1e3", "1.0", "-0.0", "1e308", "1e309", "1e-400", "NaN",
    "Infinity", "-Infinity", "9" * 18, "9" * 25, "9" * 310, "9" * 5000, "01", "+1", ".5", "1.", "0x1",
    "18446744073709551616",
    "[]", "{}", "[[]]", "[{}]", '{"a": {"a": 1}, "a": 2}', "[" * 300 + "]" * 300, "[" * 2000, '""', '" "', r'"\u0000"',
    r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\u003a"', r'"\u001b[31m"', '"\x7f"', '"\t"', r'"\x"',
    '"\u2028"',
    '"\u202e"', '"e\u0301"', '"\u00e9"', '"\u212b"', '"\u1e9e"', '"\u0130"', '"x\n"', "'a'", "//", "/*", "\ufeff", "",
    '"' + "long " * 50 + '"', '"..\\\\x"', '"/etc/passwd"', '"../x.json"', '"a/../b.json"', '"./a//b.json"', '"C:x"',
    '"manifest.json"', '"smith.md"', '"2025-11-24T10:30:00Z"', '"2025-13-01"', '"sha256:' + DIGEST + '"',
)))  # fmt: skip

WORDS: tuple[str, ...] = (
    "module_id", "predictor_type", "signature_name", "signature", "inputs", "outputs", "name", "description",
    "field_type", "instruction", "instruction_file", "include", "demos", "tool_enabled", "metadata", "optimizer",
    "optimized_at", "metric_score", "version", "fallback", "$schema", "predict", "chain_of_thought", "string", "json",
    "int", "float", "bool", "list", "player_message", "response", "emotion", "context", "available_tools", "tool_call",
    "reasoning", "conversation_history", "extra", "modules", "path", "hash", "tags", "program", "lm", "temperature",
    "max_tokens", "defaults", "folders", "traces", "train", "instructions", "fields", "prefix", "dependency_versions",
    "augmented", "config", "api_base", "forward", "plan", "plan.predict", "completed", "instance", "model_x", "_x",
    "about", "live", "versions", "parts", "contents", "entry", "number", "digest", "data", "default", "whose",
    "text", "bytes", "generation", "root", "manifest",
)  # fmt: skip

_TEXTS = ("Hello.", "a gruff smith", "x", "", "Grüß Gott\n", "annoyed", "1", "{}", 'say "a"')
_FIELDS = ("player_message", "response", "emotion", "reasoning", "context", "available_tools", "tool_call", "question")
_IDS = ("npc.smith", "quest", "NPC.Smith", "é", "e\u0301", "ß", "SS", "a", "it", "\u212b", "å", "plan")
_PATHS = ("npc/smith.json", "quest.json", "a/b/c.json", "npc//smith.json", "./quest.json", "NPC/smith.json", "x.json")
_TEXT_FILES = ("town.md", "../town.md", "base.json", "loop.json", "broken.json", "none.md", "empty.md", "it.json")

Part = Callable[[Choices], Any]


def document(reader: str, choices: Choices) -> bytes:
    """Return one file for a reader."""
    choices.calm_down()
    try:
        return written(GRAMMARS[reader](choices)).encode("utf-8", "surrogatepass")
    except ValueError:
        return b"["


def _object(choices: Choices, needed: Sequence[tuple[str, Part]], free: Sequence[tuple[str, Part]] = ()) -> Any:
    if choices.odd():
        return choices.pick(ODD)
    found = Pairs()
    for key, part in needed:
        if not choices.odd():
            found.append((key, _value(choices, part)))
    for key, part in free:
        if choices.seldom(3):
            found.append((key, _value(choices, part)))
    if choices.odd():
        found.append((choices.pick(WORDS), choices.pick(ODD)))
    if found and choices.odd():
        found.append(choices.pick(found))
    return found


def _value(choices: Choices, part: Part) -> Any:
    if choices.odd():
        return choices.pick(ODD)
    return part(choices)


def _some(part: Part, most: int = 3) -> Part:
    return lambda choices: [_value(choices, part) for _ in range(choices.below(most + 1))]


def _of(*items: Any) -> Part:
    return lambda choices: choices.pick(items)


def _or(good: Part, *wrong: Any) -> Part:
    return lambda choices: choices.pick(wrong) if choices.odd() else good(choices)


def _text(choices: Choices) -> Any:
    if choices.seldom(10):
        return choices.take(20).decode("utf-8", "replace")
    return choices.pick(_TEXTS)


def _any(choices: Choices) -> Any:
    return choices.pick((_text, _text, _of(*ODD), _some(_text), _of(1, 2.5, True, None)))(choices)


def _mapping(names: Sequence[str], part: Part, most: int = 3) -> Part:
    return lambda choices: Pairs((choices.pick(names), _value(choices, part)) for _ in range(choices.below(most + 1)))


def _field(choices: Choices) -> Any:
    kinds = _of("string", "json", "int", "float", "bool", "list")
    return _object(choices, [("name", _of(*_FIELDS))], [("description", _text), ("field_type", kinds)])


def _signature(choices: Choices) -> Any:
    if choices.seldom(2):
        return Pairs(
            (side, [Pairs([("name", name)]) for name in names])
            for side, names in (("inputs", ("player_message",)), ("outputs", ("response", "emotion")))
        )
    return _object(choices, [("inputs", _some(_field)), ("outputs", _some(_field))])


def _demo(choices: Choices) -> Any:
    if choices.seldom(2):
        said = Pairs([("response", "Mind the sparks."), ("emotion", "annoyed")][: 1 + choices.below(2)])
        return Pairs([("inputs", Pairs([("player_message", "Good day!")])), ("outputs", said)])
    return _object(choices, [("inputs", _mapping(_FIELDS, _any)), ("outputs", _mapping(_FIELDS, _any))])


def _metadata(choices: Choices) -> Any:
    times = _of("2025-11-24T10:30:00Z", "2025-11-24", "today", None)
    known = [("optimizer", _text), ("optimized_at", times), ("metric_score", _of(0.87, 1, None)), ("version", _text)]
    return _object(choices, [], [*known, ("town", _any), ("dependency_versions", _any)])


_KIND = _or(_of("predict", "chain_of_thought"), "react", "Predict")


def module(choices: Choices) -> Any:
    """Make a module's file."""
    names = _of("npc.dialogue", "npc.other", "")
    full = [("module_id", _of("npc.it", *_IDS)), ("predictor_type", _KIND), ("signature_name", names)]
    says = [("instruction", _text)] if not choices.seldom(4) else [("instruction_file", _of(*_TEXT_FILES))]
    free = [
        ("signature", _signature), ("demos", _some(_demo)), ("tool_enabled", _of(False, True)), ("metadata", _metadata),
        ("fallback", _some(_mapping(_FIELDS, _any))), ("include", _some(_of(*_TEXT_FILES))), ("$schema", _text),
    ]  # fmt: skip
    small = choices.seldom(2)
    return _object(choices, says if small else [*full, *says], [*free, *(full[1:] if small else [])])


def _predictor(choices: Choices, fields: Sequence[str] = ("Player Message:", "Response:")) -> Any:
    def row(prefix: str) -> Any:
        return _object(choices, [("prefix", _of(prefix)), ("description", _text)])

    def signature(_choices: Choices) -> Any:
        rows = [row(choices.pick((prefix, "Reasoning:")) if choices.seldom(16) else prefix) for prefix in fields]
        return _object(
            choices, [("instructions", _text), ("fields", lambda _c: rows[: len(rows) - choices.seldom(16)])]
        )

    demos = _some(_mapping(("player_message", "response", "reasoning", "augmented", "odd"), _any, 4))
    return _object(
        choices,
        [("traces", _of([])), ("train", _of([])), ("demos", demos), ("signature", signature), ("lm", _of(None))],
        [("fields", _of(Pairs(), None))],
    )


def state(choices: Choices) -> Any:
    """Make what DSPy's save() writes."""
    versions = _of(Pairs([("python", "3.11"), ("dspy", "3.4.1"), ("cloudpickle", "3.1")]))
    metadata = ("metadata", lambda c: _object(c, [("dependency_versions", versions)]))
    form = choices.below(3)
    thought = ("Player Message:", "Reasoning:", "Response:")
    if form == 0:
        bare = _predictor(choices)
        return Pairs([*bare, ("metadata", metadata[1](choices))]) if isinstance(bare, Pairs) else bare
    if form == 1:
        return _object(choices, [("predict", lambda c: _predictor(c, thought)), metadata])
    parts: list[tuple[str, Part]] = [("plan", _predictor), ("say.predict", lambda c: _predictor(c, thought))]
    return _object(choices, [*parts, metadata], [("memory", _of(Pairs()))])


def entry(choices: Choices) -> Any:
    """Make one entry of a manifest."""
    hashes = _or(_of(None, DIGEST, "sha256:" + DIGEST.upper()), "null", "sha256:" + DIGEST[:-1], DIGEST + "0")
    free = [
        ("hash", hashes), ("tags", _some(_of("npc", "quest", "é"))), ("program", _of("two", None)),
        ("signature_name", _of("npc.dialogue", None)), ("predictor_type", _KIND), ("lm", _of("small", None)),
        ("temperature", _or(_of(0, 0.7, 2, None), 2.1, -0.1)),
        ("max_tokens", _or(_of(1, 200, None), 0, 1.5)),
    ]  # fmt: skip
    return _object(choices, [("path", _of(*_PATHS))], free)


def _defaults(choices: Choices) -> Any:
    one = [("signature_name", _of("npc.dialogue", "")), ("signature", _signature), ("predictor_type", _KIND)]
    scoped = lambda c: _object(c, [], one)  # noqa: E731
    folders, tags = _mapping(("npc", "a/b", "./c/"), scoped), _mapping(("npc", "quest", ""), scoped)
    return _object(choices, [], [*one, ("folders", folders), ("tags", tags)])


def manifest(choices: Choices) -> Any:
    """Make a manifest."""
    some = _mapping(_IDS, entry, 4)

    def rows(_choices: Choices) -> Any:
        found = some(choices)
        if choices.odd():
            return found
        for index, (name, row) in enumerate(found):  # no id and no path twice
            if isinstance(row, Pairs) and row and row[0][0] == "path":
                row[0] = ("path", f"{index}/{row[0][1]}")
            found[index] = (f"{index}.{name}", row)
        return found

    version = _or(_of("1.0", "1"), "2.0", "one")
    return _object(choices, [("version", version), ("modules", rows)], [("defaults", _defaults)])


def kept(choices: Choices) -> Any:
    """Make the rows of a state file: see :mod:`tests.fuzz.kept`."""

    def row(_choices: Choices) -> Any:
        content = choices.pick((module, module, state))(choices)
        data = choices.pick((Pairs([("instruction", "Say so.")]), content))
        listed = Pairs([*entry(choices)]) if choices.seldom(2) else None
        return _object(
            choices,
            [
                ("module_id", _of(*_IDS)), ("path", _of(*_PATHS)), ("entry", _of(listed)), ("data", _of(data)),
                ("texts", _some(_text)),
            ],
            [("version", _text), ("digest", _text), ("number", _any)],
        )  # fmt: skip

    about = [("generation", _of(1, 7)), ("root", _of("12 34", "1")), ("manifest", manifest)]
    return _object(choices, [("live", _some(row))], about)


GRAMMARS: dict[str, Part] = {"module": module, "state": state, "manifest": manifest, "kept": kept}
