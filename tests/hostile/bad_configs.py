"""Values of config.json that a converter must refuse."""

from __future__ import annotations

from tests.hostile.spoiled_checkpoints import (
    CHECKPOINT,
    UNSUPPORTED,
    Case,
    drop_config,
    rename_tensor,
    set_config,
    write,
)

CONFIGS = {
    "config is no JSON": Case(
        write("config.json", b"hello"), CHECKPOINT, "not valid JSON", names="config.json"
    ),
    "config is a list": Case(
        write("config.json", b"[]"), CHECKPOINT, "not a JSON object", names="config.json"
    ),
    "config is huge": Case(
        write("config.json", b" " * (16 * 2**20 + 1)), CHECKPOINT, "larger", names="config.json"
    ),
    "config twice": Case(
        write("config.json", b'{"a": 1, "a": 2}'), CHECKPOINT, "`a` occurs twice", names="config.json"
    ),
    "config with NaN": Case(write("config.json", b'{"rms_norm_eps": NaN}'), CHECKPOINT, "NaN is not"),
    "config deep": Case(write("config.json", b"[" * 100_000), CHECKPOINT, "deeply|JSON"),
    "config digits": Case(write("config.json", b'{"a": ' + b"9" * 9999 + b"}"), CHECKPOINT, "JSON"),
    "config not UTF-8": Case(
        write("config.json", b'{"a": "\xe9"}'), CHECKPOINT, "UTF-8", names="config.json"
    ),
    **{
        f"model type {kind}": Case(set_config(model_type=kind), UNSUPPORTED, reason, names="config.json")
        for kind, reason in [
            ("phi4mm", "vision and audio"),
            ("phi4flash", "state-space"),
            ("phimoe", "experts"),
            ("phi3small", "block-sparse"),
            ("phi3_v", "vision"),
            ("phi4-siglip", "vision"),
            ("phi", "Phi-1 and Phi-2"),
            ("qwen2", "model_type is qwen2"),
            ("gemma", "model_type is gemma"),
            (7, "model_type is 7"),
        ]
    },
    **{
        f"relative with {name}": Case(
            rename_tensor("model.norm.weight", name), UNSUPPORTED, reason, names="config.json"
        )
        for name, reason in [
            ("model.embed_tokens_extend.image_embed.img_processor.weight", "vision and audio"),
            ("model.vision_embed_tokens.wte.weight", "a vision part"),
            ("model.mm_projector.0.weight", "Phi-4-reasoning-vision"),
            ("model.layers.0.attn.A_log", "state-space"),
            ("model.layers.0.block_sparse_moe.gate.weight", "mixtures of experts"),
            ("model.layers.0.self_attn.query_key_value.weight", "Phi-3-small"),
            ("model.layers.0.mlp.fc1.weight", "Phi-1 and Phi-2"),
            ("model.layers.0.mlp.down_proj.weight.absmax", "quantized already"),
            ("model.layers.0.mlp.down_proj.lora_A.speech.weight", "vision and audio"),
            ("model.layers.0.mlp.down_proj.lora_A.default.weight", "LoRA"),
            ("model.layers.0.mlp.down_proj.base_layer.weight", "LoRA"),
        ]
    },
    **{
        f"unknown field {name}": Case(set_config(**{name: value}), UNSUPPORTED, f"`{name}` is")
        for name, value in [
            ("logits_scaling", 8.0),
            ("embedding_multiplier", 12),
            ("final_logit_softcapping", 30.0),
            ("attn_logit_softcapping", 50.0),
            ("rope_local_base_freq", 10000.0),
            ("use_qk_norm", True),
            ("num_local_experts", 16),
            ("layer_types", ["full_attention", "sliding_attention"]),
            ("full_attn_mod", 2),
            ("blocksparse_params", {"block": 64}),
            ("hidden_activation", "gelu_pytorch_tanh"),
        ]
    },
    "model type is a list": Case(set_config(model_type=["phi3"]), UNSUPPORTED, "model_type"),
    "already quantized": Case(set_config(quantization_config={"bits": 4}), UNSUPPORTED, "already quantized"),
    "long rope of the wrong length": Case(
        set_config(rope_scaling={"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}),
        CHECKPOINT,
        "long_factor must be 8 numbers",
    ),
    **{
        f"long rope with {name}": Case(
            set_config(rope_scaling={"type": "longrope", "long_factor": [1.0] * 8, "short_factor": factors}),
            CHECKPOINT,
            "short_factor must be 8 numbers above 0",
        )
        for name, factors in [
            ("zero", [0.0] * 8),
            ("a negative factor", [1.0] * 7 + [-1.0]),
            ("a text", ["1"] * 8),
            ("true", [True] * 8),
            ("a huge factor", [1e30] * 8),
            ("a table", {}),
            ("one table missing", None),
        ]
    },
    "long rope with mscale": Case(
        set_config(
            rope_scaling={
                "type": "longrope",
                "long_factor": [1.0] * 8,
                "short_factor": [1.0] * 8,
                "long_mscale": 1.24,
            }
        ),
        UNSUPPORTED,
        "long_mscale",
    ),
    "long rope without the original length": Case(
        lambda folder: (
            drop_config("original_max_position_embeddings")(folder),
            set_config(rope_scaling={"type": "su", "long_factor": [1.0] * 8, "short_factor": [1.0] * 8})(
                folder
            ),
        ),
        CHECKPOINT,
        "original_max_position_embeddings is missing",
    ),
    "yarn without tables": Case(
        set_config(rope_scaling={"type": "yarn", "factor": 4.0}), UNSUPPORTED, "yarn"
    ),
    "linear scaling": Case(set_config(rope_scaling={"type": "linear", "factor": 4.0}), UNSUPPORTED, "linear"),
    "tables without a kind": Case(
        set_config(rope_scaling={"long_factor": [1.0] * 8, "short_factor": [1.0] * 8}), UNSUPPORTED, "None"
    ),
    "scaling of Llama 3": Case(
        set_config(rope_scaling={"rope_type": "llama3", "low_freq_factor": 1.0}), UNSUPPORTED, "low_freq"
    ),
    "rope scaling without a name": Case(set_config(rope_scaling={"factor": 2.0}), UNSUPPORTED, "None"),
    "two thetas": Case(
        set_config(rope_parameters={"rope_theta": 1.0}), CHECKPOINT, "rope_theta is 250000.0 and 1.0"
    ),
    "rope scaling is a text": Case(set_config(rope_scaling="linear"), CHECKPOINT, "rope_scaling is no table"),
    "other activation": Case(set_config(hidden_act="gelu"), UNSUPPORTED, "hidden_act"),
    "biases": Case(set_config(attention_bias=True), UNSUPPORTED, "attention_bias"),
    "bias is a text": Case(set_config(attention_bias="no"), CHECKPOINT, "attention_bias"),
    "heads do not divide": Case(
        set_config(num_attention_heads=5), CHECKPOINT, "no multiple of num_attention_heads"
    ),
    "kv heads do not divide": Case(set_config(num_key_value_heads=3), CHECKPOINT, "num_key_value_heads"),
    "other head size": Case(set_config(head_dim=32), CHECKPOINT, "head_dim"),
    "eps zero": Case(set_config(rms_norm_eps=0), CHECKPOINT, "rms_norm_eps"),
    "eps negative": Case(set_config(rms_norm_eps=-1e-5), CHECKPOINT, "rms_norm_eps"),
    "eps infinite": Case(set_config(rms_norm_eps=1e300), CHECKPOINT, "rms_norm_eps"),
    "eps overflows JSON": Case(
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace("1e-05", "1e999")
        ),
        CHECKPOINT,
        "rms_norm_eps",
    ),
    "eps missing": Case(drop_config("rms_norm_eps"), CHECKPOINT, "rms_norm_eps is missing"),
    "eps is true": Case(set_config(rms_norm_eps=True), CHECKPOINT, "rms_norm_eps"),
    "theta missing": Case(drop_config("rope_theta"), CHECKPOINT, "rope_theta is missing"),
    "theta is a text": Case(set_config(rope_theta="10000"), CHECKPOINT, "rope_theta"),
    "layers zero": Case(set_config(num_hidden_layers=0), CHECKPOINT, "num_hidden_layers"),
    "layers beyond llama.cpp": Case(set_config(num_hidden_layers=513), CHECKPOINT, "1 to 512"),
    "layers huge": Case(set_config(num_hidden_layers=2**62), CHECKPOINT, "num_hidden_layers"),
    "layers are a text": Case(set_config(num_hidden_layers="2"), CHECKPOINT, "num_hidden_layers"),
    "layers are 2.0": Case(set_config(num_hidden_layers=2.0), CHECKPOINT, "num_hidden_layers"),
    "width missing": Case(drop_config("hidden_size"), CHECKPOINT, "hidden_size is missing"),
    "context negative": Case(set_config(max_position_embeddings=-1), CHECKPOINT, "max_position_embeddings"),
    "window negative": Case(set_config(sliding_window=-1), CHECKPOINT, "sliding_window"),
    "rotary share zero": Case(set_config(partial_rotary_factor=0.01), CHECKPOINT, "partial_rotary_factor"),
    "rotary share odd": Case(set_config(partial_rotary_factor=0.32), CHECKPOINT, "gives 5 rotated"),
    "rotary share above one": Case(set_config(partial_rotary_factor=2), CHECKPOINT, "partial_rotary_factor"),
}
