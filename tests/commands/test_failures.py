"""Why a language model gave no answer: one line in a writer's words, with what to do."""

from __future__ import annotations

import pytest

from dspyreload.commands.failures import failure_words
from dspyreload.lm.demos import NAME as DEMOS

OPENAI = "openai/gpt-4o-mini"


def test_a_key_that_is_not_set_is_told_with_the_line_to_type() -> None:
    """Whatever stands around it, and whosever key it is."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        reason = f"AuthenticationError: no api_key. Set {name} in the environment, or pass it.\nTraceback: ..."
        assert failure_words(OPENAI, reason) == (
            f"no key is set: type  export {name}=...  in this terminal, then begin again"
        )


@pytest.mark.parametrize(
    ("lm", "reason"),
    [
        ("gpt-4o-mini", "litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider"),
        ("opnai/gpt-4o", "LLM Provider NOT provided."),
        ("gpt-4o-mini", "There is no such provider: gpt-4o-mini"),
    ],
)
def test_a_name_of_no_provider_is_told_with_how_names_look(lm: str, reason: str) -> None:
    assert failure_words(lm, reason) == (
        f"{lm} names no provider that is known; a name has two parts, such as openai/gpt-4o-mini"
    )


def test_where_the_name_is_not_known_it_is_still_the_name_that_is_wrong() -> None:
    assert failure_words("", "LLM Provider NOT provided.").startswith("its name names no provider")


def test_a_provider_that_is_only_mentioned_is_not_the_fault_of_the_name() -> None:
    """A name of two parts has one; the demonstrations have none."""
    for lm in (OPENAI, DEMOS, ""):
        assert failure_words(lm, "the provider is overloaded") == "the provider is overloaded"


@pytest.mark.parametrize(
    "reason",
    [
        "APIConnectionError: [Errno 111] Connect call failed ('127.0.0.1', 11434)",
        "InternalServerError: OllamaException - [Errno 111] Connection refused",
    ],
)
def test_an_address_at_which_nothing_answers_is_told_without_numbers(reason: str) -> None:
    words = failure_words("ollama_chat/llama3", reason)
    assert words == "nothing answers at its address; is the language model's server running?"


def test_a_module_without_demonstrations_is_told_both_ways_out() -> None:
    reason = "[demos] npc.smith: the module has no demonstrations to answer from"
    assert failure_words(DEMOS, reason) == (
        "it has no demonstrations to answer from; give it some, or begin with --lm, such as --lm openai/gpt-4o-mini"
    )
    assert "--lm" not in failure_words(OPENAI, "the module has no demonstrations to answer from")


@pytest.mark.parametrize(
    "before",
    [
        "npc.smith: the LM fast failed: ",
        "[openai/gpt-4o-mini] ",
        "npc.smith: the LM fast failed: [openai/gpt-4o-mini] [fast] ",
        "litellm.RateLimitError: ",
        "RateLimitError: OpenAIException - ",
        "litellm.APIError: APIError: OpenAIException - ",
        "[fast] litellm.exceptions.Timeout_Error: ",
        "Internal_Exception: ",
    ],
)
def test_which_model_it_was_and_what_programmers_call_it_is_left_out(before: str) -> None:
    """The writer asked it, and sees its name before the answer."""
    assert failure_words(OPENAI, f"{before}you asked too often") == "you asked too often"


def test_words_that_only_look_like_it_stay() -> None:
    """A colon, a bracket later on, a word that ends in Error and goes on."""
    for words in ("note: [it] is late", "Errors: three", "the LM is asleep", "it said: ValueError: no"):
        assert failure_words(OPENAI, words) == words


@pytest.mark.parametrize("end", ["\nTraceback (most recent call last):\n  File", "\\nTraceback (most"])
def test_it_is_the_first_line_alone(end: str) -> None:
    """Also where the line ends were escaped."""
    assert failure_words(OPENAI, f"  it broke{end}") == "it broke"


@pytest.mark.parametrize(("length", "shown"), [(300, "x" * 300), (301, "x" * 299 + "…")])
def test_it_is_no_longer_than_a_few_lines_of_a_terminal(length: int, shown: str) -> None:
    assert failure_words(OPENAI, "x" * length) == shown
