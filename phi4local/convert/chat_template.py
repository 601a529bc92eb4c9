"""The chat template that a checkpoint brings, wherever it keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.convert.strict_json import MEBIBYTE, read_bytes, read_object
from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TEMPLATE_LIMIT_BYTES = 4 * MEBIBYTE


def read_chat_template(file: Callable[[str], Path | None], config: dict[str, Any]) -> str | None:
    """Return the template of tokenizer_config.json, else chat_template.jinja's, else chat_template.json's.

    Args:
        file: the path of one of the checkpoint's files, or `None`.
        config: what tokenizer_config.json holds.

    Example: Phi-4's is a text of 462 characters in tokenizer_config.json.

    Raises:
        CheckpointError: it is no text, not UTF-8, or too large.
    """
    template: object = config.get("chat_template")
    path = file("tokenizer_config.json")
    if template is None and (path := file("chat_template.jinja")):
        try:
            template = read_bytes(path, limit_bytes=_TEMPLATE_LIMIT_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(path, "is not UTF-8 text") from error
    elif template is None and (path := file("chat_template.json")):
        template = read_object(path).get("chat_template")
    if isinstance(template, list):
        defaults = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
        template = defaults[0].get("template") if defaults else None
    if template is None:
        return None
    if not isinstance(template, str) or "\0" in template or not _is_text(template):
        raise CheckpointError(path or "tokenizer_config.json", "its chat_template is no text")
    return template


def _is_text(text: str) -> bool:
    return not any("\ud800" <= mark <= "\udfff" for mark in text)
