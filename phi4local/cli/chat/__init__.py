"""`phi4local chat`: the terminal conversation."""

from phi4local.cli.chat.command import chat

__all__ = ["chat"]
