"""Words that options take, apart from what they do, so that `--help` loads nothing else."""

FORMATS = ("md", "csv", "json", "jsonl", "sql")
"""Of `-o`, by llama-bench's names."""
LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1, "mlock": 2, "mmap+mlock": 3, "dio": 4}
"""llama-bench's names of enum llama_load_mode (llama.h of llama.cpp 0c1e57098)."""
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""Element types of keys and values that the bare loop can try; the engine has all but the last."""
