"""The parent's side: start the child, route its messages, notice when it dies or hangs."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import queue
import signal
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Self

from phi4local.engine.generation import Generation
from phi4local.engine.worker import protocol
from phi4local.engine.worker.process import child_command
from phi4local.errors import EngineCrashedError, EngineHungError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from phi4local.engine.events import Request
    from phi4local.engine.model import ModelFacts, ModelFile
    from phi4local.prompts import Segment
    from phi4local.settings import LoadSettings

SPIN_COUNT = "1000"
"""How long a thread of libgomp spins before it sleeps. Its default of 300,000 (a millisecond) makes a busy
machine ten times slower: threads burn the time slices that others of them wait for. See benchmarks/LOG.md."""
HANG_SECONDS = 30.0
HANG_STEPS = 20
"""No sign of life for this many times the usual step, and at least `HANG_SECONDS`, is a hang."""


class EngineWorker:
    """One model in a child process, behind the same `submit` as `Engine`.

    The child starts at once and loads llama.cpp while the caller still validates the file; `load` then
    names the file. After a crash the next `submit` starts and loads a fresh child.

    Args:
        hang_seconds: how long a silent child is given.
        on_loading: called with the loaded share of the file, 0.0 to 1.0, from another thread.
    """

    def __init__(
        self, *, hang_seconds: float = HANG_SECONDS, on_loading: Callable[[float], None] | None = None
    ) -> None:
        self._hang_seconds = hang_seconds
        self._on_loading = on_loading
        self._target: tuple[ModelFile, LoadSettings] | None = None
        self._revive_lock = threading.Lock()
        self._child = _Child(self._on_loading)

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._child.process.pid

    def load(self, file: ModelFile, settings: LoadSettings) -> ModelFacts:
        """Load a file and wait until it is ready.

        Args:
            file: a file that passed `phi4local.gguf.validate`.
            settings: unset fields are decided in the child.

        Raises:
            ModelLoadError: llama.cpp refused the file.
            EngineCrashedError: the child died over it.
        """
        self._target = (file, settings)
        return self._child.load(file, settings)

    def submit(self, request: Request) -> Generation:
        """Start a request and return its events.

        Raises:
            EngineError: a fresh child was needed and could not load the model.
        """
        self._revive()
        return self._child.submit(request, self._hang_seconds)

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a prompt."""
        self._revive()
        return self._child.tokenize(segments)

    def peak_memory_bytes(self) -> int:
        """Return the child's largest resident size; 0 where the system does not tell."""
        self._revive()
        return self._child.peak_memory_bytes()

    def close(self) -> None:
        """End the child."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _revive(self) -> None:
        with self._revive_lock:  # one fresh child, however many threads ask
            if self._child.alive or self._target is None:
                return
            self._child.close()
            self._child = _Child(self._on_loading)
            self._child.load(*self._target)


class _Child:
    """One life of the child process."""

    def __init__(self, on_loading: Callable[[float], None] | None) -> None:
        self._on_loading = on_loading
        self._numbers = itertools.count(1)
        self._generations: dict[int, Generation] = {}
        self._loaded: queue.SimpleQueue[ModelFacts | BaseException] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self._stderr_lines: collections.deque[str] = collections.deque(maxlen=40)
        self._hung_seconds = 0.0
        self._write_lock = threading.Lock()
        self._ask_lock = threading.Lock()
        self.alive = True
        self.last_life = time.monotonic()
        self.slowest_step = 0.0
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            child_command("phi4local.engine.worker.child"),
            env={"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._threads = [
            threading.Thread(target=self._read_stderr, daemon=True),
            threading.Thread(target=self._read_replies, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def load(self, file: ModelFile, settings: LoadSettings) -> ModelFacts:
        self._send({"type": "load", "file": protocol.file_to_json(file), "settings": settings.to_mapping()})
        answer = self._loaded.get()
        if isinstance(answer, BaseException):
            self.close()
            raise answer
        return answer

    def submit(self, request: Request, hang_seconds: float) -> Generation:
        number = next(self._numbers)
        generation = Generation(
            cancel=lambda: self._send({"type": "cancel", "id": number}),
            check=lambda: self._end_if_hung(hang_seconds),
        )
        self._generations[number] = generation
        self.last_life = time.monotonic()
        self._send({"type": "submit", "id": number, "request": protocol.request_to_json(request)})
        if not self.alive and self._generations.pop(number, None) is not None:
            generation.put(self._death())
        return generation

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        answer = self._ask({"type": "tokenize", "segments": protocol.segments_to_json(list(segments))})
        return list(answer["token_ids"])

    def peak_memory_bytes(self) -> int:
        return int(self._ask({"type": "memory"})["peak_bytes"])

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._ask_lock:
            self._send(message)
            answer = self._answers.get()
        if isinstance(answer, BaseException):
            self._answers.put(answer)  # the child is dead for everybody who asks
            raise answer
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe(self.process.stdin).close()  # the child ends when its input does
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            self._pipe(stream).close()

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        if stream is None:
            raise RuntimeError("the child was started with pipes")
        return stream

    def _send(self, message: dict[str, Any]) -> None:
        # A dead child is noticed by the reader of its replies, which tells everybody who waits.
        with self._write_lock, contextlib.suppress(OSError, ValueError):
            protocol.write_message(self._pipe(self.process.stdin), message)

    def _end_if_hung(self, hang_seconds: float) -> None:
        silent = time.monotonic() - self.last_life
        if silent > max(hang_seconds, HANG_STEPS * self.slowest_step) and self.alive:
            self._hung_seconds = silent
            self.process.kill()

    def _read_stderr(self) -> None:
        for line in self._pipe(self.process.stderr):
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._stderr_lines.append(text)

    def _read_replies(self) -> None:
        stream = self._pipe(self.process.stdout)
        while (message := protocol.read_message(stream)) is not None:
            now = time.monotonic()
            if message["type"] in ("step", "text"):
                self.slowest_step = max(self.slowest_step, now - self.last_life)
            self.last_life = now
            self._route(message)
        self.process.wait()
        self._threads[0].join()
        self.alive = False
        error = self._death()
        self._loaded.put(error)
        self._answers.put(error)
        while self._generations:
            self._generations.popitem()[1].put(error)

    def _route(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "text":
                self._generations[message["id"]].put(protocol.event_from_json(message))
            case "finished":
                self._generations.pop(message["id"]).put(protocol.event_from_json(message))
            case "failed":
                self._route_error(message)
            case "loading" if self._on_loading is not None:
                self._on_loading(message["share"])
            case "loaded":
                del message["type"]
                self._loaded.put(protocol.facts_from_json(message))
            case "answer":
                self._answers.put(message)

    def _route_error(self, message: dict[str, Any]) -> None:
        error = protocol.error_from_json(message)
        if message["id"] is None:
            self._loaded.put(error)
        else:
            self._generations.pop(message["id"]).put(error)

    def _death(self) -> EngineCrashedError | EngineHungError:
        if self._hung_seconds:
            return EngineHungError(self._hung_seconds)
        # An abort prints its reason last; what came before it is loading noise.
        reason = [line for line in self._stderr_lines if "ASSERT" in line or "rror" in line]
        last_line = (reason or list(self._stderr_lines) or [""])[-1]
        return EngineCrashedError(_how_it_ended(self.process.returncode), last_line[:300])


def _how_it_ended(code: int) -> str:
    """Return what an exit code means. Examples: -6 → "died of SIGABRT"; -9 → "was killed (…)"."""
    if code == -9:
        return "was killed (the system may have run out of memory)"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"ended with code {code}"
