"""The application: dialects, middleware and errors, put together."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from phi4local import __version__
from phi4local.server import anthropic, health, metrics, ollama, openai, own, page
from phi4local.server.access import KeyRequired
from phi4local.server.access_log import AccessLog, Logged, note_answer
from phi4local.server.answering import Answering
from phi4local.server.bodies import BodiesAreJson
from phi4local.server.errors import ErrorShapes, install
from phi4local.server.limits import BodyLimit
from phi4local.server.origins import KnownCallers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phi4local.assistant.events import ConversationEvent
    from phi4local.assistant.guard.guard import Guard
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.options import ServerOptions

ROUTERS = (
    page.files_router,
    openai.router,
    openai.responses_router,
    anthropic.router,
    ollama.router,
    ollama.store_router,
    health.router,
    metrics.router,
    own.router,
    page.router,
)
"""Every endpoint. A dialect adds its router here, and its error body below."""
ERROR_BODIES = {"": openai.error_body, "/api": ollama.error_body, "/v1/messages": anthropic.error_body}
"""The shape of errors by the beginning of the path; the longest one counts."""
MIDDLEWARE: tuple[Any, ...] = (Logged, metrics.Counted, KnownCallers, KeyRequired, BodyLimit)
"""ASGI middleware, the outermost first; each is called with `app`, `options`, `shapes` and `pool`."""

MOST_THREADS = 64
"""For what waits: loading, embeddings, templates. Python's own number is 6 on two cores: too few for all."""


def make_app(pool: ModelPool, options: ServerOptions, *, guard: Guard | None = None) -> FastAPI:
    """Return the application that `run.serve` runs.

    Args:
        pool: the models that answer; closed when the application ends.
        options: whom it answers, and how much a request may take.
        guard: checks what comes and goes, or `None`.

    Example: `make_app(ModelPool(open_model), ServerOptions())`.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="phi4local-server")
        asyncio.get_running_loop().set_default_executor(threads)
        try:
            yield
        finally:
            await pool.close()
            if app.state.access_log is not None:
                app.state.access_log.close()

    app = FastAPI(
        title="phi4local",
        version=__version__,
        description="Microsoft's Phi-4 on this machine.",
        lifespan=lifespan,
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
    )
    shapes = ErrorShapes(ERROR_BODIES)
    app.state.options = options
    app.state.pool = pool
    app.state.stop = lambda: None  # `run.serve` knows how
    app.state.metrics = metrics.Metrics()
    app.state.proofs = health.Proofs(pool)
    app.state.access_log = AccessLog(options.access_log) if options.access_log else None
    app.state.note = _noting(app.state.metrics)
    app.state.answering = Answering(pool, options, guard, note=app.state.note)
    for router in ROUTERS:
        app.include_router(router)
    app.state.metrics.paths = frozenset(
        str(getattr(route, "path", "")) for router in ROUTERS for route in router.routes
    )
    install(app, shapes)
    app.add_middleware(BodiesAreJson)
    for middleware in reversed(MIDDLEWARE):
        app.add_middleware(middleware, options=options, shapes=shapes, pool=pool)
    return app


def _noting(counted: metrics.Metrics) -> Callable[[ConversationEvent], None]:
    """Return what hears of every event: the counters, and the request's line in the log."""

    def note(event: ConversationEvent) -> None:
        counted.note_answer(event)
        note_answer(event)

    return note
