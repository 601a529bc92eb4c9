"""A hundred texts to stop and a hundred to let pass, whole and as answers cut into pieces everywhere."""

from __future__ import annotations

import itertools
import random
import tomllib
from pathlib import Path

import pytest

from phi4local.assistant.guard import Blocked, Guard, Masked
from phi4local.engine import Finished, Text, Timings, TokenLogprob, Usage

EXAMPLES = tomllib.loads(
    (Path(__file__).parents[3] / "golden" / "guard_examples.toml").read_text(encoding="utf-8")
)
BLOCKED, ALLOWED = EXAMPLES["blocked"], EXAMPLES["allowed"]
RANDOM_CUTS = 3
END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=1, reused_tokens=0, generated_tokens=1),
    timings=Timings(prompt_seconds=0.0, generation_seconds=0.0),
)


def policy(folder, action):
    words = "".join(f"    {word!r},\n" for word in EXAMPLES["words"])
    path = folder / f"{action}.toml"
    path.write_text(
        'input = ["words", "personal"]\noutput = ["words", "personal"]\n'
        f'log_file = "guard.jsonl"\n[rules.words]\nkind = "words"\naction = "{action}"\nwords = [\n{words}]\n'
        f'[rules.personal]\nkind = "personal"\naction = "{action}"\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def guards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    return {action: Guard.from_file(policy(folder, action)) for action in ("block", "mask")}


def pieces(text, cuts):
    places = [0, *sorted(cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


def ways_to_cut(text, full):
    """At every place once, at all of them, and at random ones."""
    yield from ([place] for place in range(0, len(text) + 1, 1 if full else 3))
    yield list(range(1, len(text)))
    chance = random.Random(text)
    for _ in range(100 if full else RANDOM_CUTS):
        yield chance.sample(range(len(text) + 1), min(len(text), chance.randint(2, 8)))


def events(deltas):
    """One token for each piece; the text of a token comes one event after its id, as it may."""
    late = ["", *deltas]
    count = len(deltas)
    return [
        Text(delta, (place,), (TokenLogprob(place, -0.5),)) if place < count else Text(delta, (), ())
        for place, delta in enumerate(late)
    ] + [END]


def shown(out):
    return "".join(event.delta for event in out if isinstance(event, Text))


def ids(out):
    return [token for event in out if isinstance(event, Text) for token in event.token_ids]


def test_there_are_a_hundred_of_each_and_none_twice():
    assert len({"".join(example[1:]) for example in BLOCKED}) == 100
    assert len(set(ALLOWED)) == 100


@pytest.mark.parametrize("example", BLOCKED, ids=lambda example: ascii(example[2]))
def test_what_is_forbidden_is_found_in_what_a_person_says(guards, example):
    category, before, span, after = example
    verdict = guards["block"].check_input(before + span + after)
    assert (verdict.allowed, verdict.category) == (False, category)
    assert category in verdict.text_for_person


@pytest.mark.parametrize("example", BLOCKED, ids=lambda example: ascii(example[2]))
def test_what_is_forbidden_is_masked_and_nothing_else(guards, example):
    category, before, span, after = example
    verdict = guards["mask"].check_input(before + span + after)
    assert (verdict.allowed, verdict.text) == (True, f"{before}[{category}]{after}")


@pytest.mark.parametrize("text", ALLOWED, ids=ascii)
def test_near_misses_pass(guards, text):
    verdict = guards["block"].check_input(text)
    assert (verdict.allowed, verdict.text, verdict.text_for_person) == (True, text, "")


@pytest.mark.parametrize("example", BLOCKED, ids=lambda example: ascii(example[2]))
def test_no_piece_of_what_is_forbidden_ever_leaves(guards, example, request):
    category, before, span, after = example
    text = before + span + after
    for cuts in ways_to_cut(text, request.config.getoption("--full")):
        deltas = pieces(text, cuts)
        out = list(guards["block"].filtered(events(deltas)))
        assert before.startswith(shown(out)), cuts
        (stop,) = [event for event in out if isinstance(event, Blocked)]
        assert stop.category == category
        assert out[-2:] == [stop, END]
        # The ids that left are those of the first pieces, and of none that reaches into what is forbidden.
        assert ids(out) == list(range(len(ids(out))))
        assert len("".join(deltas[: len(ids(out))])) <= len(before), cuts


@pytest.mark.parametrize("example", BLOCKED, ids=lambda example: ascii(example[2]))
def test_masked_answers_are_whole_and_without_the_ids_of_what_is_masked(guards, example, request):
    category, before, span, after = example
    text = before + span + after
    for cuts in ways_to_cut(text, request.config.getoption("--full")):
        deltas = pieces(text, cuts)
        out = list(guards["mask"].filtered(events(deltas)))
        assert shown(out) == f"{before}[{category}]{after}", cuts
        assert [event.category for event in out if isinstance(event, Masked)] == [category]
        left = ids(out)
        assert left == sorted(set(left))
        start = 0
        for token, delta in enumerate(deltas):
            reaches_in = start < len(before + span) and start + len(delta) > len(before)
            assert not (delta and reaches_in and token in left), cuts
            start += len(delta)


@pytest.mark.parametrize("text", ALLOWED, ids=ascii)
def test_what_is_allowed_leaves_whole_with_all_its_ids(guards, text, request):
    for cuts in ways_to_cut(text, request.config.getoption("--full")):
        sent = events(pieces(text, cuts))
        assert list(guards["block"].filtered(sent)) == sent, cuts
