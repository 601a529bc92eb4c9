"""What every life of the child begins with: a file that was checked, and the message that loads it."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from phi4local.engine.generation import wait_for
from phi4local.engine.worker import protocol
from phi4local.errors import EngineError, ModelFileChangedError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.model import ModelFacts, ModelFile
    from phi4local.engine.worker.life import Child
    from phi4local.settings import LoadSettings

LOAD_NUMBER = 0
"""Other messages count from 1."""


class Loading:
    """Loads one file into a child, and into the next one if it is still the file that was checked.

    Args:
        file: a file that passed `phi4local.gguf.validate`.
        settings: unset fields are decided in the child.

    Raises:
        ModelFileChangedError: the file is gone.
    """

    def __init__(self, file: ModelFile, settings: LoadSettings) -> None:
        self._path = file.path
        self._data = protocol.encode(
            {
                "type": "load",
                "id": LOAD_NUMBER,
                "file": protocol.file_to_json(file),
                "settings": settings.to_mapping(),
            }
        )
        self._identity = self._read_identity()

    def check_file(self) -> None:
        """Return when the file has the size, time of change and inode that it had.

        Raises:
            ModelFileChangedError: it is gone, or another one lies there.
        """
        if self._read_identity() != self._identity:
            problem = "is another file than the one that was checked"
            hint = "open the model again, so that the new file is checked first"
            raise ModelFileChangedError(self._path, problem, hint=hint)

    def into(self, child: Child, on_loading: Callable[[float], None] | None = None) -> ModelFacts:
        """Load and wait; `on_loading` is called with the loaded share of the file, 0.0 to 1.0.

        Raises:
            ModelLoadError: llama.cpp refused the file.
            EngineCrashedError, EngineHungError: the child died over it.
        """
        replies: queue.SimpleQueue[ModelFacts | float | Phi4LocalError] = queue.SimpleQueue()

        def take(reply: dict[str, Any] | EngineError) -> None:
            replies.put(reply if isinstance(reply, EngineError) else _reply_from_json(reply))

        if not child.send(LOAD_NUMBER, self._data, take):
            raise child.death()
        while True:
            reply = wait_for(replies)
            if isinstance(reply, Phi4LocalError):
                raise reply
            if not isinstance(reply, float):
                return reply
            if on_loading is not None:
                on_loading(reply)

    def _read_identity(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            hint = "put it back, or pull or convert it again"
            raise ModelFileChangedError(self._path, "is gone", hint=hint) from None
        return found.st_size, found.st_mtime_ns, found.st_ino


def _reply_from_json(reply: dict[str, Any]) -> ModelFacts | float | Phi4LocalError:
    if reply["type"] == "failed":
        return protocol.error_from_json(reply)
    return protocol.facts_from_json(reply) if reply["type"] == "loaded" else float(reply["share"])
