"""Measurements by llama-bench and llama-batched-bench: a process each, which loads, warms up and measures."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import build_peers
from phi4local.engine.worker.process import child_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """llama.cpp's programs with the settings that both sides have.

    They run as a person would start them: nothing is set for libgomp.
    """

    folder: Path
    model: Path
    threads: int
    gpu_layers: int = 0

    @classmethod
    def of(cls, options: Any, model: Path) -> Peer:  # noqa: ANN401 - argparse's namespace
        """Return the programs that the command line names, or those of this machine's build."""
        folder = options.peers
        if folder is None:
            found = build_peers.find()
            if found is None:
                raise SystemExit("error: no programs to compare with\nhint: python -m benchmarks.build_peers")
            folder = found.bin
        return cls(folder=folder, model=model, threads=options.threads, gpu_layers=options.gpu_layers)

    def llama_bench(self, *, prompt_tokens: int, generated_tokens: int) -> tuple[float, float]:
        """Return tokens per second of a prompt and of an answer, each after a warm-up."""
        arguments = ("-p", prompt_tokens, "-n", generated_tokens, "-r", 1, "-o", "jsonl")
        rows = [json.loads(line) for line in self._run("llama-bench", *arguments).splitlines()]
        by_kind = {"prompt" if row["n_prompt"] else "generated": float(row["avg_ts"]) for row in rows}
        return by_kind.get("prompt", 0.0), by_kind.get("generated", 0.0)

    def batched_bench(
        self, *, streams: Sequence[int], prompt_tokens: int, generated_tokens: int, unified: bool
    ) -> dict[int, dict[str, float]]:
        """Return llama-batched-bench's rows by number of streams: `speed_tg`, `t_tg` and the like."""
        room = max(streams) * -(-(prompt_tokens + generated_tokens) // 256) * 256
        numbers = ",".join(map(str, streams))
        shape = ("-npp", prompt_tokens, "-ntg", generated_tokens, "-npl", numbers, "-c", room)
        mode = ("-kvu",) if unified else ("-no-kvu",)
        names = ("speed_pp", "speed_tg", "speed", "t_pp", "t_tg")
        for _ in range(6):  # its log is written by a thread, and now and then a line is missing at the end
            text = self._run("llama-batched-bench", *shape, *mode, "--output-format", "jsonl")
            rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            if len(rows) == len(streams):
                return {row["pl"]: {name: float(row[name]) for name in names} for row in rows}
        raise SystemExit("error: llama-batched-bench printed too few rows")

    def _run(self, program: str, *arguments: object) -> str:
        settings = ("-m", self.model, "-t", self.threads, "-ngl", self.gpu_layers)
        done = subprocess.run(
            list(map(str, (self.folder / program, *settings, *arguments))),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=child_environment(),
        )
        if done.returncode:
            raise SystemExit(f"error: {program} failed: {done.stderr[-500:]}")
        return done.stdout
