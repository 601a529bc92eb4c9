"""Read the header of a GGUF file without trusting it.

llama.cpp aborts the whole process on some damaged files, and its Python reader can be made to hang. This
reader does neither: every length is compared with a limit and with what the file has before a byte is
allocated for it, and each way out is a `Header` or a `GGUFError` that names the cause.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import Cursor, ShortBufferError
from phi4local.gguf.metadata import MAX_KEYS, Metadata, read_metadata
from phi4local.gguf.tensor_table import MAX_TENSORS, TensorInfo, padded, read_tensor_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["MAX_HEADER_BYTES", "Header", "TensorInfo", "read_header", "read_header_of"]

MAX_HEADER_BYTES = 64 * 2**20
"""Longest header. Phi-4-mini's has 9 MB; Python's texts can take four times as much as the file's."""

_FIRST_READ_BYTES = 16 * 2**20
_FIRST_REMOTE_BYTES = 6 * 2**20
"""Phi-4's header has 4.4 MB; of a small file less is read at first."""
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_ALIGNMENTS = tuple(2**power for power in range(3, 13))


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself.

    Attributes:
        path: the file.
        version: of the format, 2 or 3.
        alignment: every tensor begins at a multiple of it, counted from `data_offset`.
        metadata: values by key: int, float, bool, str, or a tuple of one of them.
        tensors: in the order of their bytes.
        data_offset: where the first tensor begins, counted from the start of the file.
        file_bytes: size of the file.
        value_types: the type that each value has in the file, such as `u32` or `[str]`.
        parts: of a model in several files, the header of each; empty for one file. See `gguf.split`.

    Example: `read_header(path).metadata["phi3.block_count"] == 40` for Phi-4.
    """

    path: Path
    version: int
    alignment: int
    metadata: Mapping[str, object]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    file_bytes: int
    value_types: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Header, ...] = ()

    @property
    def architecture(self) -> str | None:
        """`general.architecture`; None where the file has no such string."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None

    def get(self, key: str, default: object = None) -> object:
        """Return the value of `key`, or `default`.

        Example: `header.get("tokenizer.chat_template", "")`.
        """
        return self.metadata.get(key, default)


def read_header(path: Path) -> Header:
    """Read keys, values and tensor table of the file at `path`; the weights stay unread.

    Takes time and memory in proportion to the header, at most `MAX_HEADER_BYTES` of it.

    Example: `read_header(Path("phi-4-Q4_K_M.gguf")).tensors[0].shape == (5120, 100352)`.

    Raises:
        GGUFError: not a regular file, not readable, not GGUF, or a header that breaks a rule; the message
            names the rule, and for a file that was cut off the bytes expected and found.

    Source: ggml/docs/gguf.md and ggml/src/gguf.cpp of llama.cpp, as shipped with llama-cpp-python 0.3.36.
    """
    try:
        with _open_regular(path) as file:
            return _read_open_file(file, path)
    except OSError as error:
        raise GGUFError(path, f"cannot be read: {error.strerror or error}", hint=_READ_HINT) from error


_READ_HINT = "check the name and the permissions of the file"


def _open_regular(path: Path) -> IO[bytes]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise GGUFError(path, f"is {_kind(mode)}, not a regular file", hint=_READ_HINT)
        # Another process can put a FIFO in its place meanwhile; O_NONBLOCK keeps that from hanging.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(path, flags), "rb", buffering=0)
    except ValueError as error:  # a NUL in the name
        raise GGUFError(path, f"cannot be a file name: {error}", hint=_READ_HINT) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise GGUFError(path, "is no longer a regular file", hint=_READ_HINT)
    return file


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _read_open_file(file: IO[bytes], path: Path) -> Header:
    file_bytes = os.fstat(file.fileno()).st_size
    return _read_growing(lambda count: _read_up_to(file, count), path, file_bytes, _FIRST_READ_BYTES)


def read_header_of(read: Callable[[int, int], bytes], path: Path, file_bytes: int) -> Header:
    """Read the header of a file that is elsewhere, for example on a server that answers ranges.

    Args:
        read: takes an offset and a number of bytes, and returns them; called front to back.
        path: the name of the file; errors and `Header.path` say it.
        file_bytes: the size of the whole file.

    Example: `read_header_of(lambda offset, count: data[offset:offset + count], Path("m.gguf"), len(data))`.

    Raises:
        GGUFError: as `read_header`.
    """
    position = 0

    def following(count: int) -> bytes:
        nonlocal position
        begin, position = position, position + count
        return read(begin, count) if count > 0 else b""

    first_bytes = min(_FIRST_REMOTE_BYTES, max(2**18, file_bytes // 64))
    return _read_growing(following, path, file_bytes, first_bytes)


def _read_growing(following: Callable[[int], bytes], path: Path, file_bytes: int, first_bytes: int) -> Header:
    wanted = min(file_bytes, first_bytes)
    buffer = following(wanted)
    while True:
        try:
            return _parse(Cursor(buffer, path), file_bytes)
        except ShortBufferError as short:
            if short.needed_bytes > MAX_HEADER_BYTES:
                raise GGUFError(path, f"the header is longer than {MAX_HEADER_BYTES:,} bytes") from None
            if len(buffer) < wanted or short.needed_bytes > file_bytes:
                raise _cut_off(path, "its header", short.needed_bytes, min(file_bytes, len(buffer))) from None
            wanted = min(file_bytes, MAX_HEADER_BYTES, max(short.needed_bytes, 2 * wanted))
            buffer += following(wanted - len(buffer))


def _read_up_to(file: IO[bytes], count: int) -> bytes:
    chunks = []
    while count > 0 and (chunk := file.read(min(count, 2**24))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _cut_off(path: Path, where: str, expected: int, found: int) -> GGUFError:
    return GGUFError(
        path,
        f"ends inside {where}: at least {expected:,} bytes expected, {found:,} found",
        hint="the file is cut off: download or convert it again",
    )


def _parse(cursor: Cursor, file_bytes: int) -> Header:
    version = _read_version(cursor)
    tensor_count = _read_count(cursor, "tensors", MAX_TENSORS)
    key_count = _read_count(cursor, "keys", MAX_KEYS)
    metadata = read_metadata(cursor, key_count)
    alignment = _alignment(cursor, metadata)
    tensors = read_tensor_table(cursor, tensor_count, alignment)
    # Like ggml: a file without tensors has no padding to skip.
    data_offset = padded(cursor.position, alignment) if tensors else cursor.position
    header = Header(
        path=cursor.path,
        version=version,
        alignment=alignment,
        metadata=MappingProxyType(metadata.values),
        tensors=tensors,
        data_offset=data_offset,
        file_bytes=file_bytes,
        value_types=MappingProxyType(metadata.value_types),
    )
    _check_extent(header)
    return header


def _read_version(cursor: Cursor) -> int:
    magic = cursor.buffer[:4]
    if magic != _MAGIC[: len(magic)]:
        raise cursor.error(f"is not a GGUF file: it begins with {magic!r}, not b'GGUF'")
    cursor.advance(4)
    version = cursor.u32()
    if version in _VERSIONS:
        return version
    if version & 0xFFFF == 0 and version:
        raise cursor.error("is a big-endian GGUF file; this library reads little-endian files")
    if version > max(_VERSIONS):
        raise cursor.error(f"has GGUF version {version}, newer than {max(_VERSIONS)}, the newest known here")
    raise cursor.error(f"has GGUF version {version}, which is not read; expected 2 or 3")


def _read_count(cursor: Cursor, what: str, limit: int) -> int:
    count = cursor.u64()
    if count > limit:
        raise cursor.error(f"has {count:,} {what}; at most {limit:,} are read")
    return count


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    value = metadata.values.get("general.alignment", _DEFAULT_ALIGNMENT)
    value_type = metadata.value_types.get("general.alignment", "u32")
    if value_type != "u32":
        raise cursor.error(f"`general.alignment` has the type {value_type}; expected u32")
    if not isinstance(value, int) or value not in _ALIGNMENTS:
        raise cursor.error(f"`general.alignment` is {value}; expected a power of two from 8 to 4096")
    return value


def _check_extent(header: Header) -> None:
    end = header.data_offset
    for tensor in header.tensors:
        end = header.data_offset + tensor.offset + tensor.size_bytes
        if end > header.file_bytes:
            raise _cut_off(header.path, f"tensor `{tensor.name}`", end, header.file_bytes)
    surplus = header.file_bytes - padded(end, header.alignment)
    if surplus > 0:
        raise GGUFError(header.path, f"has {surplus:,} bytes behind its last tensor that belong to nothing")
