"""What a structure costs: tokens a second of the same engine with and without a JSON schema, in pairs.

    python -m benchmarks.structure --json benchmarks/results/structure.json
    python -m benchmarks.structure --model FILE.gguf --pairs 4

Both answers have the same number of tokens. The schema is a list of objects that goes on for longer,
so that every token of its answer passes the parser. The bar is 5 % of a step of 1.3 billion weights.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from benchmarks.pairs import Limit, Ratio, add_options, run, write
from benchmarks.random_model import cached_gguf
from phi4local import gguf
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.prompts import TextSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from pathlib import Path

BAR = 0.95
TOKENS = 48
PROMPT = "List the trees of the town with their heights.\n"
SCHEMA = {
    "type": "array",
    "minItems": 1000,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3, "maxLength": 30},
            "height": {"type": "number", "minimum": 0, "maximum": 200},
            "kind": {"enum": ["oak", "beech", "pine"]},
            "seen": {"type": "string", "format": "date"},
        },
        "required": ["name", "height", "kind", "seen"],
        "additionalProperties": False,
    },
}
FREE: dict[str, Any] = {"temperature": 1.0, "top_k": 40}
WAYS: dict[str, dict[str, Any]] = {
    "JSON schema": {"json_schema": SCHEMA},
    "free text before a trigger": {"json_schema": SCHEMA, "structure_trigger": "<|no such trigger|>"},
}


def speed(engine: Engine, seed: int, structure: dict[str, Any]) -> float:
    """Return the tokens a second of an answer, without its prompt."""
    request = Request(
        segments=(TextSegment(PROMPT, special=False),),
        sampling=SamplingSettings(**FREE, **structure, seed=seed),
        max_tokens=TOKENS,
        ignore_end=True,
    )
    finished = engine.submit(request).result().finished
    return (finished.usage.generated_tokens - 1) / finished.timings.generation_seconds


def measure(path: Path, options: argparse.Namespace) -> list[Ratio | Limit]:
    """Measure every way beside free text, the two sides taking turns to begin."""
    file = file_facts(gguf.validate(path)).model_file()
    settings = LoadSettings(
        context_tokens=512, threads=options.threads, gpu_layers=options.gpu_layers, speculation="off"
    )
    ratios: list[Ratio | Limit] = []
    with Engine(file, settings) as engine:
        for name, structure in WAYS.items():
            ratio = Ratio(name, bar=BAR)

            def round_(number: int, structure: dict[str, Any] = structure, ratio: Ratio = ratio) -> None:
                if number % 2:
                    theirs = speed(engine, number, {})
                    ratio.add(speed(engine, number, structure), theirs)
                else:
                    ratio.add(speed(engine, number, structure), speed(engine, number, {}))

            speed(engine, 0, structure)  # the first structured answer reads the vocabulary
            run([ratio], round_, options)
            ratios.append(ratio)
    return ratios


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_options(parser)
    options = parser.parse_args()
    path = options.model or cached_gguf("1.3b")
    results = measure(path, options)
    write(options.json, results, model=path.name, tokens=TOKENS, threads=options.threads)


if __name__ == "__main__":
    main()
