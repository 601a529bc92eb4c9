"""Documents of a terminal conversation: what goes along with a question, and what the answer cites of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local.assistant.context import answer_reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phi4local.assistant.conversation import Conversation
    from phi4local.assistant.retrieval import Collection, Document, Passage

SERVER_TOKENS = 3000
"""Room for documents where a server does not tell how large its context is."""
CHARACTERS_PER_TOKEN = 3
"""Of English there; code and other languages have fewer."""
TEMPLATE_TOKENS = 32


@dataclass(slots=True)
class Documents:
    """What a person wants to talk about.

    Attributes:
        collection: searched for every question, from `--docs`; `None` for none.
        attached: go along with the next question, by name, from `/read` and `@FILE`.
        given: the passages of the last question, which its answer may cite.
    """

    collection: Collection | None = None
    attached: dict[str, Document] = field(default_factory=dict)
    given: Sequence[Passage] = ()

    def question(self, text: str, conversation: Conversation) -> str:
        """Return a question with what belongs to it: files whole if they fit, else their best passages.

        Raises:
            DocumentError: not even one passage fits.
        """
        self.given = ()
        documents = list(self.attached.values())
        if not documents and self.collection is None:
            return text
        from phi4local.assistant.retrieval import attach

        count, budget = _room(conversation)
        if documents:
            whole = "".join(f"{one.name}:\n```\n{one.text}\n```\n\n" for one in documents) + text
            if count(whole) <= budget:
                return whole
        found = attach(text, documents or self.collection or (), count_tokens=count, budget_tokens=budget)
        self.given = found.passages
        return found.prompt_text

    def citations(self, answer: str) -> Iterator[str]:
        """Yield a line about what an answer cites: nothing where no passages were given."""
        if not self.given:
            return
        from phi4local.assistant.retrieval import cited

        places = cited(answer, self.given)
        wrong = [place for place in places if not place.found]
        if not wrong:
            yield f"{len(places)} cited, all of it was given" if places else "nothing was cited"
        for place in wrong:
            lines = f":{place.first}-{place.last}" if place.first else f", page {place.page}"
            yield f"cited, but not among what was given: {place.path}{lines}"


def _room(conversation: Conversation) -> tuple[Callable[[str], int], int]:
    """Return how tokens are counted and how many are free; half of the context at least: old turns can go."""
    total = conversation.model.context_tokens
    if not total:
        return lambda text: len(text) // CHARACTERS_PER_TOKEN, SERVER_TOKENS
    all_free = total - answer_reserve(total, conversation.max_tokens) - TEMPLATE_TOKENS
    free = max(all_free - conversation.used_tokens(), all_free // 2)
    return lambda text: len(conversation.model.tokenize(text)), free
