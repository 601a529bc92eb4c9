"""A checkpoint folder, checked: its config.json, its shards, and every tensor exactly once.

Only small files and headers are read here. Names of files come from a stranger's index, so they must be
plain names inside the folder.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.convert.safetensors import Shard, SourceTensor, read_shard, read_streamed_shard
from phi4local.convert.strict_json import read_object, shown
from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phi4local.convert.sources import MergedTensor
    from phi4local.convert.streamed import StreamedCheckpoint

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_NO_FILE_NAME = re.compile(r"[/\\:\0]")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files agree with each other.

    Attributes:
        folder: where it is.
        config: what config.json holds.
        shards: its safetensors files, in order of name.
        tensors: every tensor by its name, merged with adapters if there are any.
    """

    folder: Path
    config: dict[str, Any]
    shards: tuple[Shard, ...]
    tensors: dict[str, SourceTensor | MergedTensor]

    def file(self, name: str) -> Path | None:
        """Return the checkpoint's file `name`, or `None` if it has none.

        Raises:
            CheckpointError: it is a link that leaves the folder, or the system refused to look.
        """
        path = member(self.folder, name)
        try:
            return path if path.is_file() else None
        except OSError as error:
            raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from error


def open_checkpoint(folder: Path, streamed: StreamedCheckpoint | None = None) -> Checkpoint:
    """Read the config and all headers of the checkpoint in `folder`.

    Args:
        folder: where the small files are, and the shards that do not arrive from elsewhere.
        streamed: the shards that do.

    Example: `open_checkpoint(Path("models/phi4-nano"))` has 51 tensors in 2 shards.

    Raises:
        CheckpointError: no checkpoint, or files that are missing, damaged or contradict each other.
        UnsupportedCheckpointError: a tensor type that cannot be converted.
    """
    names, placed = _shard_names(folder, _list(folder) | (streamed.names if streamed else set()))
    config = read_object(member(folder, "config.json"))
    if streamed:
        streamed.keep_only(names)
    shards = tuple(_read_shard(member(folder, name), streamed) for name in names)
    tensors: dict[str, SourceTensor | MergedTensor] = {}
    for shard in shards:
        for tensor in shard.tensors:
            if tensor.name in tensors:
                other = tensors[tensor.name].shard.name
                raise CheckpointError(shard.path, f"tensor `{shown(tensor.name)}` is in `{other}` too")
            tensors[tensor.name] = tensor
    if placed is not None:
        _check_placement(folder / INDEX, placed, tensors)
    if not tensors:
        raise CheckpointError(folder, "its safetensors files hold no tensors")
    return Checkpoint(folder, config, shards, tensors)


def member(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in `folder`.

    Example: `member(Path("phi-4"), "config.json")` → `phi-4/config.json`; `"../config.json"` is refused.

    A link may stay inside the folder, or lead to where the Hugging Face cache keeps its files: from
    `snapshots/<revision>/` to `blobs/` (huggingface_hub/file_download.py, `_create_symlink`).

    Raises:
        CheckpointError: `name` is no plain file name, or a link that leaves the folder.
    """
    if not name or name in (".", "..") or _NO_FILE_NAME.search(name):
        raise CheckpointError(folder, f"the file name `{shown(name)}` leaves the folder")
    path = folder / name
    try:
        home, target = folder.resolve(), path.resolve()
    except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12 raise RuntimeError for a circle of links
        raise CheckpointError(path, "is a link that leads nowhere") from error
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if target.parent not in allowed:
        raise CheckpointError(path, "is a link that leaves the folder", hint="copy the file into the folder")
    return path


def _read_shard(path: Path, streamed: StreamedCheckpoint | None) -> Shard:
    if streamed and streamed.holds(path):
        return read_streamed_shard(path, streamed.stream(path))
    return read_shard(path)


def _shard_names(folder: Path, present: set[str]) -> tuple[list[str], dict[str, str] | None]:
    """Return the shards' names, and where the index says that each tensor is."""
    if "config.json" not in present:
        raise CheckpointError(folder, "is no checkpoint: config.json is missing")
    if INDEX in present and SINGLE in present:
        raise CheckpointError(
            folder,
            f"holds both {SINGLE} and {INDEX}",
            hint="one of them is left over from an earlier download or training run; delete it",
        )
    if INDEX in present:
        placed = _weight_map(member(folder, INDEX))
        return sorted(set(placed.values())), placed
    if SINGLE in present:
        return [SINGLE], None
    raise _no_weights(folder, present)


def _list(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names are wanted, not paths
    except NotADirectoryError as error:
        raise CheckpointError(
            folder, "is no folder", hint="name the folder that holds config.json"
        ) from error
    except FileNotFoundError as error:
        raise CheckpointError(folder, "there is no such folder") from error
    except OSError as error:
        raise CheckpointError(folder, f"cannot be read: {error.strerror or error}") from error


def _no_weights(folder: Path, present: set[str]) -> CheckpointError:
    pickles = sorted(name for name in present if name.endswith(_PICKLES))
    if pickles:
        return CheckpointError(
            folder / pickles[0],
            "is a Python pickle, which can run any program when it is opened; it is refused",
            hint="get the checkpoint's safetensors files, or save it with transformers' save_pretrained",
        )
    if any(name.endswith(".gguf") for name in present):
        return CheckpointError(folder, "holds a GGUF file, which needs no conversion", hint="run that file")
    loose = sorted(name for name in present if name.endswith(".safetensors"))
    if loose:
        return CheckpointError(folder, f"holds `{shown(loose[0])}`, but {INDEX} is missing")
    return CheckpointError(folder, f"is no checkpoint: {SINGLE} is missing")


def _weight_map(path: Path) -> dict[str, str]:
    placed = read_object(path).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(path, "has no weight_map")
    for tensor, name in placed.items():
        if not isinstance(name, str) or not name.endswith(".safetensors"):
            raise CheckpointError(
                path, f"tensor `{shown(tensor)}` is said to be in {shown(name)!r}, no safetensors file"
            )
        member(path.parent, name)
    return placed


def _check_placement(
    index: Path, placed: dict[str, str], tensors: Mapping[str, SourceTensor | MergedTensor]
) -> None:
    for name, shard in placed.items():
        if name not in tensors or tensors[name].shard.name != shard:
            raise CheckpointError(index, f"tensor `{shown(name)}` is not in `{shown(shard)}`")
    for name, tensor in tensors.items():
        if name not in placed:
            raise CheckpointError(index, f"tensor `{shown(name)}` of `{tensor.shard.name}` is not listed")
