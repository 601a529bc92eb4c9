"""Modelfiles: read one into its parts, and write the one that would make a model again.

Source: parser/parser.go of ollama fb307609. Commands are words in upper or lower case at the start of a
line; a value is the rest of the line, or stands between three quotes over several lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.errors import ModelfileError
from phi4local.store import parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARACTERS = 4 * 2**20
ROLES = ("system", "user", "assistant")
COMMANDS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "MESSAGE", "LICENSE")
_LINE = re.compile(r"\s*([A-Za-z]+)(?:[ \t]+(.*))?", re.DOTALL)
_FENCE = '"""'


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelfile:
    """What a Modelfile says.

    Attributes:
        base: a model's name, a GGUF file, or a folder with a checkpoint.
        parameters: by Ollama's names or by those of `SamplingSettings`; `stop` is a list.
        template: Ollama's chat template, or `None`.
        system: the instruction before every conversation, or `None`.
        adapters: GGUF files or PEFT folders.
        messages: what every conversation begins with, each a role and a text.
        licenses: texts.
    """

    base: str
    parameters: dict[str, Any] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    adapters: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    licenses: tuple[str, ...] = ()


def parse(text: str) -> Modelfile:
    r"""Read a Modelfile.

    Example: `parse("FROM phi-4\nPARAMETER temperature 0.5\nSYSTEM You are Pip.").system` is "You are Pip.".

    Raises:
        ModelfileError: the line, what is wrong with it, and what is allowed.
    """
    if len(text) > MOST_CHARACTERS:
        raise ModelfileError(1, f"the file has {len(text):,} characters; {MOST_CHARACTERS:,} are the most")
    values: dict[str, list[str]] = {command: [] for command in COMMANDS}
    chosen: dict[str, Any] = {}
    messages: list[tuple[str, str]] = []
    for number, command, value in _commands(text):
        if command == "PARAMETER":
            _add_parameter(chosen, value, number)
        elif command == "MESSAGE":
            messages.append(_message(value, number))
        else:
            values[command].append(value)
    bases = values["FROM"]
    if len(bases) != 1:
        raise ModelfileError(1, f"there are {len(bases)} FROM lines", hint="write one, such as `FROM phi-4`")
    return Modelfile(
        base=bases[0],
        parameters=chosen,
        template=_last(values["TEMPLATE"]),
        system=_last(values["SYSTEM"]),
        adapters=tuple(values["ADAPTER"]),
        messages=tuple(messages),
        licenses=tuple(values["LICENSE"]),
    )


def _last(texts: list[str]) -> str | None:
    return texts[-1] if texts else None


def render(modelfile: Modelfile) -> str:
    """Return the text that `parse` reads as `modelfile`.

    Example: a model with a system text gives `FROM …` and `SYSTEM …`, each on its line.
    """
    lines = [f"FROM {modelfile.base}"]
    for name, value in (("TEMPLATE", modelfile.template), ("SYSTEM", modelfile.system)):
        lines += [f"{name} {_quoted(value)}"] if value else []
    for name, value in modelfile.parameters.items():
        for one in value if isinstance(value, list) else [value]:
            shown = _quoted(one) if isinstance(one, str) else str(one).lower()
            lines.append(f"PARAMETER {name} {shown}")
    lines += [f"ADAPTER {path}" for path in modelfile.adapters]
    lines += [f"MESSAGE {role} {_quoted(text)}" for role, text in modelfile.messages]
    lines += [f"LICENSE {_quoted(text)}" for text in modelfile.licenses]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if "\n" in text or '"' in text:
        return f"{_FENCE}{text}{_FENCE}"
    return f'"{text}"' if text != text.strip() or not text else text


def _commands(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, command and value; comments and empty lines are skipped."""
    lines = enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), start=1)
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        command = found[1].upper() if found else line.split()[0]
        if found is None or command not in COMMANDS:
            hint = f"known: {', '.join(COMMANDS)}"
            raise ModelfileError(number, f"`{command[:40]}` is no command", hint=hint)
        value = (found[2] or "").rstrip()
        if value.count(_FENCE) == 1:
            value = "\n".join([found[2], *_until_fence(lines, number)])
        if not value:
            raise ModelfileError(number, f"{command} has no value")
        yield number, command, value if command in ("PARAMETER", "MESSAGE") else _unquoted(value)


def _until_fence(lines: Iterator[tuple[int, str]], start: int) -> Iterator[str]:
    """Yield the rest of a value over several lines, its end included."""
    for _, line in lines:
        if _FENCE in line:
            yield line.rstrip()
            return
        yield line
    raise ModelfileError(start, f"{_FENCE} is not closed", hint=f"end the text with {_FENCE}")


def _unquoted(value: str) -> str:
    """Return a value without its quotes. Example: three quotes, `a`, a line end, `b`, three quotes → a, b."""
    value = value.strip() if not value.startswith(_FENCE) else value
    for mark in (_FENCE, '"'):
        if value.startswith(mark) and value.endswith(mark) and len(value) >= 2 * len(mark):
            return value[len(mark) : -len(mark)]
    return value


def _add_parameter(chosen: dict[str, Any], value: str, number: int) -> None:
    name, _, text = value.partition(" ")
    try:
        read = parameters.read(name.lower(), _unquoted(text.strip()))
    except ValueError as error:
        raise ModelfileError(number, str(error)) from error
    if name.lower() in parameters.LISTS:
        chosen.setdefault(name.lower(), []).append(read)
    else:
        chosen[name.lower()] = read


def _message(value: str, number: int) -> tuple[str, str]:
    role, _, text = value.partition(" ")
    if role.lower() not in ROLES or not text.strip():
        raise ModelfileError(
            number, f"a message is from `{role[:40]}`", hint="write MESSAGE user|assistant|system TEXT"
        )
    return role.lower(), _unquoted(text.strip())
