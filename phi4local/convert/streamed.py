"""A checkpoint whose shards are not on this disk: they are read while they arrive, once, front to back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


class ShardStream(Protocol):
    """A safetensors file that comes from somewhere.

    Its header is read first. After that the offsets only grow, and one thread reads.
    """

    @property
    def size_bytes(self) -> int:
        """Return the size of the whole file."""

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, fewer only at the end of the file."""

    def finish(self) -> None:
        """Raise unless everything that was read is what the file should be; nothing is read after it."""

    def close(self) -> None:
        """Hang up. A stream that was not finished may be read again afterwards."""


class StreamedCheckpoint:
    """A folder with the small files of a checkpoint, and streams for its shards.

    Only one shard is open at a time. A shard is finished and forgotten behind its last tensor.

    Example::

        with StreamedCheckpoint(folder, {"model.safetensors": stream}) as checkpoint:
            convert_checkpoint(checkpoint, Path("phi-4.gguf"), "Q4_K_M")

    Args:
        folder: with config.json, the tokenizer's files and, if there are several shards, their index.
        shards: streams by file name; what the index does not name is not read.
    """

    def __init__(self, folder: Path, shards: Mapping[str, ShardStream]) -> None:
        self.folder = folder
        self.names = frozenset(shards)
        self._waiting = dict(shards)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep_only(())

    def holds(self, path: Path) -> bool:
        """Return whether `path` stands for one of the shards."""
        return path.parent == self.folder and path.name in self.names

    def stream(self, path: Path) -> ShardStream:
        """Return the stream of a shard that is not used up."""
        return self._waiting[path.name]

    def keep_only(self, names: Collection[str]) -> None:
        """Forget all shards but these."""
        for name in self._waiting.keys() - set(names):
            self._waiting.pop(name).close()

    def finish_before(self, path: Path | None) -> None:
        """Finish and forget the shards in front of `path`; all of them if it is `None`.

        Raises:
            Phi4LocalError: what came is not what the file should be.
        """
        for name in sorted(self._waiting):
            if path is None or name < path.name:
                self._waiting[name].finish()
                self._waiting.pop(name).close()
