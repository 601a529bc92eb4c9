"""A conversation that does not fit into the context: which turns go, and what is said about them.

A turn is a message from the user and what follows it, up to the next one. What comes before the first turn
(the system prompt) always stays, and so does the newest turn: it is the question.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from phi4local.assistant.counting import Turns
from phi4local.assistant.summary import SHORTEST_SUMMARY, Summarizer, summary_turn
from phi4local.errors import ContextFullError, ContextTooLongError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.messages import Message
    from phi4local.runtime.language_model import LanguageModel

ContextPolicy = Literal["ask", "drop", "summarize", "shift", "stop"]
"""What happens when a conversation no longer fits.

`drop`: the oldest turns go. `summarize`: a summary, which the model writes, takes their place. `shift`: as
`drop`, and the answer may go past the end of the context, because the engine drops turns while it comes.
`stop`: an error. `ask`: the same error, for somebody who catches it and asks the person.
"""
POLICIES: tuple[ContextPolicy, ...] = get_args(ContextPolicy)


def policy_of(text: str) -> ContextPolicy:
    """Return what happens when the context is full.

    Raises:
        InvalidSettingError: no such policy.
    """
    for policy in POLICIES:
        if policy == text:
            return policy
    raise InvalidSettingError("context_full", f"is {text!r}", hint=f"one of {', '.join(POLICIES)}")


WARNING_SHARE = 0.8
ROOM_SHARE = 8
"""At least 1/8 of the context is made free at once, as the engine does: after a drop, all that stays has to
be evaluated again, which should not happen at every turn."""
_KEPT_SHARE = 2
"""A summary costs an answer, so the turns that stay word for word take half of the room at most."""
_SUMMARY_SHARE = 4
_LONGEST_SUMMARY = 512


@dataclass(frozen=True, slots=True)
class Meter:
    """How full the context is, in tokens.

    Example: `Meter(3_300, 4_096)` has a `share` of 0.806 and `warns`.
    """

    used: int
    total: int

    @property
    def share(self) -> float:
        """The used part of the whole; 0 where nobody tells how long the context is."""
        return self.used / self.total if self.total else 0.0

    @property
    def warns(self) -> bool:
        """Whether a person should be told: from 80 % on."""
        return self.share >= WARNING_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A conversation that fits, and what had to go for that.

    Attributes:
        messages: what to send, and to go on with.
        prompt_tokens: what they take in the context; 0 where nobody tells how long the context is.
        dropped: the messages that went, the oldest first; empty if everything fits.
        dropped_tokens: what these took in the context.
        summary: what the model wrote in their place, if it did.
        place: where in the conversation the dropped messages stood.
    """

    messages: tuple[Message, ...]
    prompt_tokens: int
    dropped: tuple[Message, ...] = ()
    dropped_tokens: int = 0
    summary: str | None = None
    place: int = 0

    @property
    def dropped_turns(self) -> int:
        """How many turns went; an earlier summary counts as one."""
        return sum(message.role == "user" for message in self.dropped)

    def moved(self, kept_ids: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
        """Return kept token ids by the new indices of their messages, without those of dropped ones.

        Example: two messages dropped at place 1 → the ids of message 4 are those of message 2.
        """
        end = self.place + len(self.dropped)
        added = len(summary_turn(self.summary)) if self.summary is not None else 0
        return {
            index if index < self.place else index - len(self.dropped) + added: ids
            for index, ids in kept_ids.items()
            if not self.place <= index < end
        }


def answer_reserve(context_tokens: int, max_tokens: int | None) -> int:
    """Return how many tokens to keep for the answer: its limit, or a quarter of the context.

    More than half of the context is never kept. Examples: 4,096 and no limit → 1,024; 4,096 and 500 → 500;
    256 and 500 → 128.
    """
    half = max(1, context_tokens // 2)
    return min(half, max_tokens) if max_tokens else max(1, context_tokens // 4)


def make_room(
    model: LanguageModel,
    messages: Sequence[Message],
    *,
    reserve_tokens: int,
    policy: ContextPolicy,
    kept_ids: Mapping[int, tuple[int, ...]] | None = None,
    summarizer: Summarizer | None = None,
) -> Room:
    """Return the conversation as it fits into the model's context, with room for the answer.

    It is counted from the newest turn backwards, so that a long history costs no more than a short one.

    Args:
        model: who will answer; where it does not tell its context, everything stays.
        messages: the conversation, the newest message last.
        reserve_tokens: to keep free for the answer; see `answer_reserve`.
        policy: what happens when it does not fit.
        kept_ids: token ids of answers, as for `LanguageModel.chat`.
        summarizer: writes the summary, so that another thread can cancel it; unset, one of its own.

    Example: a context of 256, 64 of it kept, 230 tokens with "drop": turns go until 160 or fewer are left.

    Raises:
        InvalidSettingError: a reserve as large as the context, or none.
        ContextFullError: it does not fit, and the policy is "stop" or "ask".
        ContextTooLongError: the newest message alone does not fit.
    """
    if not model.context_tokens:
        return Room(messages=tuple(messages), prompt_tokens=0)
    if not 1 <= reserve_tokens < model.context_tokens:
        raise InvalidSettingError(
            "reserve_tokens",
            f"is {reserve_tokens:,} in a context of {model.context_tokens:,}",
            hint="use a smaller `--max-tokens` or a larger `--context`",
        )
    turns = Turns(model, messages, kept_ids or {})
    limit = model.context_tokens - reserve_tokens
    prompt_tokens = turns.tokens(0)
    if prompt_tokens <= limit:
        return Room(messages=tuple(messages), prompt_tokens=prompt_tokens)
    newest = turns.tokens(max(0, len(turns) - 1))
    if newest > limit or policy in ("ask", "stop"):
        raise _refusal(
            turns, newest if newest > limit else prompt_tokens, reserve_tokens, fits=newest <= limit
        )
    if policy == "summarize":
        return _summarized(turns, limit, summarizer or Summarizer())
    return _without(turns, turns.to_drop(limit - model.context_tokens // ROOM_SHARE))


def _refusal(
    turns: Turns, prompt_tokens: int, reserve_tokens: int, *, fits: bool
) -> ContextFullError | ContextTooLongError:
    """Return the error of a conversation, or of its newest message alone if that does not fit."""
    total = turns.model.context_tokens
    if fits:
        return ContextFullError(
            prompt_tokens=prompt_tokens,
            context_tokens=total,
            reserve_tokens=reserve_tokens,
            turns=len(turns) - 1,
        )
    return ContextTooLongError(
        prompt_tokens=prompt_tokens,
        context_tokens=total,
        trained_context_tokens=turns.model.trained_context_tokens,
        reserve_tokens=reserve_tokens,
    )


def drop_turns(
    model: LanguageModel,
    messages: Sequence[Message],
    count: int,
    *,
    kept_ids: Mapping[int, tuple[int, ...]] | None = None,
) -> Room:
    """Return the conversation without its oldest turns, as after a `ContextShifted` event.

    The newest turn stays, however many are to go.

    Example: a system prompt and three turns, 1 → the system prompt and the last two.
    """
    turns = Turns(model, messages, kept_ids or {})
    return _without(turns, max(0, min(count, len(turns) - 1)))


def _without(turns: Turns, count: int) -> Room:
    return Room(
        messages=(*turns.head, *turns.between(count, len(turns))),
        prompt_tokens=turns.tokens(count),
        dropped=turns.between(0, count),
        dropped_tokens=turns.tokens(0) - turns.tokens(count),
        place=turns.first,
    )


def _summarized(turns: Turns, limit: int, summarizer: Summarizer) -> Room:
    """Let a summary take the place of the oldest turns, if there is room for one; otherwise drop them."""
    room = _without(turns, turns.to_drop(limit // _KEPT_SHARE))
    beside = _tokens_with(turns, room, "")
    longest = min(_LONGEST_SUMMARY, limit // _SUMMARY_SHARE, limit - beside)
    if longest < SHORTEST_SUMMARY:
        return room
    summary = summarizer.summarize(turns, room.dropped_turns, longest)
    prompt_tokens = _tokens_with(turns, room, summary)
    if not summary or prompt_tokens > limit:
        return room
    messages = _with_summary(room, summary)
    return replace(room, messages=messages, prompt_tokens=prompt_tokens, summary=summary)


def _with_summary(room: Room, summary: str) -> tuple[Message, ...]:
    return (*room.messages[: room.place], *summary_turn(summary), *room.messages[room.place :])


def _tokens_with(turns: Turns, room: Room, summary: str) -> int:
    """Return what a room's messages take together with a summary."""
    kept = replace(room, summary=summary).moved(turns.kept_ids)
    return turns.model.count_tokens(_with_summary(room, summary), kept_ids=kept)
