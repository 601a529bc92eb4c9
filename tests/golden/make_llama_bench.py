"""Write llama_bench.json: rows of the real llama-bench, built by benchmarks.build_peers, for phi4-nano.

    python tests/golden/make_llama_bench.py phi4-nano-Q8_0.gguf

The numbers are of the machine that ran it; the tests want names, order, types and arithmetic.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks import build_peers

if __name__ == "__main__":
    model = Path(sys.argv[1]).resolve()
    peers = build_peers.find()
    if peers is None:
        sys.exit("error: llama-bench is not built\nhint: python -m benchmarks.build_peers")
    flags = ["-p", "64", "-n", "8", "-pg", "32,4", "-d", "0,16", "-r", "3", "-o", "json"]
    rows = subprocess.run(
        [peers.program("llama-bench"), "-m", model.name, *flags],
        cwd=model.parent,
        capture_output=True,
        check=True,
    ).stdout
    Path(__file__).with_name("llama_bench.json").write_bytes(rows)
