"""Ask a model many questions, several at once, and mark what it says."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.errors import ContextTooLongError
from phi4local.evaluation.task import Marked
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phi4local.engine import Generation
    from phi4local.evaluation.task import Question, Task
    from phi4local.runtime.language_model import LanguageModel

TEMPERATURE, MOST_TOKENS = 0.5, 1024
"""simple-evals' settings: sampler/chat_completion_sampler.py at 02e06b5. It sends no system text."""
NO_ANSWER = "No response (bad request)."
"""What simple-evals marks when a server refuses a question, as for one that is longer than the context."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How questions are asked.

    Attributes:
        seed: of the sampling; the n-th question gets `seed + n`, whatever was asked before.
        at_once: how many answers are generated at the same time.
        max_tokens: where an answer is cut off.
    """

    seed: int = 0
    at_once: int = 4
    max_tokens: int = MOST_TOKENS


@dataclass(frozen=True)
class _Waiting:
    question: Question
    generation: Generation | None
    answer: str | None = None


class Examination:
    """Questions of one task on their way through a model and, where there is one, a grader.

    Example: `Examination(model, task, Asking()).run(enumerate(questions), keep=marked.append)`.
    """

    def __init__(
        self, model: LanguageModel, task: Task, asking: Asking, grader: LanguageModel | None = None
    ) -> None:
        self._model, self._task, self._asking, self._grader = model, task, asking, grader
        self._answers: deque[_Waiting] = deque()
        self._verdicts: deque[_Waiting] = deque()

    def run(self, questions: Iterable[tuple[int, Question]], keep: Callable[[Marked], None]) -> None:
        """Ask every question, with its place in the whole task, and hand each one over when it is marked.

        They are handed over in the order of the questions.
        """
        try:
            for place, question in questions:
                if len(self._answers) >= self._asking.at_once:
                    self._collect(keep)
                generation = self._started(self._model, question.prompt, self._asking.seed + place)
                self._answers.append(_Waiting(question, generation))
            while self._answers:
                self._collect(keep)
            while self._verdicts:
                self._grade(keep)
        finally:
            for one in (*self._answers, *self._verdicts):
                if one.generation is not None:
                    one.generation.cancel()

    def _started(self, model: LanguageModel, prompt: str, seed: int) -> Generation | None:
        sampling = SamplingSettings(temperature=TEMPERATURE, seed=seed % 2**32)
        try:
            return model.chat(prompt, max_tokens=self._asking.max_tokens, sampling=sampling)
        except ContextTooLongError:
            return None

    def _collect(self, keep: Callable[[Marked], None]) -> None:
        """Take the oldest answer: mark it, or send it to the grader."""
        one = self._answers.popleft()
        answer = _text(one.generation)
        if self._grader is None or self._task.grading is None:
            mark = self._task.mark(one.question, answer, None)
            keep(Marked(question=one.question, answer=answer, mark=mark))
            return
        if len(self._verdicts) >= self._asking.at_once:
            self._grade(keep)
        message = self._task.grading(one.question, answer)
        judging = self._started(self._grader, message, self._asking.seed)
        self._verdicts.append(_Waiting(one.question, judging, answer))

    def _grade(self, keep: Callable[[Marked], None]) -> None:
        one = self._verdicts.popleft()
        verdict, answer = _text(one.generation), one.answer or ""
        mark = self._task.mark(one.question, answer, verdict)
        keep(Marked(question=one.question, answer=answer, mark=mark, verdict=verdict))


def _text(generation: Generation | None) -> str:
    if generation is None:
        return NO_ANSWER
    try:
        return generation.result().text
    except ContextTooLongError:
        return NO_ANSWER
