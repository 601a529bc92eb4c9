"""Make `logits.npz`: what transformers computes in float32 for a small random checkpoint of every layout.

Run it in a checkout with `python tests/golden/make_logits.py` after changing a layout. It needs torch, which
the tests do not. `configs` holds each config.json as this version of transformers saves it again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.random_checkpoint import Size, write_random_checkpoint

STORED = Path(__file__).with_name("logits.npz")
RESAVED = Path(__file__).with_name("resaved-configs.json")


@dataclass(frozen=True, slots=True)
class Case:
    """A checkpoint, and the lengths of the sequences that are evaluated whole."""

    size: Size
    lengths: tuple[int, ...] = (300,)
    dtype: str = "F32"


LONG = (4096, 4200)
_WIDE = {"spread": 0.12, "hidden": 96, "heads": 3}
CASES = {
    "phi-4": Case(Size(spread=0.2)),
    "phi-4, BF16": Case(Size(spread=0.2), dtype="BF16"),
    "phi-4 as Llama": Case(Size(spread=0.2, layout="llama")),
    "phi-4-mini": Case(
        Size(**_WIDE, kv_heads=1, tied=True, rotary_share=0.75, context=8192, original_context=4096)
        , LONG,
    ),
    "phi-4-mini as Llama": Case(
        Size(**_WIDE, kv_heads=1, tied=True, layout="llama", rotary_share=1.0),
    ),
    "phi-3-mini-4k": Case(Size(**_WIDE, kv_heads=3, sliding_window=2047), (2000,)),
    "phi-3-mini-128k": Case(
        Size(**_WIDE, kv_heads=3, sliding_window=262144, context=131072, original_context=4096), LONG
    ),
    "a share of each head": Case(Size(spread=0.2, rotary_share=0.5)),
}  # fmt: skip
"""By name; the seed of each is its place."""


def positions(length: int) -> list[int]:
    """Return the positions of a sequence whose logits are compared."""
    return sorted({0, 1, length // 7, length // 2, length - 2, length - 1})


def token_ids(length: int, vocabulary_tokens: int) -> np.ndarray:
    """Return the tokens of a sequence; the special ones at the end of the vocabulary are among them."""
    return np.random.default_rng(length).integers(0, vocabulary_tokens, length)


def write_case(folder: Path, name: str) -> Path:
    """Write the checkpoint of a case below `folder`."""
    case = CASES[name]
    return write_random_checkpoint(folder, case.size, dtype=case.dtype, seed=list(CASES).index(name))


def digest(folder: Path) -> str:
    """Return a SHA-256 that tells whether numpy still makes the same random weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def build() -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Return the arrays of `logits.npz` and the configs as transformers saves them."""
    import torch
    import transformers

    arrays: dict[str, np.ndarray] = {"transformers": np.array(transformers.__version__)}
    resaved: dict[str, object] = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = write_case(Path(folder) / "checkpoint", name)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                checkpoint, dtype=torch.float32, attn_implementation="eager"
            ).eval()
            arrays[f"{name}|weights"] = np.array(digest(checkpoint))
            model.config.save_pretrained(Path(folder) / "again")
            resaved[name] = json.loads((Path(folder) / "again" / "config.json").read_text())
            for length in case.lengths:
                ids = torch.from_numpy(token_ids(length, model.config.vocab_size))[None]
                with torch.no_grad():
                    logits = model(ids, use_cache=False).logits[0, positions(length)]
                arrays[f"{name}|{length}"] = logits.numpy()
    return arrays, resaved


if __name__ == "__main__":
    made, configs = build()
    np.savez_compressed(STORED, **made)
    RESAVED.write_text(json.dumps(configs, indent=1) + "\n", encoding="utf-8", newline="\n")
    sys.stderr.write(f"wrote {STORED.name} and {RESAVED.name}\n")
