"""The language models of a server, from code and from a file: what is taken, and what an operator reads otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspyreload.errors import LMConfigInvalid
from dspyreload.lmconfig import LMSettings, check_keys, parse_lms, read_lm_config

pytestmark = pytest.mark.usefixtures("no_collection")  # nothing is finalized where the stack is used up

SECRET = "sk-live-1234"
MODEL = "openai/gpt-4o-mini"

Read = Callable[[str | bytes], dict[str, LMSettings]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Write ``lms.toml`` and read it, from its own directory."""
    monkeypatch.chdir(tmp_path)

    def write_and_read(text: str | bytes) -> dict[str, LMSettings]:
        Path("lms.toml").write_bytes(text.encode() if isinstance(text, str) else text)
        return read_lm_config("lms.toml")

    return write_and_read


def refused(call: Callable[[], object]) -> str:
    """Return the text of the refusal, which is one printable line."""
    with pytest.raises(LMConfigInvalid) as raised:
        call()
    text = str(raised.value)
    assert text.isprintable()
    return text


class TestSettings:
    def test_only_the_model_must_be_named(self) -> None:
        """Two retries, a temperature of two at most; all else is left to DSPy."""
        assert attrs.asdict(LMSettings(model=MODEL)) == {
            "model": MODEL,
            "api_base": None,
            "api_key_env": None,
            "max_tokens": None,
            "temperature": None,
            "max_temperature": 2.0,
            "timeout": None,
            "retries": 2,
            "concurrency": None,
        }

    @pytest.mark.parametrize(
        "good",
        [
            {"model": "demos"},
            {"api_base": "http://localhost:11434/v1"},
            {"api_base": "https://x.example/openai?api-version=2024-10-21"},
            {"api_key_env": "OPENAI_API_KEY"},
            {"api_key_env": "_K2"},
            {"max_tokens": 1},
            {"temperature": 0},
            {"temperature": 2.0},
            {"temperature": 1, "max_temperature": 1},
            {"temperature": 3, "max_temperature": 5.0},
            {"max_temperature": 0},
            {"timeout": 0.5},
            {"timeout": 30},
            {"retries": 0},
            {"concurrency": 1},
        ],
    )
    def test_the_edges_themselves_are_allowed(self, good: dict[str, Any]) -> None:
        """No retries, one token and the highest temperature are settings, and are kept as given."""
        settings = LMSettings(**{"model": MODEL, **good})
        assert {name: getattr(settings, name) for name in good} == good

    @pytest.mark.parametrize(
        ("bad", "text"),
        [
            ({"model": 5}, 'must be a text, such as model = "openai/gpt-4o-mini", not 5'),
            ({"model": ""}, "must be a name"),
            ({"model": " x"}, "without blanks around it"),
            ({"model": "a\nb"}, "must be a name"),
            ({"api_base": 5}, "must be an address such as http://localhost:11434/v1"),
            ({"api_base": ""}, "must be an address"),
            ({"api_base": "localhost:11434"}, "must be an address"),
            ({"api_base": "ftp://host"}, "must be an address"),
            ({"api_base": "http://"}, "must be an address"),
            ({"api_base": "http://[::1"}, "must be an address"),
            ({"api_base": "http://a b"}, "must be an address"),
            ({"api_base": f"https://me:{SECRET}@host/v1"}, "must hold no user name and no password"),
            ({"api_key_env": SECRET}, "(capital letters, digits and _), never the key itself"),
            ({"api_key_env": "gsk_abcdef"}, "must be the name of an environment variable, such as OPENAI_API_KEY"),
            ({"api_key_env": ""}, "must be the name of an environment variable"),
            ({"api_key_env": "A=B"}, "must be the name of an environment variable"),
            ({"api_key_env": "KEY\n"}, "must be the name of an environment variable"),
            ({"api_key_env": ["KEY"]}, "must be the name of an environment variable"),
            ({"max_tokens": 0}, "must be a whole number, 1 or more, not 0"),
            ({"max_tokens": 1.0}, "must be a whole number, 1 or more, not 1.0"),
            ({"max_tokens": True}, "must be a whole number, 1 or more, not true"),
            ({"max_tokens": "500"}, "must be a whole number, 1 or more, not a text"),
            ({"max_tokens": 16**5000}, "must be a whole number, 1 or more, not a number that large"),
            ({"temperature": -0.1}, "must be a number, 0 or more, not -0.1"),
            ({"temperature": float("nan")}, "must be a number, 0 or more, not nan"),
            ({"temperature": False}, "must be a number, 0 or more, not false"),
            ({"temperature": 2.5}, 'is 2.5, above "max_temperature", 2'),
            ({"max_temperature": float("inf")}, "must be a number, 0 or more, not inf"),
            ({"max_temperature": None}, "must be a number, 0 or more, not nothing"),
            ({"max_temperature": {}}, "must be a number, 0 or more, not a table"),
            ({"timeout": 0}, "must be a number of seconds, more than 0, not 0"),
            ({"timeout": [1]}, "must be a number of seconds, more than 0, not a list"),
            ({"retries": -1}, "must be a whole number, 0 or more, not -1"),
            ({"retries": None}, "must be a whole number, 0 or more, not nothing"),
            ({"concurrency": 0}, "must be a whole number, 1 or more, not 0"),
        ],
    )
    def test_a_setting_that_can_not_work_is_refused_by_name(self, bad: dict[str, Any], text: str) -> None:
        """The message names the setting and what it may be; a text that was given, it does not repeat."""
        (name,) = bad
        said = refused(lambda: LMSettings(**{"model": MODEL, **bad}))
        assert said.startswith(f'"{name}" ')
        assert said.endswith(text) or text in said
        assert SECRET not in said
        assert "gsk" not in said

    def test_settings_are_frozen_and_equal_by_value(self) -> None:
        """Nobody changes how a model is called behind a running server's back."""
        settings = LMSettings(model=MODEL)
        assert settings == LMSettings(model=MODEL)
        assert hash(settings) == hash(LMSettings(model=MODEL))
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            settings.retries = 5  # type: ignore[misc]
        with pytest.raises(TypeError):
            LMSettings(MODEL)  # type: ignore[call-arg]

    def test_the_repr_leaves_out_what_an_address_asks_with(self) -> None:
        """Some servers take the key as a part of the address; the setting keeps it, the repr does not show it."""
        settings = LMSettings(model=MODEL, api_base=f"https://host/v1?key={SECRET}")
        assert settings.api_base == f"https://host/v1?key={SECRET}"
        assert "api_base='https://host/v1'," in repr(settings)
        assert SECRET not in repr(settings)


class TestFromCode:
    def test_a_name_settings_and_a_mapping_are_the_same(self) -> None:
        """A model's name, its settings and a mapping of them each give settings."""
        settings = LMSettings(model=MODEL)
        found = parse_lms({"a": MODEL, "b": settings, "c": {"model": MODEL}, "d": MappingProxyType({"model": MODEL})})
        assert found == dict.fromkeys("abcd", settings)
        assert list(found) == ["a", "b", "c", "d"]

    def test_any_other_object_is_passed_through(self) -> None:
        """A ``dspy.LM`` of the game's own is the very object that was given."""
        own = object()
        assert parse_lms({"smart": own})["smart"] is own

    def test_no_language_model_at_all_is_allowed(self) -> None:
        """An engine may have none by name."""
        assert parse_lms({}) == {}

    @pytest.mark.parametrize("demos", ["demos", {"model": "demos"}, LMSettings(model="demos")])
    def test_demos_may_name_the_model_demos(self, demos: Any) -> None:
        """The name that means the demonstrations may be listed as what it is."""
        assert parse_lms({"demos": demos}) == {"demos": LMSettings(model="demos")}

    @pytest.mark.parametrize("other", [MODEL, {"model": MODEL}, object()])
    def test_demos_may_name_nothing_else(self, other: Any) -> None:
        """Who asks for ``demos`` gets the demonstrations, never a model that costs money."""
        said = refused(lambda: parse_lms({"demos": other}))
        assert said == 'lms: [demos] must have model = "demos"; give another model another name'

    @pytest.mark.parametrize(
        ("lms", "text"),
        [
            ([], "lms: must be a mapping of names to language models, not a list"),
            (MODEL, "lms: must be a mapping of names to language models, not a text"),
            ({5: MODEL}, "lms: the name of an LM must be a text, not 5"),
            ({"": MODEL}, 'lms: "" can\'t be the name of an LM; use letters, such as smart'),
            ({" ": MODEL}, 'lms: " " can\'t be the name of an LM; use letters, such as smart'),
            ({"a\x1b[2J": MODEL}, 'lms: "a\\u001b[2J" can\'t be the name of an LM; use letters, such as smart'),
            (
                {"openai/x": MODEL},
                'lms: "openai/x" can\'t be the name of an LM: with a / it is a model; use one such as smart',
            ),
            ({"model": MODEL}, 'lms: "model" is a setting and names no LM; an LM has a name, such as "smart"'),
            ({"api_key": SECRET}, 'lms: "api_key" is a setting and names no LM; an LM has a name, such as "smart"'),
            ({"smart": None}, "lms: [smart] must be a model's name, settings or a dspy.LM, not nothing"),
            ({"smart": 5}, "lms: [smart] must be a model's name, settings or a dspy.LM, not 5"),
            ({"smart": True}, "lms: [smart] must be a model's name, settings or a dspy.LM, not true"),
            ({"smart": [MODEL]}, "lms: [smart] must be a model's name, settings or a dspy.LM, not a list"),
            ({"smart": b"x"}, "lms: [smart] must be a model's name, settings or a dspy.LM, not bytes"),
            ({"smart": {1}}, "lms: [smart] must be a model's name, settings or a dspy.LM, not a set"),
            ({"smart": {}}, 'lms: [smart] needs "model", such as model = "openai/gpt-4o-mini"'),
            (
                {"smart": {"modle": MODEL}},
                'lms: [smart] has "modle", which is not known; did you mean "model"?',
            ),
            (
                {"smart": {"model": MODEL, "MAX_TOKEN": 5}},
                'lms: [smart] has "MAX_TOKEN", which is not known; did you mean "max_tokens"?',
            ),
            (
                {"smart": {"model": MODEL, "apikey": SECRET}},
                'lms: [smart] has "apikey", which is not known; did you mean "api_key_env"?',
            ),
            (
                {"smart": {"model": MODEL, "colour": "red"}},
                'lms: [smart] has "colour", which is not known; known are model, api_base, api_key_env, max_tokens, '
                "temperature, max_temperature, timeout, retries, concurrency",
            ),
            ({"smart": {"model": MODEL, 5: 5}}, 'lms: [smart] has "5", which is not known; known are model'),
            (
                {"smart": {"model": MODEL, "api_key": SECRET}},
                'lms: [smart] has "api_key", and a key does not belong here; '
                'put it into an environment variable and name that in "api_key_env"',
            ),
            (
                {"smart": {"model": MODEL, "retries": -1}},
                'lms: [smart] "retries" must be a whole number, 0 or more, not -1',
            ),
            ({"smart": ""}, 'lms: [smart] "model" must be a name'),
        ],
    )
    def test_what_can_not_work_is_refused_by_name(self, lms: Any, text: str) -> None:
        """The message names the language model and the setting, and never says a key."""
        said = refused(lambda: parse_lms(lms))
        assert said.startswith(text)
        assert SECRET not in said

    def test_a_long_name_is_cut(self) -> None:
        """A line of the log stays one that can be read."""
        assert len(refused(lambda: parse_lms({"x" * 10_000: 5}))) < 200
        assert len(refused(lambda: parse_lms({"x": {"y" * 10_000: 5}}))) < 300

    @given(st.dictionaries(st.text(max_size=8), st.dictionaries(st.text(max_size=8) | st.just("model"), st.integers())))
    def test_no_name_makes_two_lines(self, lms: dict[str, Any]) -> None:
        """Whatever the names hold, a refusal is one printable line."""
        if lms:  # no model is a number
            refused(lambda: parse_lms(lms))


class TestFromAFile:
    def test_each_table_is_a_language_model(self, read: Read) -> None:
        """The tables at the top level are the language models, in the file's order."""
        found = read(f"""
            [smart]
            model = "{MODEL}"
            api_key_env = "OPENAI_API_KEY"
            timeout = 20

            [local]
            model = "ollama_chat/llama3"
            api_base = "http://localhost:11434"
            concurrency = 2
        """)
        assert list(found.items()) == [
            ("smart", LMSettings(model=MODEL, api_key_env="OPENAI_API_KEY", timeout=20)),
            ("local", LMSettings(model="ollama_chat/llama3", api_base="http://localhost:11434", concurrency=2)),
        ]

    def test_below_lms_other_tables_are_let_be(self, read: Read) -> None:
        """A game may keep its own settings in the same file, once the language models stand below ``lms``."""
        found = read(f'title = "x"\n[lms.smart]\nmodel = "{MODEL}"\n[server]\nport = 4000\n')
        assert found == {"smart": LMSettings(model=MODEL)}

    def test_what_editors_add_does_no_harm(self, read: Read) -> None:
        """A byte order mark and Windows line ends are TOML to us."""
        assert read(f"\ufeff[smart]\r\nmodel = '{MODEL}'\r\n") == {"smart": LMSettings(model=MODEL)}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", 'lms.toml: holds no LM; one is a table such as [smart] with model = "openai/gpt-4o-mini"'),
            ("# nothing\n", "lms.toml: holds no LM"),
            ("[lms]\n", "lms.toml: holds no LM"),
            ("[smart]\nmodel = \n", "lms.toml, line 2, column 9: not TOML: invalid value"),
            ("[a]\n[a]\n", "lms.toml, line 2, column 3: not TOML: cannot declare ('a',) twice"),
            ("[smart", "lms.toml, at its end: not TOML: expected ']' at the end of a table declaration"),
            ("a = " + "[" * 100_000, "lms.toml: not TOML: brackets within brackets, too many of them"),
            ("a = " + "9" * 5_000, "lms.toml: not TOML: Exceeds the limit"),
            (b'[smart]\nmodel = "\xff"', "lms.toml, line 2: is not UTF-8"),
            (f'model = "{MODEL}"', 'lms.toml: "model" must be a table such as [smart], or stand in one; it is a text'),
            (f'api_key = "{SECRET}"', 'lms.toml: "api_key" must be a table such as [smart], or stand in one'),
            (f'smart = "{MODEL}"', 'lms.toml: "smart" must be a table such as [smart], or stand in one; it is a text'),
            (f'[[smart]]\nmodel = "{MODEL}"', 'lms.toml: "smart" must be a table such as [smart], or stand in one'),
            (f'[lms]\nmodel = "{MODEL}"', 'lms.toml: "model" must be a table such as [smart], or stand in one'),
            ("lms = 5", 'lms.toml: "lms" must hold tables such as [lms.smart], not 5'),
            (
                f'[lms.smart]\nmodel = "{MODEL}"\n[fast]\nmodel = "{MODEL}"',
                "lms.toml: [fast] stands beside [lms]; write [lms.fast]",
            ),
            ('[smart]\nmodle = "x"', 'lms.toml: [smart] has "modle", which is not known; did you mean "model"?'),
            ('["a\\nb"]\nmodel = "x"', 'lms.toml: "a\\nb" can\'t be the name of an LM'),
            ("[smart.fast]\nmodel = 'x'", 'lms.toml: [smart] has "fast", which is not known'),
            (
                f'[smart]\nmodel = "x"\napi_key_env = "{SECRET}"',
                'lms.toml: [smart] "api_key_env" must be the name of an environment variable',
            ),
            (
                "[smart]\nmodel = 'x'\ntimeout = 1979-05-27",
                'lms.toml: [smart] "timeout" must be a number of seconds, more than 0, not a date',
            ),
        ],
    )
    def test_a_fault_is_one_line_that_says_where(self, read: Read, text: str | bytes, said: str) -> None:
        """The file, the line or the table, and what is wrong there."""
        message = refused(lambda: read(text))
        assert message.startswith(said)
        assert SECRET not in message

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("none.toml", "none.toml: can't be read: No such file or directory; name another file"),
            (".", ".: can't be read: Is a directory; name another file"),
            ("a\0b", "a\\x00b: can't be read: embedded null byte; name another file"),
        ],
    )
    def test_a_file_that_can_not_be_read_is_named(self, path: str, said: str) -> None:
        """The operating system's reason follows the path."""
        assert refused(lambda: read_lm_config(path)) == said


class TestKeys:
    SMART = MappingProxyType({"smart": LMSettings(model=MODEL, api_key_env="OPENAI_API_KEY"), "own": object()})

    def test_a_key_that_is_set_is_enough(self) -> None:
        """A named variable with something in it passes, and so does what names none."""
        check_keys(self.SMART, {"OPENAI_API_KEY": SECRET})
        check_keys({"demos": LMSettings(model="demos"), "own": object()}, {})

    @pytest.mark.parametrize(
        ("environ", "state"),
        [({}, "is not set"), ({"OPENAI_API_KEY": ""}, "is empty"), ({"OPENAI_API_KEY": " \n"}, "is empty")],
    )
    def test_a_key_that_is_missing_is_named(self, environ: dict[str, str], state: str) -> None:
        """The message says which language model needs which variable."""
        said = refused(lambda: check_keys(self.SMART, environ, "lms.toml"))
        assert said == f"lms.toml: [smart] needs the environment variable OPENAI_API_KEY, which {state}"
