"""A model on a server: messages or text in, events out."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from phi4local.engine import Generation
from phi4local.errors import EngineError, InvalidSettingError, RemoteError, UnknownModelError
from phi4local.runtime.language_model import LanguageModel
from phi4local.runtime.remote.address import parse_address
from phi4local.runtime.remote.answer import Answer
from phi4local.runtime.remote.connection import SILENCE_SECONDS, Exchange, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy
    from numpy.typing import NDArray

    from phi4local.messages import Message, Messages
    from phi4local.settings import SamplingSettings

KEY_VARIABLE = "PHI4LOCAL_API_KEY"
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

    Example::

        with phi4local.load("http://127.0.0.1:8080") as model:
            print(model.chat("Why is the sky blue?").text)
    """

    def __init__(self, server: Server, name: str) -> None:
        self.name = name
        self.address = str(server.address)
        self.notices = ()
        self._server = server
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
        answer = self._server.ask("/embeddings", {"model": self.name, "input": wanted})
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
        body = {"model": self.name, **prompt, **_sampling_fields(sampling), **limit, **streaming}
        exchange = Exchange(self._server, path, body)
        generation = Generation(cancel=exchange.hang_up)
        with self._lock:
            if self._closed:
                raise EngineError("the model is closed", hint="load it again")
            self._running.add(exchange)

        def read() -> None:
            Answer(self._server, exchange, generation).read()
            with self._lock:
                self._running.discard(exchange)

        threading.Thread(target=read, name="phi4local-remote", daemon=True).start()
        return generation


def open_remote(
    address: str, *, api_key: str | None = None, silence_seconds: float = SILENCE_SECONDS
) -> RemoteModel:
    """Return the model of a server, after asking which models it has.

    Args:
        address: `http://HOST:PORT`, with a path other than `/v1` where the server wants one, and with `#NAME`
            where it has several models.
        api_key: what the server wants as a bearer token; unset, PHI4LOCAL_API_KEY. It is sent to this server
            only.
        silence_seconds: how long the server may say nothing.

    Example: `open_remote("http://127.0.0.1:8080").chat("Hello").text`.

    Raises:
        InvalidSettingError: no address, or a key with characters that no header takes.
        RemoteError: the server is not there, refuses, or is no such server.
        UnknownModelError: it has no model of this name, or several and none was chosen.
    """
    where = parse_address(address)
    key = os.environ.get(KEY_VARIABLE) if api_key is None else api_key
    if key is not None and not (key.isascii() and key.isprintable()):
        raise InvalidSettingError("api_key", "has characters that no key has", hint="copy it again")
    server = Server(where, api_key=key or None, silence_seconds=silence_seconds)
    model = RemoteModel(server, _choose(server, where.model))
    if key and not where.secure and not where.on_this_machine:
        model.notices = ("the key and every message go over the network unencrypted: use https",)
    return model


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


def _choose(server: Server, wanted: str | None) -> str:
    try:
        listed = server.ask("/models").get("data")
    except RemoteError as error:
        if wanted and error.status == 404:  # a server without a list
            return wanted
        raise
    rows = listed if isinstance(listed, list) else []
    names = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    if wanted in names or (len(names) == 1 and wanted is None):
        return wanted or names[0]
    if not names:
        raise server.error("lists no models", hint="load one there first")
    error_name = wanted or str(server.address)
    problem = UnknownModelError(error_name, (), known=names)
    problem.hint = f"put #NAME behind the address, one of: {', '.join(names[:10])}"
    raise problem


def _sampling_fields(sampling: SamplingSettings) -> dict[str, Any]:
    """Return the set fields under the names that servers give them."""
    fields = {name: value for name, value in sampling.to_mapping().items() if value is not None}
    if "logprobs" in fields:
        raise InvalidSettingError("logprobs", "is not passed on to servers", hint="load the model's file")
    if "logit_bias" in fields:
        fields["logit_bias"] = {str(token): bias for token, bias in fields["logit_bias"]}
    return {_SERVER_NAMES.get(name, name): value for name, value in fields.items()}
