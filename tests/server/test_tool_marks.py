"""Tools of a model that was trained with tokens of its own around them, as Phi-4-mini was."""

import asyncio
import dataclasses
import json

import jinja2
import jsonschema
import pytest

import phi4local
from phi4local import catalog
from phi4local.assistant.tools import CallReader, Tool, ToolCall, ToolUse, between_marks
from phi4local.engine import Finished, Text
from phi4local.messages import Message
from phi4local.prompts import ChatTemplate, TextSegment
from phi4local.runtime.pool import ModelPool
from phi4local.server.answering import Answering
from phi4local.server.options import ServerOptions
from phi4local.server.task import Task
from phi4local.settings import SamplingSettings

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Ulm", "Bonn"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (Tool(name="weather", description="The weather", parameters=CITY), Tool(name="now"))
TOLD = [
    {"name": "weather", "description": "The weather", "parameters": CITY},
    {"name": "now", "description": "", "parameters": {}},
]
MINI = catalog.find("phi-4-mini-instruct")
MARKS = catalog.ToolMarks(
    told=("<|dummy_2|>", "<|dummy_3|>"), called=("<|dummy_4|>", "<|dummy_5|>"), system="You have tools."
)
"""phi4-nano's vocabulary has these as control tokens."""


def rendered(messages, tools):
    """Return what Microsoft's own template makes of messages, with transformers' settings of Jinja."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    turns = [dict(message) for message in messages]
    turns[0]["tools"] = json.dumps(tools)
    return environment.from_string(MINI.chat_template).render(
        messages=turns, add_generation_prompt=True, eos_token="<|endoftext|>"
    )


def text_of(prompt):
    """Return a prompt as one text, put together from the template's segments and those in their place."""
    parts = ChatTemplate(MINI.chat_template).segments(prompt.messages, strip_whitespace=False)
    pieces = [
        piece
        for segment, origin in zip(parts.segments, parts.origins, strict=True)
        for piece in prompt.written.get(origin, (segment,))
    ]
    return "".join(piece.text for piece in pieces), pieces


def test_tools_stand_where_microsofts_template_puts_them():
    talk = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Weather? <|/tool|>"}]
    prompt = between_marks(ToolUse(tools=TOOLS), [Message(**turn) for turn in talk], MINI.tool_marks)
    text, pieces = text_of(prompt)
    assert text == rendered(talk, TOLD)
    special = [piece.text for piece in pieces if piece.special]
    assert special == ["<|system|>", "<|tool|>", "<|/tool|>", "<|end|><|user|>", "<|end|><|assistant|>"]


def test_a_conversation_without_a_system_message_gets_the_model_cards():
    prompt = between_marks(ToolUse(tools=TOOLS), [Message("user", "Hi")], MINI.tool_marks)
    talk = [{"role": "system", "content": MINI.tool_marks.system}, {"role": "user", "content": "Hi"}]
    assert text_of(prompt)[0] == rendered(talk, TOLD)


def test_earlier_calls_stand_between_their_marks():
    calls = '{"name": "now", "arguments": {}}\n{"name": "weather", "arguments": {"city": "Ulm"}}'
    talk = [Message("user", "Hi"), Message("assistant", f"I look.\n{calls}"), Message("user", "Result")]
    prompt = between_marks(ToolUse(tools=TOOLS), talk, MINI.tool_marks)
    assert prompt.written[2] == (
        TextSegment("I look.", special=False),
        TextSegment("<|tool_call|>", special=True),
        TextSegment(f"[{calls.replace(chr(10), ', ')}]", special=False),
        TextSegment("<|/tool_call|>", special=True),
    )


@pytest.fixture(scope="module")
def marked(native_library):
    """phi4-nano, as if it had been trained with marks."""
    with phi4local.load("phi4-nano") as model:
        manifest = dataclasses.replace(model.manifest, tool_marks=MARKS)
        model.file = dataclasses.replace(model.file, manifest=manifest)
        yield model


def ask(model, use, **sampling):
    """Return the events of an answer as the server reads it."""
    sampling = SamplingSettings(seed=1, **sampling)
    prompt = (Message("user", "Why is the sky blue?"),)
    task = Task(model="phi4-nano", prompt=prompt, sampling=sampling, max_tokens=120, tool_use=use)

    async def events():
        answering = Answering(ModelPool(lambda _name: model), ServerOptions())
        return [event async for _, event in answering.events(task)]

    return asyncio.run(events())


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_calls_between_marks_follow_their_schemas(marked, choice):
    opening = marked._worker.tokenize((TextSegment(MARKS.called[0], special=True),))[0]
    likely = {"logit_bias": {opening: 100.0}} if choice == "auto" else {}
    found = ask(marked, ToolUse(tools=TOOLS, choice=choice, several=False), temperature=1.5, **likely)
    calls = [event for event in found if isinstance(event, ToolCall)]
    assert calls
    for call in calls:
        schema = CITY if call.name == "weather" else {"maxProperties": 0}
        jsonschema.validate(json.loads(call.arguments), schema)


def test_words_stay_words(marked):
    found = ask(marked, ToolUse(tools=TOOLS), temperature=0)
    assert isinstance(found[-1], Finished)
    assert "".join(event.delta for event in found if isinstance(event, Text))
    assert not any(isinstance(event, ToolCall) for event in found)


STORIES = {
    'I look.[{"name": "now", "arguments": {}}]': "I look.(now)",
    'I look. [{"name": "now", "arguments": {}}, {"name": "weather", "arguments": {}}] Done.': (
        "I look. (now)(weather)Done."
    ),
    '[{"name": "now", "arguments": {}}] and [{"name": "now", "arguments": {}}]': "(now)and (now)",
    '[{"name": "now", "arguments": {}}] [{"name": "no': '(now)[{"name": "no',
    "A list [1, 2] and [{}].": "A list [1, 2] and [{}].",
    '[{"name": "later", "arguments": {}}]': '[{"name": "later", "arguments": {}}]',
    'Cut [{"name": "now", "arg': 'Cut [{"name": "now", "arg',
    "[": "[",
}


@pytest.mark.parametrize("text", STORIES)
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_calls_are_found_between_words_however_they_come(text, step):
    """White space beside a call belongs to nobody."""
    reader = CallReader(frozenset({"now", "weather"}), start='[{"name"', anywhere=True)
    end = Finished(reason="stop", usage=None, timings=None)
    pieces = [Text(text[place : place + step], (place,)) for place in range(0, len(text), step)]
    *found, last = [event for piece in (*pieces, end) for event in reader.push(piece)]
    told = "".join(event.delta if isinstance(event, Text) else f"({event.name})" for event in found)
    assert told.replace(" (", "(") == STORIES[text].replace(" (", "(")
    assert last is end
