"""What OpenAI's clients send. A field that is not here is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from phi4local.errors import UnsupportedFieldError
from phi4local.messages import Message
from phi4local.server.task import SEEDS, Task
from phi4local.settings import SamplingSettings


class Strict(BaseModel):
    """A model that knows its fields, and converts nothing silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(Strict):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ChatMessage(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def as_message(self) -> Message:
        """Return the turn as the rest of the house knows it."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        role = "system" if self.role == "developer" else self.role
        return Message(role, text)


class StreamOptions(Strict):
    """How frames are sent."""

    include_usage: bool = False


class Sampling(Strict):
    """How tokens are chosen: OpenAI's names, then those of docs/sampling.md."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None

    def settings(self, **more: Any) -> SamplingSettings:  # noqa: ANN401 - fields of SamplingSettings
        """Return the settings that were sent.

        Raises:
            InvalidSettingError: a value outside its range.
        """
        values = {name: getattr(self, name) for name in Sampling.model_fields}
        stop = values["stop"]
        values["stop"] = (stop,) if isinstance(stop, str) else tuple(stop) if stop else None
        if self.seed is not None:
            values["seed"] = self.seed % SEEDS  # OpenAI's have 64 bits
        return SamplingSettings.from_mapping({**values, **more})


class ChatRequest(Sampling):
    """A request to `/v1/chat/completions`."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    def as_task(self) -> Task:
        """Return what is to be done.

        Raises:
            InvalidSettingError, UnsupportedFieldError: a value that cannot be.
        """
        return Task(
            model=self.model,
            prompt=tuple(message.as_message() for message in self.messages),
            sampling=self.settings(),
            max_tokens=self._most_tokens(),
        )

    def _most_tokens(self) -> int | None:
        given = {n for n in (self.max_tokens, self.max_completion_tokens) if n is not None}
        if len(given) > 1:
            raise UnsupportedFieldError("max_tokens", "is not what `max_completion_tokens` says")
        return given.pop() if given else None
