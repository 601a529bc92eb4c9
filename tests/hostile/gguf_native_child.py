"""Load and run the files named on stdin with llama.cpp alone; one line on stdout for each.

What `gguf_engine_child` does, without phi4local: the side that it is compared with.
"""

from __future__ import annotations

import sys

import llama_cpp

from phi4local.engine.worker.process import prepare_child, take_standard_output
from tests.hostile.gguf_native_load import outcome


def main() -> None:
    """Answer one line for each line."""
    prepare_child()
    replies = take_standard_output()
    llama_cpp.llama_backend_init()
    for line in sys.stdin:
        said = outcome(line.rstrip("\n"))
        replies.write((said if said == "runs" else f"fails cleanly: {said}").encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()
