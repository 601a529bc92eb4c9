"""Ollama's endpoints that answer: `/api/chat`, `/api/generate`, `/api/embed`, `/api/embeddings`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from phi4local.server.access_log import note_model, note_prompt
from phi4local.server.ollama.bodies import NDJSON, ChatBody, EmbedBody, EmbeddingBody, GenerateBody, answers
from phi4local.server.ollama.changes import served_name
from phi4local.server.ollama.embeddings import EmbeddingsRequest, EmbedRequest, fitting
from phi4local.server.ollama.frames import Answer, error_line, line
from phi4local.server.ollama.options import chosen
from phi4local.server.ollama.requests import ChatRequest, GenerateRequest
from phi4local.server.replies import streamed, unless_disconnected, with_error_frame
from phi4local.server.strict import report

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.answering import Answering

router = APIRouter(prefix="/api", tags=["Ollama"])


@router.post("/chat", responses=answers(ChatBody, streams=True))
async def chat(request: Request, wanted: ChatRequest) -> Response:
    """Answer a conversation; without messages, load the model or unload it."""
    return await _answered(request, wanted, "chat")


@router.post("/generate", responses=answers(GenerateBody, streams=True))
async def generate(request: Request, wanted: GenerateRequest) -> Response:
    """Answer a prompt, or continue it as it is; without one, load the model or unload it."""
    wanted.require_known()
    return await _answered(request, wanted, "generate")


@router.post("/embed", responses=answers(EmbedBody))
async def embed(request: Request, wanted: EmbedRequest) -> Response:
    """Return one vector for each text."""
    body = await unless_disconnected(request, _embedded(request, wanted))
    return JSONResponse(body, headers=report(wanted.ignored()))


@router.post("/embeddings", responses=answers(EmbeddingBody))
async def embeddings(request: Request, wanted: EmbeddingsRequest) -> Response:
    """Return the vector of one text, as older clients ask for it."""
    newer = wanted.as_embed()
    body = await unless_disconnected(request, _embedded(request, newer))
    vectors = body["embeddings"]
    return JSONResponse({"embedding": vectors[0] if vectors else []}, headers=report(newer.ignored()))


async def pool_name(pool: ModelPool, text: str) -> str:
    """Return the name under which the pool knows a model."""
    return await asyncio.to_thread(served_name, pool.loaded(), text)


async def _answered(
    request: Request, wanted: ChatRequest | GenerateRequest, shape: Literal["chat", "generate"]
) -> Response:
    headers = report(wanted.ignored())
    answer = Answer(wanted.model, shape, show_thoughts=wanted.think is not False)
    pool: ModelPool = request.app.state.pool
    name = await pool_name(pool, wanted.model)
    if wanted.is_empty():
        body = await unless_disconnected(request, _without_prompt(pool, name, wanted, answer))
        return JSONResponse(body, headers=headers)
    events = _events(request, name, wanted, answer)
    if wanted.streams:
        return await streamed(
            request, with_error_frame(_lines(events, answer), error_line), media_type=NDJSON, headers=headers
        )
    return JSONResponse(await unless_disconnected(request, _whole(events, answer)), headers=headers)


async def _events(
    request: Request, name: str, wanted: ChatRequest | GenerateRequest, answer: Answer
) -> AsyncGenerator[ConversationEvent, None]:
    """Yield the events of an answer; the model stays in memory as long as somebody reads them."""
    answering: Answering = request.app.state.answering
    keep = wanted.keep_alive_seconds()
    async with answering.pool.use(name, keep_alive_seconds=keep) as model:
        answer.loaded(model if wanted.logprobs else None)
        wanted.require_thinking(thinks=model.thinking)
        if wanted.logprobs:
            await asyncio.to_thread(model.pieces)
        task = replace(wanted.as_task(model.context_tokens), model=name)
        async with contextlib.aclosing(answering.events(task)) as events:
            async for _, event in events:
                yield event


async def _lines(
    events: AsyncGenerator[ConversationEvent, None], answer: Answer
) -> AsyncGenerator[str, None]:
    async with contextlib.aclosing(events) as open_events:
        async for event in open_events:
            for body in answer.lines(event):
                yield line(body)


async def _whole(events: AsyncGenerator[ConversationEvent, None], answer: Answer) -> dict[str, Any]:
    async with contextlib.aclosing(events) as open_events:
        async for event in open_events:
            answer.take(event)
    return answer.whole()


async def _without_prompt(
    pool: ModelPool, name: str, wanted: ChatRequest | GenerateRequest, answer: Answer
) -> dict[str, Any]:
    if wanted.keep_alive_seconds() == 0:
        await pool.release(name)
        return answer.without_prompt("unload")
    async with pool.use(name, keep_alive_seconds=wanted.keep_alive_seconds()) as model:
        answer.loaded()
        wanted.chosen().require_context(model.context_tokens)
    return answer.without_prompt("load")


async def _embedded(request: Request, wanted: EmbedRequest) -> dict[str, Any]:
    pool: ModelPool = request.app.state.pool
    clock = Answer(wanted.model, "generate")
    name, texts = await pool_name(pool, wanted.model), wanted.texts()
    async with pool.use(name, keep_alive_seconds=wanted.keep_alive_seconds()) as model:
        clock.loaded()
        note_model(name)
        wanted.require_width(model.file.embedding_length)
        chosen(wanted.options).require_context(model.context_tokens)
        if wanted.truncate:
            texts = await asyncio.to_thread(lambda: [fitting(model, text) for text in texts])
        vectors = (await model.aembed(texts)).tolist() if texts else []
        counts = await asyncio.to_thread(lambda: [len(model.tokenize(text)) for text in texts])
    note_prompt(sum(counts))
    return {
        "model": wanted.model,
        "embeddings": vectors,
        **clock.durations(),
        "prompt_eval_count": sum(counts),
    }
