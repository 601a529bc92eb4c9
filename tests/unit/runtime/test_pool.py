"""Models on demand: one load for all who ask, unloaded when nobody needs it, room made when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from phi4local import errors
from phi4local.runtime.open import open_model
from phi4local.runtime.pool import ModelPool
from phi4local.settings import LoadSettings

pytestmark = pytest.mark.usefixtures("native_library")
NAMES = ("phi4-nano", "phi-4", "phi-4-mini-instruct")
"""Names that clients may say; the embedded model stands for all of them."""


class Opened:
    """Opens phi4-nano for every name, as long as there is room; remembers how often."""

    def __init__(self, room=9):
        self.room, self.names, self.models, self.lock = room, [], [], threading.Lock()

    def __call__(self, name):
        with self.lock:
            self.names.append(name)
            if sum(not closed(model) for model in self.models) >= self.room:
                raise errors.NotEnoughMemoryError("main memory", needed_bytes=2, free_bytes=1, nearest="less")
        model = open_model("phi4-nano", LoadSettings(context_tokens=256, threads=1))
        self.models.append(model)
        return model


def closed(model):
    """Whether the engine process of a model was ended."""
    try:
        model.tokenize("Hello")
    except errors.EngineError:
        return True
    return False


async def unloaded(pool, name):
    while name in {one.name for one in pool.loaded()}:
        await asyncio.sleep(0.005)


def run(room, work, **settings):
    opened = Opened(room)

    async def whole():
        pool = ModelPool(opened, **settings)
        try:
            return await asyncio.wait_for(work(pool, opened), 120)
        finally:
            await pool.close()

    result = asyncio.run(whole())
    assert all(closed(model) for model in opened.models)
    return result


def test_who_asks_at_once_waits_for_one_load():
    async def work(pool, opened):
        async def ask(name):
            async with pool.use(name) as model:
                return (await model.achat("What is 3 plus 4?", max_tokens=16)).text

        answers = await asyncio.gather(*map(ask, ["phi4-nano"] * 8 + ["phi-4"] * 3))
        assert answers == ["3 plus 4 is 7."] * 11
        assert sorted(opened.names) == ["phi-4", "phi4-nano"]

    run(9, work)


def test_a_model_goes_when_its_time_is_up_and_not_while_it_is_used():
    async def work(pool, opened):
        async with pool.use("phi4-nano") as model:
            (one,) = pool.loaded()
            assert (one.users, one.seconds_left) == (1, None)
            async with pool.use("phi4-nano", keep_alive_seconds=0) as same:
                assert same is model
            await asyncio.sleep(0.05)
            assert [one.name for one in pool.loaded()] == ["phi4-nano"]
        await unloaded(pool, "phi4-nano")
        while not closed(model):
            await asyncio.sleep(0.005)
        async with pool.use("phi4-nano") as model:
            assert not closed(model)
        assert opened.names == ["phi4-nano"] * 2

    run(9, work, keep_alive_seconds=60)


def test_how_long_it_stays():
    async def work(pool, _opened):
        async with pool.use("phi4-nano"):
            pass
        assert 0 < pool.loaded()[0].seconds_left <= 0.2
        await unloaded(pool, "phi4-nano")
        for ever in (-1, float("inf")):
            async with pool.use("phi4-nano", keep_alive_seconds=ever):
                pass
            assert pool.loaded()[0].seconds_left is None
        async with pool.use("phi4-nano", keep_alive_seconds=100):
            pass
        assert 90 < pool.loaded()[0].seconds_left <= 100
        assert await pool.stop("phi4-nano")
        assert not await pool.stop("phi4-nano")

    run(9, work, keep_alive_seconds=0.2)


def test_the_one_that_nobody_used_for_longest_makes_room():
    async def work(pool, opened):
        for name in ("phi4-nano", "phi-4", "phi4-nano"):
            async with pool.use(name):
                pass
        async with pool.use("phi-4-mini-instruct"):
            assert {one.name for one in pool.loaded()} == {"phi4-nano", "phi-4-mini-instruct"}
        assert opened.names.count("phi-4-mini-instruct") == 2  # refused once, then there was room

    run(2, work)


def test_who_is_used_never_makes_room():
    async def work(pool, _opened):
        async with pool.use("phi4-nano") as model:
            with pytest.raises(errors.NotEnoughMemoryError):
                async with pool.use("phi-4"):
                    pass
            assert not closed(model)

    run(1, work)


def test_a_load_does_not_hold_up_who_is_loaded():
    async def work(pool, opened):
        async with pool.use("phi4-nano"):
            pass
        with opened.lock:  # the next load waits here
            loading = asyncio.ensure_future(_use(pool, "phi-4"))
            await asyncio.sleep(0.01)
            async with pool.use("phi4-nano") as model:
                assert (await model.achat("Hello", max_tokens=2)).text
            assert not loading.done()
        await loading

    run(9, work)


def test_a_model_whose_client_left_while_it_was_loaded_is_kept_and_closed():
    async def work(pool, opened):
        with opened.lock:  # the load waits here
            asking = asyncio.ensure_future(_use(pool, "phi-4"))
            await asyncio.sleep(0.05)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        async with pool.use("phi-4") as model:
            assert not closed(model)
        assert opened.names == ["phi-4"]

    run(9, work)


def test_a_model_that_nobody_waits_for_any_more_goes_when_its_time_is_up():
    async def work(pool, opened):
        with opened.lock:
            asking = asyncio.ensure_future(_use(pool, "phi-4"))
            await asyncio.sleep(0.05)
            asking.cancel()
        while not opened.models:
            await asyncio.sleep(0.005)
        while not closed(opened.models[0]):
            await asyncio.sleep(0.005)

    run(9, work, keep_alive_seconds=0)


def test_to_release_a_model_cuts_nobody_off():
    async def work(pool, _opened):
        async with pool.use("phi4-nano") as model:
            assert await pool.release("phi4-nano")
            assert (await model.achat("Hello", max_tokens=2)).text
        await unloaded(pool, "phi4-nano")
        assert not await pool.release("phi4-nano")

    run(9, work)


async def _use(pool, name):
    async with pool.use(name):
        pass


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "./x.gguf", "http://127.0.0.1:1", "../models/phi4-nano", "nothing"]
)
def test_clients_name_models_and_no_files(name):
    async def work(pool, opened):
        with pytest.raises(errors.UnknownModelError):
            await _use(pool, name)
        assert opened.names == []

    run(9, work)
