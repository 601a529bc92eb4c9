"""Check a conversion before its file gets its name: the sources as they were, the header as planned."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from phi4local.errors import CheckpointError, ConversionError, GGUFError
from phi4local.files import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert.pipeline import Target
    from phi4local.convert.plan import ConversionPlan


def sources_unchanged(plan: ConversionPlan) -> None:
    """Raise unless every shard is the file that it was when its header was read: number, size and time.

    Raises:
        CheckpointError: a shard was replaced, changed or deleted meanwhile.
    """
    for shard in plan.source.files:
        try:
            state = shard.path.stat()
        except OSError as error:
            raise CheckpointError(shard.path, "disappeared while it was converted") from error
        found = (state.st_size, state.st_mtime_ns, state.st_ino)
        if found != (shard.size_bytes, shard.modified_ns, shard.inode):
            raise CheckpointError(shard.path, "changed while it was converted", hint="convert it again")


def written_files(target: Target) -> None:
    """Read the headers of the new, still nameless files back with our own reader; compare with the plan.

    Raises:
        ConversionError: a file is not what was planned, a defect of this program or of the disk.
    """
    from phi4local import gguf

    read = gguf.validate if len(target.files) == 1 else gguf.read_header
    for number, (planned, file, path) in enumerate(
        zip(target.plan.files, target.files, target.paths, strict=True)
    ):
        temporary = _path_of(file, path)
        if temporary is None:
            continue
        try:
            header = read(temporary)
        except GGUFError as error:
            raise ConversionError(
                f"the new file does not pass its check: {error.problem}", hint=_HINT
            ) from error
        found = [(tensor.name, tensor.offset, tensor.size_bytes) for tensor in header.tensors]
        expected = [
            (tensor.name, tensor.offset, tensor.size_bytes)
            for tensor in target.plan.tensors
            if tensor.file == number
        ]
        places = (header.data_offset, header.file_bytes, found)
        if places != (planned.data_offset, planned.size_bytes, expected):
            raise ConversionError("the new file is not what was planned", hint=_HINT)


_HINT = "nothing was kept; this is a defect of phi4local or of the disk, please report it"


def _path_of(file: IO[bytes], output: Path) -> Path | None:
    """Return the temporary name of `file`, found by its number in the folder of `output`."""
    number = os.fstat(file.fileno()).st_ino
    for path in output.parent.glob(f".*{TEMPORARY_SUFFIX}"):
        try:
            if path.stat().st_ino == number:
                return path
        except OSError:
            continue  # another conversion's file, published meanwhile
    return None
