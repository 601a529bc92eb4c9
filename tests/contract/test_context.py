"""Conversations that go on past the end of the context, on the embedded model with 256 tokens of it."""

import os
import statistics
import sys
from pathlib import Path

import pytest

import phi4local
from phi4local import Message
from phi4local.assistant.context import Meter, answer_reserve, drop_turns, make_room
from phi4local.assistant.summary import MARK, is_summary
from phi4local.engine import ContextShifted, Finished, Text
from phi4local.errors import ContextFullError, ContextTooLongError
from phi4local.settings import LoadSettings

CONTEXT, RESERVE = 256, 64
SYSTEM = Message("system", "You are Pip, a kind fox.")
VARIED = {"temperature": 1.2, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


@pytest.fixture(scope="module")
def model(native_library):
    with phi4local.load("phi4-nano", LoadSettings(threads=1, context_tokens=CONTEXT)) as model:
        yield model


def question(turn):
    return Message("user", f"Tell me story number {turn} about a fox and a river.")


def history(turns):
    said = [m for n in range(turns) for m in (question(n), Message("assistant", f"Fox {n} saw the river."))]
    return [SYSTEM, *said, question(turns)]


def resident_bytes(process):
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


class Loop:
    """A conversation over `make_room` alone."""

    def __init__(self, model, policy):
        self.model, self.policy = model, policy
        self.messages, self.kept_ids = [SYSTEM], {}
        self.drops = self.shifts = self.summaries = self.replies = self.most_prompt_tokens = 0
        self.front = model.tokenize([SYSTEM])[: -len(model.tokenize([]))]  # without the opened answer

    def say(self, text, seed):
        asked = [*self.messages, text]
        room = make_room(
            self.model, asked, reserve_tokens=RESERVE, policy=self.policy, kept_ids=self.kept_ids
        )
        self.check(room, asked)
        kept_ids = room.moved(self.kept_ids)
        shift = self.policy == "shift"
        limit = None if shift and seed % 10 == 0 else RESERVE - 1
        with self.model.chat(
            room.messages,
            kept_ids=kept_ids,
            shift=shift,
            max_tokens=200 if limit is None else limit,
            seed=seed,
            **VARIED,
        ) as generation:
            events = list(generation)
        self.keep(room, kept_ids, events)

    def check(self, room, asked):
        assert room.messages[0] == SYSTEM
        assert room.messages[-1] == asked[-1]
        assert room.prompt_tokens <= CONTEXT - RESERVE
        self.most_prompt_tokens = max(self.most_prompt_tokens, room.prompt_tokens)
        assert self.model.tokenize(room.messages)[: len(self.front)] == self.front
        end = 1 + len(room.dropped)
        assert list(room.dropped) == asked[1:end]  # the oldest, in whole turns
        rest = asked[end:]
        assert list(room.messages[len(room.messages) - len(rest) :]) == rest
        assert room.dropped_turns * 2 == len(room.dropped)
        if room.dropped:
            before = self.model.count_tokens(asked, kept_ids=self.kept_ids)
            ids = {index - len(room.dropped): kept for index, kept in self.kept_ids.items() if index >= end}
            left = self.model.count_tokens([SYSTEM, *rest], kept_ids=ids)
            assert room.dropped_tokens == before - left > 0
            self.drops += 1
        self.summaries += room.summary is not None
        assert (room.summary is not None) == (len(room.messages) == len(rest) + 3)

    def keep(self, room, kept_ids, events):
        finished = events[-1]
        assert isinstance(finished, Finished)
        assert finished.usage.prompt_tokens == room.prompt_tokens
        assert finished.usage.generated_tokens > 0
        self.replies += 1
        self.messages = list(room.messages)
        for event in events:
            if isinstance(event, ContextShifted):
                self.shifts += 1
                shorter = drop_turns(self.model, self.messages, event.turns, kept_ids=kept_ids)
                assert shorter.dropped_turns == event.turns
                assert shorter.dropped_tokens == event.tokens
                self.messages, kept_ids = list(shorter.messages), shorter.moved(kept_ids)
        ids = [token for event in events if isinstance(event, Text) for token in event.token_ids]
        kept_ids[len(self.messages)] = tuple(ids[:-1] if finished.reason == "stop" else ids)
        answer = "".join(event.delta for event in events if isinstance(event, Text))
        self.messages.append(Message("assistant", answer))
        self.kept_ids = kept_ids


@pytest.mark.parametrize("policy", ["drop", "summarize", "shift"])
@pytest.mark.parametrize(
    "turns", [12, pytest.param(1000, marks=[pytest.mark.full, pytest.mark.timeout(3600)])]
)
def test_a_conversation_goes_on_past_the_end_of_the_context(model, policy, turns):
    loop, sizes = Loop(model, policy), []
    for turn in range(turns):
        loop.say(question(turn), seed=turn)
        if turn >= turns - 500 and turn % 10 == 9 and turns > 500 and sys.platform == "linux":
            sizes.append((resident_bytes(os.getpid()), model.peak_memory_bytes()))
    assert loop.replies == turns
    assert loop.drops > turns // 40
    assert bool(loop.summaries) == (policy == "summarize")
    assert bool(loop.shifts) == (policy == "shift")
    for values in zip(*sizes, strict=True):
        # A leak grows with every turn; caches and the heap's free lists fill in the first hundreds.
        slope = statistics.linear_regression(range(len(values)), values).slope
        assert slope * len(values) <= values[0] * 0.02


@pytest.mark.parametrize("policy", ["stop", "ask"])
def test_without_a_choice_a_full_context_is_an_error_with_its_numbers(model, policy):
    messages = history(20)
    with pytest.raises(ContextFullError) as error:
        make_room(model, messages, reserve_tokens=RESERVE, policy=policy)
    assert error.value.prompt_tokens == len(model.tokenize(messages))
    assert error.value.over_tokens == error.value.prompt_tokens - (CONTEXT - RESERVE)
    assert error.value.turns == 20
    assert make_room(model, messages[:1] + messages[-3:], reserve_tokens=RESERVE, policy=policy).dropped == ()


@pytest.mark.parametrize("policy", ["ask", "drop", "summarize", "shift", "stop"])
def test_a_message_longer_than_the_context_is_refused_with_the_numbers(model, policy):
    for words in (CONTEXT, 100_000):
        messages = [*history(3)[:-1], Message("user", "fox " * words)]
        with pytest.raises(ContextTooLongError) as error:
            make_room(model, messages, reserve_tokens=RESERVE, policy=policy)
        assert error.value.prompt_tokens > error.value.context_tokens == CONTEXT


def test_what_fits_stays_to_the_last_token(model):
    messages = history(3)
    tokens = len(model.tokenize(messages))
    fits = make_room(model, messages, reserve_tokens=CONTEXT - tokens, policy="drop")
    assert (fits.messages, fits.prompt_tokens, fits.dropped_tokens) == (tuple(messages), tokens, 0)
    assert make_room(model, messages, reserve_tokens=CONTEXT - tokens + 1, policy="drop").dropped_turns


def test_a_history_of_thousands_of_turns_is_cut_to_the_newest(model):
    messages = history(5000)
    room = make_room(model, messages, reserve_tokens=RESERVE, policy="drop")
    assert room.messages == (SYSTEM, *messages[-(len(room.messages) - 1) :])
    one_more = [SYSTEM, *messages[-(len(room.messages) + 1) :]]
    assert room.prompt_tokens <= 160 < len(model.tokenize(one_more))  # an eighth more is made free


def test_a_summary_stands_after_the_system_prompt_and_is_summarized_again(model):
    room = make_room(model, history(12), reserve_tokens=RESERVE, policy="summarize")
    assert room.messages[0] == SYSTEM
    assert room.messages[1].content == f"{MARK}\n{room.summary}"
    again = [*room.messages[:-1], *history(12)[1:]]
    second = make_room(model, again, reserve_tokens=RESERVE, policy="summarize")
    assert is_summary(second.dropped[0])
    assert [is_summary(message) for message in second.messages].count(True) == 1


def test_the_reserve_and_the_meter():
    assert [answer_reserve(4096, None), answer_reserve(4096, 500), answer_reserve(256, 500)] == [
        1024,
        500,
        128,
    ]
    assert [Meter(79, 100).warns, Meter(80, 100).warns, Meter(5, 0).warns] == [False, True, False]
    assert Meter(64, 256).share == 0.25
