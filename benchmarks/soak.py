"""An hour of mixed load: a server with clients that come and go, a chat, pulls and conversions beside them.

    python -m benchmarks.soak [--minutes 60] [--output benchmarks/results/soak.json]

All are real processes. Clients ask the server for streamed and whole answers, and one in ten hangs up in the
middle. One chat is written to through a pipe all the time. A model is pulled from a hub on loopback and
removed, and the embedded checkpoint is converted, again and again. Every few seconds the memory (RSS of a
process and its children) and the descriptors of server and chat are read from /proc, so this is for Linux.

The bars: no failure; memory grows by at most 1 MB an hour after the first fifth; the descriptors of the last
tenth of the time are those after the first fifth; the 95th percentile of the last sixth's answers is at most
1.1 times that of the first sixth.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import __version__, hardware
from phi4local.convert import convert_checkpoint
from tests.hubs import HuggingFaceHub
from tests.served import ServedProcess

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKPOINT = Path(__file__).resolve().parent.parent / "models" / "phi4-nano"
CLIENTS, PAUSE_SECONDS, LOOK_SECONDS = 2, 0.2, 5.0
WARM_UP, EDGE = 1 / 5, 1 / 6
MOST_MB_PER_HOUR, MOST_LATENCY_RATIO = 1.0, 1.1
QUESTIONS = ("Hello", "Tell me about the sea.", "What is 2 + 2?", "Write a poem of four lines.", "häß 🦊")


@dataclass
class Seen:
    """What happened: answers with their moment and seconds, looks at processes, counts and failures."""

    began: float = field(default_factory=time.monotonic)
    answers: list[tuple[float, float]] = field(default_factory=list)
    looks: dict[str, list[tuple[float, int, int]]] = field(
        default_factory=lambda: collections.defaultdict(list)
    )
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)

    def now(self) -> float:
        """Return seconds since the beginning."""
        return time.monotonic() - self.began


def family(process: int) -> list[int]:
    """Return a process and its descendants."""
    found = [process]
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def look(process: int) -> tuple[int, int]:
    """Return resident bytes and open descriptors of a process and its descendants."""
    resident = descriptors = 0
    for one in family(process):
        resident += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        descriptors += len(list(Path(f"/proc/{one}/fd").iterdir()))
    return resident, descriptors


def ask(address: str, randomness: random.Random, seen: Seen) -> None:
    """Ask once: read the whole answer, or hang up in the middle of one in ten."""
    host = urllib.parse.urlsplit(address).netloc
    stream, leaves = randomness.random() < 0.7, randomness.random() < 0.1
    body = {
        "model": "phi4-nano",
        "messages": [{"role": "user", "content": randomness.choice(QUESTIONS)}],
        "max_tokens": 24,
        "stream": stream,
    }
    connection = http.client.HTTPConnection(host, timeout=120)
    started = time.monotonic()
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        if leaves:
            answer.read(randomness.randrange(1, 200))
            seen.counts["left in the middle"] += 1
            return
        text = answer.read()
    finally:
        connection.close()
    whole = text.rstrip().endswith(b"[DONE]") if stream else b'"finish_reason"' in text
    if answer.status != 200 or not whole:
        raise RuntimeError(f"{answer.status}: {text[-200:]!r}")
    seen.counts["answers"] += 1
    seen.answers.append((seen.now(), time.monotonic() - started))


def talk(chat: subprocess.Popen[bytes], randomness: random.Random, seen: Seen) -> None:
    """Write a question to the chat; what it answers is read elsewhere."""
    if chat.stdin is None or chat.poll() is not None:
        raise RuntimeError(f"the chat ended with {chat.returncode}")
    chat.stdin.write(f"{randomness.choice(QUESTIONS)}\n".encode())
    chat.stdin.flush()
    seen.counts["chat turns"] += 1
    time.sleep(2)


def command(arguments: list[str], environment: dict[str, str]) -> None:
    """Run phi4local once."""
    done = subprocess.run(
        [sys.executable, "-m", "phi4local", *arguments],
        env=environment,
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(
            f"{arguments[0]}: {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}"
        )


def repeat(name: str, work: Callable[[], None], seen: Seen, end: threading.Event) -> None:
    """Do something again and again; an error is a failure of the soak, and the work goes on."""
    while not end.is_set():
        try:
            work()
        except (
            OSError,
            RuntimeError,
            ValueError,
            http.client.HTTPException,
            subprocess.SubprocessError,
        ) as error:
            if not end.is_set():
                seen.failures.append(f"{seen.now():.0f} s, {name}: {type(error).__name__}: {error}")
        end.wait(PAUSE_SECONDS)


def soak(minutes: float, folder: Path) -> Seen:
    """Run everything for so many minutes; return what was seen."""
    environment = {**os.environ, "PHI4LOCAL_HOME": str(folder / "home"), "PHI4LOCAL_REUSE": "0"}
    puller = environment | {"PHI4LOCAL_HOME": str(folder / "puller")}
    pulled, output = folder / "pulled.gguf", folder / "converted.gguf"
    convert_checkpoint(CHECKPOINT, pulled, "Q8_0")
    with contextlib.ExitStack() as stack:
        hub: Any = stack.enter_context(HuggingFaceHub())  # type: ignore[no-untyped-call]
        hub.add("soak/phi4-nano-GGUF", {"phi4-nano-Q8_0.gguf": pulled})
        puller["HF_ENDPOINT"] = hub.url
        server: Any = stack.enter_context(
            ServedProcess("phi4-nano", "--threads", "1", env=environment)  # type: ignore[no-untyped-call]
        )
        chat = stack.enter_context(_chat(environment))
        seen, end = Seen(), threading.Event()
        choose = [random.Random(number) for number in range(CLIENTS + 1)]

        def pull() -> None:
            command(["pull", "hf.co/soak/phi4-nano-GGUF:Q8_0", "--yes"], puller)
            command(["rm", "hf.co/soak/phi4-nano-GGUF:Q8_0"], puller)
            hub.requests.clear()
            seen.counts["pulls"] += 1

        def convert() -> None:
            command(
                ["convert", str(CHECKPOINT), "-q", "Q4_K_M", "-t", "1", "-o", str(output), "--force"],
                environment,
            )
            seen.counts["conversions"] += 1

        jobs: dict[str, Callable[[], None]] = {"pull": pull, "convert": convert}
        jobs["chat"] = lambda: talk(chat, choose[-1], seen)
        for number in range(CLIENTS):
            jobs[f"client {number}"] = lambda number=number: ask(str(server.address), choose[number], seen)  # type: ignore[misc]
        threads = [
            threading.Thread(target=repeat, args=(name, work, seen, end)) for name, work in jobs.items()
        ]
        for thread in threads:
            thread.start()
        while seen.now() < minutes * 60:
            time.sleep(LOOK_SECONDS)
            for name, process in (("server", server.process.pid), ("chat", chat.pid)):
                with contextlib.suppress(OSError):  # a child may end while it is looked at
                    seen.looks[name].append((seen.now(), *look(process)))
        end.set()
        for thread in threads:
            thread.join(320)
    return seen


@contextlib.contextmanager
def _chat(environment: dict[str, str]) -> Any:  # noqa: ANN401 - a generator
    arguments = [
        "chat",
        "phi4-nano",
        "--max-tokens",
        "24",
        "--threads",
        "1",
        *("--no-save", "--no-server"),
        "--context-full",
        "drop",
    ]
    chat = subprocess.Popen(
        [sys.executable, "-m", "phi4local", *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield chat
    finally:
        chat.kill()
        chat.wait()


def percentile_95(values: list[float]) -> float:
    """Return the value that 95 of 100 do not exceed; 0 without values."""
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else 0.0


def summary(seen: Seen, minutes: float) -> dict[str, Any]:
    """Return figures and whether each bar was met."""
    seconds = minutes * 60
    processes: dict[str, dict[str, Any]] = {}
    for name, looks in seen.looks.items():
        warm = [(at, resident, files) for at, resident, files in looks if at > seconds * WARM_UP]
        files = [count for _, _, count in warm]
        hours_and_mb = [at / 3600 for at, _, _ in warm], [resident / 1e6 for _, resident, _ in warm]
        tenth = max(1, len(files) // 10)
        processes[name] = {
            "first_mb": round(warm[0][1] / 1e6, 1) if warm else None,
            "last_mb": round(warm[-1][1] / 1e6, 1) if warm else None,
            "mb_per_hour": round(statistics.linear_regression(*hours_and_mb).slope, 2)
            if len(warm) > 1
            else 0.0,
            "descriptors": [min(files, default=0), max(files, default=0)],
            "descriptors_grown_by": min(files[-tenth:]) - min(files[:tenth]) if files else 0,
        }
    first = percentile_95([took for at, took in seen.answers if at < seconds * EDGE])
    last = percentile_95([took for at, took in seen.answers if at > seconds * (1 - EDGE)])
    ratio = round(last / first, 3) if first else None
    return {
        "minutes": minutes,
        "counts": dict(seen.counts),
        "failures": seen.failures[:50],
        "processes": processes,
        "p95_seconds_first_sixth": round(first, 4),
        "p95_seconds_last_sixth": round(last, 4),
        "p95_ratio": ratio,
        "bars": {
            "no failure": not seen.failures,
            "descriptors": all(one["descriptors_grown_by"] <= 0 for one in processes.values()),
            "memory": all(one["mb_per_hour"] <= MOST_MB_PER_HOUR for one in processes.values()),
            "latency": ratio is not None and ratio <= MOST_LATENCY_RATIO,
        },
    }


def main() -> None:
    """Soak, write, and exit with 1 when a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="phi4local-soak-", ignore_cleanup_errors=True) as folder:
        found = summary(soak(options.minutes, Path(folder)), options.minutes)
    result = {
        "phi4local": __version__,
        "machine": hardware.describe(),
        "command": f"python -m benchmarks.soak --minutes {options.minutes:g}",
        **found,
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    sys.exit(not all(found["bars"].values()))


if __name__ == "__main__":
    main()
