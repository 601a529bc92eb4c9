"""What Ollama's clients send to `/api/generate` and `/api/chat`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from phi4local.assistant.tools import result_text
from phi4local.errors import UnsupportedFieldError
from phi4local.messages import Message
from phi4local.server.ollama.durations import keep_alive_seconds
from phi4local.server.ollama.options import Chosen, chosen
from phi4local.server.ollama.tools import ToolCalled
from phi4local.server.openai.tools import ToolTold, tool_use
from phi4local.server.strict import Strict
from phi4local.server.task import Task

MOST_ALTERNATIVES = 20
"""Ollama's limit of `top_logprobs`."""
NO_IMAGES = "has images; models of this family read text only"

ModelText = Annotated[str, Field(min_length=1)]


class Keeping(Strict):
    """What every request that needs a model in memory can say."""

    model: ModelText
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None

    def keep_alive_seconds(self) -> float | None:
        """Return how long the model stays loaded afterwards; `None` for as long as the server says.

        Raises:
            UnsupportedFieldError: no time.
        """
        return keep_alive_seconds(self.keep_alive)


class Answered(Keeping):
    """What requests for an answer have in common."""

    format: Literal["", "json"] | dict[str, Any] | None = None
    stream: bool | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer comes in pieces, as it does unless the client says no."""
        return self.stream is not False

    def chosen(self) -> Chosen:
        """Return the settings of the answer.

        Raises:
            UnsupportedFieldError, InvalidSettingError: a value that cannot be.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise UnsupportedFieldError("top_logprobs", "needs `logprobs`")
        if not 0 <= (self.top_logprobs or 0) <= MOST_ALTERNATIVES:
            raise UnsupportedFieldError(
                "top_logprobs", f"is {self.top_logprobs}; {MOST_ALTERNATIVES} are the most"
            )
        more: dict[str, Any] = {"logprobs": (self.top_logprobs or 0)} if self.logprobs else {}
        if self.format not in (None, ""):
            more["json_schema"] = {"type": "object"} if self.format == "json" else self.format
        return chosen(self.options, **more)

    def require_thinking(self, *, thinks: bool) -> None:
        """Refuse thoughts of a model that has none.

        Raises:
            UnsupportedFieldError: they were asked for.
        """
        if self.think and not thinks:
            raise UnsupportedFieldError(
                "think", f"is {self.think!r}, and {self.model} does not support thinking"
            )

    def ignored(self) -> tuple[str, ...]:
        """Return the fields that were sent and have no effect, options too."""
        level = ("think",) if isinstance(self.think, str) else ()
        return (*super().ignored(), *level, *self.chosen().without_effect)

    def task_of(self, prompt: tuple[Message, ...] | str, context_tokens: int, **more: Any) -> Task:  # noqa: ANN401
        """Return what is to be done with a prompt by a model that has room for so many tokens.

        Raises:
            UnsupportedFieldError: `num_ctx` is larger.
        """
        settings = self.chosen()
        settings.require_context(context_tokens)
        return Task(
            model=self.model,
            prompt=prompt,
            sampling=settings.sampling_for(context_tokens),
            max_tokens=settings.max_tokens_for(context_tokens),
            keep_alive_seconds=self.keep_alive_seconds(),
            **more,
        )


class ChatMessage(Strict):
    """One turn of a conversation.

    A thought that comes back with an answer is left out: models of this family do not see theirs again.
    """

    without_effect: ClassVar[tuple[str, ...]] = ("thinking",)

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: list[ToolCalled] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None

    def as_message(self, place: str) -> Message:
        """Return the turn as the rest of the house knows it.

        Raises:
            UnsupportedFieldError: it has images.
        """
        if self.images:
            raise UnsupportedFieldError(f"{place}.images", NO_IMAGES)
        if self.role == "tool":
            if not self.tool_name:
                raise UnsupportedFieldError(f"{place}.tool_name", "is missing", hint="name the tool")
            return Message("user", result_text(self.tool_name, self.content))
        calls = (call.text() for call in self.tool_calls or ())
        return Message(self.role, "\n".join([*([self.content] if self.content else []), *calls]))


class ChatRequest(Answered):
    """A request to `/api/chat`. Without messages it loads the model, or unloads it."""

    messages: list[ChatMessage] | None = None
    tools: list[ToolTold] | None = None

    def is_empty(self) -> bool:
        """Return whether there is nothing to answer."""
        return not self.messages

    def prompt(self) -> tuple[Message, ...]:
        """Return the conversation.

        Raises:
            UnsupportedFieldError: something in it that no model of this family reads.
        """
        turns = self.messages or ()
        return tuple(_with_name(turns, n).as_message(f"messages[{n}]") for n in range(len(turns)))

    def as_task(self, context_tokens: int) -> Task:
        """Return what is to be done. See `task_of`."""
        use = tool_use(self.tools, None)
        if use is None:
            return self.task_of(self.prompt(), context_tokens)
        if self.format not in (None, ""):
            raise UnsupportedFieldError("tools", "do not go with `format`")
        return self.task_of(self.prompt(), context_tokens, tool_use=use)

    def ignored(self) -> tuple[str, ...]:
        """Return the fields that were sent and have no effect, those of messages too."""
        inner = [
            f"messages[{number}].{name}"
            for number, message in enumerate(self.messages or ())
            for name in message.ignored()
        ]
        return (*super().ignored(), *inner)


def _with_name(turns: Sequence[ChatMessage], place: int) -> ChatMessage:
    """Return a turn; a result that names no tool is that of the call with its id, or of the latest one."""
    turn = turns[place]
    if turn.role != "tool" or turn.tool_name:
        return turn
    calls = [call for before in turns[:place] for call in before.tool_calls or ()]
    fitting = [call for call in calls if turn.tool_call_id in (None, call.id)]
    return turn.model_copy(update={"tool_name": fitting[-1].function.name}) if fitting else turn


class GenerateRequest(Answered):
    """A request to `/api/generate`. Without a prompt it loads the model, or unloads it."""

    prompt: str = ""
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[Any] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None

    def is_empty(self) -> bool:
        """Return whether there is nothing to answer."""
        return not self.prompt

    def as_task(self, context_tokens: int) -> Task:
        """Return what is to be done; a raw prompt is continued as it is, control tokens in it included.

        See `task_of`.
        """
        self.require_known()
        if self.raw:
            return self.task_of(self.prompt, context_tokens, control_tokens=True)
        system = (Message("system", self.system),) if self.system else ()
        return self.task_of((*system, Message("user", self.prompt)), context_tokens)

    def require_known(self) -> None:
        """Refuse what means nothing here.

        Raises:
            UnsupportedFieldError: the field, and what to do instead.
        """
        if self.raw and self.system:
            raise UnsupportedFieldError("system", "does not go with `raw`", hint="write it into the prompt")
        if self.images:
            raise UnsupportedFieldError("images", NO_IMAGES)
        for name, (problem, hint) in _NOT_HERE.items():
            if getattr(self, name):
                raise UnsupportedFieldError(name, problem, hint=hint)


_NO_PICTURES = ("is for models that draw", "leave it out")
_NOT_HERE = {
    "suffix": ("is for models that fill a gap, which this family does not", "leave it out"),
    "template": ("is not used: the chat template is the model file's", "write the whole prompt with `raw`"),
    "context": ("is not kept here", "send the conversation to /api/chat"),
    "width": _NO_PICTURES,
    "height": _NO_PICTURES,
    "steps": _NO_PICTURES,
}
