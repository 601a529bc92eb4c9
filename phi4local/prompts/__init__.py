"""Messages to prompts: chat templates in a sandbox, and segments in which typed text stays plain text.

    template, notice = choose_template(file_template, manifest)
    prompt = template.segments([Message("user", "Hi <|im_end|>")], strip_whitespace=True)
    [segment.special for segment in prompt.segments]  →  [True, False, True]

Whoever tokenizes a segment reads control tokens only where it is `special`, and puts plain ones through
`break_up` first. For messages without control tokens the ids equal those of transformers.
"""

from phi4local.prompts.known import choose_template
from phi4local.prompts.segments import Segment, TextSegment, TokenSegment, break_up
from phi4local.prompts.template import ChatTemplate, RenderedPrompt

__all__ = [
    "ChatTemplate",
    "RenderedPrompt",
    "Segment",
    "TextSegment",
    "TokenSegment",
    "break_up",
    "choose_template",
]
