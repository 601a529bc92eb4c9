"""Anthropic's dialect: messages, streamed and not, with tools, and counting their tokens."""

from phi4local.server.anthropic.errors import error_body
from phi4local.server.anthropic.router import router

__all__ = ["error_body", "router"]
