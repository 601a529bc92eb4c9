"""What only phi4local's own command line asks: who is this, what is loaded, stop, unload, answer."""

from phi4local.server.own.router import router

__all__ = ["router"]
