"""One piece of work in a process of its own: an order goes in, messages come out, a crash is an error.

For what needs the library bare and not the engine: measuring speed, reading a text.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from phi4local.engine.worker import protocol
from phi4local.engine.worker.pipes import PipedProcess
from phi4local.engine.worker.process import prepare_child, take_standard_output
from phi4local.errors import EngineCrashedError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Tell = Callable[[dict[str, Any]], None]


def messages_of(module: str, order: dict[str, Any], *, doing: str) -> Generator[dict[str, Any], None, None]:
    """Let `main()` of a module carry out an order, and yield what it tells; a message of type `done` ends it.

    Close the generator when you stop before its end: that ends the process.

    Args:
        module: its `main` calls `serve`.
        order: JSON.
        doing: what it does, for messages, such as "reads the text".

    Raises:
        EngineCrashedError: the process died.
        Phi4LocalError: what the work failed with.
    """
    process = PipedProcess(module)
    try:
        process.send(protocol.encode(order))
        while (message := protocol.read_message(process.replies)) is not None:
            if message["type"] == "failed":
                raise protocol.error_from_json(message["error"])
            last = message["type"] == "done"
            yield message  # from here on it belongs to the caller
            if last:
                return
        code = process.popen.wait()
        raise EngineCrashedError(f"that {doing} ended with code {code}", process.last_line())
    finally:
        process.popen.kill()
        process.clean_up()


def serve(work: Callable[[dict[str, Any], Tell], dict[str, Any]]) -> None:
    """In the child: carry out one order, tell its result or its error, and end with the parent.

    Args:
        work: gets the order, and what tells a message, which has a `type`; returns the fields of `done`.
    """
    prepare_child()
    commands, replies = sys.stdin.buffer, take_standard_output()

    def tell(message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the parent is gone; the other thread ends us
            protocol.write_message(replies, message)

    order = protocol.read_message(commands)
    threading.Thread(target=_end_with_parent, args=(commands,), daemon=True).start()
    if order is None:
        return
    try:
        tell({"type": "done", **work(order, tell)})
    except Phi4LocalError as error:
        tell({"type": "failed", "error": protocol.error_to_json(error)})


def _end_with_parent(commands: IO[bytes]) -> None:
    commands.read()
    os._exit(1)
