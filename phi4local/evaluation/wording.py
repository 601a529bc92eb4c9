"""The prompts of simple-evals' benchmarks, from `wording.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def wording(task: str) -> dict[str, Any]:
    """Return a task's texts by name. Example: `wording("drop")["begin"]`."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = tables[task]
    return found
