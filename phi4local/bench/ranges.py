"""Lists and ranges as llama-bench reads them: `1,2,4`, `first-last`, `first-last+step`, `first-last*factor`.

Source: `parse_int_range` in tools/llama-bench/llama-bench.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Value = TypeVar("_Value")
MOST_VALUES = 1000
"""Of one option; more would take days."""
_LARGEST = 2**31 - 1
_RANGE = re.compile(r"(-?\d{1,10})(?:-(\d{1,10})(?:([+*])(\d{1,10}))?)?")
_HINT = "write numbers as 512, 1,2,4, 64-256+64 or 1-8*2"
_FLASH = {"auto": -1, "-1": -1, **dict.fromkeys(("on", "enabled", "true", "1"), 1)}
_FLASH |= dict.fromkeys(("off", "disabled", "false", "0"), 0)
_SWITCH = {"1": True, "on": True, "true": True, "0": False, "off": False, "false": False}


def numbers(setting: str, texts: Iterable[str], *, least: int = 0) -> tuple[int, ...]:
    """Return the numbers of one option, which may be given several times.

    Examples: `["1,2,4"]` → 1 2 4; `["64-256+64"]` → 64 128 192 256; `["1-8*2"]` → 1 2 4 8.

    Raises:
        InvalidSettingError: no number or range, one that never ends, or one below `least`.
    """
    found: list[int] = []
    for text in texts:
        for part in text.split(","):
            found += _range(setting, part.strip())
    if any(number < least for number in found):
        raise InvalidSettingError(setting, f"has {min(found)}; {least} is the least", hint=_HINT)
    if len(found) > MOST_VALUES:
        raise InvalidSettingError(setting, f"has {len(found):,} values; {MOST_VALUES:,} are the most")
    return tuple(found)


def pairs(setting: str, texts: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return pairs of prompt and answer. Example: `["512,128", "64,8"]` → (512, 128) and (64, 8).

    Raises:
        InvalidSettingError: a text that is no pair of whole numbers.
    """
    found = []
    for text in texts:
        match = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text)
        if not match:
            raise InvalidSettingError(
                setting, f"is {text!r}; it must be a prompt and an answer", hint="for example `-pg 512,128`"
            )
        found.append((int(match[1]), int(match[2])))
    return tuple(found)


def words(setting: str, texts: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the words of one option. Example: `["f16,q8_0"]` → "f16" "q8_0".

    Raises:
        InvalidSettingError: a word that is not known.
    """
    choices = tuple(known)
    return _mapped(setting, texts, lambda word: word if word in choices else None, choices)


def flash_attention(texts: Iterable[str]) -> tuple[int, ...]:
    """Return 1 (on), 0 (off) or -1 (auto) for each value, by llama-bench's words."""
    return _mapped("flash_attn", texts, lambda word: _FLASH.get(word.lower()), ("on", "off", "auto"))


def switches(setting: str, texts: Iterable[str]) -> tuple[bool, ...]:
    """Return what 0 and 1 stand for. Example: `["0,1"]` → False True."""
    return _mapped(setting, texts, lambda word: _SWITCH.get(word.lower()), ("0", "1"))


def shares(texts: Iterable[str]) -> tuple[tuple[float, ...], ...]:
    """Return the shares of devices of each combination. Example: `["3/1,1/1"]` → (3, 1) and (1, 1)."""

    def read(word: str) -> tuple[float, ...] | None:
        try:
            return tuple(float(share) for share in re.split(r"[;/]+", word))
        except ValueError:
            return None

    return _mapped("tensor_split", texts, read, ("3/1", "1/1"))


def overrides(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the tensor overrides of each combination, `;` between several; "none" is none.

    Example: `["ffn=CPU;attn=CUDA1,none"]` → ("ffn=CPU", "attn=CUDA1") and ().
    """
    groups = (part.strip() for text in texts for part in text.split(","))
    return tuple(() if group in ("", "none") else tuple(group.split(";")) for group in groups)


def _range(setting: str, text: str) -> list[int]:
    match = _RANGE.fullmatch(text)
    if not match:
        raise InvalidSettingError(setting, f"has {text!r}, which is no number and no range", hint=_HINT)
    first = last = int(match[1])
    if match[2] is None:
        step, factor = 1, 1
    else:
        last = int(match[2])
        step, factor = (0, int(match[4])) if match[3] == "*" else (int(match[4] or 1), 1)
    if last > _LARGEST or first < -_LARGEST or first > last:
        raise InvalidSettingError(setting, f"has the range {text!r}, which holds no number", hint=_HINT)
    found = [first]
    while (following := found[-1] * factor + step) <= last:
        if following <= found[-1] or len(found) > MOST_VALUES:
            raise InvalidSettingError(setting, f"has the range {text!r}, which is endless", hint=_HINT)
        found.append(following)
    return found


def _mapped(
    setting: str, texts: Iterable[str], read: Callable[[str], _Value | None], known: tuple[str, ...]
) -> tuple[_Value, ...]:
    found = []
    for word in (part.strip() for text in texts for part in text.split(",")):
        value = read(word)
        if value is None:
            raise InvalidSettingError(setting, f"has {word!r}", hint=f"known: {', '.join(known)}")
        found.append(value)
    return tuple(found)
