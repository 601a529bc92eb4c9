"""What Tab offers: commands, model names, sessions, settings, files."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prompt_toolkit.completion import CompleteEvent

FILES = ("/read", "/adapter", "/json")


class Words(Completer):
    """Completes a line of the conversation.

    Args:
        commands: every name with a slash.
        words: offers what can stand behind a command, by its name.

    Example: `/mo` offers `/model`; `/set temp` offers `temperature`; `see @READ` offers `@README.md`.
    """

    def __init__(self, commands: Iterable[str], words: dict[str, Callable[[], Iterable[str]]]) -> None:
        self._commands = sorted(commands)
        self._words = {
            "/set": lambda: (*(field.name for field in fields(SamplingSettings)), "max_tokens"),
            "/think": lambda: ("show", "fold", "hide"),
            "/export": lambda: ("md", "json", "html"),
            "/system": lambda: ("off",),
            **words,
        }
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield what fits before the cursor."""
        text = document.text_before_cursor
        word = text.split()[-1] if text and not text[-1].isspace() else ""
        command, space, rest = text.partition(" ")
        if text.startswith("/") and not space:
            yield from _fitting(text, self._commands)
        elif command in FILES:
            yield from _fitting(rest, sorted(self._words.get(command, tuple)()))
            yield from self._paths.get_completions(Document(rest, len(rest)), complete_event)
        elif command in self._words:
            yield from _fitting(rest, sorted(self._words[command]()))
        elif word.startswith("@"):
            path = word[1:]
            yield from self._paths.get_completions(Document(path, len(path)), complete_event)


def _fitting(begun: str, words: Iterable[str]) -> Iterator[Completion]:
    for word in words:
        if word.startswith(begun):
            yield Completion(word, start_position=-len(begun))
