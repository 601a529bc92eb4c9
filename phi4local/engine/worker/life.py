"""One life of the child process, as its parent sees it: messages in and out, its death, its silence."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from phi4local.engine.worker import protocol
from phi4local.engine.worker.pipes import PipedProcess, start_thread
from phi4local.engine.worker.watch import Vigil
from phi4local.errors import EngineCrashedError, EngineError, EngineHungError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    Take = Callable[[dict[str, Any] | EngineError], None]
    """Takes the replies to one message, in order; the last one ends the matter, and so does an error."""

TICK_SECONDS = 1.0


class Child:
    """One child process. It starts at once; one thread reads its replies, another one watches its silence.

    All methods may be called by any thread. Replies are handed over by the reading thread, so whoever takes
    them has to return at once; nobody who is slow to use an answer holds up the others.

    Args:
        hang_seconds: how long it may be silent while somebody waits for it.
        on_end: called once when the process is gone, before those who wait are told why.

    Attributes:
        spoke: whether text came from it: a life in which the model works.
        closed: whether it was ended by `close`, which is no death.

    Raises:
        EngineError: the system starts no more processes.
    """

    def __init__(self, hang_seconds: float, on_end: Callable[[Child], None]) -> None:
        self._on_end = on_end
        self._takers: dict[int, Take] = {}
        self._lock = threading.Lock()  # for everything below
        self._tick_seconds = min(TICK_SECONDS, hang_seconds / 4)
        self._vigil = Vigil(
            hang_seconds=hang_seconds, longest_tick=2 * self._tick_seconds, now=time.monotonic()
        )
        self._busy = threading.Event()
        self._ended = threading.Event()
        self._cause: EngineError | None = None
        self.spoke = self.closed = False
        self._process = PipedProcess("phi4local.engine.worker.child")
        self._threads = (start_thread(self._read_replies), start_thread(self._watch))

    @property
    def process_id(self) -> int:
        """The process id."""
        return self._process.popen.pid

    @property
    def alive(self) -> bool:
        """Whether messages still reach it, as far as is known."""
        return not self._ended.is_set()

    def send(self, number: int, data: bytes, take: Take) -> bool:
        """Send an encoded message with this number; return False when the child is known to be dead.

        After True, `take` gets every reply to it and, should the child die before the last one, its death.
        """
        with self._lock:
            if self._ended.is_set() or self._process.popen.poll() is not None:
                return False
            if not self._takers:
                self._vigil.asked(time.monotonic())
            self._takers[number] = take
            self._busy.set()
        self._process.send(data)
        return True

    def cancel(self, number: int) -> None:
        """Ask to stop what message `number` began."""
        self._process.send(protocol.encode({"type": "cancel", "id": number}))

    def close(self) -> None:
        """End the child and wait for it; whoever waits is told that the model was closed."""
        self.closed = True
        self._blame(EngineError("the model was closed", hint="load it again"))
        self._process.end()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _blame(self, cause: EngineError) -> None:
        """Keep the first cause; what follows are its consequences."""
        with self._lock:
            if self._cause is None and not self._ended.is_set():
                self._cause = cause

    def death(self) -> EngineError:
        """Return why it ended."""
        if self._cause is None:
            how = _how_it_ended(self._process.popen.returncode)
            self._cause = EngineCrashedError(how, self._process.last_line())
        return self._cause

    def _read_replies(self) -> None:
        try:
            while (message := protocol.read_message(self._process.replies)) is not None:
                self._route(message)
        except (AttributeError, KeyError, TypeError, ValueError, Phi4LocalError) as error:
            # Native code runs there on files of strangers: what it sends may be nonsense.
            self._blame(EngineError(f"the engine process sent nonsense: {type(error).__name__}: {error}"))
        self._process.clean_up()
        with self._lock:
            self._ended.set()
            self._busy.set()
            death = self.death()
            lost, self._takers = list(self._takers.values()), {}
        self._on_end(self)
        for take in lost:
            take(death)

    def _route(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        with self._lock:
            self._vigil.heard(message, time.monotonic())
            self.spoke |= kind == "text"
            if kind in ("pong", "step"):
                return
            take = self._takers[message["id"]]
        take(message)
        if kind in protocol.LAST_REPLIES:  # not before it was understood: nonsense must end in an error there
            with self._lock:
                del self._takers[message["id"]]

    def _watch(self) -> None:
        while True:
            self._busy.wait()  # nobody waits for an idle child, and an idle machine is not woken
            if self._ended.wait(self._tick_seconds):
                return
            now = time.monotonic()
            with self._lock:
                if not self._takers:
                    self._busy.clear()
                    continue
                if self._vigil.wants_ping(now):
                    self._process.send(protocol.encode({"type": "ping"}))
                silent = self._vigil.tick(now)
            if silent:
                self._blame(EngineHungError(silent))
                self._process.popen.kill()
                return


def _how_it_ended(code: int) -> str:
    """Return what an exit code means. Examples: -6 → "died of SIGABRT"; -9 → "was killed (…)"."""
    if code == -9:
        return "was killed (the system may have run out of memory)"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"ended with code {code}"
