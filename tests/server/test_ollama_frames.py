"""Events → lines of Ollama's interface: what phi4-nano never does, thinking and being stopped by a guard."""

import datetime
import json

import ollama
import pytest

from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.engine.events import Timings, Usage
from phi4local.errors import UnsupportedFieldError
from phi4local.server.ollama.frames import Answer, line
from phi4local.server.ollama.requests import ChatRequest, GenerateRequest

END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=12, reused_tokens=4, generated_tokens=7),
    timings=Timings(queued_seconds=0.5, prompt_seconds=0.25, generation_seconds=2.0),
)
THINKING = [Thought("Two and "), Thought("two."), Text("Four", (1,)), Text(".", (2,)), END]
CUT = [
    Text("My number is ", (1,)),
    Blocked(rule="numbers", category="PHONE", message="[stopped: a number]"),
    END,
]


def streamed(answer, events):
    """Return the lines as the official client reads them."""
    lines = [line(body) for event in events for body in answer.lines(event)]
    assert all(text.endswith("\n") and text.count("\n") == 1 for text in lines)
    return [ollama.ChatResponse(**json.loads(text)) for text in lines]


def whole(answer, events):
    for event in events:
        answer.take(event)
    return answer.whole()


def test_thoughts_come_beside_the_answer():
    parts = streamed(Answer("phi-4-reasoning", "chat"), THINKING)
    assert [part.message.thinking for part in parts] == ["Two and ", "two.", None, None, None]
    assert "".join(part.message.content for part in parts) == "Four."
    got = whole(Answer("phi-4-reasoning", "generate"), THINKING)
    assert (got["thinking"], got["response"]) == ("Two and two.", "Four.")


def test_thoughts_that_nobody_wants_are_kept_back():
    parts = streamed(Answer("phi-4-reasoning", "chat", show_thoughts=False), THINKING)
    assert [part.message.thinking for part in parts] == [None, None, None]
    assert whole(Answer("phi-4-reasoning", "chat", show_thoughts=False), THINKING)["message"] == {
        "role": "assistant",
        "content": "Four.",
    }


@pytest.mark.parametrize(("think", "ignored"), [(True, ()), ("high", ("think",)), (False, ()), (None, ())])
def test_only_models_that_think_can_be_asked_to(think, ignored):
    wanted = ChatRequest(model="m", messages=[{"role": "user", "content": "x"}], think=think)
    wanted.require_thinking(thinks=True)
    assert wanted.ignored() == ignored
    if think:
        with pytest.raises(UnsupportedFieldError, match="does not support thinking"):
            wanted.require_thinking(thinks=False)


def test_answer_that_the_guard_ends_says_so():
    parts = streamed(Answer("phi-4", "chat"), CUT)
    assert "".join(part.message.content for part in parts) == "My number is [stopped: a number]"
    assert parts[-1].done_reason == "content_filter"
    assert whole(Answer("phi-4", "generate"), CUT)["response"] == "My number is [stopped: a number]"


def test_counts_and_durations_are_exact():
    last = streamed(Answer("phi-4", "chat"), THINKING)[-1]
    assert (last.prompt_eval_count, last.eval_count) == (12, 7)
    assert (last.prompt_eval_duration, last.eval_duration) == (250_000_000, 2_000_000_000)
    assert last.load_duration == 0
    now = datetime.datetime.now(datetime.UTC)
    assert datetime.datetime.fromisoformat(last.created_at) <= now


@pytest.mark.parametrize(
    ("reason", "told"), [("stop", "stop"), ("length", "length"), ("time", "length"), ("cancelled", "stop")]
)
def test_reasons_are_ollamas(reason, told):
    end = Finished(reason=reason, usage=END.usage, timings=END.timings)
    assert streamed(Answer("phi-4", "chat"), [end])[-1].done_reason == told


def test_options_that_depend_on_the_context_are_filled_in_when_it_is_known():
    options = {"repeat_last_n": -1, "num_predict": -1}
    task = GenerateRequest(model="m", prompt="x", options=options).as_task(4096)
    assert (task.sampling.penalty_last_tokens, task.max_tokens) == (4096, 4096)
    unset = GenerateRequest(model="m", prompt="x").as_task(4096)
    assert (unset.sampling.penalty_last_tokens, unset.max_tokens) == (None, None)
