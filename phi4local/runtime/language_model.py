"""The interface of every model that `phi4local.load` opens: the forms that wait, and those for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from phi4local.engine import Generation, Text
from phi4local.runtime.blocking import BlockingModel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    import numpy
    from numpy.typing import NDArray

    from phi4local.engine import Completion
    from phi4local.messages import Messages


class LanguageModel(BlockingModel):
    """A model that answers; every form that waits has one for asyncio, with an `a` before its name.

    They take the same arguments and raise the same errors. Cancelling the task cancels the answer.

    Example::

        async def main():
            async with phi4local.load("phi4-nano") as model:
                first, second = await asyncio.gather(model.achat("Hello"), model.achat("What is 3 plus 4?"))
                async for text in model.astream("Tell me a story."):
                    print(text, end="")
    """

    async def achat(self, messages: Messages, **options: Any) -> Completion:  # noqa: ANN401 - those of chat
        """Answer a conversation and wait for the whole answer.

        Example: `(await model.achat("What is 3 plus 4?")).text` is `'3 plus 4 is 7.'`.
        """
        return await (await started(lambda: self.chat(messages, **options))).aresult()

    async def astream(self, messages: Messages, **options: Any) -> AsyncIterator[str]:  # noqa: ANN401
        """Answer a conversation and yield the text as it comes; leaving the loop cancels the rest.

        Example: `async for text in model.astream("Hello"): print(text, end="")`.
        """
        generation = await started(lambda: self.chat(messages, **options))
        with generation:
            async for event in generation:
                if isinstance(event, Text) and event.delta:
                    yield event.delta

    async def agenerate(self, text: str, **options: Any) -> Completion:  # noqa: ANN401
        """Continue `text` without a chat template and wait for the whole answer.

        Example: `(await model.agenerate("Pip the fox was little and")).text`.
        """
        return await (await started(lambda: self.generate(text, **options))).aresult()

    async def aembed(self, texts: str | Sequence[str]) -> NDArray[numpy.float32]:
        """Return one vector for each text, as `embed` does. Example: `await model.aembed(["one", "two"])`."""
        import asyncio

        return await asyncio.to_thread(self.embed, texts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)


async def started(start: Callable[[], Generation]) -> Generation:
    """Start a generation on a thread: rendering a template and reviving the engine take time."""
    import asyncio

    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_cancel_when_started)
        raise


def _cancel_when_started(starting: asyncio.Future[Generation]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().cancel()
