"""What a person can type behind a slash: one table, and what runs a line of it."""

from phi4local.cli.chat.commands.table import COMMANDS, Ask, Command, Leave, perform

__all__ = ["COMMANDS", "Ask", "Command", "Leave", "perform"]
