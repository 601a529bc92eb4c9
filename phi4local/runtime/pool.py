"""The models that are loaded, by name: on demand, for several users at once, until nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local import catalog
from phi4local.errors import NotEnoughMemoryError, UnknownModelError
from phi4local.runtime import resolve
from phi4local.runtime.adapters import fitting_adapters
from phi4local.runtime.names import split_adapters
from phi4local.runtime.open import open_model
from phi4local.store import adapters, installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from phi4local.runtime.model import Model
    from phi4local.settings import LoadSettings

KEEP_ALIVE_SECONDS = 300.0
"""How long a model that a client asked for stays loaded, unless somebody says otherwise; Ollama's number."""
FOR_EVER = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One model in memory.

    Attributes:
        name: what clients call it.
        model: it is open.
        users: how many answers it writes just now.
        loaded_seconds: when it was loaded, in seconds since 1970.
        seconds_left: after which it is unloaded; `None` while it is used, and for one that stays.
    """

    name: str
    model: Model
    users: int
    loaded_seconds: float = 0.0
    seconds_left: float | None = None


@dataclass(slots=True)
class _Kept:
    """A loaded model, who uses it, and until when it is kept (in seconds of `time.monotonic`)."""

    model: Model
    keep_seconds: float
    users: int = 0
    used: float = field(default_factory=time.monotonic)
    loaded: float = field(default_factory=time.time)
    timer: asyncio.TimerHandle | None = None

    def is_idle_without(self, names: Iterable[str]) -> bool:
        """Whether nobody uses it, and it was loaded before adapters were made that are in the store now."""
        missing = set(names) - set(self.model.adapter_names)
        return (
            bool(missing) and not self.users and self.keep_seconds >= 0 and all(map(adapters.find, missing))
        )

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def told(self, name: str, now: float) -> LoadedModel:
        stays = self.users > 0 or self.keep_seconds < 0
        left = None if stays else max(0.0, self.used + self.keep_seconds - now)
        return LoadedModel(
            name=name, model=self.model, users=self.users, loaded_seconds=self.loaded, seconds_left=left
        )


class ModelPool:
    """Opens models by the names that clients say, and keeps them for a while.

    Clients may name models of `phi4local list`, and what the person who starts the server named: never files,
    folders or addresses of their own choice. When there is no memory for one more, the one that nobody used
    for longest makes room; who is used is never unloaded.

    Args:
        open_it: opens a model by name; `phi4local.runtime.open.open_model` with the server's load settings.
        keep_alive_seconds: how long a model stays after its last answer; below zero for ever.

    Example::

        pool = ModelPool(lambda name: open_model(name, LoadSettings(parallel=4)))
        async with pool.use("phi4-nano") as model:
            print((await model.achat("Hello")).text)
    """

    def __init__(
        self, open_it: Callable[[str], Model], *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> None:
        self._open = open_it
        self._keep_alive_seconds = keep_alive_seconds
        self._kept: dict[str, _Kept] = {}
        self._opening = asyncio.Lock()
        self._loading: dict[str, asyncio.Task[_Kept]] = {}
        self._unloading: set[asyncio.Task[bool]] = set()

    @classmethod
    def with_settings(
        cls, loading: LoadSettings, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> ModelPool:
        """Return a pool whose models are loaded with these settings."""
        return cls(functools.partial(_open, loading), keep_alive_seconds=keep_alive_seconds)

    def put(self, name: str, model: Model) -> None:
        """Take an open model into the pool, under the name that clients will say; it stays for ever."""
        self._kept[name] = _Kept(model, FOR_EVER)

    @contextlib.asynccontextmanager
    async def use(self, name: str, *, keep_alive_seconds: float | None = None) -> AsyncIterator[Model]:
        """Lend a model, loaded first when it is not; it stays loaded while somebody uses it.

        Args:
            name: what the client says; `MODEL+ADAPTER[:SCALE]` applies adapters of the store to its answers.
                All that fit are loaded with their model, so that one model serves them, in one batch.
            keep_alive_seconds: how long it stays afterwards, from now on; below zero for ever, 0 not at all.

        Raises:
            UnknownModelError, ModelNotInstalledError: clients may not have it, or it is not here.
            NotEnoughMemoryError: there is no room for it, whatever is unloaded.
        """
        asked, (name, scales) = name, split_adapters(name, self._kept)
        name = await asyncio.to_thread(same_model, self.loaded(), name)
        if name in self._kept and self._kept[name].is_idle_without(scales):
            await self.stop(name)
        kept = await self._loaded(name)
        kept.stop_timer()
        try:
            if not scales.keys() <= set(kept.model.adapter_names):
                raise UnknownModelError(asked, (), known=self.names())
            yield kept.model.adapted(**scales) if scales else kept.model
        finally:
            kept.users -= 1
            kept.used = time.monotonic()
            if keep_alive_seconds is not None:
                kept.keep_seconds = FOR_EVER if math.isinf(keep_alive_seconds) else keep_alive_seconds
            self._let_go(name, kept)

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Return what is in memory."""
        now = time.monotonic()
        return tuple(kept.told(name, now) for name, kept in self._kept.items())

    def names(self) -> tuple[str, ...]:
        """Return every name that a client may say."""
        return served_names(self.loaded())

    async def release(self, name: str) -> bool:
        """Unload a model as soon as nobody uses it; `False` when it was not loaded."""
        kept = self._kept.get(name)
        if kept is None:
            return False
        kept.keep_seconds = 0
        return await self.stop(name) if not kept.users else True

    async def stop(self, name: str) -> bool:
        """Unload a model, in use or not; `False` when it was not loaded."""
        kept = self._kept.pop(name, None)
        if kept is None:
            return False
        kept.stop_timer()
        await asyncio.to_thread(kept.model.close)
        return True

    async def close(self) -> None:
        """Unload everything, what is being loaded too."""
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        for name in list(self._kept):
            await self.stop(name)
        await asyncio.gather(*self._unloading)

    async def _loaded(self, name: str) -> _Kept:
        """Return a model with one user more, so that nothing unloads it meanwhile."""
        while (kept := self._kept.get(name)) is None:
            if name not in self._loading:
                # A task of its own: who asked may leave, and what was loaded must not be lost then.
                self._loading[name] = task = asyncio.ensure_future(self._load(name))
                task.add_done_callback(functools.partial(self._was_loaded, name))
            await asyncio.shield(self._loading[name])
        kept.users += 1
        return kept

    def _was_loaded(self, name: str, task: asyncio.Task[_Kept]) -> None:
        del self._loading[name]
        if not task.cancelled() and task.exception() is None:
            self._let_go(name, task.result())

    async def _load(self, name: str) -> _Kept:
        await asyncio.to_thread(require_served, name)
        async with self._opening:
            await asyncio.gather(*self._unloading)  # whose memory is not free yet
            return await self._open_with_room(name)

    async def _open_with_room(self, name: str) -> _Kept:
        while True:
            try:
                model = await asyncio.to_thread(self._open, name)
            except NotEnoughMemoryError:
                idle = [other for other, kept in self._kept.items() if not kept.users]
                if not idle:
                    raise
                await self.stop(min(idle, key=lambda other: self._kept[other].used))
            else:
                self._kept[name] = kept = _Kept(model, self._keep_alive_seconds)
                return kept

    def _let_go(self, name: str, kept: _Kept) -> None:
        """Start the clock of a model that nobody uses any more."""
        if kept.users or kept.keep_seconds < 0 or self._kept.get(name) is not kept:
            return
        loop = asyncio.get_running_loop()
        kept.timer = loop.call_later(kept.keep_seconds, self._expire, name, kept)

    def _expire(self, name: str, kept: _Kept) -> None:
        if not kept.users and self._kept.get(name) is kept:
            task = asyncio.get_running_loop().create_task(self.stop(name))
            self._unloading.add(task)
            task.add_done_callback(self._unloading.discard)


def _open(loading: LoadSettings, name: str) -> Model:
    return open_model(name, loading, adapters=fitting_adapters(name))


def served_names(loaded: tuple[LoadedModel, ...]) -> tuple[str, ...]:
    """Return what clients may say: what is loaded, the store's models, and all with their adapters."""
    here = [str(model.reference) for model in installed.installed() if model.kind == "gguf"]
    trained: dict[str, tuple[str, ...]] = {}
    for one in adapters.named():
        trained[one.base] = (*trained.get(one.base, ()), one.name)
    trained |= {one.name: one.model.adapter_names for one in loaded}
    models = dict.fromkeys([*(one.name for one in loaded), *here, resolve.EMBEDDED_MODEL])
    return (*models, *(f"{name}+{one}" for name in models for one in trained.get(name, ())))


def same_model(loaded: tuple[LoadedModel, ...], name: str) -> str:
    """Return the name under which a model is loaded already, so that its file is not opened twice.

    Example: `phi4-nano:Q8_0` is `phi4-nano` where that is loaded and stands for the same file.
    """
    if any(one.name == name for one in loaded):
        return name
    paths = [
        model.path for model in installed.named(name) if str(model.reference).casefold() == name.casefold()
    ]
    return next((one.name for one in loaded if one.model.file.header.path in paths), name)


def require_served(name: str) -> None:
    """Refuse a name from a client that is no model of the catalog or the store.

    Raises:
        UnknownModelError: it is not; a path or an address would let a client open whatever it likes.
    """
    known = catalog.model_names()
    if name.partition(":")[0].lower() not in known and not installed.named(name):
        raise UnknownModelError(name, catalog.near_names(name), known=known)
