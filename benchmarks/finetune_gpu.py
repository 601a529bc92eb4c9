"""Fine-tuning Phi-4's true 14B shape on one GPU: time of a step, memory, and the adapter in llama.cpp.

    python -m benchmarks.finetune_gpu --json benchmarks/results/finetune-gpu.json
    python -m benchmarks.finetune_gpu --quant-bits 4 --json benchmarks/results/finetune-gpu-qlora.json
    python -m benchmarks.finetune_gpu --size 0.6b --steps 1 --max-length 64 --accumulation 2  # tries it out

The options are those of Phi-4's announcement: batches of one, 16 of them a step, 2,048 tokens, rank 8,
alpha 32, all linear layers, bfloat16, a rate of 1e-4. The weights are random and made on the device; every
sample is longer than 2,048 tokens and nearly all of it is learned, the worst case for the memory. The
prediction was made before. `--gguf` loads the adapter with a random checkpoint of this shape in Q4_K_M.
`--quant-bits 4` is QLoRA: each layer is quantized as soon as it is made. `--load` also measures how much
memory `phi4local finetune` takes while it loads a checkpoint of this shape (zeros in a sparse file). Without
llama-cpp-python the adapter stays as PEFT has it.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import phi4local
from benchmarks import pairs
from benchmarks.random_model import SIZES, streamed_checkpoint, write_checkpoint
from phi4local import catalog, hardware
from phi4local.convert import convert_to_several
from phi4local.finetune import network, run, saved
from phi4local.finetune.options import TrainOptions
from phi4local.finetune.training import Training
from phi4local.messages import Message
from phi4local.runtime.adapters import make_adapter_file
from phi4local.runtime.imatrix import shipped_text
from phi4local.runtime.open import open_model

QUESTION = "Go on with this text."
ANSWER_CHARACTERS = 9_000


def conversations(count: int) -> list[tuple[Message, ...]]:
    """Return questions with long answers, pieces of the calibration text."""
    text = shipped_text().read_text(encoding="utf-8")
    starts = [place * 4_001 % (len(text) - ANSWER_CHARACTERS) for place in range(count)]
    return [
        (Message("user", QUESTION), Message("assistant", text[start : start + ANSWER_CHARACTERS]))
        for start in starts
    ]


def random_base(checkpoint: Path, options: TrainOptions, place: str) -> Any:  # noqa: ANN401 - transformers'
    """Return the model with random weights, made where it is used."""
    config = AutoConfig.from_pretrained(checkpoint)
    kind = getattr(torch, network.dtype_of(options, place))
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        with torch.device(place):
            return AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(before)


def random_four_bit_base(checkpoint: Path, options: TrainOptions, place: str) -> Any:  # noqa: ANN401 - the same
    """Return the model with random weights of 4 bits; more than one layer never has 16."""
    config = AutoConfig.from_pretrained(checkpoint)
    layers, config.num_hidden_layers = config.num_hidden_layers, 1
    chosen = network.four_bits(options, place)
    kind, before = getattr(torch, network.dtype_of(options, place)), torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        with torch.device(place):
            base = AutoModelForCausalLM.from_config(config, dtype=kind)
            first = base.model.layers[0]
            quantize(first, chosen, place)
            for index in range(1, layers):
                layer = type(first)(config, index)
                quantize(layer, chosen, place)
                base.model.layers.append(layer)
    finally:
        torch.set_default_dtype(before)
    for one in (config, base.config, base.model.config):  # copies, in some versions of transformers
        one.num_hidden_layers = layers
    base.is_loaded_in_4bit = True  # so that PEFT puts its layers for 4 bits on it
    base.requires_grad_(requires_grad=False)
    network.keep_trainable(base)
    return base


def quantize(layer: Any, chosen: Any, place: str) -> None:  # noqa: ANN401 - torch's and transformers'
    """Replace the linear layers inside of a layer by ones of 4 bits with the same weights."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for parent in list(layer.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, torch.nn.Linear):
                continue
            with torch.device("meta"):
                small = Linear4bit(
                    child.in_features,
                    child.out_features,
                    bias=False,
                    compute_dtype=chosen.bnb_4bit_compute_dtype,
                )
            data = child.weight.data
            kind = chosen.bnb_4bit_quant_type
            small.weight = Params4bit(data, requires_grad=False, quant_type=kind, module=small).to(place)
            small.quant_state = small.weight.quant_state
            setattr(parent, name, small)


def loaded_checkpoint(checkpoint: Path, options: TrainOptions, place: str) -> dict[str, Any]:
    """Load a checkpoint as `phi4local finetune` does; its zeros are no use for training."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    base = network.load_base(checkpoint, options, place)
    facts = {"seconds": round(time.monotonic() - started, 1), "layers": len(base.model.layers)}
    if torch.cuda.is_available():
        facts |= {"peak_bytes": torch.cuda.max_memory_allocated(), "bytes": torch.cuda.memory_allocated()}
        del base
        gc.collect()  # modules know each other; without it 7 GB stayed until much later
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return facts


def train(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Take the steps, and return times, memory and where the adapter is."""
    checkpoint = folder / "checkpoint"
    write_checkpoint(checkpoint, SIZES[options.size], sparse=True)
    template = checkpoint / "chat_template.jinja"
    template.write_text(catalog.find("phi-4").chat_template, encoding="utf-8")
    chosen = TrainOptions(
        max_length=options.max_length,
        gradient_accumulation_steps=options.accumulation,
        quant_bits=options.quant_bits,
        split_dataset_ratio=0,
        gradient_checkpointing=not options.no_checkpointing,
    )
    samples = conversations(options.steps * options.accumulation)
    prepared = run.prepare(checkpoint, samples, chosen, force=True)  # the prediction comes first
    loading = loaded_checkpoint(checkpoint, chosen, prepared.device) if options.load else None
    started = time.monotonic()
    make_base = random_four_bit_base if chosen.quant_bits else random_base
    base = make_base(checkpoint, chosen, prepared.device)
    made_seconds = time.monotonic() - started
    made_bytes = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    model = network.attach(base, chosen)
    training = Training(model, prepared.samples, (), prepared.padding_id, chosen)
    history = []
    for report in training.run():
        history.append(report)
        print(f"step {report.step}: {report.seconds:.2f} s, loss {report.loss:.4f}", flush=True)
    reserved = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    predicted = prepared.memory
    adapter = saved.save(training, folder, history, prepared.data_digest)
    return {
        "options": chosen.to_mapping(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "tokens_a_sample": len(prepared.samples[0].ids),
        "learned_a_sample": prepared.samples[0].learned,
        "loading": loading,
        "weights_made_seconds": round(made_seconds, 1),
        "weights_bytes": made_bytes,
        "step_seconds": [round(report.seconds, 3) for report in history],
        "tokens_per_second": round(history[-1].tokens / history[-1].seconds),
        "losses": [round(report.loss, 5) for report in history],
        "memory_predicted": {**dataclasses.asdict(predicted), "total": predicted.total},
        "memory_allocated_bytes": history[-1].peak_bytes,
        "memory_reserved_bytes": reserved,
        "predicted_by_allocated": round(predicted.total / max(1, history[-1].peak_bytes), 3),
        "adapter": converted(adapter, checkpoint, folder) if find_spec("llama_cpp") else None,
    }


def converted(adapter: Path, checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Make the adapter's GGUF file."""
    started = time.monotonic()
    made = make_adapter_file(adapter, folder / run.ADAPTER_FILE, base=str(checkpoint))
    return {
        "matrices": made.matrices,
        "weights": made.parameters,
        "gguf_bytes": made.size_bytes,
        "convert_seconds": round(time.monotonic() - started, 2),
    }


def load(folder: Path, options: argparse.Namespace, adapter: Path) -> dict[str, Any]:
    """Convert a checkpoint of this shape, load it with the adapter, and compare first tokens."""
    started = time.monotonic()
    model_path = folder / "model.gguf"
    source = streamed_checkpoint(folder / "streamed", SIZES[options.size])
    convert_to_several(source, {"Q4_K_M": model_path})
    convert_seconds = time.monotonic() - started
    started = time.monotonic()
    settings = phi4local.LoadSettings(context_tokens=2048, gpu_layers=999)
    with open_model(str(model_path), settings, adapters={"trained": adapter}) as model:
        load_seconds = time.monotonic() - started
        rows: dict[str, dict[str, list[int]]] = {}
        for name, one in {"without": model, "with": model.adapted(trained=1.0)}.items():
            answer = one.chat(QUESTION, max_tokens=16, temperature=0).result()
            rows[name] = {"tokens": list(answer.token_ids)}
    return {
        "model_bytes": model_path.stat().st_size,
        "convert_seconds": round(convert_seconds, 1),
        "load_seconds": round(load_seconds, 1),
        "answers": rows,
    }


def main() -> None:
    """Train, convert, and with `--gguf` load; the result is written after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="14b")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--accumulation", type=int, default=16)
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--quant-bits", type=int, choices=(4,), help="frozen weights of 4 bits (QLoRA)")
    parser.add_argument("--load", action="store_true", help="measure loading a checkpoint of this shape, too")
    parser.add_argument("--gguf", action="store_true", help="load the adapter with a GGUF of this shape")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    command = f"python -m benchmarks.finetune_gpu --size {options.size}"
    command += f" --quant-bits {options.quant_bits}" * bool(options.quant_bits)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts = train(folder, options)
        print(json.dumps(facts, indent=1), flush=True)
        gpus = [gpu.description for gpu in hardware.this_machine().gpus]
        pairs.write(options.json, [], command=command, gpus=gpus, training=facts)
        if options.gguf:
            torch.cuda.empty_cache()
            loaded = load(folder, options, folder / run.ADAPTER_FILE)
            print(json.dumps(loaded, indent=1), flush=True)
            pairs.write(options.json, [], command=command, gpus=gpus, training=facts, loaded=loaded)


if __name__ == "__main__":
    main()
