"""`phi4local serve` beside llama-server: tokens per second of many clients, and time to the first token.

    python -m benchmarks.serve_load [--only load,first] [--json FILE]

Both servers run at the same time, with as many slots, the same threads and the same context; while one is
asked the other waits. Each client sends its own prompt of random token ids to `/v1/completions`, streamed,
with the same settings of sampling; random ids at temperature 1 leave nothing to guess ahead and nothing in a
cache. There is no seed: `phi4local serve` reads prompts of requests with one in small pieces.

- load: all tokens of a round's answers, divided by the time from the first request to the last answer's end.
- first: milliseconds from sending a request to the first token, with one client and a small model (phi4-nano,
  whose prompts take about a millisecond), so that what the server adds can be seen at all; and what is added
  to the same work through the Python interface.

Ten minutes for the load on two cores with the usual model of 1.3 billion weights.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import phi4local
from benchmarks import pairs
from benchmarks.peers import Peer
from benchmarks.random_model import cached_gguf
from phi4local.catalog import data_folder
from phi4local.convert import convert_checkpoint
from phi4local.engine.worker.process import child_environment
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS = (1, 4, 8, 16)
AGGREGATE, ADDED_MILLISECONDS = 0.95, 5.0
SAMPLING = {"temperature": 1.0, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
FIRST_ROUNDS = 60


class Server:
    """One server; `answers` asks it from several clients at once."""

    def __init__(self, address: str, model: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self._place = (parts.hostname or "", parts.port or 80)
        self._model = model

    def answers(self, prompts: Sequence[list[int]], tokens: int) -> tuple[float, list[float]]:
        """Return tokens per second of all answers together, and seconds to the first token of each."""
        with ThreadPoolExecutor(len(prompts)) as pool:
            ready = threading.Barrier(len(prompts) + 1)
            running = [pool.submit(self._answer, prompt, tokens, ready) for prompt in prompts]
            ready.wait()
            started = time.perf_counter()
            found = [future.result() for future in running]
            seconds = time.perf_counter() - started
        return sum(count for count, _ in found) / seconds, [first for _, first in found]

    def _answer(self, prompt: list[int], tokens: int, ready: threading.Barrier) -> tuple[int, float]:
        """Return how many tokens came, and the seconds to the first."""
        body = {"model": self._model, "prompt": prompt, "max_tokens": tokens, "stream": True, **SAMPLING}
        more = {"stream_options": {"include_usage": True}}
        connection = http.client.HTTPConnection(*self._place, timeout=600)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.wait()
        sent = time.perf_counter()
        connection.request(
            "POST", "/v1/completions", json.dumps({**body, **more}), {"Content-Type": "application/json"}
        )
        first, counted = 0.0, 0
        with contextlib.closing(connection.getresponse()) as answer:
            if answer.status != 200:
                raise SystemExit(f"error: {self._place}: {answer.read()[:500]!r}")
            for line in answer:
                if not line.startswith(b"data: {"):
                    continue
                first = first or time.perf_counter() - sent
                usage = json.loads(line[6:]).get("usage") or {}
                counted = usage.get("completion_tokens") or counted
        connection.close()
        return counted, first


@contextlib.contextmanager
def ours(model: str, options: argparse.Namespace, *, slots: int, context: int) -> Iterator[Server]:
    """Run `phi4local serve`."""
    settings = ("--threads", options.threads, "--parallel", slots, "--queue", 64, "--context", context)
    command = [sys.executable, "-m", "phi4local", "serve", model, "--port", "0", *map(str, settings)]
    with _running(command, env={**os.environ}) as process:
        for line in process.stderr or ():
            if found := re.search(r"listening on (http://\S+)", line):
                _drain(process)
                yield Server(found[1], Path(model).stem)
                return
        raise SystemExit("error: phi4local serve did not start")


@contextlib.contextmanager
def theirs(peer: Peer, *, slots: int, context: int) -> Iterator[Server]:
    """Run llama-server, with a pool of cells for all slots."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shape = ("-c", slots * context, "-np", slots, "-t", peer.threads, "-ngl", peer.gpu_layers)
    command = [peer.folder / "llama-server", "-m", peer.model, "--port", port, "--no-webui", *shape]
    with _running([str(part) for part in command], env=child_environment()) as process:
        _drain(process)
        for _ in range(600):
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            if process.poll() is not None:
                raise SystemExit("error: llama-server did not start")
            time.sleep(0.1)
        yield Server(f"http://127.0.0.1:{port}", "any")


@contextlib.contextmanager
def _running(command: Sequence[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _drain(process: subprocess.Popen[str]) -> None:
    """Read what a server says, so that it never waits for somebody to."""
    threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()


def prompts(count: int, length: int, number: int) -> list[list[int]]:
    """Return prompts of token ids that no round had before."""
    chance = random.Random(number)
    return [[chance.randrange(1000, 8000) for _ in range(length)] for _ in range(count)]


def load(options: argparse.Namespace) -> list[pairs.Ratio | pairs.Limit]:
    """Compare all numbers of clients."""
    model = options.model or cached_gguf("1.3b")
    lengths = options.prompt_tokens, options.generated_tokens
    context = -(-(sum(lengths) + 1) // 256) * 256
    ratios = {clients: pairs.Ratio(f"{clients} clients", AGGREGATE) for clients in CLIENTS}
    shape = {"slots": max(CLIENTS), "context": context}
    with (
        ours(str(model), options, **shape) as mine,
        theirs(Peer.of(options, model), **shape) as other,
    ):
        for server in (mine, other):  # warm-up
            server.answers(prompts(4, lengths[0], -1), 8)

        def round_(number: int) -> None:
            for clients, ratio in ratios.items():
                sides = [(mine, ratio.ours), (other, ratio.theirs)]
                for server, speeds in sides if number % 2 else reversed(sides):
                    asked = prompts(clients, lengths[0], 100 * number + clients)
                    speeds.append(server.answers(asked, lengths[1])[0])

        pairs.run([*ratios.values()], round_, options)
    return [*ratios.values()]


def first(options: argparse.Namespace) -> list[pairs.Ratio | pairs.Limit]:
    """Compare the time to the first token of one client with llama-server's and with the engine's own."""
    times: dict[str, list[float]] = {"ours": [], "theirs": [], "engine": []}
    shape = {"slots": 1, "context": 1024}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        path = Path(folder) / "nano.gguf"
        convert_checkpoint(data_folder() / "phi4-nano", path, "Q8_0")
        model = running.enter_context(phi4local.load(str(path), LoadSettings(threads=options.threads)))
        mine = running.enter_context(ours(str(path), options, **shape))
        other = running.enter_context(theirs(Peer.of(options, path), **shape))
        for number in range(FIRST_ROUNDS):
            prompt = prompts(1, options.prompt_tokens, number)
            for name, server in [("ours", mine), ("theirs", other)][:: 1 if number % 2 else -1]:
                times[name] += server.answers(prompt, 4)[1]
            times["engine"].append(_engines_first(model, prompt[0]))
    found = {name: statistics.median(values[5:]) * 1000 for name, values in times.items()}
    for name, value in found.items():
        print(f"first token, {name}: {value:.2f} ms (median of {FIRST_ROUNDS - 5})")
    limits = [
        pairs.Limit(
            "first token: ours - llama-server's", found["ours"] - found["theirs"], ADDED_MILLISECONDS, "ms"
        ),
        pairs.Limit(
            "first token: ours - the engine's own", found["ours"] - found["engine"], ADDED_MILLISECONDS, "ms"
        ),
    ]
    for limit in limits:
        print(limit.row())
    return [*limits]


def _engines_first(model: Any, prompt: list[int]) -> float:  # noqa: ANN401 - a phi4local Model
    from phi4local.prompts import TokenSegment
    from phi4local.settings import SamplingSettings

    started = time.perf_counter()
    sampling = SamplingSettings.from_mapping(SAMPLING)
    with model.submit_segments((TokenSegment(tuple(prompt)),), sampling=sampling, max_tokens=4) as generation:
        next(iter(generation))
        return time.perf_counter() - started


GROUPS = {"load": load, "first": first}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser, prompt_tokens=16, generated_tokens=32)
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, with commas between them")
    options = parser.parse_args()
    results = [result for name in options.only.split(",") for result in GROUPS[name](options)]
    command = f"python -m benchmarks.serve_load --only {options.only}"
    shape = {"prompt_tokens": options.prompt_tokens, "generated_tokens": options.generated_tokens}
    pairs.write(options.json, results, command=command, threads=options.threads, **shape)
    sys.exit(not all(result.met for result in results))


if __name__ == "__main__":
    main()
