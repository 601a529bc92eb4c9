"""From the options of `phi4local chat` to a running conversation."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.server_choice import AUTO, named_server, open_through

if TYPE_CHECKING:
    from phi4local.assistant.retrieval import Collection
    from phi4local.cli.chat.state import Chat, View
    from phi4local.runtime.language_model import LanguageModel
    from phi4local.settings import LoadSettings, SamplingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How models are opened: the first one, and those that `/model` names later.

    Attributes:
        server: from `server_choice`.
        keeps_state: the model's cache is written to a file at the end.
    """

    loading: LoadSettings
    adapters: list[str]
    yes: bool
    guard: str | None = None
    server: str = AUTO
    keeps_state: bool = False

    def __call__(self, name: str | None, adapters: list[str]) -> LanguageModel:
        """Return a running model."""
        loading = self._loading_for(named_server(self.server) or name)
        return open_through(self.server, name, loading, adapters, yes=self.yes, keeps_state=self.keeps_state)

    def _loading_for(self, name: str | None) -> LoadSettings:
        """Let a model that judges its own answer do both at once, in the memory of one conversation.

        Raises:
            GuardPolicyError: the guard's file means nothing; found before a model is loaded.
        """
        from phi4local.assistant.guard.policy import read_policy
        from phi4local.cli.run_output import ONE_CONTEXT, on_a_server

        if self.guard is None or on_a_server(name) or not read_policy(self.guard).asks_the_answering_model:
            return self.loading
        return replace(self.loading, parallel=2, cache_tokens=ONE_CONTEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """How answers are made."""

    system: str | None
    sampling: SamplingSettings
    max_tokens: int | None
    guard: str | None


@dataclass(frozen=True, slots=True)
class Room:
    """What goes when the context is full, and what is read into it: `--context-full`, `--docs`."""

    policy: str | None
    docs: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of the conversation, and which one goes on."""

    go_on: bool
    session: str | None
    save: bool
    history: bool
    state: bool = False


def talk(model: str | None, opening: Opening, how: Talk, room: Room, kept: Kept, view: View) -> None:
    """Open the model and converse, on a terminal or through a pipe.

    Raises:
        Phi4LocalError: what opening a model or a session says.
    """
    from phi4local.assistant.context import policy_of
    from phi4local.assistant.conversation import Conversation
    from phi4local.assistant.sessions.library import SessionLibrary
    from phi4local.cli.chat.documents import Documents
    from phi4local.cli.chat.state import Chat

    library = SessionLibrary(report=lambda line: render.notice(f"note: {line}"))
    opened = opening(model, opening.adapters)
    try:
        _mention_real_model(model, opened)
        conversation = Conversation(
            opened, system=how.system, sampling=how.sampling, max_tokens=how.max_tokens
        )
        conversation.context_policy = policy_of(room.policy or ("ask" if sys.stdin.isatty() else "stop"))
        chat = Chat(
            guard_file=how.guard,
            conversation=conversation,
            library=library,
            open_model=opening,
            model_name=model,
            adapters=list(opening.adapters),
            view=view,
            keeps_state=kept.state,
            documents=Documents(_collection(room.docs)),
        )
    except BaseException:
        opened.close()
        raise
    try:
        chat.renew_guard()
        _keep(chat, kept, how.system)
        _converse(chat, kept)
    finally:
        chat.close()


def _converse(chat: Chat, kept: Kept) -> None:
    from phi4local.cli.chat import keeping
    from phi4local.store import home

    if sys.stdin.isatty():
        from phi4local.cli.chat import terminal

        terminal.converse(chat, home.home() / "history" if kept.history else None)
    else:
        from phi4local.cli.chat import piped

        if chat.saves and chat.session is None:
            keeping.begin(chat, chat.wanted_session)
        piped.converse(chat)
    if chat.keeps_state:
        keeping.save_state(chat)


def _keep(chat: Chat, kept: Kept, system: str | None) -> None:
    """Go on with the session that the person names; `--system` wins over its instruction."""
    _take_up(chat, kept)
    if system is not None and chat.conversation.system != system:
        chat.conversation.system = system
        render.notice("note: `--system` takes the place of the session's instruction")


def _take_up(chat: Chat, kept: Kept) -> None:
    """Open the session that the person names; a pipe is kept only when it is named."""
    from phi4local.cli.chat.keeping import go_on
    from phi4local.errors import UnknownSessionError

    latest = chat.library.latest() if kept.go_on else None
    if kept.go_on and latest is None:
        render.notice("note: there is no session to go on with")
    if latest is not None:
        go_on(chat, chat.library.open(latest.id))
        return
    if kept.session is not None:
        try:
            go_on(chat, chat.library.open(kept.session))
        except UnknownSessionError:
            chat.saves, chat.wanted_session = True, kept.session
    else:
        chat.saves = kept.save and sys.stdin.isatty()


def _collection(paths: list[str]) -> Collection | None:
    if not paths:
        return None
    from phi4local.assistant.retrieval import Collection, KeptVectors, Reranker, SentenceModel, WordVectors
    from phi4local.assistant.retrieval.sentence_model import MODEL

    vectors, sentences = WordVectors.installed(), SentenceModel.installed()
    found = Collection.from_paths(
        paths,
        embedder=vectors and KeptVectors(vectors, vectors.name),
        reranker=Reranker(sentences) if sentences else None,
    )
    for line in found.notes:
        render.notice(f"note: {line}")
    files = render.times(len(found.documents), "document")
    render.notice(f"{files}, {render.times(len(found.passages), 'passage')}; answers cite file and lines")
    if vectors is None:
        render.notice(
            'passages are found by their words; `pip install "phi4local[documents]"` finds more of them'
        )
    elif sentences is None:
        render.notice(f"`hf download {MODEL}` (91 MB) would find more of them")
    return found


def _mention_real_model(asked: str | None, opened: LanguageModel) -> None:
    from phi4local import catalog
    from phi4local.runtime.resolve import EMBEDDED_MODEL, how_to_get

    if asked is None and opened.name == EMBEDDED_MODEL:
        render.notice(f"phi4-nano is a tiny demo; for the real model: {how_to_get(catalog.find('phi-4'))}")
