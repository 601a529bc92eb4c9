"""A conversation as a model reads it: the template's text, people's words, kept token ids."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from phi4local.prompts import TokenSegment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.catalog import Manifest
    from phi4local.engine.worker import EngineWorker
    from phi4local.messages import Message
    from phi4local.prompts import ChatTemplate, Segment
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
        self,
        messages: Sequence[Message],
        *,
        kept_ids: Mapping[int, tuple[int, ...]] | None = None,
        written: Mapping[int, tuple[Segment, ...]] | None = None,
    ) -> tuple[Segment, ...]:
        """Render messages with the file's template; what people wrote stays apart from its tokens.

        Args:
            messages: the conversation.
            kept_ids: token ids of answers, by the index of their message.
            written: what stands in the place of a message's text, by its index: control tokens of tools.
        """
        return self._chat_turns(messages, kept_ids or {}, written or {})[0]

    def _chat_turns(
        self,
        messages: Sequence[Message],
        kept_ids: Mapping[int, tuple[int, ...]],
        written: Mapping[int, tuple[Segment, ...]] = MappingProxyType({}),
    ) -> tuple[tuple[Segment, ...], tuple[int, ...]]:
        """Return the segments of a conversation, and the indices of those that are messages from the user.

        Without what lies between two of them, the text of the template before the first stands before the
        second: what is left reads as if the turns between had never been.
        """
        strip = self.manifest is not None and self.manifest.strip_whitespace_around_special_tokens
        whole, places = self.defaults.completed(messages)
        prompt = self._template.segments(whole, strip_whitespace=strip)
        asked = {places[index] for index, message in enumerate(messages) if message.role == "user"}
        others: dict[int, tuple[Segment, ...]] = {
            places[index]: (TokenSegment(ids),) for index, ids in kept_ids.items()
        }
        others |= {places[index]: found for index, found in written.items()}
        segments: list[Segment] = []
        starts = []
        for segment, origin in zip(prompt.segments, prompt.origins, strict=True):
            starts += [len(segments)] if origin in asked else []
            segments += (segment,) if origin is None else others.get(origin, (segment,))
        return tuple(segments), tuple(starts)

    def count_tokens(
        self, messages: Sequence[Message], *, kept_ids: Mapping[int, tuple[int, ...]] | None = None
    ) -> int:
        """Return how many tokens the conversation takes in the context, without the answer to come."""
        return self.count_segments(self.chat_segments(messages, kept_ids=kept_ids))

    def count_segments(self, segments: Sequence[Segment]) -> int:
        """Return how many tokens a prompt of segments takes in the context."""
        return len(self._worker.tokenize(tuple(segments)))
