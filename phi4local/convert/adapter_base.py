"""The matrices of the model that an adapter was made for: their names in GGUF, their rows and columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.convert.architectures.phi3 import GGUF_NAME, Phi3
from phi4local.convert.architectures.tensors import Widths, fused_modules
from phi4local.convert.checkpoint import open_checkpoint
from phi4local.errors import AdapterError
from phi4local.gguf import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.gguf import Header

_TENSORS = {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
_LAYER = re.compile(r"model\.layers\.(0|[1-9]\d{0,3})\.(.+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a module are in a phi3 file.

    Attributes:
        tensor: GGUF name, such as `blk.0.attn_qkv.weight`.
        first_row: of the module in that matrix.
        rows: of the module.
        columns: elements of each row.
        all_rows: of the whole matrix.
    """

    tensor: str
    first_row: int
    rows: int
    columns: int
    all_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterBase:
    """The numbers of a model that decide which adapters fit it.

    Attributes:
        layers: transformer blocks.
        widths: what the matrices of a layer are made of.
        vocabulary_tokens: rows of the embedding.
        tied: the embedding is the output matrix too.
    """

    layers: int
    widths: Widths
    vocabulary_tokens: int
    tied: bool

    def place(self, module: str) -> Place | None:
        """Return where the rows of `module` are, or `None` if the model has no such matrix.

        Modules of a llamafied model are parts of the fused matrices.

        Example: Phi-4's `model.layers.0.self_attn.k_proj` → 1,280 rows of 5,120 in `blk.0.attn_qkv.weight`,
        which has 7,680, from row 5,120 on.
        """
        if module == "model.embed_tokens":
            return self._whole("token_embd.weight", self.vocabulary_tokens)
        if module == "lm_head":
            return None if self.tied else self._whole("output.weight", self.vocabulary_tokens)
        found = _LAYER.fullmatch(module)
        if found is None or int(found[1]) >= self.layers:
            return None
        part = self._parts().get(found[2])
        return part and replace(part, tensor=f"blk.{int(found[1])}.{part.tensor}.weight")

    def _whole(self, tensor: str, rows: int) -> Place:
        return Place(tensor, 0, rows, self.widths.embedding, rows)

    def _parts(self) -> dict[str, Place]:
        """Return the places of a layer's modules, with the last part of the tensor's name."""
        width, inner = self.widths.embedding, self.widths.feed_forward
        found = {
            "self_attn.o_proj": Place("attn_output", 0, width, width, width),
            "mlp.down_proj": Place("ffn_down", 0, width, inner, width),
        }
        for fused, parts in fused_modules(self.widths).items():
            tensor, everything, first = _TENSORS[fused], sum(parts.values()), 0
            found[fused] = Place(tensor, 0, everything, width, everything)
            for module, rows in parts.items():
                found[module] = Place(tensor, first, rows, width, everything)
                first += rows
        return found


def base_of_header(header: Header) -> AdapterBase:
    """Return the numbers of a GGUF file.

    Raises:
        AdapterError: the file is no phi3 model.
    """

    def number(key: str, default: int = 0) -> int:
        value: Any = header.get(f"{GGUF_NAME}.{key}", default)
        return value if isinstance(value, int) else 0

    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    width, heads = number("embedding_length"), number("attention.head_count")
    embedding = shapes.get("token_embd.weight", ())
    if header.architecture != GGUF_NAME or not width or not heads or len(embedding) != 2:
        raise AdapterError(header.path, "is no Phi-4 model", hint="name the model that the adapter is for")
    return AdapterBase(
        layers=number("block_count"),
        widths=Widths(
            width, width // heads * number("attention.head_count_kv", heads), number("feed_forward_length")
        ),
        vocabulary_tokens=embedding[1],
        tied="output.weight" not in shapes,
    )


def base_of(path: Path) -> AdapterBase:
    """Return the numbers of a checkpoint folder or of a GGUF file; only headers are read.

    Raises:
        CheckpointError, UnsupportedCheckpointError, GGUFError: it is neither, or damaged.
        AdapterError: the file is no phi3 model.
    """
    if not path.is_dir():
        return base_of_header(read_header(path))
    checkpoint = open_checkpoint(path)
    model = Phi3.from_config(checkpoint.config, path / "config.json", checkpoint.tensors)
    return AdapterBase(
        layers=model.layers,
        widths=model.widths,
        vocabulary_tokens=model.vocabulary_tokens,
        tied=model.tied_embeddings,
    )
