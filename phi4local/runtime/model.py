"""A model that answers: messages or text in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from phi4local.engine import Generation, Request
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from phi4local.catalog import Manifest
    from phi4local.engine.model import ModelFacts
    from phi4local.engine.worker import EngineWorker
    from phi4local.messages import Message
    from phi4local.prompts import ChatTemplate, Segment
    from phi4local.runtime.facts import FileFacts


class Model:
    """A loaded model. Made by `phi4local.load`; use it as a context manager or `close` it.

    Attributes:
        name: how the model is called.
        file: what the file's header says.
        facts: what came out of loading; `facts.settings` has no unset field.
        notices: lines that a person should see once, such as an unknown chat template.

    Example::

        with phi4local.load("phi4-nano") as model:
            print(model.chat([Message("user", "Why is the sky blue?")]).result().text)
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

    def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: SamplingSettings | None = None,
        max_tokens: int | None = None,
        kept_ids: Mapping[int, tuple[int, ...]] | None = None,
    ) -> Generation:
        """Answer a conversation.

        Args:
            messages: the turns so far, the last one from the user.
            kept_ids: token ids of messages, by their index, as they were generated. Tokenizing an answer's
                text again can give other ids, and then its work in the cache is lost.
            sampling: unset fields take the manifest's values, then llama.cpp's.
            max_tokens: most tokens to generate.

        Returns:
            A `Generation`: iterate over its events, or call `result()`.

        Raises:
            ChatTemplateError: the template refuses the messages.
        """
        segments = self.chat_segments(messages, kept_ids=kept_ids)
        return self.generate(segments, sampling=sampling, max_tokens=max_tokens)

    def complete(
        self, text: str, *, sampling: SamplingSettings | None = None, max_tokens: int | None = None
    ) -> Generation:
        """Continue `text` without a chat template; special tokens in it are plain text."""
        segments = (TextSegment(text, special=False),)
        return self.generate(segments, sampling=sampling, max_tokens=max_tokens)

    def generate(
        self,
        segments: Iterable[Segment],
        *,
        sampling: SamplingSettings | None = None,
        max_tokens: int | None = None,
        ignore_end: bool = False,
    ) -> Generation:
        """Continue a prompt of segments: what `chat` and `complete` stand on."""
        wanted = sampling or SamplingSettings()
        if self.manifest is not None:
            wanted = wanted.filled_from(self.manifest.sampling)
        return self._worker.submit(
            Request(segments=tuple(segments), sampling=wanted, max_tokens=max_tokens, ignore_end=ignore_end)
        )

    def chat_segments(
        self, messages: Sequence[Message], *, kept_ids: Mapping[int, tuple[int, ...]] | None = None
    ) -> tuple[Segment, ...]:
        """Render messages with the file's template; what people wrote stays apart from control tokens."""
        strip = self.manifest is not None and self.manifest.strip_whitespace_around_special_tokens
        prompt = self._template.segments(messages, strip_whitespace=strip)
        kept = kept_ids or {}
        return tuple(
            TokenSegment(kept[origin]) if origin is not None and origin in kept else segment
            for segment, origin in zip(prompt.segments, prompt.origins, strict=True)
        )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the conversation takes in the context, without the answer to come."""
        return len(self._worker.tokenize(self.chat_segments(messages)))

    def peak_memory_bytes(self) -> int:
        """Return the largest resident size of the engine process; 0 where the system does not tell."""
        return self._worker.peak_memory_bytes()

    def close(self) -> None:
        """End the engine process."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
