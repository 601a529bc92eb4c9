"""`/v1/completions`: texts that are continued without a template."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.errors import UnsupportedFieldError
from phi4local.server.openai.frames import FINISH_REASONS, usage_of
from phi4local.server.openai.logprobs import TextLogprobs
from phi4local.server.openai.requests import MOST_ANSWERS, StreamOptions
from phi4local.server.openai.strict import Inputs, Sampling, each_input, require_count
from phi4local.server.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Usage
    from phi4local.runtime.vocabulary import KnowsTokens

MOST_PROMPTS = 64
MOST_ALTERNATIVES = 5
"""OpenAI's limit of `logprobs` here."""
DEFAULT_TOKENS = 16
"""OpenAI's own default of this endpoint."""


class CompletionRequest(Sampling):
    """A request to `/v1/completions`."""

    without_effect: ClassVar[tuple[str, ...]] = ("user",)

    model: str
    prompt: Inputs
    max_tokens: int | None = DEFAULT_TOKENS
    n: int | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    def as_tasks(self) -> list[Task]:
        """Return one task for each prompt.

        Raises:
            InvalidSettingError, UnsupportedFieldError: a value that cannot be.
        """
        answers = require_count("n", self.n, MOST_ANSWERS)
        if self.best_of not in (None, answers):
            raise UnsupportedFieldError("best_of", "is not `n`: every answer that is written is returned")
        if self.stream_options is not None and not self.stream:
            raise UnsupportedFieldError("stream_options", "needs `stream`")
        if not 0 <= (self.logprobs or 0) <= MOST_ALTERNATIVES:
            raise UnsupportedFieldError("logprobs", f"is {self.logprobs}; {MOST_ALTERNATIVES} are the most")
        if self.echo and self.logprobs is not None:
            raise UnsupportedFieldError("echo", "does not go with `logprobs`: prompts have none here")
        sampling = self.settings(logprobs=self.logprobs)
        return [
            Task(
                model=self.model,
                prompt=prompt,
                sampling=sampling,
                max_tokens=self.max_tokens,
                answers=answers,
            )
            for prompt in self._prompts()
        ]

    def _prompts(self) -> list[str | tuple[int, ...]]:
        prompts = each_input(self.prompt)
        if len(prompts) > MOST_PROMPTS:
            raise UnsupportedFieldError("prompt", f"has {len(prompts)} prompts; {MOST_PROMPTS} are the most")
        return [_not_empty(prompt) for prompt in prompts]


def _not_empty(prompt: str | list[int]) -> str | tuple[int, ...]:
    if not prompt:
        raise UnsupportedFieldError("prompt", "is empty", hint="write what shall be continued")
    return prompt if isinstance(prompt, str) else tuple(prompt)


class TextCompletion:
    """Collects the events of the answers to one request, and gives chunks or the whole.

    Args:
        model: its name, as the client said it.
        before: what stands before each answer: the prompts, if they shall be echoed.
        answers: how many belong to each prompt.
        include_usage: send token counts in a last chunk.
        tokens: knows what tokens are called, if log-probabilities were asked for.
    """

    def __init__(
        self,
        model: str,
        before: list[str],
        *,
        answers: int = 1,
        include_usage: bool = False,
        tokens: KnowsTokens | None = None,
    ) -> None:
        head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time())}
        self._head = {**head, "model": model}
        self._include_usage = include_usage
        self._texts = list(before)
        self._reasons: dict[int, str] = {}
        self._usages: dict[int, Usage] = {}
        self._logprobs = [TextLogprobs(tokens) if tokens else None for _ in before]
        self._begun: set[int] = set()
        self._before = before
        self._answers = answers

    def chunks(self, number: int, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event of an answer and yield what the client is told."""
        said, probabilities = self._take(number, event)
        if number not in self._begun and (said or isinstance(event, Finished)):
            self._begun.add(number)
            said = self._before[number] + said
        if said or probabilities:
            yield self._body([self._choice(number, said, None, probabilities)])
        if isinstance(event, Finished):
            yield self._body([self._choice(number, "", self._reasons[number], None)])

    def last_chunks(self) -> Iterator[dict[str, Any]]:
        """Yield what follows all answers."""
        if self._include_usage:
            yield {**self._body([]), "usage": self._usage()}

    def take(self, number: int, event: ConversationEvent) -> None:
        """Take an event of an answer, for `whole`."""
        self._take(number, event)

    def whole(self) -> dict[str, Any]:
        """Return the completion when every answer is finished."""
        choices = [
            self._choice(number, text, self._reasons[number], each.so_far() if each else None)
            for number, (text, each) in enumerate(zip(self._texts, self._logprobs, strict=True))
        ]
        return {**self._body(choices), "usage": self._usage()}

    def _take(self, number: int, event: ConversationEvent) -> tuple[str, dict[str, Any] | None]:
        said, probabilities = "", None
        if isinstance(event, Text | Thought):
            said = event.delta
            self._texts[number] += said
            logprobs = self._logprobs[number]
            if logprobs and isinstance(event, Text) and event.logprobs:
                probabilities = logprobs.add(event.logprobs)
        elif isinstance(event, Blocked):
            self._reasons[number] = "content_filter"
        elif isinstance(event, Finished):
            self._reasons.setdefault(number, FINISH_REASONS[event.reason])
            self._usages[number] = event.usage
        return said, probabilities

    def _choice(
        self, number: int, text: str, reason: str | None, probabilities: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {"index": number, "text": text, "logprobs": probabilities, "finish_reason": reason}

    def _body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "choices": choices}

    def _usage(self) -> dict[str, Any]:
        usages = [self._usages[number] for number in sorted(self._usages)]
        return usage_of(
            [usages[place : place + self._answers] for place in range(0, len(usages), self._answers)]
        )
