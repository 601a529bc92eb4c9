"""Ways to spoil a good checkpoint folder: each changes one thing that a converter must notice.

The cases themselves are in bad_shards.py, bad_configs.py and bad_tokenizers.py.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi4local import errors
from tests.random_checkpoint import write_json, write_raw

Spoil = Callable[[Path], object]
Change = Callable[[dict[str, Any]], object]
CHECKPOINT, UNSUPPORTED = errors.CheckpointError, errors.UnsupportedCheckpointError
TENSOR = errors.UnknownTensorError
INDEX = "model.safetensors.index.json"
EMBEDDING = "model.embed_tokens.weight"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@dataclass(frozen=True, slots=True)
class Case:
    """What is done to the folder, and how the converter has to answer."""

    spoil: Spoil
    error: type[errors.Phi4LocalError]
    says: str  # regular expression
    names: str = ""  # a file that the message has to name


def edit(name: str, change: Change) -> Spoil:
    """Change a JSON file in place; a value that is not `None` replaces its content."""

    def spoil(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        changed = change(value)
        write_json(folder / name, value if changed is None else changed)

    return spoil


def set_config(**values: object) -> Spoil:
    return edit("config.json", lambda config: config.update(values))


def drop_config(key: str) -> Spoil:
    return edit("config.json", drop(key))


def write(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def edit_header(name: str, change: Change, cut: int = 0) -> Spoil:
    """Change the JSON header of a shard; `cut` bytes at the end of its data are dropped."""

    def spoil(folder: Path) -> None:
        header, data = split_shard(folder / name)
        changed = change(header)
        text = json.dumps(header if changed is None else changed).encode()
        write_raw(folder / name, text, data[: len(data) - cut])

    return spoil


def split_shard(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def set_tensor(name: str, **values: object) -> Change:
    return lambda header: header[name].update(values)


def rename_tensor(old: str, new: str) -> Spoil:
    """Call a tensor otherwise, in the header and in the index."""

    def spoil(folder: Path) -> None:
        for shard in (FIRST, SECOND):
            edit_header(
                shard, lambda header: {new if key == old else key: value for key, value in header.items()}
            )(folder)
        edit(INDEX, lambda index: index["weight_map"].update({new: index["weight_map"].pop(old)}))(folder)

    return spoil


def place_in(name: str) -> Spoil:
    return edit(INDEX, lambda index: index["weight_map"].update({"model.norm.weight": name}))


def link_outside(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        outside = folder.parent / "outside"
        outside.mkdir()
        shutil.move(folder / name, outside / name)
        (folder / name).symlink_to(outside / name)

    return spoil


def pickles_only(folder: Path) -> None:
    for shard in folder.glob("*.safetensors"):
        shard.rename(shard.with_suffix(".bin"))
    (folder / INDEX).unlink()


def duplicate_tensor(folder: Path) -> None:
    header, data = split_shard(folder / FIRST)
    twin = next(key for key in split_shard(folder / SECOND)[0] if key != "__metadata__")
    header[twin] = {"dtype": "BF16", "shape": [0], "data_offsets": [len(data), len(data)]}
    write_raw(folder / FIRST, json.dumps(header).encode(), data)


def double_key(folder: Path) -> None:
    header, data = split_shard(folder / FIRST)
    text = json.dumps(header)
    write_raw(folder / FIRST, (text[:-1] + ', "model.embed_tokens.weight": {}}').encode(), data)


def edit_tokenizer(change: Change) -> Spoil:
    return edit("tokenizer.json", change)


def swap_norm_and_next(header: dict[str, Any]) -> None:
    """Let two tensors claim the same bytes."""
    norms = [value for key, value in header.items() if key.endswith("layernorm.weight")]
    norms[1]["data_offsets"] = norms[0]["data_offsets"]


def share_bytes(header: dict[str, Any]) -> None:
    """Let many more tensors claim the bytes of one; after huggingface/safetensors' `attacks/`."""
    norm = next(value for key, value in header.items() if key.endswith("layernorm.weight"))
    header.update({f"copy.{number}": dict(norm) for number in range(10_000)})


def drop(*keys: Any) -> Change:
    """Remove the last of `keys`, after following the others."""

    def change(value: dict[str, Any]) -> None:
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return change


def replace_by(name: str, make: Spoil) -> Spoil:
    """Delete the file `name` and put something else under its name."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil
