"""The parent's side: one model behind `submit`, in as many lives of a child process as it takes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from phi4local.engine.worker import protocol
from phi4local.engine.worker.life import Child
from phi4local.errors import EngineError, FileFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import numpy
    from numpy.typing import NDArray

    from phi4local.engine.events import Request
    from phi4local.engine.generation import Generation
    from phi4local.engine.model import ModelFacts, ModelFile
    from phi4local.prompts import Segment
    from phi4local.settings import LoadSettings

HANG_SECONDS = 30.0


class EngineWorker:
    """One model in a child process, behind the same `submit` as `Engine`.

    The child starts at once and loads llama.cpp while the caller still validates the file; `load` then
    names the file. After a crash the next `submit` starts and loads a fresh child.

    Args:
        hang_seconds: how long a silent child is given.
        on_loading: called with the loaded share of the file, 0.0 to 1.0, by the thread that waits for it.
    """

    def __init__(
        self, *, hang_seconds: float = HANG_SECONDS, on_loading: Callable[[float], None] | None = None
    ) -> None:
        self._hang_seconds = hang_seconds
        self._on_loading = on_loading
        self._target: tuple[ModelFile, LoadSettings] | None = None
        self._closed = False
        self._revive_lock = threading.Lock()
        self._child = Child(hang_seconds)

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._child.process_id

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
        return self._child.load(file, settings, on_loading=self._on_loading)

    def submit(self, request: Request) -> Generation:
        """Start a request and return its events.

        Raises:
            EngineError: the worker is closed, or a fresh child was needed and could not load the model.
            InvalidSettingError: the prompt is too large for a message.
        """
        return self._living_child().submit(request)

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a prompt."""
        question = {"type": "tokenize", "segments": protocol.segments_to_json(list(segments))}
        return list(self._living_child().ask(question)["token_ids"])

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """Return the vectors of texts, see `Embedder.embed`."""
        answer = self._living_child().ask({"type": "embed", "texts": list(texts)})
        return protocol.vectors_from_json(answer["vectors"])

    def peak_memory_bytes(self) -> int:
        """Return the child's largest resident size; 0 where the system does not tell."""
        return int(self._living_child().ask({"type": "memory"})["peak_bytes"])

    def close(self) -> None:
        """End the child; what still runs fails with `EngineError`."""
        self._closed = True
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _living_child(self) -> Child:
        with self._revive_lock:  # one fresh child, however many threads ask
            if self._closed or self._target is None:
                raise EngineError(
                    "the model is closed" if self._closed else "no model is loaded", hint="load one first"
                )
            if not self._child.alive:
                path = self._target[0].path
                if not path.exists():
                    raise FileFormatError(path, "is gone", hint="put it back, or pull or convert it again")
                self._child.close()
                self._child = Child(self._hang_seconds)
                self._child.load(*self._target, on_loading=self._on_loading)
            return self._child
