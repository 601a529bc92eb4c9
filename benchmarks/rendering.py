"""How long a piece of an answer takes to draw, and whether that grows with the answer.

python -m benchmarks.rendering --json benchmarks/results/rendering.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import pairs
from phi4local.cli.chat.markdown.stream import MarkdownStream

TOKENS, CHARACTERS = 4000, 4
"""An answer, in pieces of about a token."""
PAGE = """## Step {number}

The **quick** fox reads `notes.txt` and goes on for a while, so that the line has to be broken somewhere.

- first thing with *stress*
- second thing

| name | value | note |
|------|------:|------|
| fox  | {number} | a cell with some words |
| hare | 17 | another one |

```python
def step_{number}(fox):
    return [jump for jump in fox.jumps if jump.height > {number}]  # higher than before
```

"""


def measure(columns: int) -> dict[str, float]:
    """Return milliseconds a token: median and 99th percentile, of the whole and of both ends."""
    text = "".join(PAGE.format(number=number) for number in range(TOKENS))[: TOKENS * CHARACTERS]
    drawn = MarkdownStream(columns=lambda: columns, colour=True)
    took = []
    for place in range(0, len(text), CHARACTERS):
        start = time.perf_counter()
        drawn.feed(text[place : place + CHARACTERS])
        took.append((time.perf_counter() - start) * 1000)
    drawn.finish()
    quarter = len(took) // 4
    return {
        "columns": columns,
        "tokens": len(took),
        "median_ms": statistics.median(took),
        "p99_ms": statistics.quantiles(took, n=100)[98],
        "largest_ms": max(took),
        "first_quarter_ms": statistics.mean(took[:quarter]),
        "last_quarter_ms": statistics.mean(took[-quarter:]),
    }


def main() -> int:
    """Measure at three widths and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows = [measure(columns) for columns in (40, 80, 200)]
    facts: dict[str, Any] = {
        "command": "python -m benchmarks.rendering",
        "rows": rows,
    }
    pairs.write(chosen.json, (), **facts)
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
