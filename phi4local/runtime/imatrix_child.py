"""In the child process: evaluate text and add up what enters each matrix.

The same arithmetic as llama-imatrix: chunks of the same length, each from an empty cache, every token of a
chunk counts. Source: tools/imatrix/imatrix.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local import gguf
from phi4local.convert.imatrix_file import Sums, write_imatrix
from phi4local.convert.metadata import MetadataEntry
from phi4local.engine.worker import task
from phi4local.errors import EngineError, InvalidSettingError, Phi4LocalError
from phi4local.native.activations import ActivationReader
from phi4local.native.context import ContextShape, NativeContext, Piece
from phi4local.native.llama import NativeModel
from phi4local.offload import Placement
from phi4local.runtime.facts import file_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

UNFINISHED = "phi4local.imatrix.unfinished"
"""Key of a file that is gone on with: what it was made from."""
ENTERS = {
    "attn_norm": "attn_qkv",
    "kqv_out": "attn_output",
    "ffn_norm": "ffn_up",
    "ffn_swiglu": "ffn_down",
}
"""Node of the graph of a layer → the matrix that it is multiplied with (src/models/phi3.cpp)."""
OUTPUTS = ("result_norm", "result_embd_pooled")
"""What enters the output matrix; the second is its name in a context that keeps hidden states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the child is asked for, as JSON on standard input; see `runtime.imatrix.make_imatrix`."""

    model: str
    text: str
    output: str
    unfinished: str
    identity: str
    chunk_tokens: int
    most_chunks: int | None
    threads: int
    gpu_layers: int
    process_output: bool
    save_seconds: float
    dataset: str


class Collector:
    """Adds up what the graph shows.

    Args:
        layers: transformer blocks.
        columns: by GGUF name, the elements of a row of each matrix that counts.
        sums: where they are added.
    """

    def __init__(self, layers: int, columns: dict[str, int], sums: Sums) -> None:
        self.sums = sums
        self._columns = columns
        self.matrices = {
            f"{node}-{layer}": f"blk.{layer}.{matrix}.weight"
            for layer in range(layers)
            for node, matrix in ENTERS.items()
        }
        if "output.weight" in columns:
            self.matrices |= dict.fromkeys(OUTPUTS, "output.weight")

    def take(self, node: str, values: NDArray[np.float32]) -> None:
        """Take the values of a node."""
        name = self.matrices[node]
        columns = self._columns[name]
        if values.size % columns:
            raise EngineError(f"`{node}` has {values.size} values, no rows of {columns}")
        rows = values.reshape(-1, columns)
        if not np.isfinite(rows).all():
            raise EngineError(
                f"what enters `{name}` is not finite",
                hint="the file is damaged, see `phi4local check`; or try another build, F32 instead of F16",
            )
        self.sums.add(name, rows)

    def check(self, tokens: int) -> None:
        """Require that every matrix saw the chunk: another library may name its nodes in another way."""
        for name in self.matrices.values():
            if (seen := self.sums.tokens.get(name, 0)) == tokens:
                continue
            raise EngineError(
                f"llama.cpp showed {seen} of {tokens} tokens for `{name}`",
                hint="this build of llama.cpp names its graph in another way; install the pinned version",
            )


def main() -> None:
    """Carry out one order, and end with the parent."""
    task.serve(lambda order, tell: _run(Order(**order), tell))


def _run(order: Order, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    header = gguf.validate(Path(order.model))
    file = file_facts(header)
    model = NativeModel(
        Path(order.model),
        placement=Placement(gpu_layers=order.gpu_layers),
        pre_tokenizer=file.model_file().pre_tokenizer,
    )
    # Tokens of the whole text, read as plain text, with the start token that the file asks for.
    tokens = model.tokenize(Path(order.text).read_text(encoding="utf-8", errors="replace"), special=False)
    start = _start_token(header)
    size = order.chunk_tokens
    if len(tokens) < 2 * size:
        raise InvalidSettingError(
            "text", f"has {len(tokens):,} tokens; at least {2 * size:,} are needed", hint="give more text"
        )
    total = min(len(tokens) // size, order.most_chunks or len(tokens) // size)
    sums = _resumed(Path(order.unfinished), order.identity)
    columns = {tensor.name: tensor.shape[0] for tensor in header.tensors if _counts(tensor.name, order)}
    collector = Collector(file.layers, columns, sums)
    reader = ActivationReader(collector.matrices, collector.take)
    # Hidden states are asked for so that the last layer computes all tokens, not only the last one.
    shape = ContextShape(context_tokens=size, batch_tokens=size, threads=order.threads, embeddings=True)
    context = NativeContext(model, shape, reader)
    saved = time.monotonic()
    for chunk in range(sums.chunks, total):
        ids = tokens[chunk * size : (chunk + 1) * size]
        _evaluate(context, reader, (start, *ids[1:]) if start is not None else ids)
        sums.chunks += 1
        if chunk == 0:
            collector.check(size)
        tell({"type": "chunk", "chunk": chunk + 1, "of": total})
        if time.monotonic() - saved > order.save_seconds:
            _write(Path(order.unfinished), sums, order, (MetadataEntry(UNFINISHED, "str", order.identity),))
            saved = time.monotonic()
    _write(Path(order.output), sums, order)
    return {"entries": len(sums.squares), "chunks": sums.chunks, "tokens": sums.chunks * size}


def _evaluate(context: NativeContext, reader: ActivationReader, ids: Sequence[int]) -> None:
    context.forget_from(0)
    try:
        context.decode_batch((Piece(0, 0, ids, True),))  # noqa: FBT003 - a field
    finally:
        reader.raise_failure()


def _counts(name: str, order: Order) -> bool:
    if name == "output.weight":
        return order.process_output
    parts = name.split(".")
    return parts[0] == "blk" and parts[2] in ENTERS.values()


def _start_token(header: gguf.Header) -> int | None:
    """Return the token that stands before every chunk, if the file asks for one."""
    if header.get("tokenizer.ggml.add_bos_token") is not True:
        return None
    token = header.get("tokenizer.ggml.bos_token_id")
    return token if isinstance(token, int) else None


def _resumed(path: Path, identity: str) -> Sums:
    """Return the sums of an interrupted run on the same model and text, or none."""
    try:
        header = gguf.read_header(path)
    except Phi4LocalError:
        return Sums()
    if header.get(UNFINISHED) != identity:
        return Sums()
    data = path.read_bytes()
    arrays: dict[str, NDArray[np.float32]] = {}
    for tensor in header.tensors:
        begin = header.data_offset + tensor.offset
        arrays[tensor.name] = np.frombuffer(data, "<f4", tensor.size_bytes // 4, begin)
    chunks: Any = header.get("imatrix.chunk_count", 0)
    names = [name.removesuffix(".in_sum2") for name in arrays if name.endswith(".in_sum2")]
    return Sums(
        squares={name: arrays[f"{name}.in_sum2"].astype(np.float64) for name in names},
        tokens={name: int(arrays[f"{name}.counts"][0]) for name in names},
        chunks=chunks,
    )


def _write(path: Path, sums: Sums, order: Order, more: tuple[MetadataEntry, ...] = ()) -> None:
    write_imatrix(path, sums, dataset=order.dataset, chunk_tokens=order.chunk_tokens, more=more)
