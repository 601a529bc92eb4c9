"""Where a conversation is written down: begun, gone on with, and given up when the disk is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.assistant.sessions.transcript import SETTINGS
from phi4local.assistant.sessions.while_possible import WhilePossible
from phi4local.cli import render
from phi4local.cli.chat.places import digest_of, title_of
from phi4local.cli.text import shortened
from phi4local.errors import EngineError, FileWriteError, InvalidSettingError, SavedStateError
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from phi4local.assistant.sessions.session import Session
    from phi4local.cli.chat.state import Chat


def begin(chat: Chat, name: str | None = None) -> Session:
    """Keep the conversation from now on, with the turns and settings that it has already.

    Raises:
        InvalidSettingError: another session has this name.
        FileWriteError: the operating system refused.
    """
    conversation, model = chat.conversation, chat.model
    session = chat.library.create(
        name=name, model=title_of(model), digest=digest_of(model), system=conversation.system
    )
    try:
        for message in conversation.messages:
            if message.role == "user":
                session.add_user(message.content)
            elif message.role == "assistant":
                session.add_answer(message.content, reason="stop", tokens=0)
        if chat.changed:
            session.note(SETTINGS, **chat.changed)
    except BaseException:
        session.close()
        raise
    _record(chat, session)
    return session


def begin_if_possible(chat: Chat) -> None:
    """Keep the conversation from now on; where that cannot be, say so once and go on without."""
    try:
        begin(chat, chat.wanted_session)
    except FileWriteError as error:
        _give_up(chat, error)


def go_on(chat: Chat, session: Session) -> None:
    """Take the turns and settings of a kept session, and write it on."""
    if chat.session is not None:
        chat.session.close()
    before = session.transcript
    title, digest = title_of(chat.model), digest_of(chat.model)
    if before.model == title and before.digest and digest and before.digest != digest:
        render.notice(f"note: the file of {title} is not the one that answered before")
    chat.conversation.load(session.messages, None)
    _record(chat, session)
    _restore(chat, before.settings)
    if chat.record is not None and (before.model != title or before.digest != digest):
        chat.record.set_model(title, digest)
    _restore_state(chat, session)
    chat.recount()
    for line in session.skipped:
        render.notice(f"note: {line}")
    if session.unanswered:
        render.notice(f"note: the last question got no answer: {shortened(session.unanswered)}")
    render.notice(f"{session.name}: {render.times(chat.conversation.turns, 'turn')}")
    question, answer = chat.conversation.last_question, chat.conversation.last_answer
    if question and answer:
        render.dim_notice(f">>> {shortened(question)}")
        render.dim_notice(shortened(answer, 200))


def save_state(chat: Chat) -> None:
    """Keep what the model's cache holds of the session, so that going on evaluates nothing again."""
    from phi4local.runtime.model import Model

    if chat.session is None or not chat.conversation.turns or not isinstance(chat.model, Model):
        return
    conversation, path = chat.conversation, chat.session.snapshot_path
    try:
        kept = chat.model.save(conversation.messages, path, kept_ids=conversation.kept_ids)
    except (SavedStateError, FileWriteError, InvalidSettingError, EngineError, OSError) as error:
        render.notice(f"note: the state of the conversation is not kept: {error}")
        return
    render.notice(f"kept for the next time: {kept.tokens:,} tokens in {render.size(kept.file_bytes)}")


def _restore_state(chat: Chat, session: Session) -> None:
    """Put back what `save_state` kept; what is of another model or damaged is left out, and that is said."""
    from phi4local.runtime.model import Model

    if not (chat.keeps_state and session.snapshot_path.exists() and isinstance(chat.model, Model)):
        return
    try:
        kept = chat.model.restore(session.snapshot_path)
    except (SavedStateError, EngineError) as error:
        render.notice(f"note: the kept state is of no use, everything is evaluated again: {error}")
        return
    render.notice(f"{kept.tokens:,} tokens need not be evaluated again")


def note_setting(chat: Chat, name: str, value: Any) -> None:  # noqa: ANN401 - of any setting
    """Write down that a setting was changed, so that it is the same when the conversation goes on."""
    chat.changed[name] = value
    if chat.record is not None:
        chat.record.note(SETTINGS, **{name: value})


def _record(chat: Chat, session: Session) -> None:
    chat.session, chat.record = session, WhilePossible(session, lambda error: _give_up(chat, error))
    chat.conversation.record = chat.record


def _give_up(chat: Chat, error: FileWriteError) -> None:
    """Go on without writing; `/save NAME` begins again, with all turns."""
    if chat.session is not None:
        chat.session.close()
    chat.session = chat.record = chat.conversation.record = None
    chat.saves = False
    render.notice(f"note: this conversation is not kept any more: {error}; `/save NAME` tries again")


def _restore(chat: Chat, settings: dict[str, Any]) -> None:
    """Take what `/set` said before; what this run was told wins."""
    restored = []
    for name, value in settings.items():
        if value is None or name in chat.changed:
            continue
        try:
            if _restore_one(chat, name, value):
                restored.append(f"{name} {shortened(str(value), 40)}")
        except (InvalidSettingError, TypeError, ValueError):
            render.notice(
                f"note: the session's setting `{shortened(name, 40)}` was left out: it means nothing here"
            )
    if restored:
        render.notice(f"settings as before: {', '.join(restored)}")


def _restore_one(chat: Chat, name: str, value: Any) -> bool:  # noqa: ANN401 - JSON
    """Set what is not set yet, and return whether it was so."""
    conversation = chat.conversation
    if name == "max_tokens":
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidSettingError(name, "must be a whole number above 0")
        free = conversation.max_tokens is None
        conversation.max_tokens = value if free else conversation.max_tokens
        return free
    given = SamplingSettings.from_mapping({name: value})
    now = conversation.sampling or SamplingSettings()
    conversation.sampling = now.filled_from(given)
    return getattr(now, name) is None
