"""A real `phi4local serve` in a process of its own, on a free port of this machine."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading


class ServedProcess:
    """One server; `address` is where it listens, `lines` what it has written on standard error."""

    def __init__(self, *arguments, env=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "phi4local", "serve", *map(str, arguments), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
            encoding="utf-8",
        )
        self.lines = []
        self._listening = threading.Event()
        self.address = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(120) or self.address is None:
            self.stop()
            raise RuntimeError(f"the server did not start: {self.lines}")

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            found = re.search(r"https?://\S+", line) if "listening on" in line else None
            if found:
                self.address = found[0]
                self._listening.set()
        self._listening.set()

    def stop(self, number=signal.SIGTERM):
        """End it and return its exit code."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        self.process.stderr.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self.process.poll() is None:
            self.process.kill()
            self.stop()
