"""Commands about the model, its adapters, its context and its speed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from phi4local.assistant.context import policy_of
from phi4local.cli import render
from phi4local.cli.chat.places import digest_of, file_of, headline, title_of
from phi4local.cli.chat.status import bar
from phi4local.cli.options import adapter_scales
from phi4local.errors import InvalidSettingError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.cli.chat.state import Chat
    from phi4local.runtime.language_model import LanguageModel

BENCH_PROMPT, BENCH_ANSWER, BENCH_REPEATS = 256, 64, 3


def model(chat: Chat, argument: str) -> None:
    """Show the model, or let another one go on with the conversation."""
    if argument:
        _exchange(chat, argument, [])
    render.notice(headline(chat.model))


def adapter(chat: Chat, argument: str) -> None:
    """Show, apply or take away adapters. Examples: `/adapter nova:0.8`, `/adapter off`."""
    if argument:
        again = adapter_scales([argument]).keys()  # another strength of one that is applied replaces it
        others = [one for one in chat.adapters if not adapter_scales([one]).keys() & again]
        wanted = [] if argument == "off" else [*others, argument]
        _exchange(chat, chat.model_name, wanted)
    render.notice(f"adapters: {', '.join(chat.adapters) or 'none'}")


def _exchange(chat: Chat, name: str | None, adapters: list[str]) -> None:
    """Close the model and open another; the old one comes back when that fails.

    Both at once may not fit into memory.
    """
    before = (chat.model_name, list(chat.adapters))
    chat.model.close()
    try:
        _open(chat, name, adapters)
    except (Phi4LocalError, KeyboardInterrupt):
        _open(chat, *before)
        raise
    chat.recount()


def _open(chat: Chat, name: str | None, adapters: list[str]) -> None:
    opened: LanguageModel = chat.open_model(name, adapters)
    chat.conversation.take_over(opened)
    if chat.record is not None:
        chat.record.set_model(title_of(opened), digest_of(opened))
    chat.model_name, chat.adapters = name, adapters
    chat.renew_guard()


def show(chat: Chat, _argument: str) -> None:
    """Say what the model is."""
    from phi4local.cli.show import fact_rows
    from phi4local.runtime.inspect import describe

    path = file_of(chat.model)
    if path is None:
        render.notice(headline(chat.model))
        return
    facts = describe(str(path))
    render.table(title_of(chat.model), ("FACT", "VALUE"), fact_rows(facts), on_stderr=True)


def context(chat: Chat, argument: str) -> None:
    """Say how full the context is."""
    if argument:
        chat.conversation.context_policy = policy_of(argument)
    chat.recount()
    total = chat.model.context_tokens
    if not total:
        render.notice("the server does not tell how large its context is")
        return
    render.notice(f"{bar(chat.used_tokens, total)} tokens, {render.times(chat.conversation.turns, 'turn')}")
    system = chat.conversation.system
    if system:
        only = chat.model.count_tokens(chat.conversation.messages[:1])
        render.notice(f"{only:,} of them are the instruction")
    render.notice(f"{max(0, total - chat.used_tokens):,} are free for the next question and its answer")
    render.notice(f"when it is full: {chat.conversation.context_policy}")


def stats(chat: Chat, _argument: str) -> None:
    """Say what the answers took."""
    total = chat.totals
    if not total.answers:
        render.notice("nothing was answered yet")
        return
    speed = total.generated_tokens / total.generation_seconds if total.generation_seconds else 0.0
    reused = total.reused_tokens / total.prompt_tokens if total.prompt_tokens else 0.0
    render.notice(
        f"{render.times(total.answers, 'answer')}, {total.generated_tokens:,} tokens at {speed:,.1f} tok/s"
    )
    render.notice(f"{total.prompt_tokens:,} prompt tokens, {reused:.0%} of them were kept from before")
    peak: Callable[[], int] | None = getattr(chat.model, "peak_memory_bytes", None)
    if peak:
        render.notice(f"the engine took {render.size(peak())} of memory at most")


def bench(chat: Chat, _argument: str) -> None:
    """Measure prompt and answer on the path that answers take; the cache may have to make room."""
    from phi4local.bench.speakers import LocalSpeaker
    from phi4local.runtime.model import Model

    if not isinstance(chat.model, Model):
        raise InvalidSettingError(
            "bench", "is for models here", hint="`phi4local bench --url` measures servers"
        )
    room = chat.model.context_tokens
    prompt, answer = min(BENCH_PROMPT, room // 2), min(BENCH_ANSWER, room // 4)
    speaker = LocalSpeaker(chat.model)
    render.notice(f"measuring {prompt} tokens of prompt and {answer} of answer, {BENCH_REPEATS} times")
    ends = [
        speaker.start((2 * repeat, 2 * repeat + 1), (0, prompt), answer).result().finished
        for repeat in range(BENCH_REPEATS)
    ]
    reading = statistics.median(end.prompt_tokens_per_second for end in ends)
    writing = statistics.median(end.tokens_per_second for end in ends)
    render.notice(
        f"prompt {reading:,.1f} tok/s, answer {writing:,.1f} tok/s; `phi4local bench` measures with care"
    )
