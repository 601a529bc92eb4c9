"""Settings → one grammar in llguidance's language, Lark with parts in JSON schema."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

from phi4local.engine.structure.limits import MOST_CHARACTERS, check_pattern, checked_schema
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.settings import SamplingSettings

KINDS = ("json_schema", "regex", "grammar")
BEGINNINGS = ("structure_after", "structure_trigger", "structure_start")
_SPACE = "space: /[ \\t\\r\\n]{0,4}/\n"
"""White space of JSON; a few characters only, since more could go on for ever."""
_NO_NAMES = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#.*')
"""Texts, classes and comments of a GBNF."""
_PARTS = re.compile(_NO_NAMES.pattern + r"|[A-Za-z][\w-]*|\.")
_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)
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


def lark_of(sampling: SamplingSettings, control: Callable[[str], int | None]) -> tuple[str, ...]:
    """Return the grammars of an answer, which follows one of them as a whole; none when it is free.

    With `structure_after`, and with `structure_trigger` if it comes, everything up to and with that text is
    free. With `structure_start` an answer that begins otherwise is free; several grammars are alternatives.

    Example: `regex="[0-9]+"` → `start: body` and `body: /[0-9]+/`.

    Args:
        sampling: with `json_schema`, `regex` or `grammar`.
        control: returns the id of the control token with this text, or `None` when it is plain text.

    Raises:
        InvalidSettingError: a schema, pattern or grammar that is malformed or too large, or settings that do
            not go together.
    """
    kind = check_structure(sampling)
    _require_beginning(sampling, kind)
    if kind is None:
        return ()
    text = getattr(sampling, kind)
    if kind == "grammar":
        return (_from_gbnf(text),)
    if kind == "regex":
        check_pattern("regex", text)
        body = f"body: /{_escaped(text)}/\n"
    else:
        body = "body: %json " + json.dumps({**checked_schema(text), "x-guidance": WHITESPACE}) + "\n"
    return _begun(sampling, control, _repeated(body, sampling.structure_repeat))


def _begun(sampling: SamplingSettings, control: Callable[[str], int | None], body: str) -> tuple[str, ...]:
    """Return the grammars of an answer in which `body` begins where the settings say."""
    after, first = sampling.structure_after, sampling.structure_start
    if sampling.structure_trigger is not None:
        return (_triggered(sampling, control) + body,)
    if after is not None and first is not None:
        return _after_thoughts(_literal(after), _literal(first), body)
    if after is not None:
        return (f"start: before space body\nbefore[lazy]: /(.|\\n)*{_literal(after)}/\n{_SPACE}{body}",)
    if first is not None:
        return f"start: space body\n{_SPACE}{body}", f"start: OTHER\nOTHER: {_not_begun(_literal(first))}\n"
    return (f"start: body\n{body}",)


def _repeated(body: str, most: int | None) -> str:
    """Return the rules of a structure that may come several times, one a line; `body` is all of them."""
    if most is None or most == 1:
        return body
    return f'body: one ("\\n" one){{0,{most - 1}}}\n' + body.replace("body:", "one:", 1)


def _not_begun(first: str) -> str:
    """Return the expression of texts that do not begin with the literal `first`."""
    return f"/(.|\\n)*/ & ~/[ \\t\\r\\n]*{first}(.|\\n)*/"


def _after_thoughts(after: str, first: str, body: str) -> tuple[str, ...]:
    """Return what an answer may be behind thoughts that end with `after`, if there are any.

    Behind them, and at the beginning of an answer without them, a text that begins with `first` is `body`.
    """
    other = f"OTHER: {_not_begun(first)}\n"
    before = f"before[lazy]: /(.|\\n)*{after}/ & ~/[ \\t\\r\\n]*{first}(.|\\n)*/\n"
    return (
        f"start: before space body\n{before}{_SPACE}{body}",
        f"start: before OTHER\n{before}{other}",
        f"start: space body\n{_SPACE}{body}",
        f"start: WORDS\nWORDS: {_not_begun(first)} & ~/(.|\\n)*{after}(.|\\n)*/\n",
    )


def _require_beginning(sampling: SamplingSettings, kind: str | None) -> None:
    """Check the settings that say where the structure begins.

    Raises:
        InvalidSettingError: two that do not go together, or one without a schema or expression.
    """
    chosen = [name for name in BEGINNINGS if getattr(sampling, name) is not None]
    if len(chosen) > 1 and chosen != ["structure_after", "structure_start"]:
        raise InvalidSettingError(chosen[1], f"cannot go together with {chosen[0]}", hint="choose one")
    if sampling.structure_repeat is not None and kind not in ("json_schema", "regex"):
        raise InvalidSettingError("structure_repeat", "goes with json_schema and regex only")
    if chosen and kind not in ("json_schema", "regex"):
        raise InvalidSettingError(chosen[0], "goes with json_schema and regex only")
    if sampling.structure_end is not None and chosen != ["structure_trigger"]:
        raise InvalidSettingError("structure_end", "goes with structure_trigger only")


def _triggered(sampling: SamplingSettings, control: Callable[[str], int | None]) -> str:
    """Return the rules around `body` of text in which a trigger may come, and again behind `structure_end`.

    A text is lazy: the lexer ends it with the trigger's last character, and nothing but the structure is
    possible there. (llguidance, docs/syntax.md, "Tool calling".)
    """
    trigger, end = sampling.structure_trigger or "", sampling.structure_end
    number = control(trigger)
    text = f"head[lazy]: /(.|\\n)*{_literal(trigger)}/\n"
    head = text if number is None else f"head: TEXT <[{number}]>\n"
    rules = f"TEXT: /(.|\\n)*/\n{head}{_SPACE}"
    if end is None:
        return f"start: TEXT | head space body\n{rules}"
    closing = control(end)
    tail = json.dumps(end, ensure_ascii=False) if closing is None else f"<[{closing}]>"
    return f"start: call* TEXT\ncall: head space body space {tail}\n{rules}"


def _from_gbnf(text: str) -> str:
    """Translate llama.cpp's grammars (grammars/README.md there)."""
    from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark

    check_pattern("grammar", text, most=MOST_CHARACTERS, apart=True)
    if "::=" not in text:
        raise InvalidSettingError("grammar", "is no GBNF: it has no rule", hint=_HINT)
    words = _NO_NAMES.sub(" ", text)
    missing = set(re.findall(r"[A-Za-z][\w-]*", words)) - set(re.findall(r"([\w-]+)\s*::=", words))
    if missing:
        raise InvalidSettingError("grammar", f"has no rule `{min(missing)[:60]}`", hint=_HINT)
    try:
        return str(gbnf_to_lark(_renamed(text)))
    except (GbnfToLarkError, ValueError, LookupError, RecursionError) as error:
        raise InvalidSettingError("grammar", f"is no GBNF: {error}", hint=_HINT) from error


def _renamed(text: str) -> str:
    r"""Return a GBNF in the words that llguidance's translator knows as llama.cpp means them.

    Its rules are told apart without their case there, `.` is no line break, and `\u` is no escape.

    Example: `root ::= Word .` → `root ::= rule0 ([^\n] | [\n])`.
    """
    names: dict[str, str] = {"root": "root"}

    def part(found: re.Match[str]) -> str:
        word = found[0]
        if word == ".":
            return r"([^\n] | [\n])"
        if word[0] in '"[':
            return _ESCAPES.sub(_character, word)
        return word if word[0] == "#" else names.setdefault(word, f"rule{len(names) - 1}")

    return _PARTS.sub(part, text)


def _character(escape: re.Match[str]) -> str:
    """Return what an escape of a code point stands for; ASCII as two digits, since it may mean something."""
    digits = escape[1] or escape[2]
    number = int(digits, 16) if digits else 0
    if not digits or number > sys.maxunicode or 0xD800 <= number < 0xE000:
        return escape[0]
    return f"\\x{number:02x}" if number < 0x80 else chr(number)


def _escaped(pattern: str) -> str:
    r"""Return a regular expression for between two slashes. Example: `a/b` → `a\/b`."""
    return re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", pattern).replace("\n", r"\n")


def _literal(text: str) -> str:
    r"""Return the expression between two slashes that matches a text. Example: `</think>` → `<\/think>`."""
    return re.escape(text).replace("/", r"\/").replace("\\\n", r"\n")


_HINT = 'a grammar begins with a rule such as `root ::= "yes" | "no"`'
