"""Which family member a checkpoint is, from config.json and the chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local import catalog
from phi4local.convert.chat_template import read_chat_template
from phi4local.convert.checkpoint import member
from phi4local.convert.strict_json import read_object
from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path


def recognise(checkpoint: Path) -> catalog.Manifest | None:
    """Return the family member whose numbers config.json carries, or `None`.

    A fine-tune of Phi-4 is recognised as Phi-4: it wants the same prompt and the same quantization. A folder
    that is no checkpoint is nobody; converting it says what is wrong.

    Example: `recognise(Path("models/phi4-nano")).name` is `phi4-nano`.
    """
    try:
        config = read_object(checkpoint / "config.json")
    except CheckpointError:
        return None
    keys = ("num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings")
    layers, width, vocabulary, context = (config.get(key, 0) for key in keys)
    return catalog.recognise(
        layers=layers,
        embedding_length=width,
        vocabulary_tokens=vocabulary,
        context_tokens=context,
        chat_template=_template(checkpoint),
    )


def _template(checkpoint: Path) -> str | None:
    def file(name: str) -> Path | None:
        path = member(checkpoint, name)
        return path if path.is_file() else None

    try:
        path = file("tokenizer_config.json")
        return read_chat_template(file, read_object(path) if path else {})
    except CheckpointError:
        return None
