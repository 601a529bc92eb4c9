"""The engine in a child process: what kills llama.cpp there is an error line here."""

from phi4local.engine.worker.parent import EngineWorker

__all__ = ["EngineWorker"]
