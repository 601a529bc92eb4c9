"""OpenAI's dialect: chat completions, completions, responses, embeddings, models."""

from phi4local.server.openai.errors import error_body
from phi4local.server.openai.responses import router as responses_router
from phi4local.server.openai.router import router

__all__ = ["error_body", "responses_router", "router"]
