"""Model architectures, pure: from a config to GGUF keys and the exact table of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.convert.architectures.phi3 import Phi3
from phi4local.convert.strict_json import shown
from phi4local.errors import UnsupportedCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

_REASONS = {
    "Phi4MMForCausalLM": "Phi-4-multimodal has vision and audio parts that llama.cpp does not run",
    "Phi4FlashForCausalLM": "Phi-4-mini-flash mixes state-space layers in, which llama.cpp does not run",
    "Phi4ForCausalLMV": "Phi-4-reasoning-vision has a vision part, which is not supported",
    "Phi3VForCausalLM": "Phi-3-vision has a vision part, which is not supported",
    "Phi3SmallForCausalLM": "Phi-3-small uses block-sparse attention, which llama.cpp does not run",
    "PhiMoEForCausalLM": "mixtures of experts are not supported",
    "PhiForCausalLM": "Phi-1 and Phi-2 are another architecture",
    "LlamaForCausalLM": "the Llama layout of Phi-4 is not supported yet",
}
_CLASS_OF_TYPE = {
    "phi3": "Phi3ForCausalLM",
    "phi4mm": "Phi4MMForCausalLM",
    "phi4flash": "Phi4FlashForCausalLM",
    "phimoe": "PhiMoEForCausalLM",
    "phi": "PhiForCausalLM",
    "llama": "LlamaForCausalLM",
}


def read_architecture(config: dict[str, Any], path: Path) -> Phi3:
    """Return the architecture that a config.json describes.

    The class in `architectures` decides; without one, `model_type` does. Both must say the same.

    Example: `{"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": 5120, …}` → `Phi3`
    with an embedding of 5,120.

    Args:
        config: what config.json holds.
        path: config.json, for messages.

    Raises:
        UnsupportedCheckpointError: another model; the message says which and why.
        CheckpointError: a number that is missing or impossible.
    """
    classes, model_type = config.get("architectures"), config.get("model_type")
    by_type = _CLASS_OF_TYPE.get(model_type) if isinstance(model_type, str) else None
    name = classes[0] if isinstance(classes, list) and classes else by_type
    if (
        name != "Phi3ForCausalLM"
        or by_type not in (name, None)
        or (model_type is not None and by_type is None)
    ):
        raise _unsupported(path, name, by_type, model_type)
    if config.get("quantization_config") is not None:
        raise UnsupportedCheckpointError(
            f"`{path}`: the checkpoint is already quantized (quantization_config)",
            hint="use the checkpoint in its original precision",
        )
    return Phi3.from_config(config, path)


def _unsupported(
    path: Path, name: object, by_type: str | None, model_type: object
) -> UnsupportedCheckpointError:
    reason = _REASONS.get(name) if isinstance(name, str) else None
    if reason is None and by_type is not None:
        reason = _REASONS.get(by_type)
    label = shown(name) if name is not None else "no known architecture"
    reason = reason or "only Phi3ForCausalLM can be converted"
    return UnsupportedCheckpointError(
        f"`{path}` says {label} (model_type {shown(model_type)}): {reason}",
        hint="use a Phi-4 checkpoint such as microsoft/phi-4",
    )
