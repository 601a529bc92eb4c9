"""How far a command is: bars on a terminal's stderr, a line every few seconds where stderr is no terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from phi4local.cli import render
from phi4local.cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phi4local.runtime.progress import Progress

LINE_SECONDS = 5.0
"""Between two lines where stderr is no terminal."""
_STAGES = {
    "verifying": "Verifying",
    "importing": "Importing",
    "reading": "Reading the list",
    "pulling": "Downloading",
    "checking": "Checking",
    "converting": "Converting",
    "loading": "Loading",
    "comparing": "Comparing",
    "measuring": "Measuring",
}
_BYTES = ("pulling", "checking", "verifying", "importing")


@contextlib.contextmanager
def shown_progress() -> Iterator[Shown]:
    """Yield what is called with every report; it never shows less than it has shown.

    Ctrl-C in the middle of a download says how to go on.
    """
    shown = Drawn() if sys.stderr.isatty() else Lines(render.notice)
    try:
        yield shown
    except KeyboardInterrupt:
        shown.pause()
        if shown.last is not None and shown.last.stage == "pulling":
            came = of_total(shown.last.done, shown.last.total)
            render.notice(f"stopped with {came}; the same command goes on from there")
        raise
    finally:
        shown.pause()


class Shown(Protocol):
    """Where progress is shown; `last` is the newest report."""

    last: Progress | None

    def __call__(self, progress: Progress) -> None:
        """Take one report."""

    def pause(self) -> None:
        """Leave the terminal to something else until the next report."""


class Lines:
    """Progress for a log: of downloads only, one line every `LINE_SECONDS`, and what happens at once.

    Args:
        say: writes one line.
        clock: seconds that only grow.

    Example of a line: `downloading: 46 %, 4.21 of 9.05 GB, 52.3 MB/s, 1 min 32 s left`.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._said_seconds = clock()
        self._note = ""
        self._done = 0
        self.last: Progress | None = None

    def pause(self) -> None:
        """Do nothing: lines are never in the way."""

    def __call__(self, progress: Progress) -> None:
        """Take one report."""
        self.last = progress
        if progress.stage != "pulling":
            return
        if progress.note and progress.note != self._note:
            self._say(progress.note)
        self._note = progress.note
        self._done = max(self._done, progress.done)
        if self._clock() - self._said_seconds >= LINE_SECONDS:
            self._said_seconds = self._clock()
            self._say(f"downloading: {describe(progress, self._done)}")


class Drawn:
    """One bar on a terminal, for the stage that runs."""

    def __init__(self) -> None:
        self._bars: Any = None  # rich's, imported where it is used
        self._tasks: dict[str, Any] = {}
        self._done: dict[str, int] = {}
        self.last: Progress | None = None

    def pause(self) -> None:
        """Take the bar from the screen."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def __call__(self, progress: Progress) -> None:
        """Take one report."""
        self.last, stage = progress, progress.stage
        if stage not in self._tasks:
            self.pause()
            self._bars = _started_bars()
            self._tasks[stage] = self._bars.add_task(_STAGES[stage], total=progress.total or None, detail="")
        self._done[stage] = done = max(self._done.get(stage, 0), progress.done)
        detail = progress.note or _detail(progress, done)
        self._bars.update(
            self._tasks[stage], completed=done, total=progress.total or None, detail=visible(detail)
        )


def _detail(progress: Progress, done: int) -> str:
    if not progress.total:
        return ""
    return describe(progress, done) if progress.stage in _BYTES else f"{_percent(progress, done)} %"


def describe(progress: Progress, done: int) -> str:
    """Return how far a download is, in words.

    Example: 4.21 GB of 9.05 GB at 52.3 MB/s → `46 %, 4.21 of 9.05 GB, 52.3 MB/s, 1 min 32 s left`.
    """
    parts = [f"{_percent(progress, done)} %", of_total(done, progress.total)]
    if progress.bytes_per_second:
        left_seconds = (progress.total - done) / progress.bytes_per_second
        parts += [f"{render.size(progress.bytes_per_second)}/s", f"{duration(left_seconds)} left"]
    return ", ".join(parts)


def of_total(done: float, total: float) -> str:
    """Return two sizes in the unit of the larger one. Example: (421e6, 9.05e9) → `0.42 of 9.05 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if total >= factor:
            digits = 2 if total < 100 * factor else 0
            return f"{done / factor:.{digits}f} of {total / factor:.{digits}f} {unit}"
    return f"{done:.0f} of {total:.0f} B"


def duration(seconds: float) -> str:
    """Return a time as people say it. Examples: 92 → `1 min 32 s`; 7,260 → `2 h 1 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _percent(progress: Progress, done: int) -> int:
    return 100 * done // progress.total if progress.total else 0


def _started_bars() -> Any:  # noqa: ANN401
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Detail(ProgressColumn):
        """Text that is never markup."""

        def render(self, task: Any) -> Text:  # noqa: ANN401
            return Text(task.fields["detail"], overflow="ellipsis", no_wrap=True)

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), Detail())
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    bars.start()
    return bars
