"""A chat template: messages to prompt text, and to segments in which typed text stays plain."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from phi4local.errors import ChatTemplateError
from phi4local.prompts import runs
from phi4local.prompts.budget import REFUSED_HINT, Budget
from phi4local.prompts.segments import TextSegment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from phi4local.messages import Message

MAX_SOURCE_CHARACTERS = 65_536
"""The longest template that is read; Phi-4's has 462 characters, the longest published ones some 20,000."""

_INDEX_DIGITS = 8


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A conversation as the template lays it out.

    Attributes:
        segments: the prompt. Two neighbours are never both `special`, and none is empty.
        dropped: indexes of messages that the template left out.
        altered: the template looks into what the messages say, or changes it. The segments carry the messages
            word for word, so the prompt is not what `render` returns; the caller says so.
        origins: for each segment the index of the message that it is; `None` where the template wrote it or
            a part of it. An answer's segment can be replaced by the ids that the model generated.

    Example: for `[Message("user", "Hi")]` Phi-4's template gives `<|im_start|>user<|im_sep|>`, `Hi` and
    `<|im_end|><|im_start|>assistant<|im_sep|>`, with the origins `(None, 0, None)`.
    """

    segments: tuple[TextSegment, ...]
    dropped: tuple[int, ...]
    altered: bool
    origins: tuple[int | None, ...]


class ChatTemplate:
    """The Jinja text that turns messages into a prompt, compiled for a sandbox.

    Args:
        source: the template's text.
        bos_token: text of the token that begins a document; templates may print it.
        eos_token: text of the token that ends one.

    Example: `ChatTemplate("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}")`.

    Raises:
        ChatTemplateError: too long, a syntax error, or something that templates may not use.

    Source: `render_jinja_template` in transformers' `utils/chat_template_utils.py`.
    """

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise ChatTemplateError(
                f"the chat template has {len(source):,} characters; the limit is {MAX_SOURCE_CHARACTERS:,}",
                hint=REFUSED_HINT,
            )
        from phi4local.prompts import sandbox

        self.source = source
        self._tokens = {name: t for name, t in (("bos_token", bos_token), ("eos_token", eos_token)) if t}
        self._run = sandbox.run
        self._compiled = sandbox.compile_template(source)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return the prompt as one text, as transformers' `apply_chat_template(tokenize=False)` does.

        Never tokenize it with special tokens on: typed control tokens would count. That is what `segments`
        is for.

        Example: with Phi-4's template `[Message("user", "Hi")]` is
        `<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>`.

        Raises:
            ChatTemplateError: the template does not take the messages, fails, or costs too much.
        """
        contents = [message.content for message in messages]
        return self._render(messages, contents, datetime.now(), generation_prompt=add_generation_prompt)

    def segments(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        strip_whitespace: bool,
        token_strings: Collection[str] | None = None,
    ) -> RenderedPrompt:
        """Return the prompt in segments: control tokens of the template count, those in messages do not.

        The template is rendered with a random number in each message's place, and cut there.

        Args:
            messages: the conversation.
            add_generation_prompt: open the assistant's turn at the end.
            strip_whitespace: drop white space that touches a control token, as transformers does for
                tokenizers whose tokens have `lstrip` and `rstrip` (Phi-4).
            token_strings: texts of the vocabulary's special tokens; `None` recognises them by their shape
                (see `phi4local.prompts.runs`).

        Raises:
            ChatTemplateError: the template does not take the messages, fails, or costs too much.
        """
        now = datetime.now()
        prefix = str(secrets.randbelow(10**32) + 10**32)
        stand_ins = [_stand_in(m.content, f"{prefix}{i:0{_INDEX_DIGITS}}") for i, m in enumerate(messages)]
        text = self._render(messages, stand_ins, now, generation_prompt=add_generation_prompt)
        pieces = list(_cut(text, prefix, messages))
        contents = [message.content for message in messages]
        plain = self._render(messages, contents, now, generation_prompt=add_generation_prompt)
        found = {piece.message for piece in pieces}
        tokens = runs.token_pattern(token_strings, also=tuple(self._tokens.values()))
        laid_out = runs.lay_out(pieces, tokens, strip_whitespace=strip_whitespace)
        return RenderedPrompt(
            segments=tuple(TextSegment(run.text, run.special) for run in laid_out),
            dropped=tuple(i for i, m in enumerate(messages) if m.content.strip() and i not in found),
            altered="".join(piece.text for piece in pieces) != plain,
            origins=tuple(_origin(run, messages) for run in laid_out),
        )

    def _render(
        self, messages: Sequence[Message], contents: Sequence[str], now: datetime, *, generation_prompt: bool
    ) -> str:
        variables = {
            "messages": [{"role": m.role, "content": c} for m, c in zip(messages, contents, strict=True)],
            "tools": None,
            "documents": None,
            "add_generation_prompt": generation_prompt,
            **self._tokens,
        }
        return self._run(self._compiled, variables, Budget.of(messages, now))


def _stand_in(content: str, number: str) -> str:
    """Return what the template gets instead of a content: the number in the content's own white space.

    The number has digits only and the white space is real, so that `|trim`, `|upper`, `|tojson` and tests for
    an empty message do to it what they would do to the content. White space alone needs no stand-in.
    """
    inside = content.strip()
    return content.replace(inside, number) if inside else content


def _cut(text: str, prefix: str, messages: Sequence[Message]) -> Iterator[runs.Piece]:
    """Yield the template's and the messages' parts of a text with stand-ins, in order."""
    start = 0
    for match in re.finditer(f"{prefix}([0-9]{{{_INDEX_DIGITS}}})", text):
        index = int(match[1])
        if index < len(messages):
            yield runs.Piece(text[start : match.start()], None)
            yield runs.Piece(messages[index].content.strip(), index)
            start = match.end()
    yield runs.Piece(text[start:], None)


def _origin(run: runs.Run, messages: Sequence[Message]) -> int | None:
    """Return the message whose content a run is, apart from white space that was dropped."""
    if len(run.messages) != 1:
        return None
    content = messages[run.messages[0]].content
    return run.messages[0] if run.text in (content, content.strip(runs.WHITE_SPACE)) else None
