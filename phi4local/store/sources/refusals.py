"""What servers answer instead of a model, in words for a person.

Bodies are JSON of several shapes, plain text, HTML or nothing; the text may be Chinese. The status says what
it means; the server's own words are added, on one line.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING

from phi4local import catalog
from phi4local.errors import AccessDeniedError, DownloadError, RemoteNotFoundError
from phi4local.store.http import asked_to_wait, origin_of

if TYPE_CHECKING:
    from phi4local.store.http import Reply

_MOST_CHARACTERS = 200
_KEYS = ("error", "message", "Message", "msg", "Msg", "detail")


def refusal(reply: Reply, what: str, *, hint: str) -> DownloadError:
    """Return the error for an answer that is no model.

    Args:
        reply: a status other than 200, or one that says so in its body.
        what: what was asked for, as a person names it.
        hint: how to get access, for 401 and 403.

    Example: 404 with `{"error": "Entry not found"}` → "there is no `u/r`; the server says: Entry not found".
    """
    words = said(reply)
    tail = f"; the server says: {words}" if words else ""
    host, status = origin_of(reply.url), reply.status
    if status in (401, 403):
        problem = "is not there, or not for everybody" if status == 401 else "is only for people with access"
        return AccessDeniedError(f"`{what}` {problem}{tail}", hint=hint)
    if status in (404, 410):
        return RemoteNotFoundError(f"there is no `{what}`{tail}", hint=near(what))
    if status == 412:
        return DownloadError(f"{host} wants another client for `{what}`{tail}", hint="try another source")
    if status == 429:
        seconds = asked_to_wait(reply.headers)
        wait = f"wait {seconds:.0f} seconds" if seconds else "wait a few minutes"
        return DownloadError(f"{host} has answered too many questions{tail}", hint=f"{wait}, or log in")
    if status >= 500:
        return DownloadError(f"{host} has trouble (status {status}){tail}", hint="try again later")
    return DownloadError(f"{host} refuses `{what}` (status {status}){tail}", hint="check the name")


def said(reply: Reply) -> str:
    """Return the server's own words: one line, at most 200 characters, without HTML.

    Examples: `{"errors": [{"message": "manifest unknown"}]}` → `manifest unknown`; a page → nothing.
    """
    text = reply.body[:65_536].decode("utf-8", "replace").strip()
    try:
        text = _message(json.loads(text))
    except (ValueError, RecursionError):
        if text.startswith(("<", "{", "[")):
            return ""
    line = " ".join(text.split())
    shown = "".join(character if character.isprintable() else "?" for character in line)
    # A server may repeat what it was sent.
    shown = re.sub(r"(?i)\b(?:bearer|basic)\s+\S+|\bhf_\w+|(?<=\?)\S+", "***", shown)
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[: _MOST_CHARACTERS - 3]}..."


def _message(data: object) -> str:
    if isinstance(data, dict):
        errors = data.get("errors")
        if isinstance(errors, list) and errors:
            return _message(errors[0])
        for key in _KEYS:
            if isinstance(data.get(key), str | dict):
                return _message(data[key])
        return ""
    return data if isinstance(data, str) else ""


def near(what: str) -> str:
    """Return a hint with known names that are spelled like this one."""
    known: list[str] = []
    for member in map(catalog.find, catalog.model_names()):
        known += [f"hf.co/{name}" for name in (member.repository, *member.huggingface) if name]
        known += [f"modelscope.cn/{name}" for name in member.modelscope]
        known += [member.ollama] if member.ollama else []
    found = difflib.get_close_matches(what, dict.fromkeys(known), n=3, cutoff=0.6)
    found = [name for name in found if name != what]
    words = " or ".join(f"`{name}`" for name in found)
    return f"check the name; there is {words}" if found else "check the name and the source"
