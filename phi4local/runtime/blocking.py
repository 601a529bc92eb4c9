"""What a model on this machine and one on a server have in common: the forms that wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from phi4local.messages import as_messages
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy
    from numpy.typing import NDArray

    from phi4local.engine import Generation
    from phi4local.messages import Message, Messages


class BlockingModel(ABC):
    """A model that answers. `phi4local.load` makes one; use it as a context manager, or `close` it.

    Wherever messages are taken, dictionaries with `role` and `content` do as well, and a text alone is one
    message from the user. How tokens are chosen is a `SamplingSettings`, its fields by name
    (`temperature=0.7, seed=1`), or both: then the names win.

    Attributes:
        name: how the model is called.
        notices: lines that a person should see once, such as an unknown chat template.
        trained_context_tokens: the longest context that the model was made for; 0 where nobody tells.
        answers_together: how many may be asked for at the same time.
        default_stop: texts that end an answer when the caller names none.
        thinking: whether answers begin with thoughts between `<think>` and `</think>`.
    """

    name: str
    notices: tuple[str, ...]
    trained_context_tokens: int = 0
    thinking: bool = False
    answers_together: int = 256
    default_stop: tuple[str, ...] = ()

    @property
    @abstractmethod
    def context_tokens(self) -> int:
        """Room for prompt and answer together; 0 where nobody tells."""

    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = None,
        sampling: SamplingSettings | None = None,
        kept_ids: Mapping[int, tuple[int, ...]] | None = None,
        shift: bool = False,
        **options: Any,  # noqa: ANN401 - the fields of SamplingSettings, which checks them
    ) -> Generation:
        """Answer a conversation.

        The work begins at once and goes on while you do something else; `.text` waits for its end.

        Args:
            messages: the turns so far, the last one from the user.
            max_tokens: most tokens to generate; `None` for as many as the context holds.
            sampling: unset fields take the manifest's values, then llama.cpp's.
            kept_ids: token ids of messages, by their index, as they were generated. Tokenizing an answer's
                text again can give other ids, and then its work in the cache is lost. Servers ignore them.
            shift: when the context is full, drop the oldest turns and go on, with a `ContextShifted` event;
                the last turn stays, and so does all before the first. Servers ignore it.
            options: fields of `SamplingSettings`.

        Example::

            >>> model.chat([{"role": "user", "content": "What is 3 plus 4?"}]).text
            '3 plus 4 is 7.'
            >>> answer = model.chat("Tell me a story.", max_tokens=20, temperature=0.7, seed=1)
            >>> answer.result().finished.reason
            'length'

        Raises:
            InvalidSettingError: something that is no message, or an option that does not exist.
            ChatTemplateError: the template refuses the messages.
            EngineError: the engine does not start; while reading, that it failed.
        """
        chosen = chosen_sampling(sampling, options)
        return self._start_chat(
            as_messages(messages), chosen, max_tokens=max_tokens, kept_ids=kept_ids or {}, shift=shift
        )

    def stream(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = None,
        sampling: SamplingSettings | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Iterator[str]:
        r"""Answer a conversation and yield the text as it comes; leaving the loop cancels the rest.

        Example::

            >>> for text in model.stream("What is 3 plus 4?"):
            ...     print(text, end="")
            3 plus 4 is 7.

        Arguments and errors are those of `chat`.
        """
        return self.chat(messages, max_tokens=max_tokens, sampling=sampling, **options).texts()

    def generate(
        self,
        text: str,
        *,
        max_tokens: int | None = None,
        sampling: SamplingSettings | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Generation:
        """Continue `text` without a chat template; special tokens in it are plain text.

        Example::

            >>> model.generate("Pip the fox was little and", max_tokens=20).text
            ' kind.'

        Arguments and errors are those of `chat`.
        """
        return self._start_text(text, chosen_sampling(sampling, options), max_tokens=max_tokens)

    @abstractmethod
    def embed(self, texts: str | Sequence[str]) -> NDArray[numpy.float32]:
        """Return one vector for each text, float32, shape `(texts, width)`, of length 1 each."""

    @abstractmethod
    def tokenize(self, prompt: Messages) -> list[int]:
        """Return the token ids of a text, or of a conversation as the model reads it."""

    def count_tokens(
        self,
        messages: Sequence[Message],
        *,
        kept_ids: Mapping[int, tuple[int, ...]] | None = None,  # noqa: ARG002 - for models that know ids
    ) -> int:
        """Return how many tokens the conversation takes in the context, without the answer to come."""
        return len(self.tokenize(messages))

    @abstractmethod
    def close(self) -> None:
        """End what belongs to the model; answers that still come end with an error."""

    @abstractmethod
    def _start_chat(
        self,
        messages: tuple[Message, ...],
        sampling: SamplingSettings,
        *,
        max_tokens: int | None,
        kept_ids: Mapping[int, tuple[int, ...]],
        shift: bool,
    ) -> Generation: ...

    @abstractmethod
    def _start_text(self, text: str, sampling: SamplingSettings, *, max_tokens: int | None) -> Generation: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def chosen_sampling(sampling: SamplingSettings | None, options: Mapping[str, Any]) -> SamplingSettings:
    """Return settings whose fields come from `options`, and those unset there from `sampling`.

    Example: `chosen_sampling(SamplingSettings(top_k=5), {"stop": "END"})` has `top_k` 5, `stop` `("END",)`.
    """
    one_stop = {"stop": (options["stop"],)} if isinstance(options.get("stop"), str) else {}
    return SamplingSettings.from_mapping({**options, **one_stop}).filled_from(sampling or SamplingSettings())
