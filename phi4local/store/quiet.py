"""Keep addresses and headers of our requests out of the logs of the HTTP library.

It logs whole addresses, with their signatures, and the headers of answers. A host program that turns its logs
on sees its own requests there, not ours.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ours: contextvars.ContextVar[bool] = contextvars.ContextVar("phi4local_request", default=False)
_PARTS = ("", ".connection", ".http11", ".http2", ".proxy", ".socks")


@contextlib.contextmanager
def no_logs() -> Iterator[None]:
    """Drop what the HTTP library logs in this thread, in the `with` block only."""
    _install()
    before = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(before)


@functools.cache
def _install() -> None:
    for library in ("httpx", "httpx2", "httpcore", "httpcore2"):
        for part in _PARTS:  # a filter of a parent does not see what its children log
            logging.getLogger(library + part).addFilter(lambda _record: not _ours.get())
