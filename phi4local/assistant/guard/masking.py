"""Replace what was found by its category in brackets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.assistant.guard.finding import Finding


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of the text; those that overlap become one, called as the longest."""
    result: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: (finding.start, -finding.end)):
        if result and finding.start < result[-1].end:
            longest = max(result[-1], finding, key=lambda one: one.end - one.start)
            end = max(result[-1].end, finding.end)
            result[-1] = dataclasses.replace(longest, start=result[-1].start, end=end)
        else:
            result.append(finding)
    return result


def masked(text: str, findings: Iterable[Finding], start: int = 0, end: int | None = None) -> str:
    """Return the part of a text from `start` to `end`, with the findings replaced.

    Args:
        text: all of it.
        findings: in the order of the text and apart from each other, as `joined` returns them.
        start: where the part begins.
        end: where it ends; unset for the text's end.

    Example: "write to pip@fox.org" with an e-mail address at 9 to 20 → "write to [e-mail address]".
    """
    parts: list[str] = []
    here, end = start, len(text) if end is None else end
    for finding in findings:
        if here < finding.end and finding.start < end:
            parts += [text[here : max(here, finding.start)], f"[{finding.category}]"]
            here = finding.end
    return "".join([*parts, text[here:end]])
