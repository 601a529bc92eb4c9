"""Tools through the `ollama` client: what the model is told, calls, and results that come back."""

import json

import ollama
import pytest

from phi4local.assistant.tools import CallReader, Tool, ToolUse
from phi4local.engine import Finished, Text
from phi4local.engine.events import Timings, Usage
from phi4local.messages import Message
from phi4local.server.ollama.frames import Answer

QUESTION = {"role": "user", "content": "What is the weather in Ulm?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA},
}
CALL = {"function": {"name": "weather", "arguments": {"city": "Ulm"}}}
END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=9, reused_tokens=0, generated_tokens=9),
    timings=Timings(prompt_seconds=0.1, generation_seconds=0.1),
)
RESULT = {"role": "tool", "content": "rain"}


@pytest.fixture(scope="module")
def client(served):
    with ollama.Client(served.address) as made:
        yield made


@pytest.mark.parametrize("result", [RESULT, {**RESULT, "tool_name": "weather"}])
def test_calls_and_results_are_told_to_the_model(client, nano, result):
    said = '{"name": "weather", "arguments": {"city": "Ulm"}}'
    told = ToolUse(tools=(Tool(name="weather", description="The weather", parameters=SCHEMA),)).told(
        [
            Message("user", QUESTION["content"]),
            Message("assistant", said),
            Message("user", "Result of weather: rain"),
        ]
    )
    messages = [QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}, result]
    got = client.chat("phi4-nano", messages, tools=[TOOL], options={"num_predict": 3})
    assert got.prompt_eval_count == len(nano.tokenize(told))


def test_call_is_told_as_ollama_does():
    answer, reader = Answer("phi4-nano", "chat"), CallReader(frozenset({"weather"}))
    came = [Text('{"name": "weather", "arguments": {"city": "Ulm"}}', (1,)), END]
    events = [event for part in came for event in reader.push(part)]
    parts = [ollama.ChatResponse(**body) for event in events for body in answer.lines(event)]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", {"city": "Ulm"})]
    whole = ollama.ChatResponse(**answer.whole())
    assert len(whole.message.tool_calls) == 1
    assert whole.message.content == ""


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        ({"tools": [TOOL], "format": "json"}, "tools"),
        ({"messages": [RESULT]}, "messages[0].tool_name"),
    ],
)
def test_tools_that_cannot_be_are_refused(client, more, field):
    body = {"model": "phi4-nano", "messages": [QUESTION], "stream": False, **more}
    answer = client._client.post("/api/chat", content=json.dumps(body))
    assert answer.status_code == 400
    assert f"`{field}`" in answer.json()["error"]
