"""The parent's side: one model behind `submit`, in as many lives of a child process as it takes."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Self, TypeVar

from phi4local.engine.events import Finished, Timings, Usage
from phi4local.engine.generation import Generation, wait_for
from phi4local.engine.keeping import MOST_BYTES, KeptState
from phi4local.engine.worker import protocol
from phi4local.engine.worker.lives import Lives
from phi4local.engine.worker.loading import Loading
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy
    from numpy.typing import NDArray

    from phi4local.engine.events import Request
    from phi4local.engine.model import ModelFacts, ModelFile
    from phi4local.prompts import Segment
    from phi4local.settings import LoadSettings

HANG_SECONDS = 30.0
_Answer = TypeVar("_Answer")
_NEVER_BEGUN = Finished(
    reason="cancelled",
    usage=Usage(prompt_tokens=0, reused_tokens=0, generated_tokens=0),
    timings=Timings(prompt_seconds=0.0, generation_seconds=0.0),
)


class EngineWorker:
    """One model in a child process, behind the same `submit` as `Engine`.

    The child starts at once and loads llama.cpp while the caller still validates the file; `load` then
    names the file. All methods may be called by any thread.

    When the child dies or hangs, a request of which text was handed over ends with the error. The others are
    tried again, once, in a fresh child; only a second death becomes their error. After three lives without a
    word in a minute no child is started for 30 seconds, and requests end with `EngineRestartError`.

    Args:
        hang_seconds: how long a silent child is given, or 20 times its slowest step if that is longer; four
            times as long until its first step, which reads the weights from the disk.
        on_loading: called with the loaded share of the file, 0.0 to 1.0, while `load` waits for it.
    """

    def __init__(
        self, *, hang_seconds: float = HANG_SECONDS, on_loading: Callable[[float], None] | None = None
    ) -> None:
        self._on_loading = on_loading
        self._lives = Lives(hang_seconds)

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._lives.process_id

    def load(self, file: ModelFile, settings: LoadSettings) -> ModelFacts:
        """Load a file and wait until it is ready.

        Args:
            file: a file that passed `phi4local.gguf.validate`. A fresh child loads it without another check,
                if its size, time of change and inode are still the same.
            settings: unset fields are decided in the child.

        Raises:
            ModelLoadError: llama.cpp refused the file.
            EngineCrashedError, EngineHungError: the child died over it.
            ModelFileChangedError: the file is gone.
        """
        return self._lives.load(Loading(file, settings), self._on_loading)

    def submit(self, request: Request) -> Generation:
        """Start a request and return its events, without waiting for anything.

        Where the events are read, the error of the engine is raised: the request's own, the child's death
        (`EngineCrashedError`, `EngineHungError`), or why no fresh child could be had (`EngineRestartError`,
        `ModelLoadError`, `ModelFileChangedError`).

        Raises:
            EngineError: the worker is closed, or nothing was loaded.
            InvalidSettingError: the prompt is too large for a message.
        """
        cancelled = False

        def take(reply: dict[str, Any] | Phi4LocalError) -> None:
            if not isinstance(reply, Phi4LocalError):
                generation.put(protocol.event_from_json(reply))
            else:
                generation.put(_NEVER_BEGUN if cancelled and not order.answered else reply)

        def cancel() -> None:
            nonlocal cancelled
            cancelled = True
            if self._lives.cancel(order):
                generation.put(_NEVER_BEGUN)

        generation = Generation(cancel=cancel)
        order = self._lives.place({"type": "submit", "request": protocol.request_to_json(request)}, take)
        return generation

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a prompt."""
        question = {"type": "tokenize", "segments": protocol.segments_to_json(list(segments))}
        return self._ask(question, lambda answer: list(answer["token_ids"]))

    def vocabulary(self) -> tuple[bytes, ...]:
        """Return the bytes that each token adds to a text, by its id; a control token adds none."""
        return self._ask(
            {"type": "vocabulary"},
            lambda answer: tuple(piece.encode("latin-1") for piece in answer["pieces"]),
        )

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """Return the vectors of texts, see `Embedder.embed`."""
        question = {"type": "embed", "texts": list(texts)}
        return self._ask(question, lambda answer: protocol.vectors_from_json(answer["vectors"]))

    def save(self, conversation: Request, path: Path, *, most_bytes: int = MOST_BYTES) -> KeptState:
        """Write the cached cells of a conversation to a file; see `Keeping.save`."""
        question = {
            "type": "save",
            "request": protocol.request_to_json(conversation),
            "path": str(path.absolute()),
            "most_bytes": most_bytes,
        }
        return self._ask(question, _kept_state)

    def restore(self, path: Path) -> KeptState:
        """Put saved cells back; see `Keeping.restore`."""
        return self._ask({"type": "restore", "path": str(path.absolute())}, _kept_state)

    def peak_memory_bytes(self) -> int:
        """Return the child's largest resident size; 0 where the system does not tell."""
        return self._ask({"type": "memory"}, lambda answer: int(answer["peak_bytes"]))

    def close(self) -> None:
        """End the child; what still runs fails with `EngineError`."""
        self._lives.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: dict[str, Any], read: Callable[[dict[str, Any]], _Answer]) -> _Answer:
        """Send a question and wait for the answer, in a fresh child if this one dies over it."""
        answers: queue.SimpleQueue[_Answer | Phi4LocalError] = queue.SimpleQueue()

        def take(reply: dict[str, Any] | Phi4LocalError) -> None:
            answers.put(reply if isinstance(reply, Phi4LocalError) else read(reply))

        self._lives.place(question, take)
        answer = wait_for(answers)
        if isinstance(answer, Phi4LocalError):
            raise answer
        return answer


def _kept_state(answer: dict[str, Any]) -> KeptState:
    return KeptState(tokens=int(answer["tokens"]), file_bytes=int(answer["file_bytes"]))
