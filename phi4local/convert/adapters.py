"""Read a LoRA adapter as PEFT saves it: which matrices it changes, by what, and how strongly.

Headers and the config are read, and of the matrices until one is found that is not 0.
Source: peft 0.21.2, tuners/lora/layer.py (`update_layer`: the scale), tuners/lora/model.py and utils/other.py
(`get_pattern_key`: ranks and alphas of single modules), utils/save_and_load.py (names of the tensors).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.convert.safetensors import Shard, SourceTensor, read_shard
from phi4local.convert.strict_json import read_object, shown
from phi4local.errors import AdapterError, CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_ENDINGS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "embedding_a",
    ".lora_embedding_B": "embedding_b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
# They change the result in ways that a product of two matrices and a magnitude do not.
_UNSUPPORTED = (
    *("lora_bias", "layer_replication", "trainable_token_indices", "alora_invocation_tokens"),
    *("target_parameters", "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config"),
)
# Others, such as pissa, change the base model too, so the adapter does not fit the published one.
_STARTS = (True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """What changes one matrix: scale · B @ A, and with DoRA each row's length.

    Attributes:
        module: the model's name for it, such as `model.layers.0.self_attn.qkv_proj`.
        a: (rank, elements of a row), or (rank, tokens) of an embedding.
        b: (rows, rank), or (elements of a row, rank) of an embedding.
        magnitude: DoRA's lengths of the rows, (rows,), or `None`.
        scale: alpha / rank, or alpha / sqrt(rank) with rsLoRA.
        embedding: the product is turned: the rows are (B @ A) transposed.
    """

    module: str
    a: SourceTensor
    b: SourceTensor
    magnitude: SourceTensor | None
    scale: float
    embedding: bool = False

    @property
    def rank(self) -> int:
        """Return the rank."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Return (rows, elements of a row) of the matrix that it changes."""
        if self.embedding:
            return self.a.shape[1], self.b.shape[0]
        return self.b.shape[0], self.a.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A PEFT folder.

    Attributes:
        folder: where it is.
        low_rank: what is added, by module.
        replaced: whole tensors that take the place of the model's (`modules_to_save`), by the model's name.
        shard: the file with all of them.
    """

    folder: Path
    low_rank: dict[str, LowRank]
    replaced: dict[str, SourceTensor]
    shard: Shard = field(repr=False)


def read_adapter(folder: Path) -> Adapter:
    """Read the adapter that PEFT saved in `folder`.

    Example: rank 16 and alpha 32 on `qkv_proj` of 40 layers → 40 entries of scale 2.0.

    Raises:
        AdapterError: no adapter, a damaged one, or one of a kind that cannot be merged.
    """
    try:
        if not folder.is_dir():
            raise AdapterError(folder, "is no folder", hint=f"name the folder that holds {CONFIG}")
        if not (folder / WEIGHTS).is_file():
            raise AdapterError(folder, f"has no {WEIGHTS}; pickles (.bin) are refused")
        config = read_object(folder / CONFIG)
        shard = read_shard(folder / WEIGHTS)
    except (CheckpointError, UnsupportedCheckpointError) as error:
        raise AdapterError(folder, str(error)) from error
    except OSError as error:
        raise AdapterError(folder, f"cannot be read: {error.strerror or error}") from error
    _refuse_unsupported(folder, config)
    found: dict[str, dict[str, SourceTensor]] = {}
    replaced: dict[str, SourceTensor] = {}
    for tensor in shard.tensors:
        module, part = _place(folder, tensor.name)
        if part:
            found.setdefault(module, {})[part] = tensor
        else:
            replaced[module] = tensor
    low_rank = {module: _low_rank(folder, config, module, parts) for module, parts in found.items()}
    if not replaced and not any(map(_changes, low_rank.values())):
        raise AdapterError(
            folder, "changes nothing: B is 0 everywhere", hint="was it saved before it was trained?"
        )
    return Adapter(folder=folder, low_rank=low_rank, replaced=replaced, shard=shard)


def _refuse_unsupported(folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise AdapterError(folder, f"is of the kind {shown(kind)}; only LORA can be merged")
    for name in _UNSUPPORTED:
        if config.get(name):
            raise AdapterError(folder, f"uses {name}, which cannot be merged")
    if config.get("bias", "none") != "none":
        raise AdapterError(folder, "changes biases, and Phi-4 has none")
    start = config.get("init_lora_weights", True)
    if start not in _STARTS:
        raise AdapterError(
            folder,
            f"was started with {shown(start)}, which changes the base model too",
            hint="save it with PEFT's `path_initial_model_for_weight_conversion`: that makes a plain LoRA",
        )


def _place(folder: Path, name: str) -> tuple[str, str]:
    """Return the module and which of its parts a tensor is; a replaced tensor has its name and no part."""
    short = name.removeprefix(_PREFIX)
    for ending, part in _ENDINGS.items():
        if short.endswith(ending):
            return short.removesuffix(ending), part
    short = short.replace(".modules_to_save.", ".").replace(".base_layer.", ".")
    if "lora_" in short or not short.endswith(".weight"):
        raise AdapterError(folder, f"tensor `{shown(name)}` is of an unknown kind")
    return short, ""


def _low_rank(folder: Path, config: dict[str, Any], module: str, parts: dict[str, SourceTensor]) -> LowRank:
    embedding = "embedding_a" in parts
    a, b = (parts.get(f"embedding_{side}" if embedding else side) for side in "ab")
    if a is None or b is None or len(parts) > 3:
        raise AdapterError(folder, f"module `{shown(module)}` has one of the matrices A and B only")
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1] or not a.shape[0]:
        raise AdapterError(folder, f"module `{shown(module)}`: A of {a.shape} and B of {b.shape} do not fit")
    rank = _whole(folder, "r", _of_module(folder, config, "rank_pattern", module, config.get("r", 8)))
    if rank != a.shape[0]:
        raise AdapterError(
            folder, f"module `{shown(module)}` has the rank {a.shape[0]}, its config says {rank}"
        )
    alpha = _of_module(folder, config, "alpha_pattern", module, config.get("lora_alpha", 8))
    if type(alpha) not in (int, float) or not math.isfinite(alpha):
        raise AdapterError(folder, f"lora_alpha is {shown(alpha)}")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)
    magnitude = parts.get("magnitude")
    found = LowRank(module=module, a=a, b=b, magnitude=magnitude, scale=scale, embedding=embedding)
    if bool(config.get("use_dora")) != (magnitude is not None):
        raise AdapterError(
            folder, f"module `{shown(module)}`: use_dora and its tensors contradict each other"
        )
    if magnitude is not None and embedding:
        raise AdapterError(
            folder, f"module `{shown(module)}` has DoRA on an embedding, which cannot be merged"
        )
    if magnitude is not None and math.prod(magnitude.shape) != found.shape[0]:
        raise AdapterError(folder, f"module `{shown(module)}` has magnitudes of {magnitude.shape}")
    return found


def _changes(low_rank: LowRank) -> bool:
    """Return whether it changes anything; with DoRA the magnitudes may."""
    if not low_rank.scale or not _any(low_rank.a):
        return False
    return low_rank.magnitude is not None or _any(low_rank.b)


def _any(tensor: SourceTensor) -> bool:
    try:
        with tensor.shard.open("rb") as file:
            file.seek(tensor.offset)
            return any(file.read(tensor.size_bytes))
    except OSError as error:
        raise AdapterError(tensor.shard.parent, f"cannot be read: {error.strerror or error}") from error


def _whole(folder: Path, name: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise AdapterError(folder, f"{name} is {shown(value)}; it must be a whole number above 0")
    return value


def _of_module(folder: Path, config: dict[str, Any], name: str, module: str, default: object) -> Any:  # noqa: ANN401
    """Return what a pattern says about `module`; the first that fits its end counts, as in PEFT."""
    patterns = config.get(name) or {}
    if not isinstance(patterns, dict):
        raise AdapterError(folder, f"{name} is no table")
    for pattern, value in patterns.items():
        # A repeated group can take a regular expression longer than the age of the universe.
        if len(pattern) > 500 or re.search(r"\)[*+{]", pattern):
            raise AdapterError(folder, f"{name} has the pattern `{shown(pattern)}`, which is too complex")
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise AdapterError(folder, f"{name} has the pattern `{shown(pattern)}`: {error}") from error
    return default
