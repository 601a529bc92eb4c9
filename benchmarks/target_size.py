"""`convert --target-size` beside the standard mixes: what is lost in files of the same size.

    python -m benchmarks.target_size [--checkpoint FOLDER [--off-grid] --text FILE] [--json FILE]

Five sizes, those of five standard mixes to the byte: the hardest ones, because there a mix has as many bytes.
For each, KL divergence from the checkpoint in F32 of the mix and of our file, on the same text, and our
file's size. The bar: never worse, better by ten per cent in four of five, at most 0.5 % below the size.

The one small language model that a package ships is SmolLM2 in Q4_1. A checkpoint made of it lies on Q4_1's
grid: that type then loses nothing, no larger file is better, and the sizes say nothing. `--off-grid` moves
each weight by up to half a step of its block of 32, as if it had been rounded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from phi4local import __version__, catalog, hardware
from phi4local.bench.quality.measure import Reading, measure
from phi4local.bench.quality.subjects import find_subject
from phi4local.bench.quality.text import EMBEDDED_MODEL, write_held_out
from phi4local.convert import convert_checkpoint, plan_conversion
from phi4local.convert.fitting import choose_for_size
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

MIXES = ("Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q6_K")
CONTEXT_TOKENS = 512
BETTER = 0.9
CLOSE = 0.995


def compare(checkpoint: Path, text: Path, chunks: int, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each size: both files' bytes and KL divergences, nats a token."""
    settings = LoadSettings(context_tokens=CONTEXT_TOKENS, threads=1)
    base_file = folder / "base.gguf"
    convert_checkpoint(checkpoint, base_file, "F32")
    base = find_subject(str(base_file), settings)
    logits = folder / "base.logits"
    for _ in measure([], Reading(text=text, chunks=chunks, save_base=logits), base=base, count=1):
        pass
    rows = []
    for name in MIXES:
        size = plan_conversion(checkpoint, name).size_bytes
        choice = choose_for_size(checkpoint, size)
        files = {"mix": folder / "mix.gguf", "ours": folder / "ours.gguf"}
        convert_checkpoint(checkpoint, files["mix"], name, overwrite=True)
        convert_checkpoint(
            checkpoint, files["ours"], choice.quantization, overwrite=True, target=choice.options
        )
        subjects = [find_subject(str(path), settings) for path in files.values()]
        reading = Reading(text=text, chunks=chunks, base_logits=logits)
        mix, ours = measure(subjects, reading, count=2)
        if mix.divergence is None or ours.divergence is None:
            raise RuntimeError("compared with nothing")
        rows.append(
            {
                "mix": name,
                "target_bytes": size,
                "our_bytes": ours.size_bytes,
                "mix_kl": round(mix.divergence.kl.value, 6),
                "our_kl": round(ours.divergence.kl.value, 6),
                "estimated_kl": round(choice.divergence, 6),
                "ratio": round(ours.divergence.kl.value / mix.divergence.kl.value, 3),
                "types": choice.types,
            }
        )
        sys.stderr.write(f"{checkpoint.name} {name}: {rows[-1]['ratio']} of the mix's divergence\n")
    return rows


def off_grid(checkpoint: Path, output: Path) -> Path:
    """Copy a checkpoint of one shard, its matrices moved off the grid of Q4_1; the same ones every time."""
    choose = np.random.default_rng(0)
    output.mkdir()
    tensors = {}
    for name, weights in load_file(checkpoint / "model.safetensors").items():
        tensors[name] = weights.astype(np.float32)
        if weights.ndim == 2:
            blocks = tensors[name].reshape(-1, 32)
            step = np.ptp(blocks, axis=1, keepdims=True) / 15
            moved = blocks + step * choose.uniform(-0.5, 0.5, blocks.shape).astype(np.float32)
            tensors[name] = moved.reshape(weights.shape)
    save_file(tensors, output / "model.safetensors", metadata={"format": "pt"})
    for path in checkpoint.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, output / path.name)
    return output


def is_met(rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether a model's five sizes keep the bar."""
    sizes = all(CLOSE * row["target_bytes"] <= row["our_bytes"] <= row["target_bytes"] for row in rows)
    better = sum(row["ratio"] <= BETTER for row in rows)
    return sizes and better >= len(rows) - 1 and all(row["ratio"] <= 1 for row in rows)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="another model, beside phi4-nano")
    parser.add_argument("--off-grid", action="store_true", help="move its weights off the grid of Q4_1")
    parser.add_argument("--text", type=Path, help="its text")
    parser.add_argument("--chunks", type=int, default=20, help="chunks of 512 tokens")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    models: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nano, text = catalog.find(EMBEDDED_MODEL).checkpoint_folder(), write_held_out(folder)
        if nano is None or text is None:
            raise SystemExit("this needs the checkout's models")
        models[EMBEDDED_MODEL] = compare(nano, text, options.chunks, folder)
        if options.checkpoint:
            (other := folder / "other").mkdir()
            checkpoint, called = options.checkpoint, options.checkpoint.name
            if options.off_grid:
                checkpoint, called = off_grid(checkpoint, folder / called), f"{called}, off the grid of Q4_1"
            models[called] = compare(checkpoint, options.text, options.chunks, other)
    result = {
        "phi4local": __version__,
        "machine": hardware.describe(),
        "command": " ".join(
            ["python -m benchmarks.target_size", *(Path(word).name for word in sys.argv[1:])]
        ),
        "bar": "never worse than the mix, 10 per cent better in 4 of 5, at most 0.5 per cent smaller",
        "met": {name: is_met(rows) for name, rows in models.items()},
        "models": models,
    }
    written = json.dumps(result, indent=1) + "\n"
    if options.json:
        options.json.write_text(written, encoding="utf-8")
    sys.stdout.write(written)


if __name__ == "__main__":
    main()
