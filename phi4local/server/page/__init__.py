"""The web page: its files, and what it asks for under `/page-api/`."""

from phi4local.server.page.files import router as files_router
from phi4local.server.page.router import router

__all__ = ["files_router", "router"]
