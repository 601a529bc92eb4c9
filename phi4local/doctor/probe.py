"""Loads llama.cpp in a process of its own and says what it sees: a broken build may do anything."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any


def main() -> None:
    """Run in the child: write one JSON object a line, the stage that begins or what was found."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["GGML_NO_BACKTRACE"] = "1"
    sys.stdout.flush()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what native code prints is no reply

    def say(**facts: Any) -> None:  # noqa: ANN401
        replies.write(json.dumps(facts) + "\n")
        replies.flush()

    from phi4local.native import devices, llama

    say(stage="loading the library")
    library = llama.bindings()
    say(folder=str(library._base_path), system_info=llama.system_info())
    say(stage="asking for devices")
    say(devices=[asdict(device) for device in devices.offload_devices()])
