"""The three places that models come from: does each answer within seconds? No token is sent."""

from __future__ import annotations

import queue
import threading
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.doctor.result import OK, SKIPPED, WARNING, WRONG, Result
from phi4local.errors import Phi4LocalError
from phi4local.store import http, references
from phi4local.store.sources import huggingface, modelscope, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.store.http import Credentials
    from phi4local.store.references import Reference

CONNECT_SECONDS, READ_SECONDS = 4.0, 6.0
_MOST_HOPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A server that has models: its name, one of its models, and the question that it answers quickly."""

    name: str
    model: str
    question: str
    endpoint_of: Callable[[Reference], tuple[str, Credentials]]


SOURCES = (
    Source(
        name="Hugging Face",
        model="hf.co/microsoft/phi-4",
        question="/api/models/microsoft/phi-4",
        endpoint_of=huggingface.endpoint_of,
    ),
    Source(
        name="ModelScope",
        model="modelscope.cn/LLM-Research/phi-4",
        question="/api/v1/models/LLM-Research/phi-4",
        endpoint_of=modelscope.endpoint_of,
    ),
    Source(
        name="Ollama registry",
        model="registry.ollama.ai/library/phi4",
        question="/v2/",
        endpoint_of=registry.endpoint_of,
    ),
)


def check(seconds: float = 10.0) -> list[Result]:
    """Ask all sources at the same time and return one result for each.

    Args:
        seconds: after which a source counts as silent, whatever it does.
    """
    if http.is_offline():
        seen = "not asked: PHI4LOCAL_OFFLINE or HF_HUB_OFFLINE is set"
        return [Result(name=source.name, state=SKIPPED, seen=seen) for source in SOURCES]
    answers: queue.SimpleQueue[Result] = queue.SimpleQueue()
    for source in SOURCES:  # not a pool: its threads would be waited for at the end, and names hang longest
        threading.Thread(target=lambda one=source: answers.put(_ask(one)), daemon=True).start()
    latest = time.monotonic() + seconds
    got: dict[str, Result] = {}
    while len(got) < len(SOURCES):
        try:
            result = answers.get(timeout=max(0.0, latest - time.monotonic()))
        except queue.Empty:
            break
        got[result.name] = result
    return [
        got.get(source.name) or _unreachable(source.name, f"silent for {seconds:g} s") for source in SOURCES
    ]


def _ask(source: Source) -> Result:
    try:
        endpoint, _ = source.endpoint_of(references.parse(source.model))
        return _follow(source.name, endpoint + source.question)
    except http.LostConnectionError as error:
        return _unreachable(source.name, f"cannot be reached: {error}")
    except Phi4LocalError as error:  # an address that is none, a token that cannot be one, a refused redirect
        return Result(name=source.name, state=WRONG, seen=str(error), advice=error.hint or "")
    except (OSError, ValueError, ImportError) as error:
        return Result(name=source.name, state=WRONG, seen=f"{type(error).__name__}: {error}")


def _unreachable(name: str, seen: str) -> Result:
    advice = "models that are here work without it"
    return Result(name=name, state=WARNING, seen=seen, advice=advice)


def _follow(name: str, url: str) -> Result:
    """Ask, go after redirects under the store's rules, and judge the last answer."""
    began, here = time.monotonic(), url
    for _ in range(_MOST_HOPS):
        nobody = http.Credentials(here)
        with http.send(
            here, nobody, {}, read_seconds=READ_SECONDS, connect_seconds=CONNECT_SECONDS
        ) as response:
            status, kind = response.status_code, response.headers.get("content-type", "")
            location = response.headers.get("location")
        if not (300 <= status < 400 and location):
            return _judged(name, here, status, kind, time.monotonic() - began)
        there = http.next_address(here, location)
        if _host(there) != _host(here):
            seen = f"{http.origin_of(here)} sends to {http.origin_of(there)}: a login page or a proxy answers"
            return Result(name=name, state=WARNING, seen=seen, advice="log in to this network, or leave it")
        here = there
    return _unreachable(name, f"{http.origin_of(url)} redirects in a circle")


def _judged(name: str, url: str, status: int, kind: str, seconds: float) -> Result:
    origin = http.origin_of(url)
    if status >= 500 or status in (407, 429):
        return _unreachable(name, f"{origin} answers with status {status}")
    if status == 200 and "json" not in kind and name != "Ollama registry":
        seen = f"{origin} answers with {kind.partition(';')[0][:40] or 'nothing'}, not with JSON"
        return Result(name=name, state=WARNING, seen=seen, advice="a login page or a proxy may answer")
    return Result(name=name, state=OK, seen=f"{origin} answers in {seconds * 1000:,.0f} ms")


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or ""
