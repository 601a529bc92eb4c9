"""What a terminal conversation knows while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from phi4local.cli.chat.documents import Documents
from phi4local.cli.chat.places import place_of, title_of
from phi4local.cli.chat.status import Status
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.assistant.conversation import Conversation
    from phi4local.assistant.sessions.library import SessionLibrary
    from phi4local.assistant.sessions.session import Session
    from phi4local.assistant.sessions.transcript import Transcript
    from phi4local.assistant.sessions.while_possible import WhilePossible
    from phi4local.engine import Finished
    from phi4local.runtime.language_model import LanguageModel

ThinkMode = Literal["show", "fold", "hide"]
THINK_MODES: tuple[ThinkMode, ...] = get_args(ThinkMode)
Verbosity = Literal["quiet", "normal", "verbose"]


def think_mode(text: str) -> ThinkMode:
    """Return how thoughts are shown; `on` and `off` are `show` and `hide`.

    Raises:
        InvalidSettingError: no such way.
    """
    wanted = {"on": "show", "off": "hide"}.get(text, text)
    for mode in THINK_MODES:
        if mode == wanted:
            return mode
    raise InvalidSettingError("think", f"is {text!r}", hint=f"one of {', '.join(THINK_MODES)}")


@dataclass(slots=True)
class View:
    """How answers are shown.

    Attributes:
        raw: as they come, without markdown.
        think: what is shown of a reasoning model's thoughts.
        verbosity: how much is said below an answer.
    """

    raw: bool = False
    think: ThinkMode = "fold"
    verbosity: Verbosity = "normal"


@dataclass(slots=True)
class Totals:
    """What all answers of this run add up to."""

    answers: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    generation_seconds: float = 0.0

    def add(self, finished: Finished) -> None:
        """Count one more answer."""
        self.answers += 1
        self.generated_tokens += finished.usage.generated_tokens
        self.prompt_tokens += finished.usage.prompt_tokens
        self.reused_tokens += finished.usage.reused_tokens
        self.generation_seconds += finished.timings.generation_seconds


@dataclass(slots=True)
class Chat:
    """A conversation on a terminal, and everything that its commands change.

    Attributes:
        conversation: the turns, and the model that answers.
        library: the kept sessions.
        open_model: opens a model by name with adapters, as the command line's options say.
        model_name: what the person called the model.
        guard_file: the policy that checks questions and answers, or `None`.
        session: where this conversation is written down, or `None`.
        record: what writes into it, and gives up when the disk is full.
        changed: settings that were changed in this run, by name; `None` for what the model wants.
        wanted_session: what a session that begins is called; `None` lets it be called after its time.
        saves: begin one with the first question.
        keeps_state: keep the model's cache of the session too, and put it back.
        adapters: `FILE[:SCALE]` texts of those that are applied.
        documents: documents that the conversation is about.
        last: the end of the last answer.
    """

    conversation: Conversation
    library: SessionLibrary
    open_model: Callable[[str | None, list[str]], LanguageModel]
    model_name: str | None = None
    session: Session | None = None
    record: WhilePossible | None = None
    changed: dict[str, Any] = field(default_factory=dict)
    guard_file: str | None = None
    wanted_session: str | None = None
    saves: bool = False
    keeps_state: bool = False
    adapters: list[str] = field(default_factory=list)
    view: View = field(default_factory=View)
    documents: Documents = field(default_factory=Documents)
    last: Finished | None = None
    totals: Totals = field(default_factory=Totals)
    used_tokens: int = 0

    @property
    def model(self) -> LanguageModel:
        """Who answers."""
        return self.conversation.model

    def close(self) -> None:
        """End the model and the session's file."""
        if self.conversation.guard is not None:
            self.conversation.guard.close()
        self.model.close()
        if self.session is not None:
            self.session.close()

    def renew_guard(self) -> None:
        """Let the guard judge with the model that answers now, where its policy names no other one."""
        from phi4local.assistant.guard.guard import Guard

        if self.conversation.guard is not None:
            self.conversation.guard.close()
        if self.guard_file is not None:
            self.conversation.guard = Guard.from_file(self.guard_file, judge_model=self.model)

    def transcript(self) -> Transcript:
        """Return the conversation with all that is known about it, for `/export`."""
        from phi4local.assistant.sessions.transcript import Transcript

        if self.session is not None:
            return self.session.transcript
        return Transcript.of(self.conversation.messages, model=title_of(self.model))

    def cost_of(self, text: str) -> str:
        """Return what a text takes of the context, for a person; nothing where a server does not tell."""
        total = self.model.context_tokens
        if not total:
            return ""
        tokens = len(self.model.tokenize(text))
        return f", {tokens:,} tokens ({tokens / total:.0%} of the context)"

    def with_documents(self, question: str) -> str:
        """Return a question with the documents that belong to it; see `Documents.question`."""
        return self.documents.question(question, self.conversation)

    def citations(self) -> list[str]:
        """Return what is to be said about the citations of the last answer."""
        return list(self.documents.citations(self.conversation.last_answer or ""))

    def finish(self, finished: Finished) -> None:
        """Take the end of an answer."""
        self.last = finished
        self.totals.add(finished)
        self.used_tokens = finished.usage.prompt_tokens + finished.usage.generated_tokens
        self.documents.attached.clear()
        if self.used_tokens and not finished.usage.prompt_tokens:  # of an answer that was cut off on a server
            self.recount()

    def recount(self) -> None:
        """Count the context anew, after turns were taken back; servers do not tell."""
        on_server = not self.model.context_tokens
        self.used_tokens = 0 if on_server else self.conversation.used_tokens()

    def status(self) -> Status:
        """Return what the status line says."""
        sampling = self.conversation.sampling
        structure = "json" if sampling and sampling.json_schema else ""
        return Status(
            model=title_of(self.model),
            place=place_of(self.model),
            used_tokens=self.used_tokens,
            context_tokens=self.model.context_tokens,
            tokens_per_second=self.last.tokens_per_second if self.last else 0.0,
            extras=tuple(text for text in (*self.adapters, structure, *self.documents.attached) if text),
        )
