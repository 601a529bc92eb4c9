"""Counters in Prometheus' text format; no prompt, answer, key or name of a file is ever in one.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from phi4local.engine import Finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from phi4local.assistant.events import ConversationEvent
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.errors import ErrorShapes
    from phi4local.server.options import ServerOptions

router = APIRouter(tags=["operations"])
BUCKETS_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
OTHER = "other"
"""The path of every request to an address that is none of this server's: clients cannot make new series."""
FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What a server counts; `app.state.metrics`.

    Example: a line of `text` is `phi4local_requests_total{path="/health",method="GET",status="200"} 1`.
    """

    def __init__(self) -> None:
        self.paths: frozenset[str] = frozenset()
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._slower: Counter[tuple[str, float]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tokens: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self.running = 0

    def place_of(self, scope: Scope) -> str:
        """Return the address of a request: `/v1/models/{name:path}`, not each name, and `OTHER` for none."""
        # A request that was refused on its way has no route.
        path = str(getattr(scope.get("route"), "path", scope["path"]))
        return path if path in self.paths else OTHER

    @staticmethod
    def method_of(scope: Scope) -> str:
        """Return the method of a request, and `OTHER` for one that this server has nothing for."""
        method = str(scope["method"])
        return method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else OTHER

    def note_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that ended."""
        place, verb = self.place_of(scope), self.method_of(scope)
        self._requests[place, verb, str(status)] += 1
        self._seconds[place] += seconds
        for most in (*BUCKETS_SECONDS, float("inf")):
            self._slower[place, most] += seconds <= most

    def note_answer(self, event: ConversationEvent) -> None:
        """Count the tokens of an answer when it ends."""
        if isinstance(event, Finished):
            self._reasons[event.reason] += 1
            self._tokens["prompt"] += event.usage.prompt_tokens
            self._tokens["reused"] += event.usage.reused_tokens
            self._tokens["generated"] += event.usage.generated_tokens

    def text(self, pool: ModelPool) -> str:
        """Return everything in Prometheus' format."""
        loaded = pool.loaded()
        parts = [
            _family("requests_total", "counter", "requests that ended", self._request_lines()),
            _family("request_seconds", "histogram", "how long they took", self._time_lines()),
            _family("tokens_total", "counter", "tokens of answers that ended", _lines(self._tokens, "kind")),
            _family("answers_total", "counter", "answers by why they ended", _lines(self._reasons, "reason")),
            _family("requests_running", "gauge", "requests in work", [("", {}, self.running)]),
            _family("models_loaded", "gauge", "models in memory", [("", {}, len(loaded))]),
            _family("models_in_use", "gauge", "of them", [("", {}, sum(one.users > 0 for one in loaded))]),
        ]
        return "".join(parts)

    def _request_lines(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        for (path, method, status), count in sorted(self._requests.items()):
            yield "", {"path": path, "method": method, "status": status}, count

    def _time_lines(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        for path, seconds in sorted(self._seconds.items()):
            for most in BUCKETS_SECONDS:
                yield "_bucket", {"path": path, "le": f"{most:g}"}, self._slower[path, most]
            whole = self._slower[path, float("inf")]
            yield "_bucket", {"path": path, "le": "+Inf"}, whole
            yield "_sum", {"path": path}, seconds
            yield "_count", {"path": path}, whole


class Counted:
    """ASGI middleware that counts requests; the outermost, so that refused ones count too."""

    def __init__(self, app: ASGIApp, *, options: ServerOptions, shapes: ErrorShapes, pool: ModelPool) -> None:
        del options, shapes, pool
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and take the time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics: Metrics = scope["app"].state.metrics
        started, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics.running += 1
        try:
            await self._app(scope, receive, noted)
        except BaseException:
            status = status or 500  # what uvicorn and Starlette send then does not come by
            raise
        finally:
            metrics.running -= 1
            metrics.note_request(scope, status, time.perf_counter() - started)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    """Return the counters for Prometheus."""
    counted: Metrics = request.app.state.metrics
    return PlainTextResponse(counted.text(request.app.state.pool), media_type=FORMAT)


def _family(
    name: str, kind: str, help_text: str, lines: Iterable[tuple[str, Mapping[str, str], float]]
) -> str:
    whole = f"phi4local_{name}"
    head = f"# HELP {whole} {help_text}\n# TYPE {whole} {kind}\n"
    return head + "".join(f"{whole}{end}{_labels(labels)} {value:.17g}\n" for end, labels, value in lines)


def _lines(counted: Counter[str], label: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for name, count in sorted(counted.items()):
        yield "", {label: name}, count


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""
