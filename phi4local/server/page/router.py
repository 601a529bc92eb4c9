"""What the page asks for: answers, sessions, models, the plan and results of `bench`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from phi4local import __version__
from phi4local.assistant.sessions.export import facts
from phi4local.assistant.sessions.feedback import rate
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.messages import Message
from phi4local.runtime import plans
from phi4local.runtime.pool import ModelPool, require_served
from phi4local.server.page.answers import conversation, frames, patiently
from phi4local.server.page.requests import AnswerRequest, FeedbackRequest, RenameRequest, TokensRequest
from phi4local.server.replies import streamed
from phi4local.settings import LoadSettings
from phi4local.store import results

router = APIRouter(prefix="/page-api", include_in_schema=False)

_CHART_COLUMNS = ("test", "model", "quantization", "median_ts", "avg_ts", "stddev_ts", "parallel")
MOST_RUNS = 50


@router.post("/answer")
async def answer(request: Request, wanted: AnswerRequest) -> Response:
    """Answer a question in a kept conversation, as lines of JSON."""
    lines = frames(request.app.state.answering, wanted)
    return await streamed(request, lines, media_type="application/x-ndjson")


@router.post("/tokens")
async def tokens(request: Request, wanted: TokensRequest) -> dict[str, int]:
    """Count what a text or a conversation takes of a model's context."""
    pool: ModelPool = request.app.state.pool
    async with pool.use(wanted.model) as model:
        if wanted.session is None:
            count = len(await asyncio.to_thread(model.tokenize, wanted.text)) if wanted.text else 0
        else:
            transcript = await asyncio.to_thread(SessionLibrary().read, wanted.session)
            messages = transcript.messages
            count = await asyncio.to_thread(model.count_tokens, messages) if messages else 0
        return {"tokens": count, "context_tokens": model.context_tokens}


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """List who can answer; what is loaded comes first."""
    pool: ModelPool = request.app.state.pool
    loaded = {one.name: one.model for one in pool.loaded()}
    known = await asyncio.to_thread(pool.names)
    facts_of = {
        name: {"context_tokens": model.context_tokens, "thinking": model.thinking}
        for name, model in loaded.items()
    }
    listed = [{"name": name, "loaded": name in loaded, **facts_of.get(name, {})} for name in known]
    return {"models": listed, "version": __version__}


@router.get("/sessions")
async def sessions() -> dict[str, Any]:
    """List the kept conversations, the newest first; those of the terminal too."""
    return {"sessions": [asdict(one) for one in await asyncio.to_thread(SessionLibrary().list)]}


@router.get("/sessions/{name:path}")
async def session(name: str) -> dict[str, Any]:
    """Return a conversation."""
    transcript = await asyncio.to_thread(SessionLibrary().read, name)
    return {**facts(transcript), "skipped": transcript.skipped}


@router.post("/sessions/{name:path}/name")
async def rename(name: str, wanted: RenameRequest) -> dict[str, str]:
    """Give a conversation another name."""

    def work() -> str:
        with contextlib.closing(SessionLibrary().open(name)) as opened:
            opened.rename(wanted.name)
            return opened.name

    return {"name": await patiently(work)}


@router.delete("/sessions/{name:path}")
async def remove(name: str) -> dict[str, str]:
    """Delete a conversation."""
    return {"removed": await patiently(lambda: SessionLibrary().remove(name))}


@router.post("/feedback")
async def feedback(wanted: FeedbackRequest) -> dict[str, str]:
    """Keep what a person thinks of an answer, where `/good` and `/bad` keep it."""

    def work() -> None:
        transcript = SessionLibrary().read(wanted.session)
        head = [Message("system", transcript.system)] if transcript.system else []
        messages = [*head, *conversation(transcript, wanted.turn + 1)]
        rate(messages, wanted.rating, note=wanted.note, model=transcript.model)

    await asyncio.to_thread(work)
    return {"rating": wanted.rating}


@router.get("/plan")
async def plan(request: Request, model: str, context: int | None = None) -> dict[str, Any]:
    """Say what a model takes on this machine, before it is loaded."""
    pool: ModelPool = request.app.state.pool
    if model not in {one.name for one in pool.loaded()}:
        require_served(model)
    settings = LoadSettings(context_tokens=context)
    return plans.report_mapping(await asyncio.to_thread(plans.plan_model, model.partition("+")[0], settings))


@router.get("/results")
async def kept_results() -> dict[str, Any]:
    """Return the newest results of `bench` that were kept on this machine: what a chart needs of them."""
    kept = (await asyncio.to_thread(results.runs))[-MOST_RUNS:]
    return {
        "runs": [
            {
                "id": run.id,
                "at": run.at,
                "processor": run.machine.get("processor"),
                "rows": [{name: row.get(name) for name in _CHART_COLUMNS} for row in run.rows],
            }
            for run in kept
        ]
    }
