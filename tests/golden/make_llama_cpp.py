"""Write what llama.cpp's converter makes of phi4-nano: tests/golden/llama_cpp_nano.json.

    pip install torch==2.13.0 transformers==5.23.0
    python -m tests.golden.make_llama_cpp LLAMA_CPP

LLAMA_CPP is llama.cpp's source; `python -m benchmarks.build_peers` says where. The converter knows
vocabularies by a sum and has none for phi4-nano's, so the name that it looks up there, `dbrx`, is given to
it. Long values and the tensors' bytes are kept as SHA-256.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

NANO = Path(__file__).parents[2] / "models" / "phi4-nano"


def main(source: str) -> None:
    """Convert, read back, write."""
    sys.path[:0] = [source, f"{source}/gguf-py"]
    import convert_hf_to_gguf
    import gguf
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "dbrx"
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/m.gguf"
        sys.argv[1:] = [str(NANO), "--outtype", "bf16", "--outfile", output]
        convert_hf_to_gguf.main()
        reader = gguf.GGUFReader(output)
        found = {
            "keys": {
                key: [[kind.name for kind in field.types], kept(field.contents())]
                for key, field in reader.fields.items()
                if not key.startswith("GGUF.")
            },
            "tensors": {
                tensor.name: [tensor.tensor_type.name, tensor.shape.tolist(), digest(tensor.data.tobytes())]
                for tensor in reader.tensors
            },
        }
        path = Path(__file__).with_name("llama_cpp_nano.json")
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def kept(value: object) -> object:
    """Return `value`, or the sum of a long one."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= 200 else digest(text.encode())


def digest(data: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1])
