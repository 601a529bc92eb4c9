"""Microsoft's Phi-4 on your own machine: convert, chat and measure with llama.cpp.

    import phi4local

    with phi4local.load("phi4-nano") as model:
        print(model.chat([phi4local.Message("user", "Why is the sky blue?")]).result().text)

Importing this package loads nothing heavy; the first `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.errors import Phi4LocalError
from phi4local.messages import Message
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.runtime.model import Model
    from phi4local.runtime.open import Progress

__all__ = ["LoadSettings", "Message", "Phi4LocalError", "SamplingSettings", "load"]


def load(
    model: str | None = None,
    settings: LoadSettings | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Open a model by name, GGUF file or checkpoint folder; see `phi4local.runtime.open.open_model`.

    Example: `phi4local.load("phi4-nano", LoadSettings(context_tokens=1024))`.
    """
    from phi4local.runtime.open import open_model

    return open_model(model, settings, progress=progress)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        from importlib.metadata import version  # 0.04 s, so only when somebody asks

        return version("phi4local")
    raise AttributeError(f"module 'phi4local' has no attribute {name!r}")
