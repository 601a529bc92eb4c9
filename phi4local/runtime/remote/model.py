"""A model on a server: messages or text in, events out."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from phi4local.engine import Generation
from phi4local.errors import EngineError, InvalidSettingError
from phi4local.runtime.language_model import LanguageModel
from phi4local.runtime.remote.answer import Answer
from phi4local.runtime.remote.connection import Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy
    from numpy.typing import NDArray

    from phi4local.messages import Message, Messages
    from phi4local.runtime.remote.connection import Server
    from phi4local.settings import SamplingSettings

_SERVER_NAMES = {
    "penalty_last_tokens": "repeat_last_n",
    "dry_last_tokens": "dry_penalty_last_n",
    "dynamic_temperature_range": "dynatemp_range",
    "dynamic_temperature_exponent": "dynatemp_exponent",
}
"""Fields that llama-server calls otherwise. Servers differ in what they take beyond OpenAI's own fields."""


class RemoteModel(LanguageModel):
    """A model on a server. Made by `phi4local.load("http://…")`.

    The server renders the messages, so what people type is as safe there as the server makes it. Unset
    sampling settings are the server's. Prompts and answers leave this machine unless the server is on it.

    Attributes:
        name: the server's name of the model.
        address: where the server is.

    Args:
        server: below the path of OpenAI's interface.
        name: of the model there.
        owned: whether the server is one of this program.

    Example::

        with phi4local.load("http://127.0.0.1:8080") as model:
            print(model.chat("Why is the sky blue?").text)
    """

    vectors_path = "/embeddings"
    answers_together = 1  # llama-cpp-python's server ends an answer when the next one is asked for

    def __init__(self, server: Server, name: str, *, owned: bool = False) -> None:
        self.name = name
        self.address = str(server.address)
        self.notices = ()
        self._server = server
        self._fields = _own_fields if owned else _sampling_fields
        self._lock = threading.Lock()
        self._running: set[Exchange] = set()
        self._closed = False

    @property
    def context_tokens(self) -> int:
        """Room for prompt and answer together; 0, because servers do not tell."""
        return 0

    def embed(self, texts: str | Sequence[str]) -> NDArray[numpy.float32]:
        """Return one vector for each text, float32, shape `(texts, width)`, of length 1 each.

        Raises:
            RemoteError: the server makes no vectors, or not as many as texts.
        """
        wanted = [texts] if isinstance(texts, str) else list(texts)
        answer = self._server.ask(self.vectors_path, {"model": self.name, "input": wanted})
        try:
            return _unit_vectors(answer["data"], len(wanted))
        except (KeyError, TypeError, ValueError):
            raise self._server.error("sent vectors of another shape") from None

    def tokenize(self, prompt: Messages) -> list[int]:  # noqa: ARG002 - refused whatever it is
        """Refuse: OpenAI's interface has no such call.

        Raises:
            RemoteError: always.
        """
        raise self._server.error(
            "has no interface that tells token ids", hint="load the model's file instead"
        )

    def close(self) -> None:
        """Hang up on every answer that still comes."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for exchange in running:
            exchange.hang_up()

    def _start_chat(
        self,
        messages: tuple[Message, ...],
        sampling: SamplingSettings,
        *,
        max_tokens: int | None,
        kept_ids: Mapping[int, tuple[int, ...]],  # noqa: ARG002 - the server keeps its own
        shift: bool,  # noqa: ARG002 - the server decides
    ) -> Generation:
        said = [{"role": message.role, "content": message.content} for message in messages]
        return self._start("/chat/completions", {"messages": said}, sampling, max_tokens)

    def _start_text(self, text: str, sampling: SamplingSettings, *, max_tokens: int | None) -> Generation:
        return self._start("/completions", {"prompt": text}, sampling, max_tokens)

    def _start(
        self, path: str, prompt: dict[str, Any], sampling: SamplingSettings, max_tokens: int | None
    ) -> Generation:
        if max_tokens is not None and max_tokens < 1:
            raise InvalidSettingError("max_tokens", f"is {max_tokens}; it must be at least 1")
        limit = {} if max_tokens is None else {"max_tokens": max_tokens}
        streaming = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"model": self.name, **prompt, **self._fields(sampling), **limit, **streaming}
        return self._begin(Exchange(self._server, path, body), Answer)

    def _begin(self, exchange: Exchange, reader: type[Answer]) -> Generation:
        """Send a request, and read its answer on a thread."""
        generation = Generation(cancel=exchange.hang_up)
        with self._lock:
            if self._closed:
                raise EngineError("the model is closed", hint="load it again")
            self._running.add(exchange)

        def read() -> None:
            reader(self._server, exchange, generation).read()
            with self._lock:
                self._running.discard(exchange)

        threading.Thread(target=read, name="phi4local-remote", daemon=True).start()
        return generation


def _unit_vectors(rows: list[dict[str, Any]], count: int) -> NDArray[numpy.float32]:
    """Return the rows of an answer in the order of the texts, scaled to length 1.

    llama-cpp-python gives a vector for each token of a model without pooling; their mean is taken.

    Raises:
        KeyError, TypeError, ValueError: other rows than wanted, or numbers that are not finite.
    """
    import numpy

    found = {row["index"]: numpy.array(row["embedding"], dtype=numpy.float64) for row in rows}
    vectors = numpy.array(
        [vector if vector.ndim == 1 else vector.mean(axis=0) for _, vector in sorted(found.items())]
    )
    lengths = numpy.linalg.norm(vectors.reshape(count, -1), axis=1, keepdims=True)
    if sorted(found) != list(range(count)) or not (numpy.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("other vectors than wanted")
    scaled: NDArray[numpy.float32] = (vectors / lengths).astype(numpy.float32)
    return scaled


def _sampling_fields(sampling: SamplingSettings) -> dict[str, Any]:
    """Return the set fields under the names that servers give them."""
    fields = {name: value for name, value in sampling.to_mapping().items() if value is not None}
    if "logprobs" in fields:
        raise InvalidSettingError("logprobs", "is not passed on to servers", hint="load the model's file")
    if "logit_bias" in fields:
        fields["logit_bias"] = {str(token): bias for token, bias in fields["logit_bias"]}
    return {_SERVER_NAMES.get(name, name): value for name, value in fields.items()}


def _own_fields(sampling: SamplingSettings) -> dict[str, Any]:
    """Return the set fields as this program's own server takes them: by the names that they have here."""
    fields = {name: value for name, value in sampling.to_mapping().items() if value is not None}
    if "json_schema" in fields:
        schema = json.loads(fields.pop("json_schema"))
        fields["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    if "logprobs" in fields:
        fields |= {"logprobs": True, "top_logprobs": fields["logprobs"]}
    if "logit_bias" in fields:
        fields["logit_bias"] = {str(token): bias for token, bias in fields["logit_bias"]}
    return fields
