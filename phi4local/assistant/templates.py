"""Prompt templates: a prompt with places to fill in, and the settings that belong to it.

`$name` and `${name}` stand for a text, `$$` for a dollar sign, as in Python's `string.Template`. Texts are
put in once and never looked at again, so a `$` in them is a `$`. A template is data: nothing is evaluated.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT = "input"
"""The variable that stands for what is asked: words, files and what a pipe brings."""
_PLACE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<named>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledPrompt:
    """What a template became: texts for the model, in which nothing is replaced any more."""

    system: str | None
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A prompt to use again. Everything may be left out.

    Attributes:
        model: who answers, as every command takes it.
        system: the instruction before the prompt.
        prompt: what is asked; left out, it is the input alone.
        max_tokens: longest answer, in tokens.
        sampling: how tokens are chosen, a schema for the answer included.
        parameters: values of variables for which nothing else is given.

    Example: `PromptTemplate(prompt="In $words words: $input", parameters={"words": "50"})`.

    Raises:
        InvalidSettingError: a `$` that begins no variable, a limit below 1, or a parameter without a place.
    """

    model: str | None = None
    system: str | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidSettingError("max_tokens", f"is {self.max_tokens}; it must be at least 1")
        self._require_places(self.parameters)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables, in the order of their first place."""
        found = [*_variables("system", self.system or ""), *_variables("prompt", self._prompt)]
        return tuple(dict.fromkeys(found))

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to ask without an input."""
        return INPUT in self.variables

    def overridden_by(self, other: PromptTemplate) -> PromptTemplate:
        """Return a template with what `other` sets, and what it leaves out from this one.

        Raises:
            InvalidSettingError: a parameter has no place any more.
        """
        return replace(
            self,
            model=other.model or self.model,
            system=self.system if other.system is None else other.system,
            prompt=self.prompt if other.prompt is None else other.prompt,
            max_tokens=other.max_tokens or self.max_tokens,
            sampling=other.sampling.filled_from(self.sampling),
            parameters={**self.parameters, **other.parameters},
        )

    def filled(self, text: str, parameters: Mapping[str, str] | None = None) -> FilledPrompt:
        """Put texts in the places of the variables.

        Args:
            text: the input. Where the prompt has no place for it, it follows the prompt after a blank line.
            parameters: the other variables; those left out have the template's own values.

        Example::

            >>> PromptTemplate(prompt="In $words words: $input").filled("Faust", {"words": "50"}).prompt
            'In 50 words: Faust'

        Raises:
            InvalidSettingError: a variable without a value, or a parameter that the template does not have.
        """
        self._require_places(parameters or {})
        values = {**self.parameters, **(parameters or {}), INPUT: text}
        for name in self.variables:
            if name not in values:
                raise InvalidSettingError(
                    "param",
                    f"lacks `{name}`, for which the template has a place",
                    hint=f"add `--param {name}=…`",
                )
        prompt = _replaced(self._prompt, values)
        if text and INPUT not in _variables("prompt", self._prompt):
            prompt = f"{prompt}\n\n{text}"
        return FilledPrompt(
            system=None if self.system is None else _replaced(self.system, values), prompt=prompt
        )

    @property
    def _prompt(self) -> str:
        return f"${INPUT}" if self.prompt is None else self.prompt

    def _require_places(self, parameters: Mapping[str, str]) -> None:
        known = [name for name in self.variables if name != INPUT]
        for name in parameters:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2) or known
                places = ", ".join(f"`{one}`" for one in near) if near else "none but `$input`"
                raise InvalidSettingError(
                    "param", f"names `{name}`, for which the template has no place", hint=f"it has {places}"
                )


def _variables(where: str, text: str) -> list[str]:
    """Return the names of the variables of a text, in their order.

    Raises:
        InvalidSettingError: a `$` that begins no variable.
    """
    names = []
    for found in _PLACE.finditer(text):
        if found[0] == "$":
            line = text.count("\n", 0, found.start()) + 1
            raise InvalidSettingError(
                where,
                f"has a `$` in line {line} that begins no variable",
                hint="write `$$` for a dollar sign",
            )
        names += [found["named"] or found["braced"]] if found[0] != "$$" else []
    return names


def _replaced(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its variables replaced, in one pass."""
    return _PLACE.sub(lambda found: found["dollar"] or values[found["named"] or found["braced"]], text)
