"""Clients that hang up: their answers end at the engine's next step, whole ones and streamed ones."""

import asyncio
import contextlib
import json

import pytest

from phi4local.engine import Finished, Text
from phi4local.messages import Message
from phi4local.runtime.open import open_model
from phi4local.runtime.pool import ModelPool
from phi4local.server.answering import Answering
from phi4local.server.app import make_app
from phi4local.server.options import ServerOptions
from phi4local.server.task import Task
from phi4local.settings import LoadSettings, SamplingSettings

ENDLESS = {str(token): -100 for token in range(8096, 8192)}
STORY = (Message("user", "Tell me a long story about a lantern, a boat and three foxes."),)
TOKENS = 1500


@pytest.fixture(scope="module")
def pool(native_library):
    model = open_model("phi4-nano", LoadSettings(parallel=2))
    pool = ModelPool(open_model)
    pool.put("phi4-nano", model)
    yield pool
    model.close()


class Client:
    """ASGI's two ends: sends one request, hangs up when `leave` is set, counts frames."""

    def __init__(self, *, stream):
        self.body = json.dumps(
            {
                "model": "phi4-nano",
                "messages": [{"role": "user", "content": STORY[0].content}],
                "max_tokens": TOKENS,
                "logit_bias": ENDLESS,
                "stream": stream,
            }
        ).encode()
        self.leave = asyncio.Event()
        self.frames = []
        self._asked = False

    async def receive(self):
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.body":
            self.frames.append(message)
            if len(self.frames) == 3:
                self.leave.set()

    def scope(self):
        return {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", str(len(self.body)).encode())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8004),
            "scheme": "http",
            "http_version": "1.1",
        }


def test_streamed_answer_ends_when_the_client_leaves(pool):
    async def go():
        app, client = make_app(pool, ServerOptions()), Client(stream=True)
        await app(client.scope(), client.receive, client.send)
        return client.frames

    frames = asyncio.run(go())
    assert 3 <= len(frames) < TOKENS / 2
    assert not any(b"[DONE]" in frame["body"] for frame in frames)
    assert [loaded.users for loaded in pool.loaded()] == [0]


def test_whole_answer_ends_when_the_client_leaves(pool):
    async def go():
        app, client = make_app(pool, ServerOptions()), Client(stream=False)
        asked = asyncio.ensure_future(app(client.scope(), client.receive, client.send))
        while not pool.loaded()[0].users:
            await asyncio.sleep(0)
        client.leave.set()
        await asked
        return client.frames

    assert b"chat.completion" not in b"".join(frame["body"] for frame in asyncio.run(go()))
    assert [loaded.users for loaded in pool.loaded()] == [0]


def read(pool, task, options=None):
    async def go():
        answering = Answering(pool, options or ServerOptions())
        async with contextlib.aclosing(answering.events(task)) as events:
            return [event async for event in events]

    return asyncio.run(go())


def test_answers_to_one_prompt_share_its_cells(pool):
    question = (Message("user", "What does nobody know about the " + "very " * 60 + "old mill?"),)
    task = Task(model="phi4-nano", prompt=question, max_tokens=2, answers=2)
    ends = [event.usage for _, event in read(pool, task) if isinstance(event, Finished)]
    assert min(usage.reused_tokens for usage in ends) < 20
    assert max(usage.reused_tokens for usage in ends) >= ends[0].prompt_tokens - 1


def test_answer_that_takes_too_long_ends_for_time(pool):
    sampling = SamplingSettings(logit_bias={int(token): bias for token, bias in ENDLESS.items()})
    task = Task(model="phi4-nano", prompt=STORY, sampling=sampling)
    events = read(pool, task, ServerOptions(request_seconds=0.5))
    assert events[-1][1].reason == "time"
    assert any(isinstance(event, Text) for _, event in events)
