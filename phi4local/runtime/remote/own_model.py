"""A model on another process's server of this program: it answers as one that is loaded here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.engine import Finished, Text
from phi4local.errors import InvalidSettingError, Phi4LocalError, UnknownModelError
from phi4local.messages import as_messages
from phi4local.runtime.names import split_adapters, with_adapters
from phi4local.runtime.remote.answer import Answer
from phi4local.runtime.remote.connection import Exchange
from phi4local.runtime.remote.model import RemoteModel
from phi4local.runtime.remote.running import OWN, state_of
from phi4local.runtime.remote.wire import error_of, event_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.engine import Generation
    from phi4local.messages import Message, Messages
    from phi4local.runtime.remote.connection import Server
    from phi4local.runtime.remote.running import ServedModel
    from phi4local.settings import SamplingSettings


class OwnModel(RemoteModel):
    """A model on a server of this program: every setting, token ids, exact counts and times, typed errors.

    Attributes:
        served: what the server says about it.
        adapters: that are applied, with their strengths.

    Args:
        server: below the path of OpenAI's interface.
        served: the model there.
        adapters: to be applied to every answer.
        context_tokens: answer as if the context had so many tokens; `None` for as many as it has.

    Example::

        with phi4local.load("http://127.0.0.1:8004") as model:
            print(model.chat("Why is the sky blue?", seed=1).text)
    """

    def __init__(
        self,
        server: Server,
        served: ServedModel,
        *,
        adapters: Mapping[str, float] | None = None,
        context_tokens: int | None = None,
    ) -> None:
        super().__init__(server.at(server.address.path.removesuffix("/v1")), served.name)
        self.served = served
        self.adapters = dict(adapters or {})
        self.trained_context_tokens = served.trained_context_tokens
        self.answers_together = served.settings.get("parallel") or 1
        self.thinking = served.thinking
        self.default_stop = served.default_stop
        self._context_tokens = min(context_tokens or served.context_tokens, served.context_tokens)

    vectors_path = "/v1/embeddings"

    @property
    def context_tokens(self) -> int:
        """Room for prompt and answer together."""
        return self._context_tokens

    @property
    def asked_name(self) -> str:
        """The name that requests say. Example: `phi-4+nova:0.5`."""
        return with_adapters(self.name, self.adapters)

    def tokenize(self, prompt: Messages) -> list[int]:
        """Return the token ids of a text, or of a conversation as the model reads it."""
        body = {"text": prompt} if isinstance(prompt, str) else _conversation(as_messages(prompt), {})
        ids = self._ask("tokenize", body, "ids")
        if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
            raise self._server.error("sent no token ids")
        return ids

    def count_tokens(
        self, messages: Sequence[Message], *, kept_ids: Mapping[int, tuple[int, ...]] | None = None
    ) -> int:
        """Return how many tokens the conversation takes in the context, without the answer to come."""
        count = self._ask("count", _conversation(messages, kept_ids or {}), "count")
        if not isinstance(count, int):
            raise self._server.error("sent no count")
        return count

    def _ask(self, what: str, body: dict[str, Any], wanted: str) -> object:
        answer = self._server.ask(f"{OWN}/{what}", {"model": self.asked_name, **body})
        if isinstance(answer.get("error"), dict) and (error := error_of(answer["error"])):
            raise error
        return answer.get(wanted)

    def _start_chat(
        self,
        messages: tuple[Message, ...],
        sampling: SamplingSettings,
        *,
        max_tokens: int | None,
        kept_ids: Mapping[int, tuple[int, ...]],
        shift: bool,
    ) -> Generation:
        return self._answer({**_conversation(messages, kept_ids), "shift": shift}, sampling, max_tokens)

    def _start_text(self, text: str, sampling: SamplingSettings, *, max_tokens: int | None) -> Generation:
        return self._answer({"text": text}, sampling, max_tokens)

    def _answer(
        self, prompt: dict[str, Any], sampling: SamplingSettings, max_tokens: int | None
    ) -> Generation:
        if max_tokens is not None and max_tokens < 1:
            raise InvalidSettingError("max_tokens", f"is {max_tokens}; it must be at least 1")
        body = {
            "model": self.asked_name,
            **prompt,
            "sampling": {name: value for name, value in sampling.to_mapping().items() if value is not None},
            "max_tokens": max_tokens,
        }
        if self._context_tokens < self.served.context_tokens:
            body["context_tokens"] = self._context_tokens
        return self._begin(Exchange(self._server, f"{OWN}/answer", body), OwnAnswer)


class OwnAnswer(Answer):
    """Reads the lines of `/phi4local/answer`."""

    def _read_lines(self) -> Finished | Phi4LocalError:
        for line in self._exchange.lines():
            value = self._exchange.decoded(line)
            if isinstance(value.get("error"), dict):
                return error_of(value["error"]) or self._server.error("failed", hint="look at its log")
            try:
                event = event_of(value)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
                raise self._server.error("sent an answer of another shape") from None
            if isinstance(event, Finished):
                return event
            if isinstance(event, Text):
                self._note_tokens(len(event.token_ids))
            self._generation.put(event)
        raise self._server.error(
            "ended in the middle of the answer", hint="it was stopped, or its process died; look at its log"
        )


def own_model(server: Server, wanted: str, adapters: Mapping[str, float]) -> OwnModel | None:
    """Return a model of a server of this program; `None` when OpenAI's interface is the way to ask it.

    That is so where a guard checks what is asked.

    Args:
        server: below the path of OpenAI's interface.
        wanted: the name of the model, perhaps with adapters.
        adapters: to be applied.

    Raises:
        Phi4LocalError: it does not have this model, or cannot load it.
    """
    base = server.at(server.address.path.removesuffix("/v1"))
    state = state_of(base)
    if state is None or state.guarded:
        return None
    name, scales = split_adapters(wanted, [one.name for one in state.models])
    asked = with_adapters(name, {**scales, **adapters})
    answer = base.ask(f"{OWN}/count", {"model": asked, "text": ""})  # loads it, if that is to be done
    if isinstance(answer.get("error"), dict) and (error := error_of(answer["error"])):
        raise error
    loaded = state_of(base)
    for served in loaded.models if loaded else ():
        if served.name.casefold() == name.casefold():
            return OwnModel(server, served, adapters={**scales, **adapters})
    raise UnknownModelError(name, (), known=[one.name for one in loaded.models] if loaded else [])


def _conversation(messages: Sequence[Message], kept_ids: Mapping[int, tuple[int, ...]]) -> dict[str, Any]:
    return {
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "kept_ids": {str(place): list(ids) for place, ids in kept_ids.items()},
    }
