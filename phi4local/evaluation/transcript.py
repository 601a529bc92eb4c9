"""Every prompt and answer of a run in a file, from which an interrupted run goes on.

`PHI4LOCAL_HOME/results/evaluations/TASK-KEY.jsonl`: the first line holds the settings whose hash is KEY,
every further one an answer:

    {"format": 1, "settings": {"task": "mgsm", "model": "…", "limit": 100, "seed": 0, …}}
    {"key": "mgsm/en/7", "repeat": 0, "prompt": "…", "answer": "…", "extracted": "18", "score": 1.0, …}

Only ever appended to, by one process at a time. What a killed process left half written is asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from phi4local.errors import EvaluationBusyError
from phi4local.evaluation.task import Mark, Marked
from phi4local.files import write_error
from phi4local.store.home import make_models_folder
from phi4local.store.locks import locked
from phi4local.store.results import results_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from phi4local.evaluation.task import Question

FORMAT = 1


class Transcript:
    """The answers to one set of questions, by one model, with the same settings.

    Nobody else has it while it is held in a `with` block, at whose begin it is read.

    Args:
        settings: what else the answers depend on.
        questions: all of them.
        fresh: forget what is there.

    Attributes:
        path: its file.
        marked: what was there already and what came since, by key and repeat.
    """

    def __init__(
        self, settings: Mapping[str, Any], questions: Sequence[Question], *, fresh: bool = False
    ) -> None:
        said = json.dumps([[one.key, one.repeat, one.prompt, one.target] for one in questions])
        values = {**settings, "questions_sha256": hashlib.sha256(said.encode()).hexdigest()}
        name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
        make_models_folder()  # makes the home too, for its owner alone
        self.path = results_folder() / "evaluations" / f"{settings['task']}-{name}.jsonl"
        self.marked: dict[tuple[str, int], Marked] = {}
        self._asked = {(one.key, one.repeat): one for one in questions}
        self._head = json.dumps({"format": FORMAT, "settings": values}, ensure_ascii=False)
        self._fresh = fresh
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Transcript:
        """Hold the file and read it.

        Raises:
            EvaluationBusyError: another process has it.
            FileWriteError: the operating system refused.
        """
        with contextlib.ExitStack() as stack:
            if not stack.enter_context(locked(f"evaluation-{self.path.stem}", wait=False)):
                raise EvaluationBusyError(self.path)
            self._begin()
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _begin(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._fresh or not self._read():
                self.path.write_text(self._head + "\n", encoding="utf-8")
        except OSError as error:
            raise write_error(self.path, error) from error

    def append(self, one: Marked) -> None:
        """Write an answer; it is on the disk when this returns."""
        question, mark = one.question, one.mark
        self.marked[question.key, question.repeat] = one
        row = {
            "key": question.key,
            "repeat": question.repeat,
            "group": question.group,
            "prompt": question.prompt,
            "target": question.target,
            "answer": one.answer,
            "verdict": one.verdict,
            "extracted": mark.extracted,
            "score": mark.score,
            "metrics": dict(mark.metrics),
        }
        try:
            # Escaped, so that half a surrogate in an answer cannot stop the run.
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error

    def _read(self) -> bool:
        """Take over what is there; return whether anything is."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return False
        for line in text.split(b"\n")[1:]:
            if one := self._answer(line):
                self.marked[one.question.key, one.question.repeat] = one
        if text and not text.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")
        return bool(text)

    def _answer(self, line: bytes) -> Marked | None:
        try:
            row = json.loads(line)
            question = self._asked[row["key"], row["repeat"]]
            metrics = {str(name): float(value) for name, value in row["metrics"].items()}
            mark = Mark(score=float(row["score"]), extracted=row["extracted"], metrics=metrics)
            return Marked(question=question, answer=str(row["answer"]), mark=mark, verdict=row["verdict"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def digest_of_model(path: Path | None) -> str:
    """Return a name for a model's content; empty for one on a server."""
    from phi4local.store.results import model_digest

    return model_digest(path) if path is not None else ""
