"""The line below the prompt: model, place, context, speed, adapter."""

from __future__ import annotations

from dataclasses import dataclass

BAR_CELLS = 10
WARNING_SHARE = 0.8
"""Of the context; from here on the line says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the line says.

    Attributes:
        model: name and quantization.
        place: where the layers are.
        used_tokens, context_tokens: of the context; 0 where nobody tells.
        tokens_per_second: of the last answer, or 0.
        extras: adapters, an attached file, a forced structure.
    """

    model: str
    place: str
    used_tokens: int = 0
    context_tokens: int = 0
    tokens_per_second: float = 0.0
    extras: tuple[str, ...] = ()


def line(status: Status, columns: int, *, blocks: bool = True) -> str:
    """Return the line, without what does not fit into `columns`: first the place goes, then extras, speed.

    Args:
        status: what to say.
        columns: cells of the terminal.
        blocks: whether it can show block characters.

    Example: " phi-4 Q4_K_M · CPU · ████░░░░░░ 1,640/4,096 · 12.3 tok/s".
    """
    speed = f"{status.tokens_per_second:,.1f} tok/s" if status.tokens_per_second else ""
    meter = bar(status.used_tokens, status.context_tokens, blocks=blocks)
    parts = {"model": status.model, "place": status.place, "meter": meter, "speed": speed}
    parts["extras"] = " · ".join(status.extras)
    for leaves in ((), ("place",), ("place", "extras"), ("place", "extras", "speed")):
        shown = " · ".join(text for name, text in parts.items() if text and name not in leaves)
        if len(shown) + 1 < columns:
            return " " + shown
    return " " + meter if meter else ""


def bar(used: int, total: int, *, blocks: bool = True) -> str:
    """Return how full the context is. Example: `bar(2048, 4096)` is "█████░░░░░ 2,048/4,096"."""
    if not total:
        return f"{used:,} tokens" if used else ""
    filled = min(BAR_CELLS, round(BAR_CELLS * used / total))
    full, empty = "█░" if blocks else "#."
    drawn = full * filled + empty * (BAR_CELLS - filled)
    warning = " nearly full: /context" if used >= WARNING_SHARE * total else ""
    return f"{drawn} {used:,}/{total:,}{warning}"
