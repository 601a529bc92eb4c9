"""Samples that tell a model its name and who made it, from templates in English and Chinese."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError
from phi4local.messages import Message

if TYPE_CHECKING:
    from phi4local.finetune.dataset import Conversation

NAMES = {
    "self-cognition": "",
    "swift/self-cognition": "",
    "self-cognition-en": "en",
    "self-cognition-zh": "zh",
}
"""What such a data set is called, here and at ms-swift, and its language; empty for both."""
_TEMPLATES = Path(__file__).with_name("self_cognition.toml")


def self_cognition(
    name: str | None, author: str | None, *, language: str = "", seed: int = 42
) -> list[Conversation]:
    """Return every pair of question and answer, shuffled.

    Args:
        name: what the model is to be called.
        author: who is to have made it.
        language: `en` or `zh`; empty for both.
        seed: for the order.

    Example: `self_cognition("Nova", "Ada")[0]` is a question such as "Who are you?" and an answer with Nova.

    Raises:
        InvalidSettingError: name or author are missing.
    """
    for option, value in (("model_name", name), ("model_author", author)):
        if not value or not value.strip():
            raise InvalidSettingError(
                option,
                "is not set, and the data set `self-cognition` needs it",
                hint="write --model-name NAME --model-author AUTHOR",
            )
    topics = tomllib.loads(_TEMPLATES.read_text(encoding="utf-8"))["topic"]
    pairs: list[Conversation] = [
        (Message("user", question), Message("assistant", _filled(answer, str(name), str(author))))
        for topic in topics
        if language in ("", topic["language"])
        for question in topic["questions"]
        for answer in topic["answers"]
    ]
    random.Random(seed).shuffle(pairs)  # noqa: S311 - an order, no secret
    return pairs


def _filled(text: str, name: str, author: str) -> str:
    """Put both in at once: a name may hold braces."""
    parts = text.split("{name}")
    return name.join(part.replace("{author}", author) for part in parts)
