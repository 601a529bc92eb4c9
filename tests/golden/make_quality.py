"""Write what llama-perplexity measures of phi4-nano: tests/golden/quality.json.

    python -m tests.golden.make_quality

Needs the programs of `python -m benchmarks.build_peers`. The files are made by `phi4local convert`, which
writes what llama.cpp's converter and quantizer write (tests/unit/convert). With `-b 512` llama-perplexity
reads one chunk at a time, as phi4local does; by default it reads four together, which moves the fifth digit.
"""

import json
import tempfile
from pathlib import Path

from benchmarks import build_peers
from benchmarks.quality import BATCHES, STEPS, LlamaPerplexity
from phi4local.bench.quality.text import write_held_out
from phi4local.convert import convert_to_several

TESTS = Path(__file__).parents[1]
NANO = TESTS.parent / "models" / "phi4-nano"
CHUNKS = 12


def main():
    """Convert, run llama-perplexity both ways, write."""
    program = build_peers.find().program("llama-perplexity")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {step: folder / f"{step}.gguf" for step in ("F32", *STEPS)}
        convert_to_several(NANO, files, kernels="ggml")
        text, logits = write_held_out(folder), folder / "base.logits"
        for batch in BATCHES:
            peer = LlamaPerplexity(program, threads=2, batch=batch)
            base = peer.read(files["F32"], text, logits, CHUNKS)
            found[batch] = {
                "base": base,
                "steps": {step: peer.compare(files[step], logits) for step in STEPS},
            }
    (TESTS / "golden" / "quality.json").write_text(json.dumps({"chunks": CHUNKS, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
