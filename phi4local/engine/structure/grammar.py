"""Settings → one grammar in llguidance's language, Lark with parts in JSON schema."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from phi4local.engine.structure.limits import MOST_CHARACTERS, check_pattern, checked_schema
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from phi4local.settings import SamplingSettings

KINDS = ("json_schema", "regex", "grammar")
_NO_NAMES = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#.*')
"""Texts, classes and comments of a GBNF."""
WHITESPACE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As `json.dumps` writes it: one line, which ends, where free white space could go on for ever."""


def check_structure(sampling: SamplingSettings) -> str | None:
    """Return which of the three settings constrains the answer; `None` for none.

    Raises:
        InvalidSettingError: more than one.
    """
    chosen = [kind for kind in KINDS if getattr(sampling, kind) is not None]
    if len(chosen) > 1:
        raise InvalidSettingError(chosen[1], f"cannot go together with {chosen[0]}", hint="choose one")
    return chosen[0] if chosen else None


def lark_of(sampling: SamplingSettings) -> str | None:
    """Return the grammar of an answer, or `None` when it is free.

    With `structure_after` everything up to and with that text is free.

    Example: `regex="[0-9]+"` → `start: body` and `body: /[0-9]+/`.

    Raises:
        InvalidSettingError: a schema, pattern or grammar that is malformed or too large.
    """
    kind = check_structure(sampling)
    if kind is None:
        return None
    text = getattr(sampling, kind)
    if kind == "grammar":
        rules = _from_gbnf(text)
        if sampling.structure_after:
            raise InvalidSettingError("structure_after", "goes with json_schema and regex only")
        return rules
    if kind == "regex":
        check_pattern("regex", text)
        body = f"/{_escaped(text)}/"
    else:
        schema = checked_schema(text)
        body = "%json " + json.dumps({**schema, "x-guidance": WHITESPACE})
    if not sampling.structure_after:
        return f"start: body\nbody: {body}\n"
    before = re.escape(sampling.structure_after).replace("/", r"\/")
    return f"start: before space body\nbefore[lazy]: /(.|\\n)*{before}/\nspace: /\\s{{0,4}}/\nbody: {body}\n"


def _from_gbnf(text: str) -> str:
    """Translate llama.cpp's grammars (grammars/README.md there)."""
    from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark

    check_pattern("grammar", text, most=MOST_CHARACTERS)
    if "::=" not in text:
        raise InvalidSettingError("grammar", "is no GBNF: it has no rule", hint=_HINT)
    words = _NO_NAMES.sub(" ", text)
    missing = set(re.findall(r"[A-Za-z][\w-]*", words)) - set(re.findall(r"([\w-]+)\s*::=", words))
    if missing:
        raise InvalidSettingError("grammar", f"has no rule `{min(missing)[:60]}`", hint=_HINT)
    try:
        return str(gbnf_to_lark(text))
    except (GbnfToLarkError, ValueError, LookupError, RecursionError) as error:
        raise InvalidSettingError("grammar", f"is no GBNF: {error}", hint=_HINT) from error


def _escaped(pattern: str) -> str:
    r"""Return a regular expression for between two slashes. Example: `a/b` → `a\/b`."""
    return re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", pattern).replace("\n", r"\n")


_HINT = 'a grammar begins with a rule such as `root ::= "yes" | "no"`'
