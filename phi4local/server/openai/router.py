"""OpenAI's endpoints."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from phi4local.errors import UnknownModelError
from phi4local.runtime.pool import ModelPool
from phi4local.server.access_log import note_model, note_prompt
from phi4local.server.answering import Answering
from phi4local.server.errors import body_for
from phi4local.server.openai.bodies import (
    ChatBody,
    EmbeddingsBody,
    ModelBody,
    ModelsBody,
    TextBody,
    answers,
)
from phi4local.server.openai.completions import CompletionRequest, TextCompletion
from phi4local.server.openai.embeddings import EmbeddingRequest, embeddings_body
from phi4local.server.openai.errors import error_body
from phi4local.server.openai.frames import DONE, ChatCompletion, frame
from phi4local.server.openai.requests import ChatRequest, StreamOptions
from phi4local.server.replies import streamed, unless_disconnected, with_error_frame
from phi4local.server.strict import Strict, report
from phi4local.server.task import Task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from phi4local.assistant.events import ConversationEvent

router = APIRouter(prefix="/v1", tags=["OpenAI"])


class Collector(Protocol):
    """What events go into; `ChatCompletion` and `TextCompletion` are."""

    def chunks(self, number: int, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event and yield chunks."""

    def last_chunks(self) -> Iterator[dict[str, Any]]:
        """Yield what follows all answers."""

    def take(self, number: int, event: ConversationEvent) -> None:
        """Take an event, for `whole`."""

    def whole(self) -> dict[str, Any]:
        """Return the body when every answer is finished."""


@router.post("/chat/completions", responses=answers(ChatBody, streams=True))
async def chat(request: Request, wanted: ChatRequest) -> Response:
    """Answer a conversation."""
    task = wanted.as_task()
    tokens = await _answering(request).tokens(task.model) if wanted.logprobs else None
    completion = ChatCompletion(
        task.model, include_usage=_include_usage(wanted.stream_options), tokens=tokens
    )
    return await _answered(request, wanted, [task], completion, stream=bool(wanted.stream))


@router.post("/completions", responses=answers(TextBody, streams=True))
async def complete(request: Request, wanted: CompletionRequest) -> Response:
    """Continue texts, without a template."""
    tasks = wanted.as_tasks()
    ids = any(not isinstance(task.prompt, str) for task in tasks) and wanted.echo
    tokens = None
    if ids or wanted.logprobs is not None:
        tokens = await _answering(request).tokens(wanted.model)
    prompts = [
        task.prompt if isinstance(task.prompt, str) else tokens.text_of(task.token_ids()) if tokens else ""
        for task in tasks
        for _ in range(task.answers)
    ]
    completion = TextCompletion(
        wanted.model,
        prompts if wanted.echo else [""] * len(prompts),
        answers=tasks[0].answers,
        include_usage=_include_usage(wanted.stream_options),
        tokens=tokens if wanted.logprobs is not None else None,
    )
    return await _answered(request, wanted, tasks, completion, stream=bool(wanted.stream))


@router.post("/embeddings", responses=answers(EmbeddingsBody))
async def embed(request: Request, wanted: EmbeddingRequest) -> Response:
    """Return one vector for each text."""
    body = await unless_disconnected(request, _embeddings(_pool(request), wanted))
    return JSONResponse(body, headers=report(wanted.ignored()))


@router.get("/models", responses=answers(ModelsBody))
async def models(request: Request) -> dict[str, Any]:
    """List the models that a request can name."""
    return {"object": "list", "data": [_model(name) for name in _pool(request).names()]}


@router.get("/models/{name:path}", responses=answers(ModelBody))
async def model(request: Request, name: str) -> dict[str, Any]:
    """Describe one model."""
    known = _pool(request).names()
    if name not in known:
        raise UnknownModelError(name, (), known=known)
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "phi4local"}


def _answering(request: Request) -> Answering:
    answering: Answering = request.app.state.answering
    return answering


def _pool(request: Request) -> ModelPool:
    pool: ModelPool = request.app.state.pool
    return pool


def _include_usage(options: StreamOptions | None) -> bool:
    return options is not None and bool(options.include_usage)


async def _answered(
    request: Request, wanted: Strict, tasks: list[Task], collector: Collector, *, stream: bool
) -> Response:
    events = _answering(request).all_events(tasks)
    if stream:
        frames = with_error_frame(
            _frames(events, collector), lambda error: frame(body_for(error_body, error))
        )
        return await streamed(
            request, frames, media_type="text/event-stream", headers=report(wanted.ignored())
        )
    body = await unless_disconnected(request, _whole(events, collector))
    return JSONResponse(body, headers=report(wanted.ignored()))


async def _frames(
    numbered: AsyncGenerator[tuple[int, ConversationEvent], None], collector: Collector
) -> AsyncGenerator[str, None]:
    async with contextlib.aclosing(numbered) as events:
        async for number, event in events:
            for chunk in collector.chunks(number, event):
                yield frame(chunk)
    for chunk in collector.last_chunks():
        yield frame(chunk)
    yield DONE


async def _whole(
    numbered: AsyncGenerator[tuple[int, ConversationEvent], None], collector: Collector
) -> dict[str, Any]:
    async with contextlib.aclosing(numbered) as events:
        async for number, event in events:
            collector.take(number, event)
    return collector.whole()


async def _embeddings(pool: ModelPool, wanted: EmbeddingRequest) -> dict[str, Any]:
    async with pool.use(wanted.model) as model:
        note_model(wanted.model)
        wanted.require_width(model.file.embedding_length)
        texts = await asyncio.to_thread(wanted.texts, model)
        vectors = await model.aembed(texts)
        counts = await asyncio.to_thread(lambda: [len(model.tokenize(text)) for text in texts])
    note_prompt(sum(counts))
    return embeddings_body(wanted, vectors, sum(counts))
