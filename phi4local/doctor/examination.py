"""All checks, in the order in which one explains the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.doctor import (
    environment,
    graphics,
    interpreter,
    library,
    memory,
    network,
    packages,
    proof,
    store,
)
from phi4local.doctor.result import WRONG, Result
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LIBRARY_SECONDS = 60.0
"""How long loading llama.cpp may take, and each device's proof; drivers take seconds to start."""


def examine(seconds: float = LIBRARY_SECONDS) -> Iterator[Result]:
    """Run all checks and yield what each found, as soon as it is known.

    Nothing that a check meets ends the others: not a broken library, a home folder that cannot be read, or a
    network that is down.

    Args:
        seconds: how long loading llama.cpp may take, and each device's proof.

    Example: `summary(examine())["wrong"]` is 0 on a machine where everything works.
    """
    yield interpreter.check()
    yield from _guarded("packages", lambda: packages.check(seconds))
    found = library.try_loading(seconds)
    yield from _guarded("llama-cpp-python", lambda: library.check(found))
    yield from _guarded("GPU", lambda: [graphics.check(found, graphics.look())])
    yield from _guarded("memory", memory.check)
    yield from _guarded("store", store.check)
    yield from _guarded("network", network.check)
    yield from _guarded("environment", environment.check)
    yield from _guarded("terminal", lambda: [interpreter.check_terminal()])
    yield from _guarded("engine on CPU", lambda: proof.check(found, seconds))


def _guarded(name: str, check: Callable[[], Iterable[Result]]) -> Iterator[Result]:
    """Yield a check's results, or the error that ended it as one more."""
    try:
        yield from check()
    except Phi4LocalError as error:
        yield Result(name=name, state=WRONG, seen=str(error), advice=error.hint or "")
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        yield Result(name=name, state=WRONG, seen=f"{type(error).__name__}: {error}")
