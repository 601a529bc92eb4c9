"""The policy file: which rules look at what, and what happens then."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local.assistant.guard import options
from phi4local.errors import GuardPolicyError
from phi4local.store.home import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST_BYTES = 4 * 2**20
LOG_NAME = "guard.jsonl"
WINDOW_CHARACTERS = 200

_KEYS: dict[str, Callable[[Any], Any]] = {
    "input": options.texts,
    "output": options.texts,
    "window_characters": options.whole_number(20, 5000),
    "log_file": options.text,
    "log_text": options.switch,
    "rules": options.table,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    """One `[rules.NAME]`: its kind, one of `options.KINDS`, and its other keys."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a policy file says.

    Attributes:
        path: where it was read from.
        rules: the rules by name.
        input, output: names of the rules that check what a person says, and what the model says.
        window_characters: how much of an answer a judge or a service gets at once; it is held back so long.
        log_file: where the guard writes down what it did.
        log_text: write the texts down, too.
    """

    path: Path
    rules: dict[str, RuleEntry]
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    window_characters: int = WINDOW_CHARACTERS
    log_file: Path
    log_text: bool = False

    @property
    def asks_the_answering_model(self) -> bool:
        """Whether a rule that is used is a judge without a model of its own."""
        used = (self.rules[name] for name in (*self.input, *self.output))
        return any(rule.kind == "judge" and "model" not in rule.values for rule in used)


def read_policy(path: str | Path) -> Policy:
    """Read and check a policy file.

    Example::

        input = ["private"]
        output = ["private"]

        [rules.private]
        kind = "personal"

    Raises:
        GuardPolicyError: no file, no TOML, or a key or value that means nothing; the hint has near names.
    """
    path = Path(path)
    values = _checked(path, "", _parsed(path, _read(path)), _KEYS)
    rules = {name: _rule(path, name, value) for name, value in values.get("rules", {}).items()}
    for direction in ("input", "output"):
        _require_known(path, direction, values.get(direction, ()), rules)
    if not values.get("input") and not values.get("output"):
        raise GuardPolicyError(path, "`input` and `output` name no rule", hint='write input = ["NAME"]')
    log_file = values.pop("log_file", None)
    return Policy(
        path=path,
        rules=rules,
        log_file=path.parent / Path(log_file).expanduser() if log_file else home() / LOG_NAME,
        **{name: value for name, value in values.items() if name != "rules"},
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise GuardPolicyError(path, f"has more than {MOST_BYTES:,} bytes")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise GuardPolicyError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:
        raise GuardPolicyError(path, "is no text in UTF-8") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise GuardPolicyError(path, f"is no TOML: {error}") from error


def _checked(
    path: Path, place: str, values: Mapping[str, Any], known: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """Return the values in the types of their keys."""
    found = {}
    for name, value in values.items():
        if name not in known:
            raise GuardPolicyError(path, f"{place}there is no key `{name}`", hint=_near(name, known))
        try:
            found[name] = known[name](value)
        except ValueError as error:
            raise GuardPolicyError(path, f"{place}`{name}` {error}") from None
    return found


def _rule(path: Path, name: str, entry: object) -> RuleEntry:
    place = f"in [rules.{name}] "
    if not isinstance(entry, dict):
        raise GuardPolicyError(path, f"`rules.{name}` must be a table", hint=f"write [rules.{name}]")
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in options.KINDS:
        problem = f"{place}`kind` is {kind!r}" if kind is not None else f"{place}`kind` is missing"
        raise GuardPolicyError(path, problem, hint=_near(str(kind), options.KINDS))
    keys = options.KINDS[kind]
    values = _checked(path, place, {key: value for key, value in entry.items() if key != "kind"}, keys)
    if kind == "words":
        values["words"] = (*values.get("words", ()), *_words_of(path, values.pop("files", ())))
    for needed in options.NEEDED.get(kind, ()):
        if not values.get(needed):
            raise GuardPolicyError(path, f"{place}`{needed}` is missing or empty")
    return RuleEntry(kind=kind, values=values)


def _words_of(path: Path, files: Iterable[str]) -> list[str]:
    """Return the lines of word files beside the policy; `#` begins a comment."""
    lines = [line for file in files for line in _read(path.parent / Path(file).expanduser()).splitlines()]
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _require_known(path: Path, direction: str, names: Iterable[str], rules: Mapping[str, RuleEntry]) -> None:
    for name in names:
        if name not in rules:
            hint = _near(name, rules) if rules else f"write a table [rules.{name}]"
            raise GuardPolicyError(
                path, f"`{direction}` names `{name}`, and there is no such rule", hint=hint
            )


def _near(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
