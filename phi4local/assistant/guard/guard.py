"""The guard: what a person says and what the model says, checked by the rules of a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from phi4local.assistant.guard.azure import AzureContentSafety
from phi4local.assistant.guard.checks import Checks
from phi4local.assistant.guard.events import Blocked, GuardEvent, Verdict
from phi4local.assistant.guard.folded import fold
from phi4local.assistant.guard.judge import Judge
from phi4local.assistant.guard.log import GuardLog
from phi4local.assistant.guard.masking import joined, masked
from phi4local.assistant.guard.personal import PersonalData
from phi4local.assistant.guard.policy import read_policy
from phi4local.assistant.guard.stream import OutputFilter
from phi4local.assistant.guard.words import WordList
from phi4local.errors import GuardPolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from phi4local.assistant.guard.finding import Direction, Finding, SpanRule, TextRule
    from phi4local.assistant.guard.policy import Policy, RuleEntry
    from phi4local.engine import Event
    from phi4local.runtime.language_model import LanguageModel


class Guard:
    """Checks texts on their way to the model and from it; it never raises because of a text.

    Args:
        policy: the rules; see `phi4local.assistant.guard.policy`.
        judge_model: who judges where a rule of kind `judge` names no model. The caller closes it.

    Example::

        guard = Guard.from_file("policy.toml", judge_model=model)
        verdict = guard.check_input("Write to pip@fox.org.")
        if verdict.allowed:
            for event in guard.filtered(model.chat(verdict.text)):
                ...

    Raises:
        GuardPolicyError: a rule that needs a judge, and there is none.
        InvalidSettingError: the environment has no endpoint or key for Azure.
        FileWriteError: the log cannot be written.
        Phi4LocalError: a judge's own model cannot be loaded.
    """

    def __init__(self, policy: Policy, judge_model: LanguageModel | None = None) -> None:
        self.policy = policy
        self._judge_model = judge_model
        self._models: dict[str, LanguageModel] = {}
        log = GuardLog(policy.log_file, with_text=policy.log_text)
        try:
            used = dict.fromkeys([*policy.input, *policy.output])
            rules = {name: self._rule(name, policy.rules[name]) for name in used}
        except BaseException:
            self.close()
            raise
        self._input = _checks("input", [rules[name] for name in policy.input], log)
        self._output = _checks("output", [rules[name] for name in policy.output], log)

    @classmethod
    def from_file(cls, path: str | Path, judge_model: LanguageModel | None = None) -> Self:
        """Read a policy file and return its guard.

        Raises:
            GuardPolicyError: the file means nothing.
            Phi4LocalError: as the class says.
        """
        return cls(read_policy(path), judge_model)

    def check_input(self, text: str) -> Verdict:
        """Say whether the model may read what a person wrote, and in which form."""
        found, _ = self._input.look(fold(text), final=True)
        stop = min((one for one in found if one.action == "block"), key=_start, default=None)
        if stop:
            return _refused(text, self._input.blocked(stop.rule, stop.category, text))
        masks = joined(found)
        shown = masked(text, masks)
        blocked, unchecked = self._input.read(shown)
        if blocked:
            return _refused(text, blocked)
        notes = [one.message for one in unchecked]
        for mask in masks:
            problem = self._input.note("masked", mask.rule, mask.category, text)
            notes.append(f"hidden from the model by the guard: {mask.category}{problem}")
        first = masks[0] if masks else None
        return Verdict(
            allowed=True,
            text=shown,
            rule=first.rule if first else "",
            category=first.category if first else "",
            text_for_person="; ".join(dict.fromkeys(notes)),
        )

    def filtered(self, events: Iterable[Event]) -> Iterator[Event | GuardEvent]:
        """Yield the events of an answer when they were checked.

        When something is not allowed, the generation is cancelled, `Blocked` follows, and `Finished`.
        Ids of tokens come in their order; those of masked or blocked text are missing.

        Args:
            events: a `Generation`, or any events of one answer.
        """
        cancel = getattr(events, "cancel", None)
        answer = self.output_filter()
        for event in events:
            for out in answer.push(event):
                if isinstance(out, Blocked) and cancel:
                    cancel()
                yield out

    def output_filter(self) -> OutputFilter:
        """Return what checks the events of one answer, for callers that push them, such as a server."""
        return OutputFilter(self._output, self.policy.window_characters)

    def close(self) -> None:
        """Close the judges' own models."""
        while self._models:
            self._models.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rule(self, name: str, entry: RuleEntry) -> SpanRule | TextRule:
        values = dict(entry.values)
        if entry.kind == "words":
            return WordList(name, **values)
        if entry.kind == "personal":
            return PersonalData(name, **values)
        if entry.kind == "azure":
            return AzureContentSafety(name, **values)
        return Judge(name, self._judge(name, values.pop("model", None)), **values)

    def _judge(self, name: str, model: str | None) -> LanguageModel:
        if model is None and self._judge_model is not None:
            return self._judge_model
        if model is None:
            hint = 'name one in the policy: model = "phi-4-mini"'
            raise GuardPolicyError(self.policy.path, f"[rules.{name}] has no model to judge with", hint=hint)
        if model not in self._models:
            from phi4local.runtime.load import load_model

            self._models[model] = load_model(model)
        return self._models[model]


def _checks(direction: Direction, rules: list[SpanRule | TextRule], log: GuardLog) -> Checks:
    spans = [rule for rule in rules if isinstance(rule, WordList | PersonalData)]
    texts = [rule for rule in rules if isinstance(rule, AzureContentSafety | Judge)]
    return Checks(direction, spans, texts, log)


def _refused(text: str, blocked: Blocked) -> Verdict:
    return Verdict(
        allowed=False,
        text=text,
        rule=blocked.rule,
        category=blocked.category,
        text_for_person=blocked.message,
    )


def _start(finding: Finding) -> int:
    return finding.start
