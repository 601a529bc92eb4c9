"""Model architectures, pure: from a config and the tensors' names to GGUF keys and the table of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.convert.architectures.phi3 import Phi3
from phi4local.convert.architectures.relatives import refuse_relatives, refuse_unknown_fields

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def read_architecture(config: dict[str, Any], path: Path, tensors: Collection[str] = ()) -> Phi3:
    """Return the architecture that a config.json and the tensors beside it describe.

    Example: `{"model_type": "phi3", "hidden_size": 5120, …}` → `Phi3` with an embedding of 5,120; with
    tensors such as `model.layers.0.self_attn.q_proj.weight` it is Phi-4 in Llama's layout.

    Args:
        config: what config.json holds.
        path: config.json, for messages.
        tensors: the names of the checkpoint's tensors.

    Raises:
        UnsupportedCheckpointError: another model; the message says which and why.
        CheckpointError: a number that is missing or impossible.
    """
    refuse_relatives(config, tensors, path)
    refuse_unknown_fields(config, path)
    return Phi3.from_config(config, path, tensors)
