"""The child process: reads messages on standard input, answers on what was standard output."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from phi4local import hardware
from phi4local.engine.embedding import Embedder
from phi4local.engine.model import LoadedModel
from phi4local.engine.scheduler import Job, Scheduler
from phi4local.engine.worker import protocol
from phi4local.errors import Phi4LocalError
from phi4local.native import llama
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_STEP = 0.01
LARGE_FILE_BYTES = 2**28
"""A file that takes longer to load than numpy does."""


def main() -> None:
    """Serve one parent until it goes away."""
    _prepare_process()
    commands, replies = sys.stdin.buffer, _take_standard_output()
    _end_with_parent(Child(replies).serve, commands)


def _prepare_process() -> None:
    # Ctrl-C reaches the whole terminal group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["GGML_NO_BACKTRACE"] = "1"  # ggml would start a debugger before it aborts
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # Linux: when memory runs out, this process goes before its parent
        Path("/proc/self/oom_score_adj").write_text("500")


def _take_standard_output() -> IO[bytes]:
    """Keep the pipe for replies, and send to stderr whatever native code prints."""
    sys.stdout.flush()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _end_with_parent(serve: Callable[[IO[bytes]], None], commands: IO[bytes]) -> None:
    """Serve, then end at once: native code may be busy, and the parent is gone or does not care."""
    with contextlib.suppress(BrokenPipeError):
        serve(commands)
    os._exit(0)


class Child:
    """State of the child: the scheduler, once a model is loaded, and the running jobs."""

    def __init__(self, replies: IO[bytes]) -> None:
        self._replies = replies
        self._lock = threading.Lock()
        self._scheduler: Scheduler | None = None
        self._model: LoadedModel | None = None
        self._embedder: Embedder | None = None
        self._jobs: dict[int, Job] = {}

    def serve(self, commands: IO[bytes]) -> None:
        """Answer messages until the parent closes the pipe."""
        try:
            llama.bindings()  # loads while the parent still checks the file
        except Phi4LocalError as error:
            self._send({"type": "failed", "id": None} | protocol.error_to_json(error))
            return
        while (message := protocol.read_message(commands)) is not None:
            getattr(self, f"_on_{message['type']}")(message)

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            try:
                protocol.write_message(self._replies, message)
            except OSError:
                os._exit(0)  # the parent is gone

    def _on_load(self, message: dict[str, Any]) -> None:
        file = protocol.file_from_json(message["file"])
        settings = LoadSettings.from_mapping(message["settings"])
        self._in_background(
            lambda: self._load(file, settings), failed=lambda error: {"type": "failed", "id": None} | error
        )
        with contextlib.suppress(OSError):  # a file that is gone is the loader's to report
            if file.path.stat().st_size >= LARGE_FILE_BYTES:
                importlib.import_module("numpy")  # sampling will need it, and loading leaves the time

    def _in_background(
        self, work: Callable[[], None], *, failed: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the worker loop: the parent must hear of it
                self._send(failed(protocol.error_to_json(error)))

        threading.Thread(target=run, daemon=True).start()

    def _load(self, file: Any, settings: LoadSettings) -> None:  # noqa: ANN401
        told = [-1.0]

        def progress(share: float) -> bool:
            if share - told[0] >= PROGRESS_STEP:
                told[0] = share
                self._send({"type": "loading", "share": share})
            return True

        self._model = LoadedModel(file, settings, progress=progress)
        self._embedder = Embedder(self._model)
        self._scheduler = Scheduler(self._model)
        self._send({"type": "loaded"} | protocol.facts_to_json(self._model.facts))

    def _on_submit(self, message: dict[str, Any]) -> None:
        number = message["id"]

        def emit(event: Any) -> None:  # noqa: ANN401
            if isinstance(event, BaseException):
                self._send({"type": "failed", "id": number} | protocol.error_to_json(event))
            else:
                self._send({"id": number} | protocol.event_to_json(event))

        def step(done: int, total: int) -> None:
            self._send({"type": "step", "id": number, "done": done, "total": total})

        job = Job(protocol.request_from_json(message["request"]), emit, step)
        self._jobs = {k: v for k, v in self._jobs.items() if not v.finished.is_set()} | {number: job}
        if self._scheduler is not None:
            self._scheduler.submit(job)

    def _on_cancel(self, message: dict[str, Any]) -> None:
        job = self._jobs.get(message["id"])
        if job is not None:
            job.cancelled.set()

    def _on_tokenize(self, message: dict[str, Any]) -> None:
        if self._model is None:
            return  # the parent asks only after `loaded`
        answer = {"type": "answer", "id": message["id"]}
        try:
            ids = self._model.tokenize(protocol.segments_from_json(message["segments"]))
        except Phi4LocalError as error:
            self._send(answer | protocol.error_to_json(error))
        else:
            self._send(answer | {"token_ids": ids})

    def _on_memory(self, message: dict[str, Any]) -> None:
        peak_bytes = hardware.peak_memory_bytes()
        self._send({"type": "answer", "id": message["id"], "peak_bytes": peak_bytes})

    def _on_embed(self, message: dict[str, Any]) -> None:
        embedder = self._embedder
        if embedder is None:
            return  # the parent asks only after `loaded`

        def step(done: int, total: int) -> None:
            self._send({"type": "step", "id": message["id"], "done": done, "total": total})

        def embed() -> None:
            vectors = embedder.embed(message["texts"], step=step)
            self._send({"type": "answer", "id": message["id"], "vectors": protocol.vectors_to_json(vectors)})

        # On a thread of its own, so that requests and cancellations are still read.
        self._in_background(embed, failed=lambda error: {"type": "answer", "id": message["id"]} | error)
