"""A conversation's place in the cache, kept in a file between two runs of a program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.engine import Request
from phi4local.engine.keeping import MOST_BYTES
from phi4local.messages import as_messages
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.engine.keeping import KeptState
    from phi4local.engine.worker import EngineWorker
    from phi4local.messages import Message, Messages
    from phi4local.prompts import Segment


class KeepsConversations:
    """What `Model` can do with the cache of a conversation."""

    _worker: EngineWorker
    _adapters: tuple[tuple[str, float], ...]

    def save(
        self,
        messages: Messages,
        path: str | Path,
        *,
        kept_ids: Mapping[int, tuple[int, ...]] | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> KeptState:
        """Write to a file what the cache holds of a conversation, so that it goes on at once next time.

        Args:
            messages: the conversation so far, its last answer included.
            path: an existing file is replaced.
            kept_ids: token ids of answers as they were generated, by the index of their message.
            most_bytes: largest file; a token of Phi-4 takes 200 KiB, so 512 MiB hold 2,600 tokens.

        Example::

            with phi4local.load("phi4-nano") as model:
                question = {"role": "user", "content": "Why is the sky blue?"}
                answer = {"role": "assistant", "content": model.chat([question]).text}
                model.save([question, answer], "sky.kv")

        Raises:
            InvalidSettingError: nothing of it is in the cache.
            SavedStateError: the file would be larger than allowed.
            FileWriteError: the operating system refused.
        """
        segments = self.chat_segments(as_messages(messages), kept_ids=kept_ids)
        request = Request(segments=segments, sampling=SamplingSettings(), adapters=self._adapters)
        return self._worker.save(request, Path(path), most_bytes=most_bytes)

    def restore(self, path: str | Path) -> KeptState:
        """Put a saved conversation back into the cache; the next `chat` that begins like it finds it there.

        Example: `model.restore("sky.kv").tokens` tells how many tokens need not be evaluated again.

        Raises:
            SavedStateError: no saved conversation, a damaged one, or one of another model or other settings.
        """
        return self._worker.restore(Path(path))

    def chat_segments(
        self, messages: Sequence[Message], *, kept_ids: Mapping[int, tuple[int, ...]] | None = None
    ) -> tuple[Segment, ...]:
        """Render messages; see `Model`."""
        raise NotImplementedError
