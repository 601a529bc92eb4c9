"""Make LoRA adapters with PEFT, and let PEFT merge them: the expectations of test_merge.py.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2 accelerate
    python -m tests.golden.make_merged

The base model is `tests.random_checkpoint` of `BASE`; every matrix of the adapters is random, B too. Adapters
are written as PEFT saves them, to tests/golden/adapters/; merged.npz keeps the tensors that merging changed,
by Phi-3's names, and logits of `TOKENS`.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.random_checkpoint import Size, write_random_checkpoint

BASE = Size(hidden=32, feed_forward=48, layers=1)
TOKENS = [5, 70, 256, 9, 33, 120, 7, 288]
HERE = Path(__file__).parent
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
SPLIT = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIGS = {
    "lora": {"r": 4, "lora_alpha": 8, "target_modules": FUSED},
    "rslora": {"r": 3, "lora_alpha": 5, "target_modules": FUSED, "use_rslora": True},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": FUSED,
        "rank_pattern": {"o_proj": 2, r"layers\.\d+\.mlp\.down_proj": 3},
        "alpha_pattern": {"model.layers.0.self_attn.qkv_proj": 32, "down_proj": 1},
    },
    "dora": {"r": 2, "lora_alpha": 4, "target_modules": FUSED, "use_dora": True},
    "modules": {
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["qkv_proj"],
        "modules_to_save": ["embed_tokens", "lm_head"],
    },
    "outer": {"r": 2, "lora_alpha": 4, "target_modules": ["embed_tokens", "lm_head", "o_proj"]},
    "split": {"r": 2, "lora_alpha": 6, "target_modules": SPLIT},
    "split dora": {"r": 2, "lora_alpha": 6, "target_modules": SPLIT, "use_dora": True},
}


def base_model(folder: Path, *, split: bool) -> torch.nn.Module:
    """Return the base model in float32, as Phi3ForCausalLM or as LlamaForCausalLM with the same weights."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if not split:
        return model
    shared = {
        name: getattr(model.config, name)
        for name in (
            *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "rms_norm_eps"),
            *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
        )
    }
    llama = LlamaForCausalLM(LlamaConfig(**shared, rope_theta=250000.0, tie_word_embeddings=False)).float()
    llama.load_state_dict(split_weights(model.state_dict()))
    return llama


def split_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Cut the fused matrices into Llama's."""
    keys = BASE.hidden // BASE.heads * BASE.kv_heads
    found = {}
    for name, value in weights.items():
        parts = {name: value}
        if "qkv_proj" in name:
            cut = torch.split(value, [BASE.hidden, keys, keys])
            parts = {name.replace("qkv", letter): part for letter, part in zip("qkv", cut, strict=True)}
        elif "gate_up_proj" in name:
            cut = torch.split(value, BASE.feed_forward)
            parts = {
                name.replace("gate_up", part): rows for part, rows in zip(("gate", "up"), cut, strict=True)
            }
        found |= parts
    return found


def fused_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put Llama's matrices together, row below row."""
    found = {}
    for name, value in weights.items():
        if "q_proj" in name:
            rows = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            found[name.replace("q_proj", "qkv_proj")] = torch.cat(rows)
        elif "gate_proj" in name:
            rows = [value, weights[name.replace("gate_proj", "up_proj")]]
            found[name.replace("gate_proj", "gate_up_proj")] = torch.cat(rows)
        elif (
            not any(part in name for part in ("k_proj", "v_proj", "up_proj"))
            or "qkv" in name
            or "gate_up" in name
        ):
            found[name] = value
    return found


def randomize(model: torch.nn.Module) -> None:
    """Give every trained parameter a value that matters; PEFT starts B at 0."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_magnitude" in name:
            parameter.data *= 1 + 0.2 * torch.rand(parameter.shape, generator=generator)
        elif "lora_" in name or "modules_to_save" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)


def main() -> None:
    """Write everything anew."""
    expected: dict[str, np.ndarray] = {}
    adapters = HERE / "adapters"
    shutil.rmtree(adapters, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        base = write_random_checkpoint(Path(folder), BASE, dtype="F32")
        before = base_model(base, split=False).state_dict()

        def keep(name: str, model: torch.nn.Module, *, logits: bool = False) -> None:
            merged = model.merge_and_unload()
            for tensor, value in fused_weights(merged.state_dict()).items():
                if not torch.equal(value, before[tensor]):
                    expected[f"{name}/{tensor}"] = value.numpy()
            if logits:
                with torch.no_grad():
                    expected[f"{name}/logits"] = merged(torch.tensor([TOKENS])).logits[0].numpy()

        for name, values in CONFIGS.items():
            model = get_peft_model(
                base_model(base, split=name.startswith("split")), LoraConfig(task_type="CAUSAL_LM", **values)
            )
            randomize(model)
            model.save_pretrained(adapters / name, save_embedding_layers=False)
            (adapters / name / "README.md").unlink()
            keep(name, model, logits=True)
        model = PeftModel.from_pretrained(base_model(base, split=False), adapters / "lora")
        for module in model.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                module.scaling["default"] *= 0.5
        keep("lora at a half", model)
        model = PeftModel.from_pretrained(base_model(base, split=False), adapters / "lora", "first")
        model.load_adapter(adapters / "dora", "second")
        model.base_model.set_adapter(["first", "second"])
        keep("lora then dora", model)
    np.savez_compressed(HERE / "merged.npz", **expected)


if __name__ == "__main__":
    main()
