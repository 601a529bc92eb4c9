"""A conversation as a file for people and for other programs."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phi4local.assistant.sessions.transcript import Said, Transcript

Format = Literal["md", "json", "html"]
_FENCED = re.compile(r"^(`{3,}|~{3,})([^\n`]*)\n(.*?)(?:^\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def to_markdown(transcript: Transcript) -> str:
    """Return a conversation as Markdown: a title, then a heading for each message.

    Example: the lines `# trip`, `## You`, `Where is it warm in May?`, `## phi-4:Q4_K_M`, `In Sicily.`, with
    empty ones between them.
    """
    parts = [f"# {_title(transcript)}", *(f"*{line}*" for line in _head(transcript))]
    if transcript.system:
        parts += ["## System", transcript.system]
    for said in transcript.said:
        parts.append(f"## {_speaker(transcript, said)}")
        if said.thought:
            parts.append("\n".join(f"> {line}".rstrip() for line in said.thought.strip().split("\n")))
        parts.append(said.message.content)
        parts += [f"*{remark}*" for remark in _remarks(said)]
    return "\n\n".join(parts) + "\n"


def to_json(transcript: Transcript) -> str:
    """Return a conversation as JSON: its `facts`."""
    return json.dumps(facts(transcript), indent=2, ensure_ascii=False) + "\n"


def facts(transcript: Transcript) -> dict[str, Any]:
    """Return a conversation as plain values, its messages with the keys that chat programs know.

    Example: `facts(transcript)["messages"][0]` → `{"role": "user", "content": "Hi", "at": "…"}`.
    """
    messages: list[dict[str, Any]] = []
    if transcript.system:
        messages.append({"role": "system", "content": transcript.system})
    for said in transcript.said:
        about = {"at": said.at, "reason": said.reason, "tokens": said.tokens, "thought": said.thought}
        known = {name: value for name, value in about.items() if value is not None}
        messages.append({"role": said.message.role, "content": said.message.content, **known})
    return {
        "name": transcript.name,
        "id": transcript.id,
        "created": transcript.created,
        "model": transcript.model,
        "digest": transcript.digest,
        "messages": messages,
    }


def to_html(transcript: Transcript) -> str:
    """Return a conversation as one page without scripts that asks no other computer for anything.

    All text is escaped. Blocks between fences are set as code, the rest as it was written.
    """
    title = _escape(_title(transcript))
    head = "".join(f"<p class=facts>{_escape(line)}</p>\n" for line in _head(transcript))
    body = [_section("System", "system", transcript.system)] if transcript.system else []
    for said in transcript.said:
        thought = (
            f"<details><summary>Thought</summary>{_text(said.thought)}</details>" if said.thought else ""
        )
        remarks = "".join(f"<p class=facts>{_escape(remark)}</p>" for remark in _remarks(said))
        speaker = _speaker(transcript, said)
        body.append(_section(speaker, said.message.role, said.message.content, before=thought, after=remarks))
    return _PAGE.format(title=title, style=_STYLE, head=head, body="\n".join(body))


EXPORTS: dict[Format, Callable[[Transcript], str]] = {"md": to_markdown, "json": to_json, "html": to_html}


def _title(transcript: Transcript) -> str:
    return " ".join((transcript.name or transcript.first_words or "Conversation").split())


def _head(transcript: Transcript) -> Iterator[str]:
    facts = (transcript.created, transcript.model, f"{transcript.turns:,} turns")
    yield ", ".join(fact for fact in facts if fact)
    if transcript.model:
        yield "The answers are an AI's and may be wrong."


def _speaker(transcript: Transcript, said: Said) -> str:
    if said.message.role == "user":
        return "You"
    return " ".join((transcript.model or "Assistant").split())


def _remarks(said: Said) -> Iterator[str]:
    if said.reason not in (None, "stop"):
        yield f"the answer ended early: {said.reason}"


def _section(speaker: str, role: str, text: str, *, before: str = "", after: str = "") -> str:
    return (
        f'<section class={role}><h2 dir="auto">{_escape(speaker)}</h2>{before}{_text(text)}{after}</section>'
    )


def _text(text: str) -> str:
    """Return text as HTML, what is between fences as code."""
    parts, end = [], 0
    for block in _FENCED.finditer(text):
        parts += [_plain(text[end : block.start()]), f"<pre><code>{_escape(block[3])}</code></pre>"]
        end = block.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    return f'<div class=text dir="auto">{_escape(text.strip(chr(10)))}</div>' if text.strip() else ""


def _escape(text: str) -> str:
    return html.escape(_CONTROLS.sub("\ufffd", text))


_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1b1b1b; --soft: #f1f3f5; --dim: #5c6369; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181a; --fore: #e6e6e6; --soft: #24282b; --dim: #a0a7ad; }
}
body { background: var(--back); color: var(--fore); font: 16px/1.5 system-ui, sans-serif;
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 0.9rem; color: var(--dim); margin: 0 0 0.4rem; }
section { margin: 1rem 0; padding: 0.8rem 1rem; border-radius: 0.6rem; }
section.user, section.system { background: var(--soft); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.facts, summary { color: var(--dim); font-size: 0.85rem; }
pre { background: var(--soft); padding: 0.8rem; border-radius: 0.4rem; overflow-x: auto; }
section.user pre { background: var(--back); }
"""

_PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1 dir="auto">{title}</h1>
{head}
{body}
</body>
</html>
"""
