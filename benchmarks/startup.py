"""How long a person waits for a command, beside an empty Python in the same run.

    python -m benchmarks.startup [--output benchmarks/results/startup.json]

Rounds alternate between the commands. phi4-nano is converted before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from phi4local import __version__, hardware

PROGRAM = str(Path(sys.executable).with_name("phi4local"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "phi4local --help": [PROGRAM, "--help"],
    "phi4local list": [PROGRAM, "list"],
    'phi4local run phi4-nano "What is 3 plus 4?"': [
        PROGRAM,
        "run",
        "phi4-nano",
        "What is 3 plus 4?",
        "--no-server",
    ],
}


def measure(rounds: int) -> dict[str, Any]:
    """Return seconds of every command in every round, with median and minimum."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_number in range(rounds + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
            if round_number:
                seconds[name].append(round(time.perf_counter() - started, 4))
    return {
        name: {"median": statistics.median(values), "minimum": min(values), "values": values}
        for name, values in seconds.items()
    }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    result = {
        "phi4local": __version__,
        "machine": hardware.describe(),
        "command": "python -m benchmarks.startup",
        "seconds": measure(options.rounds),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
