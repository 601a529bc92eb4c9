"""OpenAI's `/v1/responses`: items come and go, instead of messages."""

from phi4local.server.openai.responses.router import router

__all__ = ["router"]
