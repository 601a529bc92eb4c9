"""Models that look like Phi-4 and are not: say which one it is, why it cannot be converted, and what can.

What counts is the checkpoint's content: tensors' names first, then `model_type` and the other fields of
config.json. The class in `architectures` and the folder's name decide nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from phi4local.convert.strict_json import shown
from phi4local.errors import UnsupportedCheckpointError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class _Relative(NamedTuple):
    reason: str
    hint: str
    model_types: tuple[str, ...]
    tensors: str  # matches a name that only this relative has


_RELATIVES = (
    _Relative(
        "it is Phi-4-reasoning-vision, whose vision part is not supported",
        "use microsoft/Phi-4-reasoning for text",
        ("phi4-siglip",),
        r"mm_projector|vision_tower",
    ),
    _Relative(
        "it has vision and audio parts, as Phi-4-multimodal has, that llama.cpp does not run",
        "use microsoft/Phi-4-mini-instruct, its text model",
        ("phi4mm", "phi4_multimodal"),
        r"embed_tokens_extend|audio|speech",
    ),
    _Relative(
        "it has a vision part, as Phi-3-vision has, which is not supported",
        "use microsoft/Phi-3.5-mini-instruct for text",
        ("phi3_v", "phi3v"),
        r"vision|img_",
    ),
    _Relative(
        "it mixes state-space layers in, as Phi-4-mini-flash does, which llama.cpp does not run",
        "use microsoft/Phi-4-mini-reasoning",
        ("phi4flash",),
        r"A_log|conv1d|mamba|\.attn\.(Wqkv|inner_cross_attn)",
    ),
    _Relative(
        "mixtures of experts, as Phi-3.5-MoE is one, are not supported",
        "use microsoft/phi-4, or llama.cpp's own converter",
        ("phimoe",),
        r"block_sparse_moe|\.experts\.",
    ),
    _Relative(
        "it is Phi-3-small, whose block-sparse attention llama.cpp does not run",
        "use microsoft/Phi-3-medium-4k-instruct",
        ("phi3small",),
        r"query_key_value",
    ),
    _Relative(
        "Phi-1 and Phi-2 are another architecture",
        "use microsoft/Phi-4-mini-instruct, or llama.cpp's own converter",
        ("phi", "mixformer-sequential", "phi-msft"),
        r"mlp\.fc1\.",
    ),
    _Relative(
        "its weights are quantized already",
        "use the checkpoint in its original precision",
        (),
        r"\.(qweight|qzeros|absmax|quant_map|weight_scale|SCB)$",
    ),
    _Relative(
        "it holds LoRA matrices beside the weights",
        "merge the adapter first (in PEFT: `merge_and_unload`), or use the base model",
        (),
        r"\.lora_|\.base_layer\.",
    ),
)
_PHI4 = "use a Phi-4 checkpoint such as microsoft/phi-4"


def refuse_relatives(config: dict[str, Any], tensors: Collection[str], path: Path) -> None:
    """Raise if the checkpoint is another model than Phi-3 or Phi-4, or quantized already.

    Args:
        config: what config.json holds.
        tensors: the names of the checkpoint's tensors.
        path: config.json, for messages.

    Example: a tensor `model.layers.0.block_sparse_moe.gate.weight` → "mixtures of experts …".

    Raises:
        UnsupportedCheckpointError: the message says which model it is, the hint what to use instead.
    """
    if config.get("quantization_config") is not None:
        raise UnsupportedCheckpointError(
            f"`{path}`: the checkpoint is already quantized (quantization_config)",
            hint="use the checkpoint in its original precision",
        )
    model_type = config.get("model_type")
    together = "\n".join(tensors)
    for relative in _RELATIVES:
        if model_type in relative.model_types:
            raise UnsupportedCheckpointError(f"`{path}`: {relative.reason}", hint=relative.hint)
        found = re.search(f"^.*(?:{relative.tensors}).*$", together, re.MULTILINE)
        if found:
            raise UnsupportedCheckpointError(
                f"`{path}`: {relative.reason} (tensor `{shown(found[0])}`)", hint=relative.hint
            )
    if model_type not in (None, "phi3", "llama"):
        raise UnsupportedCheckpointError(
            f"`{path}`: model_type is {shown(model_type)}; only Phi-4 as phi3 or llama is supported",
            hint=_PHI4,
        )


_UNDERSTOOD = frozenset(
    {
        *("attention_bias", "mlp_bias", "lm_head_bias", "hidden_act", "rms_norm_eps", "sliding_window"),
        *("rope_theta", "rope_scaling", "rope_parameters", "num_attention_heads", "partial_rotary_factor"),
        *("attention_dropout", "attn_pdrop", "attn_implementation", "_attn_implementation"),
        *("_attn_implementation_autoset", "_attn_implementation_internal", "output_attentions"),
        *(
            "original_max_position_embeddings",
            "num_logits_to_keep",
            "max_window_layers",
            "use_sliding_window",
        ),
    }
)
_NEUTRAL: dict[str, object] = {"full_attn_mod": 1, "interpolate_factor": 1}
"""Fields of Phi-4-mini's config.json that no code reads; with another value they would say something."""
_CHANGES_THE_NETWORK = re.compile(
    r"scal|multipl|softcap|soft_cap|norm|rope|rotary|rotat|attn|attention|window|expert|moe|bias|_act|activ"
    r"|logit|layer_type|layers_block|residual|mamba|ssm|mscale|mup|sink|sparse|interpol|conv_|factor|alibi"
)


def refuse_unknown_fields(config: dict[str, Any], path: Path) -> None:
    """Raise if a field of config.json sounds as if it changed the network, and is not understood.

    A field that is off (null, false, or empty) changes nothing. `layer_types` may say that all layers attend
    to everything.

    Example: `"logits_scaling": 8.0`, as Granite has it → refused; `"unsloth_version": "2026.1"` → ignored.

    Raises:
        UnsupportedCheckpointError: the message names the field.
    """
    for name, value in config.items():
        off = value is None or value is False or value in ([], {}, "")
        if off or name in _UNDERSTOOD or not _CHANGES_THE_NETWORK.search(name.lower()):
            continue
        if name in _NEUTRAL and value == _NEUTRAL[name]:
            continue
        if name == "layer_types" and isinstance(value, list) and set(map(str, value)) == {"full_attention"}:
            continue
        raise UnsupportedCheckpointError(
            f"`{path}`: `{shown(name)}` is {shown(value)}; that may change the network and is not understood",
            hint="convert it with a newer phi4local, or remove the field if no code reads it",
        )
