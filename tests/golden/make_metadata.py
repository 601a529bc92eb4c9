"""Make `metadata.json`: the header that llama.cpp's own converter writes for some checkpoints.

Run it in a checkout with `python -m tests.golden.make_metadata LLAMA_CPP`, the folder of llama.cpp's source
(`vendor/llama.cpp` in the sdist of the pinned llama-cpp-python). It needs torch, transformers and
sentencepiece, which the tests do not. Long arrays are kept as their length and a SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.random_checkpoint import Size, write_random_checkpoint

STORED = Path(__file__).with_name("metadata.json")
_TINY = {"hidden": 32, "feed_forward": 32, "layers": 1, "heads": 2, "kv_heads": 1}
CASES = {
    "phi-4": Size(**_TINY, vocabulary="phi-4", context=16384),
    "phi-4-mini": Size(
        **_TINY, vocabulary="phi-4-mini", context=131072, original_context=4096, rotary_share=0.75, tied=True,
        sliding_window=262144,
    ),
    "phi-3-mini-4k": Size(**_TINY, vocabulary="sentencepiece", context=4096, sliding_window=2047),
    "phi-3-mini-128k": Size(
        **_TINY, vocabulary="sentencepiece", context=131072, original_context=4096, sliding_window=262144
    ),
}  # fmt: skip
"""By name, which is the folder's name too."""


def write_case(folder: Path, name: str) -> Path:
    """Write the checkpoint of a case below `folder`."""
    return write_random_checkpoint(folder / name, CASES[name], dtype="F16")


def entry(kind: str, value: object) -> list[object]:
    """Return a value of a header as it is stored: short as it is, an array of more as length and SHA-256.

    Example: `entry("[str]", ["a", "b"])` → `["[str]", 2, "…"]`; `entry("u32", 7)` → `["u32", 7]`.
    """
    if isinstance(value, list | tuple):
        numbers = kind == "[f32]"
        content = [float(np.float32(item)) if numbers else item for item in value]
        text = json.dumps(content, ensure_ascii=False)
        return [kind, len(value), hashlib.sha256(text.encode()).hexdigest()]
    return [kind, float(np.float32(value)) if kind == "f32" else value]


def read(path: Path) -> dict[str, list[object]]:
    """Return every key of a GGUF file with `entry`, and its tensors under `tensors`."""
    import gguf

    reader = gguf.GGUFReader(path)
    short = {"UINT32": "u32", "INT32": "i32", "FLOAT32": "f32", "BOOL": "bool", "STRING": "str"}
    found: dict[str, list[object]] = {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        names = [short[kind.name] for kind in field.types if kind.name != "ARRAY"]
        array = len(names) < len(field.types)
        found[key] = entry(f"[{names[0]}]" if array else names[0], field.contents())
    found["tensors"] = sorted(
        [tensor.name, tensor.tensor_type.name, tensor.shape.tolist(), _digest(tensor.data)]
        for tensor in reader.tensors
    )
    return found


def _digest(data: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()


def build(llama_cpp: Path) -> dict[str, object]:
    """Return what `metadata.json` holds."""
    found: dict[str, object] = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = write_case(Path(folder), name)
            output = Path(folder) / "their.gguf"
            program = llama_cpp / "convert_hf_to_gguf.py"
            command = [sys.executable, program, checkpoint, "--outfile", output, "--outtype", "f16"]
            subprocess.run(command, check=True)
            found[name] = read(output)
    return found


if __name__ == "__main__":
    STORED.write_text(json.dumps(build(Path(sys.argv[1])), indent=1) + "\n", encoding="utf-8", newline="\n")
    sys.stderr.write(f"wrote {STORED.name}\n")
