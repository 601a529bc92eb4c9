"""What OpenAI's clients send as `input` of `/v1/responses`: messages, calls, results."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag

from phi4local.assistant.tools import call_text, result_text
from phi4local.errors import UnsupportedFieldError
from phi4local.messages import Message, Role
from phi4local.server.strict import Strict

Status = Literal["in_progress", "completed", "incomplete"]


class TextIn(Strict):
    """A piece of text; models of this family read nothing else.

    Annotations and log-probabilities come back with an earlier answer, and are no text for the model.
    """

    without_effect: ClassVar[tuple[str, ...]] = ("prompt_cache_breakpoint",)

    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[dict[str, Any]] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class RefusalIn(Strict):
    """What the guard said in an earlier answer."""

    type: Literal["refusal"]
    refusal: str


class MessageItem(Strict):
    """One turn of a conversation; the type may be left out."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextIn | RefusalIn]
    id: str | None = None
    status: Status | None = None
    phase: str | None = None

    def text(self) -> str:
        """Return what is said."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text if isinstance(part, TextIn) else part.refusal for part in self.content)

    def ignored(self) -> tuple[str, ...]:
        """Return the fields inside the content that were sent and have no effect."""
        parts = () if isinstance(self.content, str) else enumerate(self.content)
        return tuple(f"content[{place}].{name}" for place, part in parts for name in part.ignored())


class CallItem(Strict):
    """An earlier call of a tool."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None
    namespace: None = None
    caller: dict[str, Any] | None = None


class ResultItem(Strict):
    """What came out of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[TextIn]
    id: str | None = None
    status: Status | None = None

    def text(self) -> str:
        """Return it as one text."""
        return self.output if isinstance(self.output, str) else "".join(part.text for part in self.output)


class ReasoningItem(Strict):
    """What a model thought before an earlier answer: left out, models of this family do not see it again."""

    type: Literal["reasoning"]
    summary: list[dict[str, Any]] | None = None
    content: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: Status | None = None


_KINDS = {
    "message": "Message",
    "function_call": "Call",
    "function_call_output": "Result",
    "reasoning": "Reasoning",
}


def _kind(item: Any) -> str:  # noqa: ANN401 - what a client sent, before it is checked
    """Return the tag of an item; a message where no type is said. What is unknown is its own, and refused."""
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", "message")
    return _KINDS.get(str(kind), str(kind))


Item = Annotated[
    Annotated[MessageItem, Tag("Message")]
    | Annotated[CallItem, Tag("Call")]
    | Annotated[ResultItem, Tag("Result")]
    | Annotated[ReasoningItem, Tag("Reasoning")],
    Discriminator(_kind),
]


def as_messages(instructions: str | None, given: str | list[Item]) -> tuple[Message, ...]:
    """Return a conversation as the rest of the house knows it; instructions are its first system message.

    The words and calls of one answer are one message, and the results of its calls another.

    Raises:
        UnsupportedFieldError: nothing is asked, or a result of a call that nobody made.
    """
    found = [] if instructions is None else [Message("system", instructions)]
    if isinstance(given, str):
        return (*found, Message("user", given))
    names: dict[str, str] = {}
    before: Item | None = None
    for number, item in enumerate(given):
        if isinstance(item, ReasoningItem):
            continue
        message = _message(item, names, f"input[{number}].call_id")
        results = isinstance(item, ResultItem) and isinstance(before, ResultItem)
        if results or (isinstance(item, CallItem) and found and found[-1].role == "assistant"):
            message = Message(message.role, f"{found.pop().content}\n{message.content}")
        found.append(message)
        before = item
    if before is None:
        raise UnsupportedFieldError("input", "is empty", hint="give a text, or at least one message")
    return tuple(found)


def _message(item: MessageItem | CallItem | ResultItem, names: dict[str, str], field: str) -> Message:
    if isinstance(item, CallItem):
        names[item.call_id] = item.name
        return Message("assistant", call_text(item.name, item.arguments))
    if isinstance(item, ResultItem):
        if item.call_id not in names:
            raise UnsupportedFieldError(field, "is that of no call before it")
        return Message("user", result_text(names[item.call_id], item.text()))
    role: Role = "system" if item.role == "developer" else item.role
    return Message(role, item.text())
