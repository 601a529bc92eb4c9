"""The child process: reads messages on standard input, answers on what was standard output."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from phi4local import hardware
from phi4local.engine.embedding import Embedder
from phi4local.engine.events import Finished
from phi4local.engine.model import LoadedModel
from phi4local.engine.scheduler import Job, Scheduler
from phi4local.engine.worker import protocol
from phi4local.engine.worker.process import prepare_child, take_standard_output
from phi4local.errors import EngineError, Phi4LocalError
from phi4local.native import llama
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event

PROGRESS_STEP = 0.01
LARGE_FILE_BYTES = 2**28
"""A file that takes longer to load than numpy does."""

_Part = TypeVar("_Part")


def main() -> None:
    """Serve one parent until it goes away."""
    prepare_child()
    commands, replies = sys.stdin.buffer, take_standard_output()
    _end_with_parent(Child(replies).serve, commands)


def _end_with_parent(serve: Callable[[IO[bytes]], None], commands: IO[bytes]) -> None:
    """Serve, then end at once: native code may be busy, and the parent is gone or does not care."""
    with contextlib.suppress(BrokenPipeError):
        serve(commands)
    os._exit(0)


def _load_numpy_beside(file: Path) -> None:
    """Load numpy while a large file is loaded: sampling will need it."""
    with contextlib.suppress(OSError):  # a file that is gone is the loader's to report
        if file.stat().st_size >= LARGE_FILE_BYTES:
            importlib.import_module("numpy")


class Child:
    """State of the child: the scheduler, once a model is loaded, and the running jobs.

    The thread that takes messages does no work of its own: a cancellation is heard at once, and a ping proves
    that it is. Loading and each question have a thread, requests belong to the scheduler's.
    """

    def __init__(self, replies: IO[bytes]) -> None:
        self._replies = replies
        self._lock = threading.Lock()
        self._scheduler: Scheduler | None = None
        self._model: LoadedModel | None = None
        self._embedder: Embedder | None = None
        self._jobs: dict[int, Job] = {}

    def serve(self, commands: IO[bytes]) -> None:
        """Take messages until the parent closes the pipe."""
        with contextlib.suppress(Phi4LocalError):  # `load` tells of it
            llama.bindings()  # while the parent still checks the file
        while (message := protocol.read_message(commands)) is not None:
            match message["type"]:
                case "ping":
                    self._send({"type": "pong", "page_reads": hardware.page_reads()})
                case "load":
                    self._in_background(self._load, message)
                    _load_numpy_beside(Path(message["file"]["path"]))
                case "submit":
                    self._guard(self._submit, message)
                case "cancel":
                    job = self._jobs.get(message["id"])
                    if job is not None:
                        job.cancelled.set()
                case _:
                    self._in_background(self._answer, message)

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            try:
                protocol.write_message(self._replies, message)
            except OSError:
                os._exit(0)  # the parent is gone

    def _guard(self, work: Callable[[dict[str, Any]], None], message: dict[str, Any]) -> None:
        try:
            work(message)
        except Exception as error:  # noqa: BLE001 - the worker loop: the parent must hear of it
            self._jobs.pop(message["id"], None)
            self._send({"type": "failed", "id": message["id"]} | protocol.error_to_json(error))

    def _in_background(self, work: Callable[[dict[str, Any]], None], message: dict[str, Any]) -> None:
        threading.Thread(target=self._guard, args=(work, message), daemon=True).start()

    def _load(self, message: dict[str, Any]) -> None:
        number, told = message["id"], [-1.0]

        def progress(share: float) -> bool:
            if share - told[0] >= PROGRESS_STEP:
                told[0] = share
                self._send({"type": "loading", "id": number, "share": share})
            return True

        file = protocol.file_from_json(message["file"])
        settings = LoadSettings.from_mapping(message["settings"])
        self._model = LoadedModel(file, settings, progress=progress)
        self._embedder = Embedder(self._model)
        self._scheduler = Scheduler(self._model)
        self._send({"type": "loaded", "id": number} | protocol.facts_to_json(self._model.facts))

    def _submit(self, message: dict[str, Any]) -> None:
        number = message["id"]

        def emit(event: Event | BaseException) -> None:
            if isinstance(event, Finished | BaseException):
                self._jobs.pop(number, None)
            if isinstance(event, BaseException):
                reply = {"type": "failed"} | protocol.error_to_json(event)
            else:
                reply = protocol.event_to_json(event)
            self._send(reply | {"id": number})

        def step(done: int, total: int) -> None:
            self._send({"type": "step", "id": number, "done": done, "total": total})

        scheduler = self._loaded(self._scheduler)
        job = self._jobs[number] = Job(protocol.request_from_json(message["request"]), emit, step)
        scheduler.submit(job)

    def _answer(self, question: dict[str, Any]) -> None:
        answer = getattr(self, f"_answer_{question['type']}")(question)
        self._send({"type": "answer", "id": question["id"]} | answer)

    def _answer_tokenize(self, question: dict[str, Any]) -> dict[str, Any]:
        segments = protocol.segments_from_json(question["segments"])
        return {"token_ids": self._loaded(self._model).tokenize(segments)}

    def _answer_vocabulary(self, _question: dict[str, Any]) -> dict[str, Any]:
        pieces = self._loaded(self._model).native.pieces()
        return {"pieces": [piece.decode("latin-1") for piece in pieces]}  # one character for each byte

    def _answer_embed(self, question: dict[str, Any]) -> dict[str, Any]:
        def step(done: int, total: int) -> None:
            self._send({"type": "step", "id": question["id"], "done": done, "total": total})

        vectors = self._loaded(self._embedder).embed(question["texts"], step=step)
        return {"vectors": protocol.vectors_to_json(vectors)}

    def _answer_save(self, question: dict[str, Any]) -> dict[str, Any]:
        request, path = protocol.request_from_json(question["request"]), Path(question["path"])
        state = self._loaded(self._scheduler).save(request, path, most_bytes=question["most_bytes"])
        return {"tokens": state.tokens, "file_bytes": state.file_bytes}

    def _answer_restore(self, question: dict[str, Any]) -> dict[str, Any]:
        state = self._loaded(self._scheduler).restore(Path(question["path"]))
        return {"tokens": state.tokens, "file_bytes": state.file_bytes}

    def _answer_memory(self, _question: dict[str, Any]) -> dict[str, Any]:
        return {"peak_bytes": hardware.peak_memory_bytes()}

    @staticmethod
    def _loaded(part: _Part | None) -> _Part:
        if part is None:
            raise EngineError("no model is loaded", hint="load one first")
        return part
