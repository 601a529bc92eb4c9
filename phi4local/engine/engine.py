"""The engine in this process. `EngineWorker` is the safer one: it survives a crash of the library."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from phi4local.engine.embedding import Embedder
from phi4local.engine.generation import Generation
from phi4local.engine.keeping import MOST_BYTES
from phi4local.engine.model import LoadedModel
from phi4local.engine.scheduler import Job, Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy
    from numpy.typing import NDArray

    from phi4local.engine.events import Request
    from phi4local.engine.keeping import KeptState
    from phi4local.engine.model import ModelFacts, ModelFile
    from phi4local.prompts import Segment
    from phi4local.settings import LoadSettings


class Engine:
    """One model behind `submit`, on a thread of this process.

    Args:
        file: a file that passed `phi4local.gguf.validate`.
        settings: unset fields are decided by the model and this machine; see `facts`.

    Raises:
        ModelLoadError: llama.cpp refused the file.
        EngineError: there is no memory for the context.
    """

    def __init__(self, file: ModelFile, settings: LoadSettings) -> None:
        self._model = LoadedModel(file, settings)
        self._embedder = Embedder(self._model)
        self._scheduler = Scheduler(self._model)

    @property
    def facts(self) -> ModelFacts:
        """What came out of loading."""
        return self._model.facts

    def submit(self, request: Request) -> Generation:
        """Start a request and return its events."""
        cancelled = threading.Event()
        generation = Generation(cancel=cancelled.set)
        job = Job(request, generation.put, cancelled=cancelled)
        self._scheduler.submit(job)
        return generation

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a prompt."""
        return self._model.tokenize(segments)

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """Return the vectors of texts, see `Embedder.embed`."""
        return self._embedder.embed(texts)

    def save(self, conversation: Request, path: Path, *, most_bytes: int = MOST_BYTES) -> KeptState:
        """Write the cached cells of a conversation to a file; see `Keeping.save`."""
        return self._scheduler.save(conversation, path, most_bytes=most_bytes)

    def restore(self, path: Path) -> KeptState:
        """Put saved cells back; see `Keeping.restore`."""
        return self._scheduler.restore(path)

    def close(self) -> None:
        """Cancel what runs and free the model."""
        self._embedder.close()
        self._scheduler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
