"""Markdown streamed to a terminal without flicker.

`rows` styled text broken into rows; `live` the rows that are rewritten in place; `inline` emphasis, code,
links; `blocks` what a line is; `tables` and `code`; `reader` which blocks a line ends and opens; `room` how
much may be open; `stream` the whole.
"""

from phi4local.cli.chat.markdown.stream import MarkdownStream

__all__ = ["MarkdownStream"]
