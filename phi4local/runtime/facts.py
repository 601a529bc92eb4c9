"""What a validated GGUF header says about its model, in the words of the rest of the house."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import catalog
from phi4local.engine.adapters import AdapterFile
from phi4local.engine.model import ModelFile
from phi4local.gguf import validate_adapter
from phi4local.runtime.adapters import adapter_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phi4local.gguf import Header

CONTROL = 3
"""Token type of tokens that are never text (llama.h: LLAMA_TOKEN_TYPE_CONTROL)."""
USER_DEFINED = 4
"""Token type of added tokens that are no control tokens (llama.h: LLAMA_TOKEN_TYPE_USER_DEFINED)."""

_PRE_TOKENIZER_FOR = {"gpt-4o": "granite-embed-multi-97m"}
"""File's pre-tokenizer → the one that cuts as the checkpoint does.

llama.cpp's `gpt-4o` leaves combining marks out of words, so a Hindi sentence has 99 tokens, not 54. The other
name stands for the same expression with the marks. Files keep `gpt-4o`, which every program knows. It also
takes a whole piece that is a token without merging it, which is the same where every token can be merged.
Source: `llm_tokenizer_bpe` and `load` in src/llama-vocab.cpp of llama.cpp 0c1e57098.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """The part of a header that the runtime uses."""

    header: Header
    manifest: catalog.Manifest | None
    layers: int
    embedding_length: int
    heads: int
    kv_heads: int
    context_tokens: int
    vocabulary_tokens: int
    chat_template: str | None
    bos_token: str
    eos_token: str

    def model_file(self, adapters: tuple[AdapterFile, ...] = ()) -> ModelFile:
        """Return what the engine needs of the file, and of adapters to load with it."""
        tokens: Any = self.header.get("tokenizer.ggml.tokens", ())
        types: Any = self.header.get("tokenizer.ggml.token_type", ())
        plain = tuple(token for token, kind in zip(tokens, types, strict=False) if kind == USER_DEFINED)
        return ModelFile(
            path=self.header.path,
            trained_context_tokens=self.context_tokens,
            layers=self.layers,
            user_defined_tokens=plain,
            short_context_tokens=self._short_context_tokens(),
            adapters=adapters,
            pre_tokenizer=_PRE_TOKENIZER_FOR.get(str(self.header.get("tokenizer.ggml.pre", ""))),
        )

    def special_tokens(self) -> frozenset[str]:
        """Return the texts of the file's control tokens, such as `<|im_end|>`."""
        tokens: Any = self.header.get("tokenizer.ggml.tokens", ())
        types: Any = self.header.get("tokenizer.ggml.token_type", ())
        return frozenset(token for token, kind in zip(tokens, types, strict=False) if kind == CONTROL)

    def _short_context_tokens(self) -> int | None:
        if not any(tensor.name == "rope_factors_long.weight" for tensor in self.header.tensors):
            return None
        original: Any = self.header.get(f"{self.header.architecture}.rope.scaling.original_context_length")
        return int(original) if original is not None else None


def file_facts(header: Header) -> FileFacts:
    """Read the facts of a header that `phi4local.gguf.validate` returned.

    Example: phi4-nano's file → 8 layers, width 256, 8 heads and 2 KV heads, 2,048 tokens of context.
    """

    def number(key: str) -> int:
        value: Any = header.get(f"{header.architecture}.{key}", 0)
        return int(value)

    tokens: Any = header.get("tokenizer.ggml.tokens", ())
    template = header.get("tokenizer.chat_template", None)
    shape = {
        "layers": number("block_count"),
        "embedding_length": number("embedding_length"),
        "context_tokens": number("context_length"),
        "vocabulary_tokens": len(tokens),
    }
    return FileFacts(
        header=header,
        manifest=catalog.recognise(**shape, chat_template=template if isinstance(template, str) else None),
        heads=number("attention.head_count"),
        kv_heads=number("attention.head_count_kv") or number("attention.head_count"),
        chat_template=template if isinstance(template, str) else None,
        bos_token=_token(header, tokens, "bos"),
        eos_token=_token(header, tokens, "eos"),
        **shape,
    )


def adapter_files(paths: Mapping[str, str | Path], base: Header) -> tuple[AdapterFile, ...]:
    """Validate adapters for a model and return what the engine needs of them.

    Args:
        paths: GGUF files or PEFT folders by the name that requests will use.
        base: the header of the model.

    Raises:
        GGUFError, AdapterError: no adapter, or one for another model.
    """
    files = []
    for name, path in ((name, adapter_file(Path(path), base)) for name, path in paths.items()):
        validate_adapter(path, base)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files.append(AdapterFile(name=name, path=path, digest=digest))
    return tuple(files)


def _token(header: Header, tokens: tuple[str, ...], role: str) -> str:
    place: Any = header.get(f"tokenizer.ggml.{role}_token_id", -1)
    return tokens[place] if 0 <= place < len(tokens) else ""
