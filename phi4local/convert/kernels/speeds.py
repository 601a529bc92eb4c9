"""How fast weights are quantized: the numbers behind the choice of kernels and the estimates of time.

Million weights a second and thread, without and with column weights, on x86-64 with AVX2 at about 3 GHz
(`benchmarks/kernels.py`).
"""

from __future__ import annotations

GGML_SPEEDS = {
    "F32": (3800, 3800),
    "F16": (590, 590),
    "BF16": (2500, 2500),
    "Q4_0": (900, 37),
    "Q4_1": (900, 8.4),
    "Q5_0": (500, 36),
    "Q5_1": (590, 8.6),
    "Q8_0": (290, 290),
    "Q2_K": (17, 7.5),
    "Q3_K": (80, 27),
    "Q4_K": (15, 8.6),
    "Q5_K": (18, 8.5),
    "Q6_K": (35, 33),
    "IQ4_NL": (5.2, 5.0),
    "IQ4_XS": (5.2, 4.8),
    "IQ3_XXS": (2.0, 2.0),
    "IQ3_S": (2.5, 1.7),
    "IQ2_XXS": (1.7, 1.7),
    "IQ2_XS": (0.85, 0.85),
    "IQ2_S": (1.5, 1.5),
    "IQ1_S": (4.2, 4.2),
    "IQ1_M": (3.5, 4.6),
    "TQ1_0": (330, 330),
    "TQ2_0": (330, 330),
    "MXFP4": (200, 200),
}

KERNEL_SPEEDS = {
    "Q2_K": (110, 50),
    "Q3_K": (260, 100),
    "Q4_K": (115, 55),
    "Q5_K": (135, 55),
    "Q6_K": (210, 170),
    "IQ4_NL": (65, 60),
    "IQ4_XS": (65, 60),
    "Q8_0": (600, 600),
    "Q4_0": (0, 100),
    "Q4_1": (0, 50),
    "Q5_0": (0, 100),
    "Q5_1": (0, 50),
}
"""Zero where there is no kernel: what is not searched ggml stores faster than a disk delivers."""


def ggml_speed(target: str, *, weighted: bool) -> float:
    """Return the speed of ggml's function. Example: `ggml_speed("Q4_K", weighted=False)` → 15."""
    return GGML_SPEEDS[target][weighted]


def kernel_speed(target: str, *, weighted: bool) -> float:
    """Return the speed of the kernel, 0 if there is none. Example: F16 → 0."""
    return KERNEL_SPEEDS.get(target, (0, 0))[weighted]
