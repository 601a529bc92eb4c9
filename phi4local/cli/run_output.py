"""Where the answers of `phi4local run` go, and in which form."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from phi4local.cli import render
from phi4local.cli.stream import completion_to_json, print_answer, statistics
from phi4local.cli.text import json_visible, visible
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.cli.run_task import Task
    from phi4local.engine import Completion, Generation
    from phi4local.runtime.language_model import LanguageModel
    from phi4local.settings import LoadSettings, SamplingSettings

THINKING = ("show", "hide")
EXTRACTABLE = {"code": "block of code", "json": "JSON"}
MOST_AT_ONCE = 8
"""Answers that are written together; the others wait for a place."""
ONE_CONTEXT = 16
"""Cells of the cache: the fewest that settings may name, which the engine raises to those of one context."""
_SEEDS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is shown of the answers.

    Attributes:
        json: with all their facts, for programs.
        extract: a key of `EXTRACTABLE`: that part only.
        raw: draw no markdown, and leave long lines to the terminal.
        stats: tokens per second, on stderr.
        think: a key of `THINKING`, or `None`: shown to a person at a terminal, hidden from a program.
        number: how many answers were asked for; `None` for one without saying so.
    """

    json: bool
    extract: str | None
    raw: bool
    stats: bool
    number: int | None
    think: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("extract", EXTRACTABLE), ("think", THINKING)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise typer.BadParameter(f"`--{name} {visible(value)}` must be {' or '.join(known)}")

    @property
    def shows_thoughts(self) -> bool:
        """Whether thoughts of a reasoning model go to stderr."""
        if self.think is None:
            return sys.stdout.isatty() and sys.stderr.isatty()
        return self.think == "show"


@contextlib.contextmanager
def destination(output: str | None) -> Iterator[IO[bytes] | None]:
    """Yield the file for the answers, or `None` for standard output.

    The file has its name when the block ends without an error. Interrupted, nothing of it is left, and what
    had the name before is still there.

    Raises:
        FileWriteError: it cannot be written; found before a model is loaded.
    """
    if output in (None, "-"):
        yield None
        return
    from phi4local.files import new_file

    with new_file(Path(os.path.expanduser(output)), overwrite=True) as file:  # noqa: PTH111 - never raises
        yield file


def loading_for(number: int | None, name: str | None, loading: LoadSettings) -> LoadSettings:
    """Return load settings that let several answers be written together, in the memory of one.

    The pool of cells stays as large as one context. The prompt is in it once; when it is full, the newest
    answer waits for room.
    """
    if number is None or number == 1 or on_a_server(name):
        return loading
    return replace(loading, parallel=min(number, MOST_AT_ONCE), cache_tokens=ONE_CONTEXT)


def on_a_server(name: str | None) -> bool:
    """Return whether a model's name is a server's address."""
    from phi4local.runtime.names import is_link
    from phi4local.runtime.remote.address import is_address

    return name is not None and is_address(name) and not is_link(name)


def seeded(sampling: SamplingSettings, number: int) -> list[SamplingSettings]:
    """Return the settings of each answer: the seed counts up, without one each is random.

    Example: three answers with seed 7 have the seeds 7, 8 and 9.
    """
    if sampling.seed is None:
        return [sampling] * number
    return [replace(sampling, seed=(sampling.seed + place) % _SEEDS) for place in range(number)]


def write_answers(model: LanguageModel, task: Task, form: Form, file: IO[bytes] | None) -> None:
    """Ask a model and write its answers: to a file, or to standard output as they come.

    Raises:
        NothingToExtractError: an answer lacks the part that was asked for; as JSON that is `null` instead.
        EngineError: an answer failed.
    """
    rows, texts = [], set()
    number = form.number or 1
    for place, (generation, seed) in enumerate(_answers(model, task, number), start=1):
        if form.json:
            completion = generation.result()
            finished = completion.finished
            rows.append(_row(model, completion, seed, form.extract))
        else:
            if number > 1:
                _write(_heading(place, number, seed), file)
            finished = _write_one(generation, form, file, drawn=not _has_structure(task))
        which = f"answer {place}: " if number > 1 else ""
        _tell(model, finished, form, which)
        texts.add(generation.result().text)
    if len(texts) == 1 < number:
        render.notice("note: all answers are the same; a higher `--temperature` makes them differ")
    if form.json:
        shown = rows[0] if form.number is None else rows
        _write(json_visible(json.dumps(shown, indent=2, ensure_ascii=False)) + "\n", file)


def _answers(model: LanguageModel, task: Task, number: int) -> Iterator[tuple[Generation, int | None]]:
    """Yield answers that are being written, with their seeds; who stops reading cancels the rest."""

    def ask(sampling: SamplingSettings) -> Generation:
        return model.chat(task.messages, sampling=sampling, max_tokens=task.max_tokens)

    with contextlib.ExitStack() as running:
        begun: deque[tuple[Generation, int | None]] = deque()
        for one in seeded(task.sampling, number):
            begun.append((running.enter_context(ask(one)), one.seed))
            if len(begun) == model.answers_together:
                yield begun.popleft()
        yield from begun


def show_answer(events: Iterator[ConversationEvent], *, raw: bool, drawn: bool) -> Finished:
    """Write an answer to standard output as it comes, and return its end.

    Args:
        events: of the answer.
        raw: leave everything as it is, long lines too.
        drawn: draw markdown where standard output is a terminal that can.
    """
    from phi4local.cli.chat.reply import draw, is_screen

    if raw or not drawn or not is_screen(sys.stdout):
        return print_answer(events, wrap=not raw)
    return draw(events)


def _has_structure(task: Task) -> bool:
    """Return whether an answer follows a grammar: its stars and underscores are no markdown."""
    sampling = task.sampling
    return any(one is not None for one in (sampling.json_schema, sampling.regex, sampling.grammar))


def _write_one(generation: Generation, form: Form, file: IO[bytes] | None, *, drawn: bool) -> Finished:
    from phi4local.cli.run_thinking import answer_events

    events = answer_events(generation, show=form.shows_thoughts)
    if file is None and form.extract is None:
        return show_answer(events, raw=form.raw, drawn=drawn)
    text = "".join(event.delta for event in events if isinstance(event, Text))
    if form.extract is not None:
        from phi4local.errors import NothingToExtractError

        found = _extracted(text, form.extract)
        if found is None:
            raise NothingToExtractError(EXTRACTABLE[form.extract])
        text = found
    _write(text + "\n", file)
    return generation.result().finished


def _extracted(text: str, part: str) -> str | None:
    from phi4local.assistant import extraction

    return extraction.first_code(text) if part == "code" else extraction.first_json(text)


def _row(model: LanguageModel, completion: Completion, seed: int | None, part: str | None) -> dict[str, Any]:
    from phi4local.cli.run_thinking import parted

    row = completion_to_json(model.name, completion)
    thoughts, answer = parted(completion.text)
    if thoughts:
        row |= {"text": answer, "thinking": thoughts}
    if seed is not None:
        row["seed"] = seed
    if part is not None:
        row["extracted"] = _extracted(answer, part)
    return row


def _heading(place: int, number: int, seed: int | None) -> str:
    """Return the line above one of several answers. Example: `--- answer 2 of 3, seed 8 ---`."""
    blank = "\n" if place > 1 else ""
    return f"{blank}--- answer {place} of {number}{'' if seed is None else f', seed {seed}'} ---\n"


def _write(text: str, file: IO[bytes] | None) -> None:
    if file is not None:
        file.write(text.encode(errors="replace"))
        return
    sys.stdout.write(visible(text, keep_lines=True) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _tell(model: LanguageModel, finished: Finished, form: Form, which: str) -> None:
    """Say on stderr how fast an answer came, or that it was cut off."""
    if form.stats:
        render.notice(which + statistics(finished))
    elif finished.reason != "stop" and not form.json:
        render.notice(f"note: {which}{_cut(model, finished)}")


def _cut(model: LanguageModel, finished: Finished) -> str:
    usage = finished.usage
    if (
        finished.reason == "length"
        and usage.prompt_tokens + usage.generated_tokens >= model.context_tokens > 0
    ):
        return f"cut off: the context of {model.context_tokens:,} tokens is full; see `--context`"
    limits = {"length": "at the limit of `--max-tokens`", "time": "at the time limit", "cancelled": "early"}
    return f"cut off after {usage.generated_tokens:,} tokens, {limits[finished.reason]}"
