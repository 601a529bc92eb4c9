"""One life of the child process, as its parent sees it: messages in and out, its death, its silence."""

from __future__ import annotations

import contextlib
import itertools
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from phi4local.engine.generation import CHECK_SECONDS, Generation
from phi4local.engine.worker import protocol
from phi4local.engine.worker.pipes import PipedProcess, start_thread
from phi4local.errors import EngineCrashedError, EngineError, EngineHungError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Request
    from phi4local.engine.model import ModelFacts, ModelFile
    from phi4local.settings import LoadSettings

HANG_STEPS = 20
"""No sign of life for this many times the slowest step, and at least `hang_seconds`, is a hang."""
LOAD_PATIENCE = 4
"""Loading tells of its progress less often than computing."""

_Answer = TypeVar("_Answer")


class Child:
    """One child process; it starts at once, and a thread reads its replies.

    Args:
        hang_seconds: how long it may be silent while somebody waits for it.
    """

    def __init__(self, hang_seconds: float) -> None:
        self._hang_seconds = hang_seconds
        self._numbers = itertools.count(1)
        self._generations: dict[int, Generation] = {}
        self._loaded: queue.SimpleQueue[ModelFacts | float | BaseException] = queue.SimpleQueue()
        self._questions: dict[int, queue.SimpleQueue[dict[str, Any] | BaseException]] = {}
        self._ended = threading.Event()
        self._cause: EngineError | None = None
        self._last_life = time.monotonic()
        self._slowest_step = 0.0
        self._process = PipedProcess("phi4local.engine.worker.child")
        self._reader = start_thread(self._read_replies)

    @property
    def process_id(self) -> int:
        """The process id."""
        return self._process.popen.pid

    @property
    def alive(self) -> bool:
        """Whether a request can be sent."""
        return not self._ended.is_set() and self._process.popen.poll() is None

    def load(
        self, file: ModelFile, settings: LoadSettings, *, on_loading: Callable[[float], None] | None
    ) -> ModelFacts:
        """Load a file; `on_loading` is called here with the loaded share."""
        self._send({"type": "load", "file": protocol.file_to_json(file), "settings": settings.to_mapping()})
        while True:
            answer = self._wait(self._loaded, patience=LOAD_PATIENCE)
            if isinstance(answer, BaseException):
                self.close()
                raise answer
            if not isinstance(answer, float):
                return answer
            if on_loading is not None:
                on_loading(answer)

    def submit(self, request: Request) -> Generation:
        """Send a request; a child that is dead by now answers with its death."""
        number = next(self._numbers)
        message = {"type": "submit", "id": number, "request": protocol.request_to_json(request)}
        generation = Generation(
            cancel=lambda: self._send({"type": "cancel", "id": number}), check=self._end_if_hung
        )
        self._generations[number] = generation
        self._last_life = time.monotonic()
        self._send(message)
        if self._ended.is_set() and self._generations.pop(number, None) is not None:
            generation.put(self._death())
        return generation

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a question and return the answer; several threads may ask at the same time."""
        number = next(self._numbers)
        answers = self._questions[number] = queue.SimpleQueue()
        self._last_life = time.monotonic()
        self._send(message | {"id": number})
        if self._ended.is_set() and self._questions.pop(number, None) is not None:
            raise self._death()
        answer = self._wait(answers)
        if isinstance(answer, BaseException):
            raise answer
        if "kind" in answer:
            raise protocol.error_from_json(answer)
        return answer

    def close(self) -> None:
        """End the child; whoever waits is told."""
        if self._cause is None and not self._ended.is_set():
            self._cause = EngineError("the model was closed", hint="load it again")
        self._process.close()
        self._reader.join()
        self._process.close_replies()

    def _send(self, message: dict[str, Any]) -> None:
        self._process.send(protocol.encode(message))

    def _wait(self, answers: queue.SimpleQueue[_Answer], *, patience: int = 1) -> _Answer:
        while True:
            started = time.monotonic()
            try:
                return answers.get(timeout=CHECK_SECONDS)
            except queue.Empty:
                self._end_if_hung(time.monotonic() - started, patience=patience)

    def _end_if_hung(self, waited_seconds: float, *, patience: int = 1) -> None:
        now = time.monotonic()
        if waited_seconds > 3 * CHECK_SECONDS:  # this process was stopped itself, as with Ctrl-Z
            self._last_life = now
            return
        silent = now - self._last_life
        limit = max(self._hang_seconds * patience, HANG_STEPS * self._slowest_step)
        if silent > limit and not self._ended.is_set():
            self._cause = EngineHungError(silent)
            self._process.popen.kill()

    def _read_replies(self) -> None:
        try:
            while (message := protocol.read_message(self._process.replies)) is not None:
                now = time.monotonic()
                if message["type"] in ("step", "text"):
                    self._slowest_step = max(self._slowest_step, now - self._last_life)
                self._last_life = now
                self._route(message)
        except (AttributeError, KeyError, TypeError, ValueError, Phi4LocalError) as error:
            # Native code runs there on files of strangers: what it sends may be nonsense.
            self._cause = EngineError(f"the engine process sent nonsense: {type(error).__name__}: {error}")
            self._process.popen.kill()
        self._process.wait()
        self._ended.set()
        death = self._death()
        self._loaded.put(death)
        while self._questions:
            self._questions.popitem()[1].put(death)
        while self._generations:
            self._generations.popitem()[1].put(death)

    def _route(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "text" | "shifted":
                self._generations[message["id"]].put(protocol.event_from_json(message))
            case "finished":
                self._generations.pop(message["id"]).put(protocol.event_from_json(message))
            case "failed" if message["id"] is None:
                self._loaded.put(protocol.error_from_json(message))
            case "failed":
                self._generations.pop(message["id"]).put(protocol.error_from_json(message))
            case "loading":
                self._loaded.put(float(message["share"]))
            case "loaded":
                self._loaded.put(protocol.facts_from_json(message))
            case "answer":
                self._questions.pop(message["id"]).put(message)

    def _death(self) -> EngineError:
        if self._cause is not None:
            return self._cause
        return EngineCrashedError(_how_it_ended(self._process.popen.returncode), self._process.last_line())


def _how_it_ended(code: int) -> str:
    """Return what an exit code means. Examples: -6 → "died of SIGABRT"; -9 → "was killed (…)"."""
    if code == -9:
        return "was killed (the system may have run out of memory)"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"ended with code {code}"
