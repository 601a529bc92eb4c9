"""Ollama's dialect: answers, and what is here, loaded, pulled, copied, removed and made."""

from phi4local.server.ollama.errors import error_body
from phi4local.server.ollama.router import router
from phi4local.server.ollama.store_router import greeting
from phi4local.server.ollama.store_router import router as store_router

__all__ = ["error_body", "greeting", "router", "store_router"]
