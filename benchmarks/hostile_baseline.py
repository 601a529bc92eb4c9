"""The same malformed model files, given to phi4local and straight to llama-cpp-python.

    python -m benchmarks.hostile_baseline [--mutations 400] [--truncations 100] [--generated 1000]
        [--output benchmarks/results/hostile-baseline.json]

Files: every named bad file of `tests/hostile`, a good model cut off at so many lengths, one with so many
single bytes of its header changed, and generated ones. Each is handed to both: phi4local's validator and
engine in one child process, and `llama_model_load_from_file`, a context and one decoded token in another.
Counted are processes that a signal ended or that computed for longer than `--hang-seconds`; tracebacks are
those of Python. Ours says the cause in one line; the library's is in its log only.
"""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import __version__, hardware
from tests.hostile.gguf_differential import Child, kind_of
from tests.hostile.gguf_files import small_model
from tests.hostile.gguf_generator import generate
from tests.hostile.test_gguf_files import CASES, mutated, named_case

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20260107
LIBRARY = "tests.hostile.gguf_native_child"


def named() -> Iterator[tuple[str, bytes]]:
    """Yield every bad file that has a name."""
    for name in sorted(CASES):
        yield name, named_case(name)


def cut_off(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield a good model that ends after so many bytes of its header or its tensors."""
    data, head = small_model().build(), len(small_model().head())
    randomness = random.Random(SEED)
    for number in range(count):
        length = randomness.randrange(head if number % 2 else len(data))
        yield f"{length} bytes", data[:length]


def changed_bytes(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield a good model with one byte of its header changed."""
    data, head = small_model().build(), len(small_model().head())
    randomness = random.Random(SEED)
    for number in range(count):
        yield f"change {number}", mutated(data, head, randomness)


def generated(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield files with changes of their structure."""
    for number in range(count):
        yield f"generated {SEED}:{number}", generate(SEED, number)


def short(outcome: str) -> str:
    """Return the kind of an outcome: deaths by their signal, anything clean in two words."""
    return outcome if outcome.startswith("DIED") else kind_of(outcome)


def compare(files: Iterator[tuple[str, bytes]], path: Path, hang_seconds: float) -> dict[str, Any]:
    """Give each file to both; return counts and the names of files that ended or blocked a process."""
    counts: dict[str, collections.Counter[str]] = {
        "phi4local": collections.Counter(),
        "llama_cpp": collections.Counter(),
    }
    victims: dict[str, str] = {}
    total = 0
    with Child(hang_seconds) as ours, Child(hang_seconds, LIBRARY) as theirs:
        for name, data in files:
            total += 1
            path.write_bytes(data)
            counts["phi4local"][short(ours.outcome(path))] += 1
            said = short(theirs.outcome(path))
            counts["llama_cpp"][said] += 1
            if said.startswith(("DIED", "HANGS")):
                victims[name] = said
    return {
        "files": total,
        **{
            side: {
                "deaths": sum(n for kind, n in found.items() if kind.startswith("DIED")),
                "hangs": found["HANGS"],
                "tracebacks": found["TRACEBACK"],
                "outcomes": dict(found.most_common()),
            }
            for side, found in counts.items()
        },
        "ended_or_blocked_llama_cpp": victims,
    }


def main() -> None:
    """Compare all kinds of files and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mutations", type=int, default=400)
    parser.add_argument("--truncations", type=int, default=100)
    parser.add_argument("--generated", type=int, default=1000)
    parser.add_argument("--hang-seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    kinds = {
        "named": named(),
        "cut off": cut_off(options.truncations),
        "one byte changed": changed_bytes(options.mutations),
        "generated": generated(options.generated),
    }
    with tempfile.TemporaryDirectory(prefix="phi4local-baseline-") as folder:
        path = Path(folder) / "any.gguf"
        found = {kind: compare(files, path, options.hang_seconds) for kind, files in kinds.items()}
    result = {
        "phi4local": __version__,
        "machine": hardware.describe(),
        "versions": {name: importlib.metadata.version(name) for name in ("llama-cpp-python",)},
        "command": "python -m benchmarks.hostile_baseline",
        "hang_seconds": options.hang_seconds,
        "kinds": found,
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
