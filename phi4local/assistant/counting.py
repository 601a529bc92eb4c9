"""The turns of a conversation, and what they take in the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors import ContextTooLongError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.messages import Message
    from phi4local.runtime.language_model import LanguageModel


_TWO_TURNS = 2


class Turns:
    """A conversation in turns: each begins with a message from the user.

    Tokens are counted over whole conversations, never added up from messages: a template may write something
    else in front of the first message, and some tokenizers join text across messages.

    Args:
        model: counts the tokens.
        messages: the conversation.
        kept_ids: token ids of answers by the index of their message, as for `LanguageModel.chat`.

    Attributes:
        first: index of the first message that belongs to a turn; what is before it always stays.

    Example: the roles system, user, assistant, user are two turns, and `first` is 1.
    """

    def __init__(
        self, model: LanguageModel, messages: Sequence[Message], kept_ids: Mapping[int, tuple[int, ...]]
    ) -> None:
        self.model = model
        self.kept_ids = dict(kept_ids)
        self._messages = tuple(messages)
        self._starts = [index for index, message in enumerate(messages) if message.role == "user"]
        self.first = self._starts[0] if self._starts else len(self._messages)
        self._counted: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """Return the number of turns."""
        return len(self._starts)

    @property
    def head(self) -> tuple[Message, ...]:
        """What is before the first turn."""
        return self._messages[: self.first]

    def between(self, begin: int, end: int) -> tuple[Message, ...]:
        """Return the messages of the turns from `begin` to before `end`."""
        return self._messages[self._start(begin) : self._start(end)]

    def tokens(self, begin: int, end: int | None = None) -> int:
        """Return what a part of the conversation takes: its head, and the turns from `begin` to before `end`.

        Args:
            begin: number of the first turn.
            end: number of the turn after the last one; `None` for all that follow.

        Raises:
            ContextTooLongError: a single turn is so long that nobody counts its tokens.
        """
        end = len(self) if end is None else end
        if (begin, end) not in self._counted:
            self._counted[begin, end] = self._count(begin, end)
        return self._counted[begin, end]

    def to_drop(self, limit: int) -> int:
        """Return how many of the oldest turns must go so that the rest takes at most `limit` tokens.

        At most all but one. It looks from the newest turn backwards, in steps that double, and then between
        the last two steps: a long history is not counted again and again.
        """
        last = len(self) - 1
        too_many, step = last, 1
        fits = last
        while fits > 0:
            too_many = max(0, last - step)
            if self.tokens(too_many) > limit:
                break
            fits, step = too_many, step * 2
        low, high = too_many, fits  # dropping `low` is too little, unless it is 0 and everything fits
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.tokens(middle) <= limit else (middle, high)
        return high

    def _start(self, turn: int) -> int:
        return self._starts[turn] if turn < len(self._starts) else len(self._messages)

    def _count(self, begin: int, end: int) -> int:
        places = [*range(self.first), *range(self._start(begin), self._start(end))]
        kept = {new: self.kept_ids[old] for new, old in enumerate(places) if old in self.kept_ids}
        try:
            messages = [self._messages[place] for place in places]
            return self.model.count_tokens(messages, kept_ids=kept) if messages else 0
        except ContextTooLongError:
            # So much text is not tokenized in one go. Halves say as much, apart from the head.
            if end - begin < _TWO_TURNS:
                raise
            middle = (begin + end) // 2
            return self.tokens(begin, middle) + self.tokens(middle, end) - self.tokens(end, end)
