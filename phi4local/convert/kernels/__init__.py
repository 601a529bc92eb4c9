"""Row quantizers in Numba: ggml's bytes, many times as fast. The only home of `numba`.

Importing this costs nothing; `phi4local.convert.kernels.rows` imports Numba. One file per family holds the
arithmetic, with a worked block; `choice` decides whether compiling pays.
"""

from phi4local.convert.kernels.choice import KERNELS, Choice, Work, choose

__all__ = ["KERNELS", "Choice", "Work", "choose"]
