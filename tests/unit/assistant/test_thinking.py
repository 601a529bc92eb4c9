"""Thoughts and answer are told apart however the text is cut."""

import itertools

import pytest

from phi4local import catalog
from phi4local.assistant.thinking import ThinkingSplitter, Thought, answer_of

REPLIES = {
    "<think>Two and two.</think>Four.": ("Two and two.", "Four.", True),
    "\n<think>\nTwo  and\n\ntwo.\n</think>\n\n Four.\n": ("Two  and\n\ntwo.", "Four.\n", True),
    "<think>a < b, </thin k> </ think></think>c": ("a < b, </thin k> </ think>", "c", True),
    "<think></think>Yes": ("", "Yes", True),
    "<think> \n </think> \n": ("", "", True),
    "<think>One</think>see <think>this</think>": ("One", "see <think>this</think>", True),
    "<think>No end </thin": ("No end </thin", "", False),
    "<think>No end\n": ("No end", "", False),
    "<think>": ("", "", False),
    "<thin": ("", "<thin", True),
    "<thinking>x</thinking>": ("", "<thinking>x</thinking>", True),
    "  Four.\n": ("", "  Four.\n", True),
    "The tag <think> opens.": ("", "The tag <think> opens.", True),
    "x</think>y": ("", "x</think>y", True),
    " \n": ("", " \n", True),
    "": ("", "", False),
    "<think>ü😀\x1b[31m</think>ß": ("ü😀\x1b[31m", "ß", True),
}


def read(pieces):
    splitter = ThinkingSplitter()
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.finish()
    thought = "".join(part.delta for part in parts if isinstance(part, Thought))
    answer = "".join(part for part in parts if isinstance(part, str))
    assert all(part.delta if isinstance(part, Thought) else part for part in parts)
    kinds = [kind for kind, _ in itertools.groupby(type(part) for part in parts)]
    assert kinds in ([], [Thought], [str], [Thought, str])
    return thought, answer, splitter.closed


@pytest.mark.parametrize(("reply", "expected"), REPLIES.items())
def test_a_reply_is_split_the_same_wherever_it_is_cut(reply, expected):
    assert read([reply]) == expected
    assert read(list(reply)) == expected
    for places in itertools.chain(
        itertools.combinations(range(len(reply) + 1), 1), itertools.combinations(range(len(reply) + 1), 2)
    ):
        cuts = (0, *places, len(reply))
        assert read([reply[a:b] for a, b in itertools.pairwise(cuts)]) == expected
    assert answer_of(reply) == expected[1]


def test_text_is_not_held_back_longer_than_it_can_become_a_mark():
    splitter = ThinkingSplitter()
    assert splitter.feed("<think>Two and") == [Thought("Two and")]
    assert splitter.feed(" two <") == [Thought(" two")]
    assert splitter.feed("b>") == [Thought(" <b>")]
    assert not splitter.closed
    assert splitter.feed("</think>\n") == []
    assert splitter.closed
    assert splitter.feed("Four") == ["Four"]
    assert splitter.feed(" <") == [" <"]


def test_the_models_whose_name_says_reasoning_think_and_no_others():
    thinking = {name for name in catalog.model_names() if catalog.find(name).thinking}
    assert thinking == {name for name in catalog.model_names() if "reasoning" in name} != set()


@pytest.mark.parametrize(
    ("name", "top_k"), [("phi-4-reasoning", 50), ("phi-4-reasoning-plus", 50), ("phi-4-mini-reasoning", None)]
)
def test_reasoning_models_are_not_run_at_temperature_0_by_default(name, top_k):
    sampling = catalog.find(name).sampling  # the model cards' values; at temperature 0 they repeat themselves
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.8, top_k, 0.95)
