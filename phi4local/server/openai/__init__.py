"""OpenAI's dialect: chat completions, completions, embeddings, models."""

from phi4local.server.openai.errors import error_body
from phi4local.server.openai.router import router

__all__ = ["error_body", "router"]
