"""A conversation as a model reads it: the template's text, people's words, kept token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.prompts import TokenSegment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.catalog import Manifest
    from phi4local.engine.worker import EngineWorker
    from phi4local.messages import Message
    from phi4local.prompts import ChatTemplate, RenderedPrompt, Segment
    from phi4local.runtime.defaults import Defaults


class RendersChats:
    """What `Model` does with messages before the engine sees them."""

    defaults: Defaults
    _template: ChatTemplate
    _worker: EngineWorker

    @property
    def manifest(self) -> Manifest | None:
        """The family member; see `Model`."""
        raise NotImplementedError

    def chat_segments(
        self, messages: Sequence[Message], *, kept_ids: Mapping[int, tuple[int, ...]] | None = None
    ) -> tuple[Segment, ...]:
        """Render messages with the file's template; what people wrote stays apart from its tokens."""
        return self._chat_turns(messages, kept_ids or {})[0]

    def _chat_turns(
        self, messages: Sequence[Message], kept_ids: Mapping[int, tuple[int, ...]]
    ) -> tuple[tuple[Segment, ...], tuple[int, ...]]:
        """Return the segments of a conversation, and the indices of those that are messages from the user.

        Without what lies between two of them, the text of the template before the first stands before the
        second: what is left reads as if the turns between had never been.
        """
        strip = self.manifest is not None and self.manifest.strip_whitespace_around_special_tokens
        whole, places = self.defaults.completed(messages)
        prompt = self._template.segments(whole, strip_whitespace=strip)
        asked = {places[index] for index, message in enumerate(messages) if message.role == "user"}
        starts = tuple(place for place, origin in enumerate(prompt.origins) if origin in asked)
        return _with_kept_ids(prompt, {places[index]: ids for index, ids in kept_ids.items()}), starts

    def count_tokens(
        self, messages: Sequence[Message], *, kept_ids: Mapping[int, tuple[int, ...]] | None = None
    ) -> int:
        """Return how many tokens the conversation takes in the context, without the answer to come."""
        return len(self._worker.tokenize(self.chat_segments(messages, kept_ids=kept_ids)))


def _with_kept_ids(prompt: RenderedPrompt, kept: Mapping[int, tuple[int, ...]]) -> tuple[Segment, ...]:
    """Put the ids of answers, by the index of their message, where the template put their text."""
    return tuple(
        TokenSegment(kept[origin]) if origin is not None and origin in kept else segment
        for segment, origin in zip(prompt.segments, prompt.origins, strict=True)
    )
