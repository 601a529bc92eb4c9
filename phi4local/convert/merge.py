"""Merge LoRA adapters into a checkpoint while its rows stream by, in float32 and before quantizing.

A merged tensor is read like any other; its rows come out changed. An adapter may name the fused matrices
(`qkv_proj`, `gate_up_proj`) or Llama's separate ones, whichever the checkpoint has: a product of low rank
can be cut and put together by rows, because row i of B @ A is row i of B times A.

Source: peft 0.21.2, tuners/lora/layer.py (`get_delta_weight`, `merge`) and tuners/lora/variants.py
(`DoraLinearVariant.merge_unsafe`); DoRA is arXiv:2402.09353, equation 5.
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.convert.adapters import read_adapter
from phi4local.convert.architectures.tensors import fused_modules
from phi4local.convert.metadata import MetadataEntry, printable
from phi4local.convert.sources import MergedTensor, RowUpdate
from phi4local.convert.strict_json import shown
from phi4local.errors import AdapterError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.convert.adapters import Adapter, LowRank
    from phi4local.convert.architectures.phi3 import Phi3
    from phi4local.convert.checkpoint import Checkpoint
    from phi4local.convert.safetensors import SourceTensor

_OUTPUT, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """An adapter, and how much of it: 1 is as it was trained."""

    folder: Path
    strength: float = 1.0

    @classmethod
    def parse(cls, text: str) -> AdapterUse:
        r"""Return what `ADAPTER[:SCALE]` says.

        Example: `"./my-lora:0.5"` → half of it; `"C:\lora"` → all of it.

        Raises:
            InvalidSettingError: a strength of 0, or one that is not finite.
        """
        folder, _, number = text.rpartition(":")
        use = cls(Path(text))
        if folder and not os.path.lexists(text):
            with contextlib.suppress(ValueError):  # what follows the colon is a part of the name
                use = cls(Path(folder), float(number))
        if not math.isfinite(use.strength) or not use.strength:
            raise InvalidSettingError(
                "merge", f"has the scale {number}; it must be a finite number other than 0"
            )
        return use

    def __str__(self) -> str:
        name = printable(self.folder.resolve().name)
        return name if self.strength == 1 else f"{name}:{self.strength:g}"


def merged_entries(uses: Sequence[AdapterUse]) -> tuple[MetadataEntry, ...]:
    """Return the key that says what was merged; none without adapters.

    Example: half of `./lora` → `phi4local.merged` of `("lora:0.5",)`.
    """
    if not uses:
        return ()
    return (MetadataEntry("phi4local.merged", "[str]", tuple(map(str, uses))),)


def merge(checkpoint: Checkpoint, architecture: Phi3, uses: Sequence[AdapterUse]) -> Checkpoint:
    """Return `checkpoint` with its tensors as the adapters, one after the other, change them.

    Nothing but headers is read.

    Example: an adapter on `qkv_proj` of 40 layers makes 40 of Phi-4's 243 tensors `MergedTensor`s.

    Raises:
        AdapterError: a bad adapter, or one that was made for another model.
    """
    tensors = dict(checkpoint.tensors)
    shards = list(checkpoint.shards)
    for use in uses:
        adapter = read_adapter(use.folder)
        shards.append(adapter.shard)
        _refuse_half_of_tied(adapter, architecture)
        _replace(adapter, use, tensors, tied=architecture.tied_embeddings)
        for low_rank in adapter.low_rank.values():
            _add(adapter.folder, low_rank, use.strength, tensors, architecture)
    return replace(checkpoint, shards=tuple(shards), tensors=tensors)


def _refuse_half_of_tied(adapter: Adapter, architecture: Phi3) -> None:
    """Refuse what would change the output together with the embedding, or the embedding with the output."""
    if not architecture.tied_embeddings:
        return
    outer = {_EMBEDDING.removesuffix(".weight"), _OUTPUT.removesuffix(".weight")} & adapter.low_rank.keys()
    if outer or (_EMBEDDING in adapter.replaced and _OUTPUT not in adapter.replaced):
        raise AdapterError(
            adapter.folder,
            f"changes `{min(outer or {_EMBEDDING})}`, which is embedding and output of this model at once",
            hint="train it with `modules_to_save` of both embed_tokens and lm_head, or without them",
        )


def _replace(
    adapter: Adapter, use: AdapterUse, tensors: dict[str, SourceTensor | MergedTensor], *, tied: bool
) -> None:
    for name, saved in adapter.replaced.items():
        # With tied embeddings the output is the embedding, until an adapter brings one of its own.
        old = tensors.get(_EMBEDDING if tied and name == _OUTPUT else name)
        if old is None:
            raise _unknown(adapter.folder, name)
        if saved.shape != old.shape:
            raise AdapterError(
                adapter.folder,
                f"tensor `{shown(name)}` has the shape {saved.shape}, the model's has {old.shape}",
            )
        if use.strength != 1.0:
            raise AdapterError(
                adapter.folder,
                f"replaces `{shown(name)}` as a whole, so it cannot be merged at {use.strength:g}",
                hint="merge it without a scale",
            )
        if isinstance(old, MergedTensor):
            raise AdapterError(adapter.folder, f"replaces `{shown(name)}`, which another adapter changed")
        tensors[name] = replace(saved, name=name)


def _add(
    folder: Path,
    low_rank: LowRank,
    strength: float,
    tensors: dict[str, SourceTensor | MergedTensor],
    architecture: Phi3,
) -> None:
    """Note the change with every tensor of the checkpoint that has some of its rows."""
    places = {place.module: place for place in _places(low_rank.module, architecture)}
    present = [place for place in places.values() if f"{place.module}.weight" in tensors]
    if not present:
        raise _unknown(folder, low_rank.module)
    own = places[low_rank.module]
    columns = tensors[f"{present[0].module}.weight"].shape[-1]
    needed = (own.rows or tensors[f"{own.module}.weight"].shape[0], columns)
    if low_rank.shape != needed:
        raise AdapterError(
            folder,
            f"module `{shown(low_rank.module)}` is for a matrix of {low_rank.shape}, the model's is {needed}",
        )
    for place in present:
        name = f"{place.module}.weight"
        tensor = tensors[name]
        low = max(own.first_row, place.first_row)
        high = min(own.first_row + needed[0], place.first_row + tensor.shape[0])
        if low < high:
            update = RowUpdate(low_rank, strength, low - place.first_row, low - own.first_row, high - low)
            if isinstance(tensor, MergedTensor):
                tensors[name] = MergedTensor(tensor.base, (*tensor.updates, update))
            else:
                tensors[name] = MergedTensor(tensor, (update,))


@dataclass(frozen=True, slots=True)
class _Place:
    """Which rows of a fused matrix a module has; 0 rows for one that is never part of another."""

    module: str
    first_row: int = 0
    rows: int = 0


def _places(module: str, architecture: Phi3) -> Iterator[_Place]:
    """Yield `module` and all others that have rows of the same fused matrix.

    Example: for Phi-4's `….k_proj`: `….qkv_proj` with 7,680 rows from 0, `….q_proj` with 5,120 from 0,
    `….k_proj` with 1,280 from 5,120 and `….v_proj` with 1,280 from 6,400.
    """
    for fused, parts in fused_modules(architecture.widths).items():
        ending = next((name for name in (fused, *parts) if module.endswith(f".{name}")), None)
        if ending is None:
            continue
        prefix = module.removesuffix(ending)
        yield _Place(prefix + fused, 0, sum(parts.values()))
        begin = 0
        for name, rows in parts.items():
            yield _Place(prefix + name, begin, rows)
            begin += rows
        return
    yield _Place(module)


def _unknown(folder: Path, name: str) -> AdapterError:
    return AdapterError(
        folder,
        f"changes `{shown(name)}`, which the model does not have",
        hint="merge it into the model that it was trained on",
    )
