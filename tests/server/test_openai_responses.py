"""OpenAI's `/v1/responses` through its own client: items that come whole, as events, and back again."""

import json
import typing

import jsonschema
import openai
import pydantic
import pytest
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from phi4local.assistant.events import ToolCall
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.engine.events import Timings, Usage
from phi4local.server.openai.responses.response import OpenaiResponse

EXACT = {"temperature": 0, "top_k": 1, "seed": 1}
STORY = "Tell me a story."
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Ulm", "Bonn"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "description": "The weather", "parameters": CITY}
NOW = {"type": "function", "name": "now", "parameters": None, "strict": True}
NAMED = {"type": "function", "name": "weather"}


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def respond(client):
    def ask(given=STORY, **options):
        more = {name: options.pop(name) for name in ("top_k", "seed") if name in options}
        options = {"max_output_tokens": 40} | options
        return client.responses.create(model="phi4-nano", input=given, extra_body=more, **options)

    return ask


@pytest.fixture(scope="module")
def stream(client):
    """Return all events of an answer, and the response that the client makes of them."""

    def ask(given=STORY, **options):
        more = {name: options.pop(name) for name in ("top_k", "seed") if name in options}
        options = {"max_output_tokens": 40} | options
        with client.responses.stream(model="phi4-nano", input=given, extra_body=more, **options) as opened:
            return list(opened)

    return ask


def test_answer_is_the_models_own(respond, nano):
    messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": STORY}]
    expected = nano.chat(messages, max_tokens=40, temperature=0, seed=1).result()
    got = respond(instructions="You are kind.", **EXACT)
    assert got.output_text == expected.text
    assert (got.usage.input_tokens, got.usage.output_tokens) == (
        expected.finished.usage.prompt_tokens,
        expected.finished.usage.generated_tokens,
    )
    assert got.instructions == "You are kind."
    assert [item.type for item in got.output] == ["message"]


def test_an_answer_that_is_cut_off_is_incomplete(respond):
    cut, whole = respond(max_output_tokens=3), respond("What is 3 plus 4?", max_output_tokens=200, **EXACT)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert cut.output[0].status == "incomplete"
    assert (whole.status, whole.incomplete_details, whole.output[0].status) == (
        "completed",
        None,
        "completed",
    )


def test_streamed_answer_is_the_whole_one(stream, respond):
    question = "What is 3 plus 4?"
    whole = respond(question, max_output_tokens=200, **EXACT)
    events = stream(question, max_output_tokens=200, **EXACT)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    told = [event for event in events if event.type == "response.output_text.delta"]
    assert "".join(event.delta for event in told) == whole.output_text
    assert told[-1].snapshot == whole.output_text
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == whole.output_text


def test_history_comes_back_as_items(respond, nano):
    first = respond("My name is Ada.", **EXACT)
    talk = [{"role": "user", "content": "My name is Ada."}, *first.output]
    talk.append({"role": "user", "content": [{"type": "input_text", "text": "And yours?"}]})
    messages = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And yours?"},
    ]
    second = respond(talk, **EXACT)
    assert second.output_text == nano.chat(messages, max_tokens=40, temperature=0, seed=1).text
    assert second.usage.input_tokens == len(nano.tokenize(messages))


def test_tokens_are_counted_without_an_answer(client, nano):
    count = client.responses.input_tokens.count(model="phi4-nano", input=STORY)
    assert count.input_tokens == len(nano.tokenize([{"role": "user", "content": STORY}]))


class Sum(pydantic.BaseModel):
    terms: list[typing.Literal[3, 4]] = pydantic.Field(min_length=2, max_length=2)
    sum: int = pydantic.Field(ge=0, le=99)


def test_an_answer_follows_its_schema(client, respond):
    parsed = client.responses.parse(
        model="phi4-nano", input="3 plus 4", text_format=Sum, max_output_tokens=200, temperature=0
    )
    assert isinstance(parsed.output_parsed, Sum)
    anything = respond("3 plus 4", text={"format": {"type": "json_object"}}, max_output_tokens=300, **EXACT)
    assert anything.status == "incomplete" or isinstance(json.loads(anything.output_text), dict)


@pytest.mark.parametrize("choice", [NAMED, {"type": "allowed_tools", "mode": "required", "tools": [NAMED]}])
def test_a_tool_that_has_to_be_called(respond, choice):
    got = respond(tools=[WEATHER, NOW], tool_choice=choice, seed=1)
    (call,) = got.output
    assert (call.type, call.name, call.status) == ("function_call", "weather", "completed")
    jsonschema.validate(json.loads(call.arguments), CITY)


def test_streamed_calls_are_the_same(stream, respond):
    options = {"tools": [WEATHER], "tool_choice": NAMED, "seed": 1}
    (call,) = respond(**options).output
    events = stream(**options)
    told = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(event.delta for event in told) == call.arguments
    (item,) = events[-1].response.output
    assert (item.type, item.name, item.arguments) == ("function_call", "weather", call.arguments)


def test_results_go_on(respond, client, nano):
    talk = [{"role": "user", "content": "The weather?"}]
    talk += respond(talk, tools=[WEATHER], tool_choice=NAMED, seed=1).output
    talk.append({"type": "function_call_output", "call_id": talk[-1].call_id, "output": "Rain.<|im_end|>"})
    got = respond(talk, tools=[WEATHER], **EXACT)
    assert got.output_text
    counted = client.responses.input_tokens.count(
        model="phi4-nano", input=[part if isinstance(part, dict) else part.to_dict() for part in talk]
    )
    messages = [
        {"role": "user", "content": "The weather?"},
        {
            "role": "assistant",
            "content": json.dumps({"name": "weather", "arguments": json.loads(talk[1].arguments)}),
        },
        {"role": "user", "content": "Result of weather: Rain.<|im_end|>"},
    ]
    assert counted.input_tokens == len(nano.tokenize(messages))


def test_logprobs_are_those_of_chat_completions(respond, client, stream):
    question = "What is 3 plus 4?"
    (chat,) = client.chat.completions.create(
        model="phi4-nano",
        messages=[{"role": "user", "content": question}],
        logprobs=True,
        top_logprobs=2,
        max_tokens=5,
        temperature=0,
        seed=1,
    ).choices
    wanted = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "max_output_tokens": 5}
    got = respond(question, **wanted, **EXACT).output[0].content[0].logprobs
    assert [entry.token for entry in got] == [entry.token for entry in chat.logprobs.content]
    assert [entry.logprob for entry in got] == pytest.approx(
        [entry.logprob for entry in chat.logprobs.content], abs=1e-3
    )
    assert all(len(entry.top_logprobs) == 2 for entry in got)
    told = [event for event in stream(question, **wanted, **EXACT) if event.type.endswith("text.delta")]
    assert sum(len(event.logprobs) for event in told) == len(got)


def test_fields_without_effect_are_reported(client):
    marked = {"type": "input_text", "text": STORY, "prompt_cache_breakpoint": {"mode": "explicit"}}
    raw = client.responses.with_raw_response.create(
        model="phi4-nano",
        input=[{"role": "user", "content": [marked]}],
        max_output_tokens=2,
        reasoning={"effort": "low"},
        text={"verbosity": "low"},
        metadata={"order": "7"},
        store=False,
    )
    assert raw.headers["X-Phi4local-Ignored"] == (
        "reasoning, text.verbosity, input[0].content[0].prompt_cache_breakpoint"
    )
    assert raw.parse().metadata == {"order": "7"}


BAD = {
    "what is kept": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "keep it": ({"store": True}, "store"),
    "in the background": ({"background": True}, "background"),
    "a conversation": ({"conversation": "conv_1"}, "conversation"),
    "another tool": ({"tools": [{"type": "web_search"}]}, "tools[0].name"),
    "no such tool": ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    "a picture": (
        {"given": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        "input[0].content[0].type",
    ),
    "another item": ({"given": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    "a result of nothing": (
        {"given": [{"type": "function_call_output", "call_id": "x", "output": "y"}]},
        "input[0].call_id",
    ),
    "nothing": ({"given": []}, "input"),
    "a schema without its type": ({"text": {"format": {"type": "text", "schema": {}}}}, "text.format.schema"),
    "what no answer has": ({"include": ["file_search_call.results"]}, "include"),
    "too many": ({"top_logprobs": 21}, "top_logprobs"),
    "no room": ({"max_output_tokens": 0}, "max_tokens"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_with_its_field(respond, case):
    options, field = BAD[case]
    with pytest.raises(openai.BadRequestError) as caught:
        respond(**options)
    assert caught.value.param == field


END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=9, reused_tokens=4, generated_tokens=9),
    timings=Timings(prompt_seconds=0.1, generation_seconds=0.1),
)
ECHOED = {
    **dict.fromkeys(("instructions", "max_output_tokens", "temperature", "top_p")),
    "metadata": {},
    "parallel_tool_calls": False,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
}
STORIES = {
    "thoughts and words": (
        [Thought("Two and"), Thought(" two"), Text("", (1, 2, 3)), Text("Four", (4,)), Text(".", (5,)), END],
        ["reasoning", "message"],
        "completed",
    ),
    "thoughts and calls": (
        [Thought("Hm"), ToolCall("now", "{}"), ToolCall("weather", '{"city": "Ulm"}'), END],
        ["reasoning", "function_call", "function_call"],
        "completed",
    ),
    "ended by the guard": (
        [Text("I will", (1,)), Blocked(rule="secrets", category="secrets", message="no secrets"), END],
        ["message"],
        "incomplete",
    ),
    "not a word": ([END], ["message"], "completed"),
}


@pytest.mark.parametrize("case", STORIES)
def test_the_client_makes_the_same_of_the_events(case):
    """What its accumulator has at the end is the whole answer; each event is one of its types."""
    came, kinds, status = STORIES[case]
    told, taken = OpenaiResponse("phi-4", ECHOED), OpenaiResponse("phi-4", ECHOED)
    for event in came:
        taken.take(event)
    state = ResponseStreamState(text_format=openai.omit, input_tools=openai.omit)
    types = pydantic.TypeAdapter(ResponseStreamEvent)
    bodies = [body for event in came for body in told.events(event)]
    seen = [made for body in bodies for made in state.handle_event(types.validate_python(body))]
    last = seen[-1].response
    assert (last.status, seen[-1].type) == (status, f"response.{status}")
    assert [item.type for item in last.output] == kinds
    whole = Response.model_validate(taken.whole())
    assert last.output_text == whole.output_text
    assert [_said(item) for item in last.output] == [_said(item) for item in whole.output]


def _said(item):
    """Return what an item says; ids are new each time, and the client adds what it parsed."""
    parts = item.content or [] if hasattr(item, "content") else []
    words = [getattr(part, "text", None) or getattr(part, "refusal", None) for part in parts]
    return item.type, item.status, words, getattr(item, "name", None), getattr(item, "arguments", None)


def test_thoughts_are_counted_apart():
    response = OpenaiResponse("phi-4", ECHOED)
    for event in STORIES["thoughts and words"][0]:
        response.take(event)
    assert response.whole()["usage"]["output_tokens_details"] == {"reasoning_tokens": 3}


def test_an_error_in_the_middle_is_a_response_that_failed():
    response = OpenaiResponse("phi-4", ECHOED)
    bodies = [*response.events(Text("Four", (1,))), response.failed("the engine died")]
    events = [pydantic.TypeAdapter(ResponseStreamEvent).validate_python(body) for body in bodies]
    assert events[-1].type == "response.failed"
    assert (events[-1].response.error.code, events[-1].response.error.message) == (
        "server_error",
        "the engine died",
    )
    assert events[-1].response.id == events[0].response.id
