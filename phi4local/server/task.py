"""What every dialect's request becomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from phi4local.assistant.tools import ToolUse
from phi4local.messages import Message
from phi4local.settings import SamplingSettings

SEEDS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One request for one answer, or for several of the same prompt.

    Attributes:
        model: the name that the client said.
        prompt: a conversation; or a text, or token ids, to be continued without a template.
        sampling: how tokens are chosen, stop texts and structure included.
        max_tokens: longest answer; `None` for as many as the context holds.
        answers: how many; with a seed they have the seeds SEED, SEED + 1, …
        tool_use: what the model may call or must; `None` for nothing.
        tools_told: whether the prompt says so already, in words.
        control_tokens: whether texts such as `<|im_end|>` in a text that is continued are control tokens: the
            client has written a whole prompt, template and all.
        keep_alive_seconds: how long the model stays loaded afterwards; `None` for the server's own time.
    """

    model: str
    prompt: tuple[Message, ...] | str | tuple[int, ...]
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    max_tokens: int | None = None
    answers: int = 1
    tool_use: ToolUse | None = None
    tools_told: bool = False
    control_tokens: bool = False
    keep_alive_seconds: float | None = None

    def messages(self) -> tuple[Message, ...] | None:
        """Return the conversation, if the prompt is one."""
        if isinstance(self.prompt, str):
            return None
        found = tuple(part for part in self.prompt if isinstance(part, Message))
        return found or None

    def with_tools_told(self) -> Task:
        """Return the task with its tools in the prompt, in words, where it has any."""
        messages = self.messages()
        if self.tool_use is None or messages is None:
            return self
        return replace(self, prompt=self.tool_use.told(messages), tools_told=True)

    def token_ids(self) -> tuple[int, ...]:
        """Return the token ids, if the prompt consists of them."""
        return tuple(part for part in self.prompt if isinstance(part, int))

    def samplings(self) -> list[SamplingSettings]:
        """Return the settings of each answer. Example: two answers with seed 7 have the seeds 7 and 8."""
        seed = self.sampling.seed
        if seed is None:
            return [self.sampling] * self.answers
        return [replace(self.sampling, seed=(seed + place) % SEEDS) for place in range(self.answers)]
