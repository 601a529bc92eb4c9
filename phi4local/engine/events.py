"""What goes into the engine and what comes out: plain values that cross a process boundary unchanged."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from phi4local.prompts import Segment
    from phi4local.settings import SamplingSettings

FinishReason = Literal["stop", "length", "time", "cancelled"]
"""`stop`: an end token or a stop text; `length`: the token limit or a full context; `time`: `max_seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One piece of work for the engine.

    Attributes:
        segments: the prompt; see `phi4local.prompts`.
        sampling: how tokens are chosen; unset fields take llama.cpp's defaults.
        max_tokens: most tokens to generate; `None` for as many as the context holds.
        max_seconds: longest time of work, waiting in line not counted; `None` for no limit.
        ignore_end: go on after an end token; benchmarks need answers of a fixed length.
        priority: requests with a higher one start first, and their prompts are evaluated first.
        turn_starts: indices of segments where turns begin that may be dropped, the oldest first, when the
            context is full. Empty: a prompt that is too long is an error, a full context ends the answer.
        adapters: names of loaded adapters with their scales, such as `(("style", 1.0),)`.

    Raises:
        InvalidSettingError: a limit that allows nothing, or a turn that begins nowhere.
    """

    segments: tuple[Segment, ...]
    sampling: SamplingSettings
    max_tokens: int | None = None
    max_seconds: float | None = None
    ignore_end: bool = False
    priority: int = 0
    turn_starts: tuple[int, ...] = ()
    adapters: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidSettingError("max_tokens", f"is {self.max_tokens}; it must be at least 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InvalidSettingError("max_seconds", f"is {self.max_seconds}; it must be above 0")
        places = (-1, *self.turn_starts, len(self.segments))
        if any(left >= right for left, right in itertools.pairwise(places)):
            raise InvalidSettingError("turn_starts", "must be indices of segments in ascending order")


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
class ContextShifted:
    """The context was full: the oldest `turns`, which had `tokens`, were dropped."""

    turns: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Exact token counts.

    The prompt is counted as it came, before turns were dropped. `reused_tokens` of it were in the cache and
    not evaluated again. `drafted_tokens` were guessed from the text so far and evaluated together; of these
    the model chose `accepted_tokens` too, and each of them saved a step.
    """

    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time went, in seconds, measured beside the library.

    Attributes:
        queued_seconds: from `submit` to the start of the work.
        prompt_seconds: from the start of the work to the first token.
        generation_seconds: from the first token to the last.
        sampling_seconds: choosing tokens, all of them together; part of the two above.
    """

    queued_seconds: float = 0.0
    prompt_seconds: float
    generation_seconds: float
    sampling_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event of a generation; `stop_text` is the one that ended it, if one of them did."""

    reason: FinishReason
    usage: Usage
    timings: Timings
    stop_text: str | None = None

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


Event = Text | ContextShifted | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer: what the events add up to."""

    text: str
    token_ids: tuple[int, ...]
    finished: Finished
    logprobs: tuple[TokenLogprob, ...] | None = None
