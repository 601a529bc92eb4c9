"""Tokens in, tokens out: `submit(Request) -> Generation`, in this process or in a worker process.

`Engine` runs llama.cpp here; `EngineWorker` offers the same in a child process and is what chat, run and
bench use: a crash of the library becomes an error line. Nothing heavy is imported until one is opened.
"""

from phi4local.engine.events import (
    Completion,
    ContextShifted,
    Event,
    Finished,
    Request,
    Text,
    Timings,
    TokenLogprob,
    Usage,
)
from phi4local.engine.generation import Generation

__all__ = [
    "Completion",
    "ContextShifted",
    "Event",
    "Finished",
    "Generation",
    "Request",
    "Text",
    "Timings",
    "TokenLogprob",
    "Usage",
]
