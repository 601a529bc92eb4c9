"""Anthropic's own client against a real server: answers, events, tools, counts, errors of the right class."""

import json

import anthropic
import jsonschema
import pydantic
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent

from phi4local.assistant.events import ToolCall
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.engine.events import Timings, Usage
from phi4local.server.anthropic.frames import AnthropicMessage

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
EXACT = {"temperature": 0, "max_tokens": 40}
GREEDY = {"temperature": 0}
"""Today's client has no name for it; older ones do, and this server takes it."""
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Ulm", "Bonn"]}, "days": {"type": "integer", "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"name": "weather", "description": "Rain?", "input_schema": CITY},
    {"name": "now", "input_schema": {}},
]


@pytest.fixture(scope="module")
def client(served):
    with anthropic.Anthropic(base_url=served.address, api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def create(client):
    def ask(messages=QUESTION, *, body=GREEDY, **options):
        options = {"max_tokens": 40} | options
        return client.messages.create(model="phi4-nano", messages=messages, extra_body=body, **options)

    return ask


def test_an_answer_is_the_models(create, nano):
    expected = nano.chat(QUESTION, **EXACT).result()
    got = create()
    assert [block.text for block in got.content] == [expected.text] == ["3 plus 4 is 7."]
    assert (got.type, got.role, got.model, got.stop_reason) == (
        "message",
        "assistant",
        "phi4-nano",
        "end_turn",
    )
    usage = expected.finished.usage
    assert got.usage.output_tokens == usage.generated_tokens
    assert got.usage.input_tokens + got.usage.cache_read_input_tokens == usage.prompt_tokens


def test_system_texts_and_blocks_are_read(create, nano):
    system = "You are kind."
    blocks = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    talk = [{"role": "system", "content": system}, *QUESTION]
    expected = nano.chat(talk, **EXACT).text
    assert create(blocks, system=system).content[0].text == expected
    told = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
    assert create(system=told).content[0].text == expected


def test_events_add_up_to_the_same_message(client, create):
    whole = create()
    with client.messages.stream(
        model="phi4-nano", messages=QUESTION, max_tokens=40, extra_body=GREEDY
    ) as stream:
        names = [event.type for event in stream]
        got = stream.get_final_message()
    assert got.content == whole.content or got.content[0].text == whole.content[0].text
    assert (got.stop_reason, got.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    own = [name for name in names if name not in ("text", "input_json")]  # which the client makes itself
    assert own[:2] == ["message_start", "content_block_start"]
    assert own[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert own.count("content_block_delta") >= 1


def test_the_prompts_tokens_are_told_before_the_answer(client):
    counted = client.messages.count_tokens(model="phi4-nano", messages=QUESTION, tools=TOOLS)
    with client.messages.stream(
        model="phi4-nano", messages=QUESTION, tools=TOOLS, max_tokens=2, extra_body=GREEDY
    ) as stream:
        first = next(iter(stream))
    assert first.message.usage.input_tokens == counted.input_tokens > len(QUESTION)


END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=9, reused_tokens=4, generated_tokens=9),
    timings=Timings(prompt_seconds=0.1, generation_seconds=0.1),
)
THOUGHT = [Thought("Two and"), Thought(" two")]
STORIES = {
    "thoughts and words": [*THOUGHT, Text("", (1,)), Text("Four", (2,)), END],
    "thoughts and calls": [*THOUGHT, ToolCall("now", "{}"), ToolCall("weather", '{"city": "Ulm"}'), END],
    "ended by the guard": [Text("I will", (1,)), Blocked(rule="a", category="a", message="no secrets"), END],
    "not a word": [END],
}
ENDS = {
    "thoughts and words": (["thinking", "text"], "end_turn"),
    "thoughts and calls": (["thinking", "tool_use", "tool_use"], "tool_use"),
    "ended by the guard": (["text"], "refusal"),
    "not a word": ([], "end_turn"),
}


@pytest.mark.parametrize("case", STORIES)
def test_the_client_makes_the_same_of_the_events(case):
    """What phi4-nano never does: think, and be stopped by a guard."""
    told, taken = AnthropicMessage("phi-4", input_tokens=9), AnthropicMessage("phi-4")
    snapshot, types, buffers = None, pydantic.TypeAdapter(RawMessageStreamEvent), {}
    for event in STORIES[case]:
        taken.take(event)
    bodies = [body for event in STORIES[case] for body in told.events(event)]
    assert [body["type"] for body in bodies[:2]] == ["message_start", "ping"]
    for body in (body for body in bodies if body["type"] != "ping"):  # the client leaves those out
        made = types.validate_python(body)
        snapshot = accumulate_event(event=made, current_snapshot=snapshot, json_bufs=buffers)
    whole = anthropic.types.Message.model_validate(taken.whole())
    kinds, reason = ENDS[case]
    assert [block.type for block in whole.content] == kinds
    assert [_said(block) for block in snapshot.content] == [_said(block) for block in whole.content]
    assert snapshot.stop_reason == whole.stop_reason == reason
    explained = "no secrets" if reason == "refusal" else None
    assert getattr(snapshot.stop_details, "explanation", None) == explained
    assert getattr(whole.stop_details, "explanation", None) == explained
    assert (snapshot.usage.input_tokens, snapshot.usage.cache_read_input_tokens) == (5, 4)


def _said(block):
    return [getattr(block, name, None) for name in ("type", "text", "thinking", "name", "input")]


def test_a_body_that_is_too_long_is_refused_as_such(client):
    talk = [{"role": "user", "content": "x" * 8_100_000}]
    with pytest.raises(anthropic.RequestTooLargeError):
        client.messages.create(model="phi4-nano", messages=talk, max_tokens=2)


def test_length_and_stop_sequences(create, nano):
    cut = create(max_tokens=3)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    assert cut.stop_sequence is None
    stopped = create(stop_sequences=["7", " is"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " is")
    assert stopped.content[0].text == nano.chat(QUESTION, stop=[" is"], **EXACT).text == "3 plus 4"


def test_a_tool_is_called_and_its_result_comes_back(client, create):
    named = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
    got = create(tools=TOOLS, tool_choice=named, max_tokens=80)
    (call,) = got.content
    assert (got.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "weather")
    jsonschema.validate(call.input, CITY)
    with client.messages.stream(
        model="phi4-nano", messages=QUESTION, tools=TOOLS, tool_choice=named, max_tokens=80, extra_body=GREEDY
    ) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "Rain."}]}
    talk = [
        *QUESTION,
        {"role": "assistant", "content": [call.model_dump(exclude_none=True)]},
        {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
    ]
    assert create(talk, tools=TOOLS).content[0].type == "text"


def test_any_tool_and_none(create, nano):
    hot = {"tools": TOOLS, "body": {"temperature": 1.0}, "max_tokens": 80}
    for _ in range(3):
        once = {"type": "any", "disable_parallel_tool_use": True}
        (call,) = create(tool_choice=once, **hot).content
        assert call.name in ("weather", "now")
    words = create(tools=TOOLS, tool_choice={"type": "none"}).content[0].text
    assert words == nano.chat(QUESTION, **EXACT).text


def test_tokens_are_counted_as_they_are_read(client, create):
    counted = client.messages.count_tokens(
        model="phi4-nano", messages=QUESTION, system="Be kind.", tools=TOOLS
    )
    usage = create(system="Be kind.", tools=TOOLS, max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_an_answer_follows_a_schema(create):
    form = {"format": {"type": "json_schema", "schema": CITY}, "effort": "low"}
    got = create(output_config=form, max_tokens=80)
    assert got.stop_reason == "end_turn"
    jsonschema.validate(json.loads(got.content[0].text), CITY)


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
BAD = {
    "a picture": ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages[0].content[0]"),
    "a result of no call": (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
        "tool_use_id",
    ),
    "no tokens": ({"max_tokens": 0}, "max_tokens"),
    "a field that nobody knows": ({"extra_body": {"top_z": 1}}, "top_z"),
    "a choice without tools": ({"tool_choice": {"type": "any"}}, "tool_choice"),
    "a tool that is none": (
        {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "later"}},
        "tool_choice",
    ),
    "a tool that the server would run": ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools"),
    "no messages": ({"messages": []}, "messages"),
    "a temperature below zero": ({"extra_body": {"temperature": -1}}, "temperature"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_by_name(client, case):
    options, field = BAD[case]
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**({"model": "phi4-nano", "messages": QUESTION, "max_tokens": 5} | options))
    body = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert field in body["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_that_is_too_long_is_refused_in_the_words_that_programs_know(client, stream):
    long = [{"role": "user", "content": "fox " * 3000}]
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: .*context holds 2,048"):
        client.messages.create(model="phi4-nano", messages=long, max_tokens=5, stream=stream)


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="claude", messages=QUESTION, max_tokens=5)
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_fields_without_effect_are_told(client):
    got = client.messages.with_raw_response.create(
        model="phi4-nano", messages=QUESTION, metadata={"user_id": "x"}, max_tokens=5
    )
    assert got.headers["x-phi4local-ignored"] == "metadata"
