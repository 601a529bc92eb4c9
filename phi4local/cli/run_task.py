"""What `phi4local run` is to do: words, files and a template become messages and settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from phi4local.assistant import template_files
from phi4local.assistant.templates import PromptTemplate
from phi4local.cli import render
from phi4local.cli.run_prompt import attached_text, parameter_values, split_words
from phi4local.messages import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.settings import SamplingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What stands on the command line: arguments, `--file`, `--template` and `--param`."""

    arguments: Sequence[str]
    files: Sequence[str]
    template: str | None
    parameters: Sequence[str]

    def read_template(self) -> PromptTemplate:
        """Return the template, or one that is the prompt alone."""
        return PromptTemplate() if self.template is None else template_files.read(self.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Who is asked what. `max_tokens` limits each answer."""

    model: str | None
    messages: tuple[Message, ...]
    sampling: SamplingSettings
    max_tokens: int | None


def task_of(words: Words, given: PromptTemplate, system: str | None) -> Task:
    """Return what is to be asked.

    Args:
        words: of the command line.
        given: settings of the command line; they count before the template's.
        system: the instruction of the command line, in which nothing is replaced; `None` for the template's.

    Raises:
        UnknownTemplateError, TemplateError: no such template, or a damaged one.
        InputFileError: a file that cannot be read, or is no text.
        InvalidSettingError: a variable without a value, or a parameter that the template does not have.
    """
    template = words.read_template()
    values = parameter_values(words.parameters)
    if values and words.template is None:
        raise typer.BadParameter("`--param` needs `--template`")
    model, text = split_words(words.arguments, attached_text(words.files), needed=template.needs_input)
    filled = template.filled(text, values)
    system = filled.system if system is None else system
    return Task(
        model=model or template.model,
        messages=(*([Message("system", system)] if system else []), Message("user", filled.prompt)),
        sampling=given.sampling.filled_from(template.sampling),
        max_tokens=given.max_tokens or template.max_tokens,
    )


def keep_template(name: str, words: Words, given: PromptTemplate) -> None:
    """Keep the command line as a template, on top of the one that it names.

    Raises:
        As `task_of`, and `template_files.save`.
    """
    template = words.read_template()
    model, text = split_words(words.arguments, attached_text(words.files), needed=False)
    changed = template.overridden_by(replace(given, model=model, prompt=text or None))
    values = {**changed.parameters, **parameter_values(words.parameters)}
    path = template_files.save(name, replace(changed, parameters=values))
    render.notice(f"{path}: kept; use it with `phi4local run --template {name}`")
