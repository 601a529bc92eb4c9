"""Values of config.json that a converter must refuse."""

from __future__ import annotations

from tests.hostile.spoiled_checkpoints import (
    CHECKPOINT,
    UNSUPPORTED,
    Case,
    drop_config,
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
        f"architecture {name}": Case(
            set_config(architectures=[name], model_type=kind), UNSUPPORTED, reason, names="config.json"
        )
        for name, kind, reason in [
            ("Phi4MMForCausalLM", "phi4mm", "vision and audio"),
            ("Phi4FlashForCausalLM", "phi4flash", "state-space"),
            ("PhiMoEForCausalLM", "phimoe", "experts"),
            ("Phi3SmallForCausalLM", "phi3small", "block-sparse"),
            ("Phi3VForCausalLM", "phi3_v", "vision"),
            ("Phi4ForCausalLMV", "phi4-siglip", "vision"),
            ("PhiForCausalLM", "phi", "Phi-1 and Phi-2"),
            ("LlamaForCausalLM", "llama", "Llama layout"),
            ("Qwen2ForCausalLM", "qwen2", "only Phi3ForCausalLM"),
            ("Phi3ForCausalLM", "phi4mm", "vision and audio"),
            ("Phi3ForCausalLM", "qwen2", "only Phi3ForCausalLM"),
            ("Phi3ForSequenceClassification", "phi3", "only Phi3ForCausalLM"),
        ]
    },
    "no architecture": Case(
        lambda folder: (drop_config("architectures")(folder), drop_config("model_type")(folder)),
        UNSUPPORTED,
        "no known architecture",
    ),
    "architecture is a number": Case(set_config(architectures=[3]), UNSUPPORTED, "says 3"),
    "model type is a list": Case(set_config(model_type=["phi3"]), UNSUPPORTED, "model_type"),
    "already quantized": Case(set_config(quantization_config={"bits": 4}), UNSUPPORTED, "already quantized"),
    "long rope": Case(
        set_config(rope_scaling={"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}),
        UNSUPPORTED,
        "longrope",
    ),
    "rope scaling without a name": Case(set_config(rope_scaling={"factor": 2.0}), UNSUPPORTED, "unnamed"),
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
