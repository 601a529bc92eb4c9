"""Where the rows of one output tensor come from: one tensor, merged or not, several, or config.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.convert.strict_json import shown
from phi4local.errors import ConversionError, UnknownTensorError

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert.adapters import LowRank
    from phi4local.convert.architectures.tensors import ExpectedTensor, Part
    from phi4local.convert.checkpoint import Checkpoint
    from phi4local.convert.safetensors import SourceTensor


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """What an adapter does to some rows of a tensor.

    Attributes:
        low_rank: the matrices.
        strength: how much of them.
        first_row: the first changed row of the tensor.
        first_own_row: the row of B @ A that belongs to it.
        rows: how many.
    """

    low_rank: LowRank
    strength: float
    first_row: int
    first_own_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """A tensor of the checkpoint with everything that adapters add to it; its rows are float32."""

    base: SourceTensor
    updates: tuple[RowUpdate, ...]

    @property
    def name(self) -> str:
        """Return the checkpoint's name."""
        return self.base.name

    @property
    def dtype(self) -> str:
        """Return `F32`."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (rows, elements of a row)."""
        return self.base.shape

    @property
    def shard(self) -> Path:
        """Return the file of the tensor as it was."""
        return self.base.shard


@dataclass(frozen=True, slots=True)
class JoinedTensor:
    """Tensors whose rows follow each other, read as if they were one.

    Attributes:
        parts: in order of their rows.
        dtype: their common type; `F32` if they differ, which holds the others exactly.
        shape: (rows of all, elements of a row).
    """

    parts: tuple[SourceTensor | MergedTensor, ...]
    dtype: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return the parts' names. Example: `…self_attn.q_proj.weight and 2 more`."""
        return f"{self.parts[0].name} and {len(self.parts) - 1} more"

    @property
    def shard(self) -> Path:
        """Return the file of the first part."""
        return self.parts[0].shard


@dataclass(frozen=True, slots=True)
class ConfigTensor:
    """A small tensor of numbers that stand in config.json.

    Attributes:
        name: the field, such as `long_factor`.
        values: its numbers.
        shard: config.json.
    """

    name: str
    values: tuple[float, ...]
    shard: Path

    @property
    def dtype(self) -> str:
        """Return `F32`."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (elements,)."""
        return (len(self.values),)


if TYPE_CHECKING:
    Source = SourceTensor | MergedTensor | JoinedTensor | ConfigTensor
_IGNORED_SUFFIX = ".rotary_emb.inv_freq"  # a buffer that old checkpoints kept; it follows from rope_theta


def match(
    expected: tuple[ExpectedTensor, ...], checkpoint: Checkpoint
) -> list[tuple[ExpectedTensor, Source]]:
    """Pair each expected tensor with where its rows are.

    Raises:
        UnknownTensorError: a tensor of the checkpoint is left over, missing, or of another shape.
    """
    wanted = {part.name for tensor in expected for part in tensor.parts}
    for name, found in checkpoint.tensors.items():
        if name not in wanted and not name.endswith(_IGNORED_SUFFIX):
            raise UnknownTensorError(shown(name), f"in `{found.shard}` is not part of this architecture")
    return [(tensor, _source(tensor, checkpoint)) for tensor in expected]


def _source(tensor: ExpectedTensor, checkpoint: Checkpoint) -> Source:
    if not tensor.parts:
        return ConfigTensor(tensor.field, tensor.values, checkpoint.folder / "config.json")
    found = tuple(_part(part, tensor.shape, checkpoint) for part in tensor.parts)
    if len(found) == 1:
        return found[0]
    types = {part.dtype for part in found}
    return JoinedTensor(found, types.pop() if len(types) == 1 else "F32", tensor.shape)


def _part(part: Part, shape: tuple[int, ...], checkpoint: Checkpoint) -> SourceTensor | MergedTensor:
    source = checkpoint.tensors.get(part.name)
    if source is None:
        raise UnknownTensorError(part.name, f"is missing from `{checkpoint.folder}`")
    needed = (part.rows, *shape[1:])
    if source.shape != needed:
        raise UnknownTensorError(
            part.name, f"in `{source.shard}` has the shape {source.shape}; config.json needs {needed}"
        )
    return source


def place(source: Source) -> tuple[str, int]:
    """Return where a tensor begins, so that sorting by it gives the order of the files.

    Numbers of config.json come first, as they are here already.

    Raises:
        ConversionError: the tensor lies in several places.
    """
    if isinstance(source, ConfigTensor):
        return "", 0
    if isinstance(source, JoinedTensor):
        raise ConversionError(
            f"{source.name} lie apart in the checkpoint, so it cannot be converted while it arrives",
            hint="leave out `--stream`",
        )
    base = source.base if isinstance(source, MergedTensor) else source
    return base.shard.name, base.offset
