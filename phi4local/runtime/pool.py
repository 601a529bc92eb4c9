"""The models that are loaded, by name: on demand, for several users at once."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import catalog
from phi4local.errors import UnknownModelError
from phi4local.runtime import resolve
from phi4local.runtime.open import open_model
from phi4local.store import installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phi4local.runtime.model import Model
    from phi4local.settings import LoadSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One model in memory. `name` is what clients call it; `users` how many answers it writes just now."""

    name: str
    model: Model
    users: int


class ModelPool:
    """Opens models by the names that clients say, and keeps them.

    Clients may name models of `phi4local list`, and what the person who starts the server named: never files,
    folders or addresses of their own choice.

    Args:
        open_it: opens a model by name; `phi4local.runtime.open.open_model` with the server's load settings.

    Example::

        pool = ModelPool(lambda name: open_model(name, LoadSettings(parallel=4)))
        async with pool.use("phi4-nano") as model:
            print((await model.achat("Hello")).text)
    """

    def __init__(self, open_it: Callable[[str], Model]) -> None:
        self._open = open_it
        self._models: dict[str, Model] = {}
        self._users: dict[str, int] = {}
        self._opening = asyncio.Lock()

    @classmethod
    def with_settings(cls, loading: LoadSettings) -> ModelPool:
        """Return a pool whose models are loaded with these settings."""
        return cls(lambda name: open_model(name, loading))

    def put(self, name: str, model: Model) -> None:
        """Take an open model into the pool under the name that clients will say."""
        self._models[name] = model

    @contextlib.asynccontextmanager
    async def use(
        self,
        name: str,
        *,
        keep_alive_seconds: float | None = None,  # noqa: ARG002 - the interface
    ) -> AsyncIterator[Model]:
        """Lend a model, loaded first when it is not; it stays loaded while somebody uses it.

        Raises:
            UnknownModelError, ModelNotInstalledError: clients may not have it, or it is not here.
            NotEnoughMemoryError: there is no room for it.
        """
        async with self._opening:
            if name not in self._models:
                require_served(name)
                self._models[name] = await asyncio.to_thread(self._open, name)
        self._users[name] = self._users.get(name, 0) + 1
        try:
            yield self._models[name]
        finally:
            self._users[name] -= 1

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Return what is in memory."""
        return tuple(
            LoadedModel(name=name, model=model, users=self._users.get(name, 0))
            for name, model in self._models.items()
        )

    def names(self) -> tuple[str, ...]:
        """Return every name that a client may say: what is loaded, then the models of the store."""
        kept = [str(model.reference) for model in installed.installed() if model.kind == "gguf"]
        return tuple(dict.fromkeys([*self._models, *kept, resolve.EMBEDDED_MODEL]))

    async def stop(self, name: str) -> bool:
        """Unload a model; `False` when it was not loaded."""
        model = self._models.pop(name, None)
        if model is not None:
            await asyncio.to_thread(model.close)
        return model is not None

    async def close(self) -> None:
        """Unload everything."""
        for name in list(self._models):
            await self.stop(name)


def require_served(name: str) -> None:
    """Refuse a name from a client that is no model of the catalog or the store.

    Raises:
        UnknownModelError: it is not; a path or an address would let a client open whatever it likes.
    """
    known = catalog.model_names()
    if name.partition(":")[0].lower() not in known and not installed.named(name):
        raise UnknownModelError(name, catalog.near_names(name), known=known)
