"""Requests that change what is on this machine: pull, copy, delete, create. The runtime does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from phi4local import catalog
from phi4local.errors import InvalidSettingError, UnsafeNameError, UnsupportedFieldError
from phi4local.runtime import create
from phi4local.runtime.fetch import fetch
from phi4local.runtime.pool import require_served, same_model
from phi4local.server.ollama.options import chosen
from phi4local.server.ollama.requests import ChatMessage, ModelText
from phi4local.server.strict import Strict
from phi4local.store import home, installed, kept, remove
from phi4local.store.modelfile import Modelfile
from phi4local.store.names import DEFAULT_TAG, ModelName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.runtime.fetch import PullPlan
    from phi4local.runtime.pool import LoadedModel
    from phi4local.runtime.progress import Progress
    from phi4local.server.ollama.progress import Tell

SUCCESS = {"status": "success"}
_HERE_ONLY = "is done by a command on the server's machine"


class Named(Strict):
    """A request about one model; `name` is what older clients say instead of `model`."""

    model: ModelText | None = None
    name: ModelText | None = None

    def target(self) -> str:
        """Return the model's name.

        Raises:
            UnsupportedFieldError: none, or two.
        """
        if self.model and self.name and self.model != self.name:
            raise UnsupportedFieldError("name", "is not what `model` says")
        found = self.model or self.name
        if not found:
            raise UnsupportedFieldError("model", "is missing", hint="name a model")
        return found


class Told(Named):
    """A request about a model whose answer comes in pieces, unless the client says no."""

    stream: bool | None = None

    @property
    def streams(self) -> bool:
        """Whether the client wants pieces."""
        return self.stream is not False


class PullRequest(Told):
    """A request to `/api/pull`."""

    insecure: bool | None = None

    def reference(self) -> str | None:
        """Return what is to be pulled; `None` when it is here in any case.

        Raises:
            UnsupportedFieldError: http to other machines, which only the server's owner may allow.
        """
        if self.insecure:
            command = f"`phi4local pull --insecure {self.target()}`"
            raise UnsupportedFieldError("insecure", _HERE_ONLY, hint=command)
        name = plain_name(self.target())
        embedded = name.lower() in catalog.model_names() and catalog.find(name).folder is not None
        return None if embedded else name


class CopyRequest(Strict):
    """A request to `/api/copy`."""

    source: ModelText
    destination: ModelText

    def run(self) -> None:
        """Give a model a second name.

        Raises:
            ModelNotInstalledError, AmbiguousNameError, StoreError: there is no such model, or it is damaged.
            UnsupportedFieldError: the new name is none.
        """
        require_name("destination", self.destination)
        kept.copy(self.source, self.destination)


class DeleteRequest(Named):
    """A request to `/api/delete`."""


class CreateRequest(Told):
    """A request to `/api/create`: a model that is here, with other words and settings."""

    from_: Annotated[ModelText | None, Field(alias="from")] = None
    system: str | None = None
    template: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, Any] | None = None
    messages: list[ChatMessage] | None = None
    quantize: str | None = None
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    modelfile: str | None = None

    def described(self) -> Modelfile:
        """Return the Modelfile that says the same.

        Raises:
            UnsupportedFieldError: something that needs files of the server's machine, or means nothing.
            UnknownModelError: clients may not have the base, or it is not here.
        """
        for name in ("files", "adapters", "modelfile"):
            if getattr(self, name):
                raise UnsupportedFieldError(name, _HERE_ONLY, hint="`phi4local create NAME -f Modelfile`")
        if self.from_ is None:
            raise UnsupportedFieldError("from", "is missing", hint="name a model of /api/tags")
        require_name("model", self.target())
        base = plain_name(self.from_)
        require_served(base)
        turns = [message.as_message(f"messages[{n}]") for n, message in enumerate(self.messages or ())]
        licenses = [self.license] if isinstance(self.license, str) else self.license or []
        parameters = _parameters(self.parameters or {})
        _require_characters(
            system=[self.system],
            template=[self.template],
            license=licenses,
            messages=[turn.content for turn in turns],
            parameters=parameters.get("stop", []),
            quantize=[self.quantize],
        )
        return Modelfile(
            base=base,
            parameters=parameters,
            template=self.template or None,
            system=self.system or None,
            messages=tuple((turn.role, turn.content) for turn in turns),
            licenses=tuple(licenses),
        )

    def run(self, described: Modelfile, tell: Tell) -> None:
        """Make the model and tell how far it is. Raises what `create.make` raises."""

        def converted(done: int, total: int) -> None:
            tell({"status": "converting model", "total": total, "completed": done})

        folder, quantization = home.make_models_folder(), self.quantize or None
        create.make(self.target(), described, folder, quantization=quantization, progress=converted)
        tell({"status": "writing manifest"})

    def ignored(self) -> tuple[str, ...]:
        """Return what is kept for Ollama and changes nothing here."""
        settings = chosen(self.parameters) if self.parameters else None
        names = (
            [name.replace("options.", "parameters.") for name in settings.without_effect] if settings else []
        )
        return (*(("template",) if self.template else ()), *(name for name in names if "num_" not in name))


def plain_name(text: str) -> str:
    """Return a name without Ollama's tag for "none", where the model has no such tag here.

    Examples: `phi4-nano:latest` → `phi4-nano`; `phi4:latest`, which is of Ollama's library, stays.
    """
    name, _, tag = text.rpartition(":")
    if tag.lower() == DEFAULT_TAG and name.lower() in catalog.model_names() and not installed.named(text):
        return name
    return text


def served_name(loaded: tuple[LoadedModel, ...], text: str) -> str:
    """Return the name under which a pool has a model, so that it is not loaded twice.

    Example: `phi4-nano:latest+nova` is `phi4-nano+nova`.
    """
    name, plus, adapters = text.partition("+")
    return same_model(loaded, plain_name(name)) + plus + adapters


def require_name(field: str, text: str) -> None:
    """Refuse what cannot be a model's name.

    Raises:
        UnsupportedFieldError: it cannot.
    """
    try:
        ModelName.parse(text)
    except UnsafeNameError as error:
        raise UnsupportedFieldError(
            field, f"is no name for a model: {error}", hint="write NAME:TAG"
        ) from error


def delete(text: str) -> None:
    """Remove a model. Raises what `kept.name_of` and `remove.remove` raise."""
    remove.remove(kept.name_of(text))


def pull(plan: PullPlan, tell: Tell) -> None:
    """Pull a model and tell how far it is, in Ollama's words. Raises what `fetch` raises."""
    tell({"status": "pulling manifest"})
    fetch(plan, progress=lambda progress: tell(pull_status(plan, progress)))
    tell({"status": "writing manifest"})


def pull_status(plan: PullPlan, progress: Progress) -> dict[str, Any]:
    """Return the line that tells how far a pull is: bytes of all files under the digest of the largest."""
    largest = max(plan.remote.files, key=lambda file: file.size_bytes)
    digest = f"sha256:{largest.sha256}" if largest.sha256 else str(plan.name)
    status = "verifying sha256 digest" if progress.stage == "checking" else f"pulling {digest[-64:][:12]}"
    return {"status": status, "digest": digest, "total": progress.total, "completed": progress.done}


def _require_characters(**fields: Sequence[str | None]) -> None:
    """Refuse texts that cannot be written to a file: half a surrogate is no character.

    Raises:
        UnsupportedFieldError: there is one.
    """
    for field, texts in fields.items():
        try:
            "".join(text or "" for text in texts).encode()
        except UnicodeEncodeError as error:
            raise UnsupportedFieldError(field, "has half a character") from error


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Return parameters that a model can bring along.

    Raises:
        UnsupportedFieldError: one that does not exist, or cannot be.
    """
    try:
        chosen(given)
    except UnsupportedFieldError as error:
        place = error.field.replace("options.", "parameters.")
        problem = str(error).partition("` ")[2]
        raise UnsupportedFieldError(place, problem, hint=error.hint) from error
    except InvalidSettingError as error:
        raise UnsupportedFieldError("parameters", str(error), hint=error.hint) from error
    values = {name: value for name, value in given.items() if value is not None}
    return {
        name: [value] if name == "stop" and isinstance(value, str) else value
        for name, value in values.items()
    }
