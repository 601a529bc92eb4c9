"""Everything crosses the process boundary unchanged, and nothing else gets through."""

import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local import errors
from phi4local.engine import Finished, Request, Text, Timings, TokenLogprob, Usage
from phi4local.engine.worker import protocol
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.settings import SamplingSettings

REQUEST = Request(
    segments=(
        TextSegment("<|im_start|>", special=True),
        TextSegment("é\x00", special=False),
        TokenSegment((1, 2)),
    ),
    sampling=SamplingSettings(temperature=0.5, stop=("a", "b"), logit_bias={7: -100, 3: 0.5}, logprobs=2),
    max_tokens=7,
    ignore_end=True,
)
FINISHED = Finished(
    reason="length",
    usage=Usage(prompt_tokens=3, reused_tokens=1, generated_tokens=2),
    timings=Timings(prompt_seconds=0.25, generation_seconds=1.5),
)


def through_json(value):
    stream = io.BytesIO()
    protocol.write_message(stream, value)
    stream.seek(0)
    return protocol.read_message(stream)


def test_a_request_arrives_as_it_was():
    assert protocol.request_from_json(through_json(protocol.request_to_json(REQUEST))) == REQUEST


@pytest.mark.parametrize(
    "event",
    [
        Text("é漢", (1, 2)),
        Text("", ()),
        Text("a", (1,), (TokenLogprob(1, -0.5, ((1, -0.5), (4, -2.0))),)),
        FINISHED,
    ],
)
def test_an_event_arrives_as_it_was(event):
    assert protocol.event_from_json(through_json(protocol.event_to_json(event))) == event


@pytest.mark.parametrize(
    "error",
    [
        errors.ContextTooLongError(prompt_tokens=5, context_tokens=4, trained_context_tokens=9),
        errors.NonFiniteLogitsError(3),
        errors.ModelLoadError("x.gguf", "no"),
        errors.InvalidSettingError("prompt", "is empty", hint="say something"),
    ],
)
def test_an_error_keeps_its_class_message_hint_and_numbers(error):
    rebuilt = protocol.error_from_json(through_json(protocol.error_to_json(error)))
    assert (type(rebuilt), str(rebuilt), rebuilt.hint) == (type(error), str(error), error.hint)
    numbers = {name: value for name, value in vars(error).items() if isinstance(value, int)}
    assert {name: getattr(rebuilt, name) for name in numbers} == numbers


def test_a_bug_becomes_an_engine_error():
    rebuilt = protocol.error_from_json(protocol.error_to_json(KeyError("x")))
    assert type(rebuilt) is errors.EngineError
    assert "KeyError" in str(rebuilt)


@pytest.mark.parametrize("kind", ["SystemExit", "Path", "__builtins__", "annotations", "NoSuchError"])
def test_only_our_errors_can_be_named(kind):
    rebuilt = protocol.error_from_json({"kind": kind, "message": "m", "attributes": {}})
    assert type(rebuilt) is errors.EngineError


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_the_end(data):
    message = protocol.read_message(io.BytesIO(data))
    assert message is None or isinstance(message, dict)


def test_an_absurd_length_allocates_nothing():
    assert protocol.read_message(io.BytesIO(struct.pack("<I", 2**32 - 1) + b"{}")) is None


def test_values_are_plain_json():
    json.dumps(protocol.request_to_json(REQUEST), allow_nan=False)
