"""Write a GGUF file: the header in one piece, then tensors at known offsets, in any order.

The only user of the `gguf` package: it packs the header and knows the numbers of types. Its own writer puts
the file under its final name while it grows, and wants all tensors in memory, so it never sees the file.

Source: ggml/docs/gguf.md and gguf-py/gguf/gguf_writer.py of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import io
import os
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.convert.metadata import MetadataEntry

ALIGNMENT = 32
"""Every tensor begins at a multiple of this many bytes (GGUF's default)."""


def padded(size_bytes: int) -> int:
    """Return the next multiple of `ALIGNMENT`. Example: `padded(33)` → 64."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def file_type(quantization: str) -> int:
    """Return the number of a quantization in `general.file_type`. Example: `file_type("Q4_K_M")` → 15."""
    import gguf

    return int(gguf.LlamaFileType["ALL_F32" if quantization == "F32" else f"MOSTLY_{quantization}"])


def quantization_version() -> int:
    """Return the version of the block formats, 2."""
    import gguf

    return int(gguf.GGML_QUANT_VERSION)


def header(
    metadata: Iterable[MetadataEntry], tensors: Iterable[tuple[str, tuple[int, ...], str, int]]
) -> bytes:
    """Return the file's first bytes, up to where the first tensor begins.

    Args:
        metadata: keys in the order of the file; in a whole model `general.architecture` is the first.
        tensors: (name, shape as (rows, elements of a row), type, bytes) in the order of the file; each
            follows the one before it at the next multiple of `ALIGNMENT`.

    Example: Phi-4's header has 3.5 MB, nearly all of it tokens and merges.
    """
    import gguf
    import numpy as np

    packer = gguf.GGUFWriter(None, "")  # None: it opens no file
    packer.kv_data[0].clear()  # it adds `general.architecture`, which all parts of a split model but one lack
    for entry in metadata:
        packer.add_key_value(entry.key, entry.value, *_value_types(entry.type))
    for name, shape, type_name, size_bytes in tensors:
        packer.add_tensor_info(
            name, shape, np.dtype(np.float32), size_bytes, raw_dtype=gguf.GGMLQuantizationType[type_name]
        )
    buffer = io.BytesIO()
    packer.fout, packer.state = [buffer], gguf.gguf_writer.WriterState.EMPTY
    packer.write_header_to_file()
    packer.write_kv_data_to_file()
    packer.write_ti_data_to_file()
    packed = buffer.getvalue()
    return packed + bytes(padded(len(packed)) - len(packed))


def _value_types(name: str) -> tuple[Any, Any]:
    """Return the package's names of a value type and of its elements. Example: `"[i32]"` → ARRAY, INT32."""
    from gguf import GGUFValueType

    known = {"bool": "BOOL", "str": "STRING", "f32": "FLOAT32", "f64": "FLOAT64"}
    for bits in (8, 16, 32, 64):
        known |= {f"u{bits}": f"UINT{bits}", f"i{bits}": f"INT{bits}"}
    if name.startswith("["):
        return GGUFValueType.ARRAY, GGUFValueType[known[name[1:-1]]]
    return GGUFValueType[known[name]], None


class OffsetWriter:
    """Write at any offset of an open file, from several threads.

    Where the system has `pwrite` (not on Windows) threads do not wait for each other.

    Example: `OffsetWriter(file).write(b"GGUF", offset=0)`.
    """

    def __init__(self, file: IO[bytes]) -> None:
        file.flush()
        self._descriptor = file.fileno()
        self._lock = threading.Lock()

    def write(self, data: bytes | memoryview, *, offset: int) -> None:
        """Write all of `data`, beginning at `offset`.

        Raises:
            OSError: the system refused.
        """
        rest = memoryview(data).cast("B")
        while rest:
            written = self._write_some(rest, offset)
            rest, offset = rest[written:], offset + written

    def _write_some(self, data: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._descriptor, data, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, data)
