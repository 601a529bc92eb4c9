"""Model and prompt on one command line."""

import pytest
import typer

from phi4local.cli.run_prompt import split_words


@pytest.mark.parametrize(
    ("words", "piped", "expected"),
    [
        (["phi4-nano", "Hello"], "", ("phi4-nano", "Hello")),
        (["phi4-nano:Q4_K_M", "Hello", "there"], "", ("phi4-nano:Q4_K_M", "Hello there")),
        (["Hello"], "", (None, "Hello")),
        (["phi4-nano"], "Hello", ("phi4-nano", "Hello")),
        (["Summarize:"], "long text", (None, "Summarize:\n\nlong text")),
        (["phi4-nano", "Summarize:"], "long text", ("phi4-nano", "Summarize:\n\nlong text")),
        ([], "Hello", (None, "Hello")),
    ],
)
def test_words_and_pipes_are_told_apart(words, piped, expected):
    assert split_words(words, piped) == expected


@pytest.mark.parametrize(("words", "piped"), [([], ""), ([], "  \n"), (["phi4-nano"], "")])
def test_a_missing_prompt_is_wrong_usage(words, piped):
    with pytest.raises(typer.BadParameter):
        split_words(words, piped)
