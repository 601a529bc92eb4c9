"""How eagerly libgomp's threads wait, changed while they run.

A thread of libgomp that waits for the others spins before it sleeps: 300,000 rounds by default, about a
millisecond. That is right while every thread has a core, since sleeping and waking cost more than most waits,
and ten times too slow when another process wants the same core: the spinning burns the time that the awaited
thread needs. The number is read when the library starts and cannot be set later. But libgomp spins only 1,000
rounds while it manages more threads than there are processors, and threads of any pool count. So an idle pool
of that size makes all threads of the process sleep soon, and ending it makes them spin again.

Source: `gomp_managed_threads` and `gomp_throttled_spin_count_var` in libgomp/team.c, libgomp/env.c and
libgomp/config/linux/wait.h of GCC 12 (<https://gcc.gnu.org/git/?p=gcc.git;a=tree;f=libgomp;hb=releases/gcc-12>).
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from pathlib import Path

_CHOSEN_BY_A_PERSON = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


class Spinning:
    """The waiting of this process's libgomp threads; they spin long until `stop`.

    Does nothing where llama.cpp does not use libgomp, and where the environment says how to wait.
    """

    def __init__(self) -> None:
        self._library = None if any(name in os.environ for name in _CHOSEN_BY_A_PERSON) else _libgomp()
        self._end: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def adjustable(self) -> bool:
        """Whether `stop` changes anything."""
        return self._library is not None

    @property
    def stopped(self) -> bool:
        """Whether the threads sleep soon."""
        return self._thread is not None

    def stop(self) -> None:
        """Let threads that wait sleep soon, from the next wait on."""
        if self._library is None or self._thread is not None:
            return
        ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=_hold_pool, args=(self._library, ready, self._end), name="phi4local-pool", daemon=True
        )
        self._thread.start()
        ready.wait()

    def resume(self) -> None:
        """Let threads that wait spin long again."""
        if self._thread is not None and self._end is not None:
            self._end.set()
            self._thread.join()
            self._thread = None


def _hold_pool(library: ctypes.CDLL, ready: threading.Event, end: threading.Event) -> None:
    """Start a parallel section that does nothing; its pool lives as long as this thread does."""
    threads = len(os.sched_getaffinity(0)) + 1  # type: ignore[attr-defined,unused-ignore] # Linux only
    nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # free(NULL) is defined to do nothing
    library.GOMP_parallel(nothing, None, ctypes.c_uint(threads), ctypes.c_uint(0))
    ready.set()
    end.wait()


def _libgomp() -> ctypes.CDLL | None:
    """Return the libgomp that this process has loaded, by its path: a wheel may bring a copy of its own."""
    if sys.platform != "linux":
        return None
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"(/\S*libgomp\S*\.so\S*)", maps)
        return ctypes.CDLL(found[1]) if found else None
    except OSError:
        return None
