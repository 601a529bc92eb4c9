"""A bounded reader and validator of GGUF files; it runs before any native load.

`read_header` reads what a file says about itself, `validate` also decides whether it is a Phi-4 model that
llama.cpp can load. No input makes them hang, crash or allocate without bound: the way out is a `Header` or
a `phi4local.errors.GGUFError` that names the cause.
"""

from phi4local.gguf.adapter import validate_adapter
from phi4local.gguf.file_types import quantization_of
from phi4local.gguf.header import Header, read_header, read_header_of
from phi4local.gguf.tensor_table import TensorInfo
from phi4local.gguf.tensor_types import TensorType
from phi4local.gguf.validate import validate

__all__ = [
    "Header",
    "TensorInfo",
    "TensorType",
    "quantization_of",
    "read_header",
    "read_header_of",
    "validate",
    "validate_adapter",
]
