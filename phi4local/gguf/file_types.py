"""The quantization that a file claims to have, from `general.file_type`.

Source: enum `llama_ftype` in include/llama.h of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.gguf.header import Header

_BY_NUMBER = (
    "F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K "
    "IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 - - - "
    "TQ1_0 TQ2_0"
)
FILE_TYPES = {number: name for number, name in enumerate(_BY_NUMBER.split()) if name != "-"}
"""Names by number; the gaps were formats that llama.cpp does not read any more."""


def quantization_of(header: Header) -> str:
    """Return the quantization's name, or `unknown`. Example: 15 → "Q4_K_M"."""
    number = header.get("general.file_type")
    return FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"
