"""Show what would be pulled, and ask."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from phi4local.cli import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.cli.progress import Shown
    from phi4local.runtime.fetch import PullPlan
    from phi4local.runtime.offers import Choice

_COLUMNS = ("", "QUANTIZATION", "SIZE", "MEMORY 4k", "16k", "FITS", "TOKENS/S")


def consent(shown: Shown, *, yes: bool) -> Callable[[PullPlan], None] | None:
    """Return how a command that needs a model gets leave to pull it; `shown` makes room for the question.

    `None` where nobody can be asked and `--yes` was not given: then nothing is pulled, and nothing is looked
    up on a server.
    """
    answer = tell if yes else ask
    if not yes and not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def shown_and_answered(plan: PullPlan) -> None:
        shown.pause()
        answer(plan)

    return shown_and_answered


def tell(plan: PullPlan) -> None:
    """Say on stderr what is pulled, why, and what is wrong with it."""
    render.notice(summary(plan))
    if plan.reason:
        render.notice(f"why {plan.quantization}: {plan.reason}")
    for line in plan.notices:
        render.notice(f"note: {line}")


def ask(plan: PullPlan) -> None:
    """Show a plan on stderr and wait for the answer.

    Raises:
        KeyboardInterrupt: the person said no.
    """
    if len(plan.choices) > 1:
        show_table(plan)
    tell(plan)
    if not plan.missing_bytes:
        return  # it only gets another name
    sys.stderr.write("Go on? [Y/n] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if answer.strip().lower() not in ("", "y", "yes") or not answer:
        raise KeyboardInterrupt


def show_table(plan: PullPlan, *, on_stderr: bool = True) -> None:
    """Draw one row for each quantization of a plan, the recommended one marked."""
    rows = [_row(choice, chosen=choice.quantization == plan.quantization) for choice in plan.choices]
    render.table(
        f"{plan.reference.host}/{plan.reference.repository}",
        _COLUMNS,
        rows,
        right=_COLUMNS[2:5] + _COLUMNS[6:],
        on_stderr=on_stderr,
    )


def _row(choice: Choice, *, chosen: bool) -> tuple[str, ...]:
    memory = [render.size(value) for value in choice.memory_bytes.values()] or ["?", "?"]
    speed = choice.tokens_per_second
    state = " (here)" if choice.here else " (recommended)" if choice.recommended else ""
    return (
        "→" if chosen else "",
        choice.quantization + state,
        render.size(choice.size_bytes),
        *memory,
        choice.fits,
        f"{speed[0]:.0f}-{speed[1]:.0f}" if speed and speed[1] >= 10 else _slow(speed),
    )


def _slow(speed: tuple[float, float] | None) -> str:
    return f"{speed[0]:.1f}-{speed[1]:.1f}" if speed else "?"


def summary(plan: PullPlan) -> str:
    """Return one line that says what is fetched and from where.

    Example: `phi-4:Q4_K_M from hf.co/microsoft/phi-4-gguf: 9.05 GB, 2.1 GB of it are here already`.
    """
    line = f"{plan.name} from {plan.reference.host}/{plan.reference.repository}"
    if not plan.missing_bytes:
        return f"{line}: it is here already"
    line += f": {render.size(plan.size_bytes)}"
    return f"{line}, {render.size(plan.here_bytes)} of it are here already" if plan.here_bytes else line
