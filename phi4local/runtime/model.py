"""A model on this machine: messages or text in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.engine import Generation, Request
from phi4local.messages import as_messages
from phi4local.prompts import TextSegment
from phi4local.runtime.defaults import FollowsDefaults
from phi4local.runtime.keeping import KeepsConversations
from phi4local.runtime.language_model import LanguageModel
from phi4local.runtime.rendering import RendersChats
from phi4local.runtime.vocabulary import KnowsTokens
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy
    from numpy.typing import NDArray

    from phi4local.catalog import Manifest
    from phi4local.engine.model import ModelFacts
    from phi4local.engine.worker import EngineWorker
    from phi4local.messages import Message, Messages
    from phi4local.prompts import ChatTemplate, Segment
    from phi4local.runtime.facts import FileFacts


class Model(FollowsDefaults, RendersChats, KeepsConversations, KnowsTokens, LanguageModel):
    """A loaded model. Made by `phi4local.load`; use it as a context manager or `close` it.

    Attributes:
        file: what the file's header says.
        facts: what came out of loading; `facts.settings` has no unset field.
        defaults: what a model of the store brings along, such as a system text.

    Example::

        with phi4local.load("phi4-nano") as model:
            print(model.chat("Why is the sky blue?").text)
    """

    def __init__(
        self,
        name: str,
        *,
        worker: EngineWorker,
        file: FileFacts,
        facts: ModelFacts,
        template: ChatTemplate,
        notices: tuple[str, ...],
    ) -> None:
        self.name = name
        self.file = file
        self.facts = facts
        self.notices = notices
        self.trained_context_tokens = file.context_tokens
        self.thinking = file.manifest is not None and file.manifest.thinking
        self._worker = worker
        self._template = template

    @property
    def manifest(self) -> Manifest | None:
        """The family member that this file is, if it is a known one."""
        return self.file.manifest

    @property
    def context_tokens(self) -> int:
        """Room for prompt and answer together."""
        return self.facts.settings.context_tokens or 0

    def submit_segments(
        self,
        segments: Iterable[Segment],
        *,
        sampling: SamplingSettings | None = None,
        max_tokens: int | None = None,
        ignore_end: bool = False,
        turn_starts: tuple[int, ...] = (),
    ) -> Generation:
        """Continue a prompt of segments: what `chat` and `generate` stand on.

        Unset fields of `sampling` take the model's own values, then the manifest's; see `Request`.
        """
        wanted = (sampling or SamplingSettings()).filled_from(self.defaults.sampling)
        if self.manifest is not None:
            wanted = wanted.filled_from(self.manifest.sampling)
        return self._worker.submit(
            Request(
                segments=tuple(segments),
                sampling=wanted,
                max_tokens=self.defaults.max_tokens if max_tokens is None else max_tokens,
                ignore_end=ignore_end,
                turn_starts=turn_starts,
                adapters=self._adapters,
            )
        )

    def tokenize(self, prompt: Messages) -> list[int]:
        """Return the token ids of a text, or of a conversation as the model reads it.

        Example::

            >>> model.tokenize("Hello")
            [919]
            >>> len(model.tokenize([{"role": "user", "content": "Hello"}]))
            8
        """
        if isinstance(prompt, str):
            return self._worker.tokenize((TextSegment(prompt, special=False),))
        return self._worker.tokenize(self.chat_segments(as_messages(prompt)))

    def embed(self, texts: str | Sequence[str]) -> NDArray[numpy.float32]:
        """Return one vector for each text: the mean of its tokens' last hidden states, of length 1.

        Phi-4 was not trained for search, so models made for it do better. The first call makes a second
        context on the same weights; answers that are being written are not touched. Adapters do not count.

        Args:
            texts: one text, or several; each is read alone, without a template.

        Returns:
            float32, shape `(texts, width)`; the width is 5,120 for Phi-4.

        Example::

            >>> model.embed(["the sky is blue", "the sea is blue", "two plus two"]).shape
            (3, 256)

        Raises:
            InvalidSettingError: a text is empty.
            ContextTooLongError: a text has more tokens than the context holds.
        """
        return self._worker.embed([texts] if isinstance(texts, str) else list(texts))

    def peak_memory_bytes(self) -> int:
        """Return the largest resident size of the engine process; 0 where the system does not tell."""
        return self._worker.peak_memory_bytes()

    def close(self) -> None:
        """End the engine process; what still runs fails with `EngineError`."""
        self._worker.close()

    def _start_chat(
        self,
        messages: tuple[Message, ...],
        sampling: SamplingSettings,
        *,
        max_tokens: int | None,
        kept_ids: Mapping[int, tuple[int, ...]],
        shift: bool,
    ) -> Generation:
        segments, starts = self._chat_turns(messages, kept_ids)
        return self.submit_segments(
            segments, sampling=sampling, max_tokens=max_tokens, turn_starts=starts if shift else ()
        )

    def _start_text(self, text: str, sampling: SamplingSettings, *, max_tokens: int | None) -> Generation:
        plain = TextSegment(text, special=False)
        return self.submit_segments((plain,), sampling=sampling, max_tokens=max_tokens)
