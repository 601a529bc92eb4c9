"""Write what the real llama-bench, built by benchmarks.build_peers, says about phi4-nano.

    python tests/golden/make_llama_bench.py phi4-nano-Q8_0.gguf

- llama_bench.json: rows of short tests. Numbers are of the machine that ran it; tests want names, order,
  types and arithmetic.
- llama_bench_options.json: `lists`, what `-p TEXT` stands for (nothing where it is refused); and `order`,
  lines of flags with the settings of the rows in the order in which they came.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import build_peers

ROWS = ["-p", "64", "-n", "8", "-pg", "32,4", "-d", "0,16", "-r", "3"]
LISTS = ["7", "1,2,4", "3-6", "8-32+8", "8-33+8", "1-9*2", "4,1-2,4", "5-5", "2-9+3,1", "6-8*1", "5-9+0"]
LISTS += ["a", "1-", "2;3", "9-3", "1,,2", "-1"]
ORDER = [
    ["-p", "4,8", "-n", "2", "-pg", "4,2", "-d", "0,8", "-t", "1,2"],
    ["-p", "4", "-n", "0", "-b", "32,64", "-ub", "16,32", "-fa", "on,off", "--poll", "0,50"],
    ["-p", "0", "-n", "1", "-ctk", "f16,q8_0", "-ctv", "f16,q8_0", "-fa", "1", "-lm", "mmap,none"],
    ["-p", "4", "-n", "0", "-nkvo", "0,1", "-nopo", "0,1", "-embd", "0,1", "--repack", "1,0"],
]


def run(model, *flags):
    program = build_peers.find().program("llama-bench")
    command = [program, "-m", model.name, *flags, "-o", "json"]
    return subprocess.run(command, cwd=model.parent, capture_output=True, check=False)


def listed(model, text):
    done = run(model, "-p", text, "-n", "0", "-r", "1", "--no-warmup")
    return None if done.returncode else [row["n_prompt"] for row in json.loads(done.stdout)]


def ordered(model, flags):
    rows = json.loads(run(model, *flags, "-r", "1", "--no-warmup").stdout)
    varied = [name for name in rows[0] if len({json.dumps(row[name]) for row in rows}) > 1]
    measured = ("test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts")
    return [{name: row[name] for name in varied if name not in measured} for row in rows]


if __name__ == "__main__":
    model = Path(sys.argv[1]).resolve()
    options = {
        "lists": {text: listed(model, text) for text in LISTS},
        "order": [{"flags": flags, "rows": ordered(model, flags)} for flags in ORDER],
    }
    rows = json.loads(run(model, *ROWS).stdout)
    for name, golden in (("llama_bench", rows), ("llama_bench_options", options)):
        text = json.dumps(golden, indent=1) + "\n"
        Path(__file__).with_name(f"{name}.json").write_text(text, encoding="utf-8")
