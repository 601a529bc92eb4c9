"""What is fuzzed: each target takes any bytes, and lets only our own errors about the file pass.

`fuzz.py` drives them with atheris; `test_fuzz_corpus.py` runs every kept input through them.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import gguf
from phi4local.convert.checkpoint import open_checkpoint
from phi4local.convert.safetensors import read_streamed_shard
from phi4local.errors import CheckpointError, GGUFError, UnsupportedCheckpointError
from tests.hostile.gguf_files import F32, STR, U32, File, small_model
from tests.hostile.spoiled_checkpoints import FIRST, INDEX
from tests.random_checkpoint import Size, write_random_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = Path("any.gguf")
ALIGNMENT = 32


class Bytes:
    """A file that is not there: bytes, then zeros up to a size; what a shard that arrives looks like."""

    def __init__(self, content: bytes, size_bytes: int) -> None:
        self.content, self.size_bytes = content, size_bytes

    def read(self, offset: int, count: int) -> bytes:
        count = min(count, self.size_bytes - offset)
        return self.content[offset : offset + count].ljust(count, b"\0")

    def close(self) -> None: ...


def tiny_model() -> File:
    """A model with 16 tokens and one block, whose header is short enough to be mutated well."""
    file = small_model()
    tokens = [*file.tokens()[:14], b"<|im_start|>", b"<|im_end|>"]
    file.set_array("tokenizer.ggml.tokens", STR, tokens)
    file.set_array("tokenizer.ggml.token_type", 5, [1] * 14 + [3, 3])
    file.set_array("tokenizer.ggml.merges", STR, [b"! #", b"$ %"])
    for role, number in (("bos", 14), ("eos", 15), ("padding", 14)):
        file.set(f"tokenizer.ggml.{role}_token_id", U32, number)
    file.set("phi3.block_count", U32, 1)
    file.tensors = [one for one in file.tensors if not one.name.startswith(b"blk.1")]
    for name in ("token_embd.weight", "output.weight"):
        file.resize(name, 32, len(tokens))
    return file


def tiny_adapter() -> File:
    file = File()
    file.set("general.architecture", STR, "phi3")
    file.set("general.type", STR, "adapter")
    file.set("adapter.type", STR, "lora")
    file.set("adapter.lora.alpha", F32, 8.0)
    file.add_tensor("blk.0.attn_output.weight.lora_a", 32, 4)
    file.add_tensor("blk.0.attn_output.weight.lora_b", 4, 32)
    return file


def _read(file: File, head: bytes) -> gguf.Header:
    """Read a header as if the tensors of `file` stood behind it."""
    behind = len(file.build()) - file.padded(len(file.head()))
    size = -(-len(head) // ALIGNMENT) * ALIGNMENT + behind
    return gguf.read_header_of(Bytes(head, size).read, NAME, size)


MODEL, ADAPTER = functools.cache(tiny_model), functools.cache(tiny_adapter)


def judge_model(data: bytes) -> None:
    with contextlib.suppress(GGUFError):
        gguf.validate(NAME, read=lambda _: _read(MODEL(), data))


@functools.cache
def _base() -> gguf.Header:
    return gguf.validate(NAME, read=lambda _: _read(MODEL(), MODEL().head()))


def judge_adapter(data: bytes) -> None:
    with contextlib.suppress(GGUFError):
        gguf.validate_adapter(NAME, _base(), read=lambda _: _read(ADAPTER(), data))


def judge_shard(data: bytes) -> None:
    """Two bytes say how many of weights follow; the rest is the JSON header, or with 65,535 the file."""
    behind, header = int.from_bytes(data[:2], "little"), data[2:]
    framed = header if behind == 0xFFFF else len(header).to_bytes(8, "little") + header
    stream = Bytes(framed, len(framed) + behind % 0xFFFF)
    with contextlib.suppress(CheckpointError, UnsupportedCheckpointError):
        shard = read_streamed_shard(Path("model.safetensors"), stream)
        end = 8 + len(shard.header)
        for tensor in shard.tensors:
            assert tensor.offset == end
            end += tensor.size_bytes
        assert end == stream.size_bytes


@functools.cache
def _checkpoint() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="phi4local-fuzz-"))
    size = Size(hidden=8, feed_forward=8, layers=1, heads=2, kv_heads=1)
    return write_random_checkpoint(folder, size, shards=2)


def judge_index(data: bytes) -> None:
    (_checkpoint() / INDEX).write_bytes(data)
    with contextlib.suppress(CheckpointError, UnsupportedCheckpointError):
        open_checkpoint(_checkpoint())


def seeds() -> dict[str, list[bytes]]:
    """Return a good input for each target; everything else in the corpus was found from them."""
    folder = _checkpoint()
    whole = (folder / FIRST).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, behind = whole[8 : 8 + length], len(whole) - 8 - length
    return {
        "gguf": [MODEL().head()],
        "adapter": [ADAPTER().head()],
        "safetensors": [behind.to_bytes(2, "little") + header, b"\xff\xff" + whole[: 8 + length]],
        "index": [(folder / INDEX).read_bytes()],
    }


TARGETS: dict[str, Callable[[bytes], None]] = {
    "gguf": judge_model,
    "adapter": judge_adapter,
    "safetensors": judge_shard,
    "index": judge_index,
}
