"""Tools through OpenAI's own client: calls that follow their schemas, results that come back, refusals."""

import json

import jsonschema
import openai
import pytest

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Ulm", "Bonn"]},
        "days": {"type": "integer", "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "now", "strict": True}},
]
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(scope="module")
def chat(served):
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0) as client:

        def ask(messages=QUESTION, **options):
            options = {"tools": TOOLS, "seed": 1, "max_tokens": 80} | options
            return client.chat.completions.create(model="phi4-nano", messages=messages, **options)

        yield ask


def test_a_tool_that_has_to_be_called(chat):
    (choice,) = chat(tool_choice=NAMED, parallel_tool_calls=False).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "weather")
    jsonschema.validate(json.loads(call.function.arguments), WEATHER)
    assert call.id.startswith("call_")


def test_one_of_them_has_to_be_called(chat):
    names = set()
    once = {"tool_choice": "required", "parallel_tool_calls": False}
    for answer in chat(**once, n=8, temperature=2.0).choices:
        (call,) = answer.message.tool_calls
        names.add(call.function.name)
        schema = WEATHER if call.function.name == "weather" else {"type": "object", "maxProperties": 0}
        jsonschema.validate(json.loads(call.function.arguments), schema)
    assert names <= {"weather", "now"}


def test_an_answer_may_have_several_calls(chat, nano):
    line = nano.tokenize("\n")[0]
    likely = {"logit_bias": {line: 100}, "max_tokens": 600, "temperature": 0, "tool_choice": NAMED}
    (choice,) = chat(**likely).choices
    assert choice.finish_reason == "tool_calls"
    assert len(choice.message.tool_calls) == 16
    assert len({call.id for call in choice.message.tool_calls}) == len(choice.message.tool_calls)
    for call in choice.message.tool_calls:
        jsonschema.validate(json.loads(call.function.arguments), WEATHER)
    chunks = [chunk.choices[0] for chunk in chat(**likely, stream=True)]
    told = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert [call.index for call in told] == list(range(len(choice.message.tool_calls)))


def test_streamed_calls_are_the_same(chat):
    (whole,) = chat(tool_choice=NAMED).choices
    chunks = [chunk.choices[0] for chunk in chat(tool_choice=NAMED, stream=True)]
    (call,) = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert (call.index, call.type) == (0, "function")
    assert call.function == whole.message.tool_calls[0].function or (
        call.function.arguments == whole.message.tool_calls[0].function.arguments
    )
    assert "".join(chunk.delta.content or "" for chunk in chunks) == ""
    assert chunks[-1].finish_reason == "tool_calls"


def test_words_are_words_where_the_model_decides(chat, nano):
    """phi4-nano knows no tools: it answers in words, and these are not held back or changed."""
    whole = chat(temperature=0, max_tokens=40).choices[0]
    assert whole.message.content
    assert whole.message.tool_calls is None
    assert whole.finish_reason in ("stop", "length")
    streamed = [chunk.choices[0].delta.content for chunk in chat(temperature=0, max_tokens=40, stream=True)]
    assert "".join(text for text in streamed if text) == whole.message.content
    assert sum(bool(text) for text in streamed) > 5


def test_none_means_that_nobody_told_the_model(chat, nano):
    answer = chat(tool_choice="none", temperature=0, max_tokens=40).choices[0].message.content
    assert answer == nano.chat(QUESTION, temperature=0, seed=1, max_tokens=40).text


def test_results_go_on(chat):
    (choice,) = chat(tool_choice=NAMED).choices
    (call,) = choice.message.tool_calls
    talk = [
        *QUESTION,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Rain.<|im_end|>"},
    ]
    told = chat(talk, temperature=0, max_tokens=20)
    assert told.choices[0].message.content
    assert told.usage.prompt_tokens > chat(max_tokens=1).usage.prompt_tokens


BAD = {
    "no such tool": ({"tool_choice": {"type": "function", "function": {"name": "later"}}}, "tool_choice"),
    "a choice without tools": ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    "a name with a blank": ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
    "two of one name": ({"tools": [TOOLS[1], TOOLS[1]]}, "tools"),
    "another kind": ({"tools": [{"type": "retrieval"}]}, "tools"),
    "a schema that cannot be followed": (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"not": {}}}}]},
        "response_format",
    ),
    "with a format": ({"response_format": {"type": "json_object"}}, "tools"),
    "a field that nobody knows": ({"tools": [{**TOOLS[1], "x": 1}]}, "tools"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_with_its_field(chat, case):
    options, field = BAD[case]
    with pytest.raises(openai.BadRequestError) as caught:
        chat(**options)
    assert (caught.value.param or "").startswith(field)


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
        {"role": "tool", "content": "x"},
        {"role": "assistant", "content": None},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "now", "arguments": "no"}}],
        },
    ],
)
def test_a_history_that_cannot_be_is_refused(chat, turn):
    with pytest.raises(openai.BadRequestError):
        chat([*QUESTION, turn])
