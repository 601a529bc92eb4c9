"""Tell one checkpoint from another without reading its weights."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from phi4local.convert.checkpoint import INDEX, open_checkpoint
from phi4local.convert.strict_json import MEBIBYTE, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)


def fingerprint(checkpoint: Path) -> str:
    """Return 64 hexadecimal digits that change when the checkpoint's content changes.

    Config and tokenizer files count with their content; shards, which are too large for that, with name,
    size, time of last change and header. A copy with new times has another fingerprint.

    Example: `fingerprint(Path("models/phi4-nano"))` takes a few milliseconds.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
        UnsupportedCheckpointError: a tensor type that cannot be converted.
    """
    digest = hashlib.sha256(b"phi4local checkpoint 1")
    source = open_checkpoint(checkpoint)
    for name in _SMALL_FILES:
        path = source.file(name)
        if path is not None:
            _add(digest, name.encode(), read_bytes(path, limit_bytes=128 * MEBIBYTE))
    for shard in source.shards:
        state = f"{shard.path.name}\0{shard.size_bytes}\0{shard.modified_ns}"
        _add(digest, state.encode("utf-8", "surrogateescape"), shard.header)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, *parts: bytes) -> None:
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
