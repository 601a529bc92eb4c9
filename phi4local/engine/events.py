"""What goes into the engine and what comes out: plain values that cross a process boundary unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from phi4local.prompts import Segment
    from phi4local.settings import SamplingSettings

FinishReason = Literal["stop", "length", "cancelled"]
"""`stop`: an end token or a stop text; `length`: the token limit or a full context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One piece of work for the engine.

    Attributes:
        segments: the prompt; see `phi4local.prompts`.
        sampling: how tokens are chosen; unset fields take llama.cpp's defaults.
        max_tokens: most tokens to generate; `None` for as many as the context holds.
        ignore_end: go on after an end token; benchmarks need answers of a fixed length.

    Raises:
        InvalidSettingError: `max_tokens` below 1.
    """

    segments: tuple[Segment, ...]
    sampling: SamplingSettings
    max_tokens: int | None = None
    ignore_end: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidSettingError("max_tokens", f"is {self.max_tokens}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely the model found a token: natural logarithms of probabilities.

    They are of the model's own distribution (log-softmax of its logits), before bias, penalties, temperature
    and every other setting, so that they can be compared between requests.

    Attributes:
        token: id of the chosen token.
        logprob: its log-probability; -0.1 is a probability of 0.9.
        top: ids and log-probabilities of the likeliest tokens, best first, as many as were asked for.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """New text. A character is never split; `token_ids` are the tokens since the last event.

    The text of a token may come one event later than its id, when it ends in half a character or could be
    the beginning of a stop text. `logprobs` has one entry for each token when the settings ask for them.
    """

    delta: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Exact token counts. `reused_tokens` of the prompt were in the cache and not evaluated again."""

    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time went, in seconds, measured beside the library.

    Attributes:
        prompt_seconds: from the start of the work to the first token.
        generation_seconds: from the first token to the last.
    """

    prompt_seconds: float
    generation_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event of a generation."""

    reason: FinishReason
    usage: Usage
    timings: Timings

    @property
    def prompt_tokens_per_second(self) -> float:
        """Evaluated prompt tokens per second. Example: 96 of 100 tokens new in 0.5 s → 192."""
        evaluated = self.usage.prompt_tokens - self.usage.reused_tokens
        return evaluated / self.timings.prompt_seconds if self.timings.prompt_seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second after the first one. Example: 65 tokens, 2.0 s → 32."""
        steps = self.usage.generated_tokens - 1
        return (
            steps / self.timings.generation_seconds if steps > 0 and self.timings.generation_seconds else 0.0
        )


Event = Text | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer: what the events add up to."""

    text: str
    token_ids: tuple[int, ...]
    finished: Finished
    logprobs: tuple[TokenLogprob, ...] | None = None
