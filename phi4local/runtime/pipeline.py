"""`pipeline("text-generation")` as Phi-4's model card calls it, with transformers' arguments and results."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from phi4local import catalog
from phi4local.errors import InvalidSettingError
from phi4local.messages import as_messages
from phi4local.runtime.absent import agree
from phi4local.runtime.language_model import LanguageModel
from phi4local.runtime.load import load_model
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from phi4local.engine import Generation

TASK = "text-generation"
ALL_LAYERS = 2**31 - 1
_QUANTIZATIONS = {
    "auto": None,
    "float32": "F32",
    "float": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "half": "F16",
}
_GPU_LAYERS = {"auto": None, "cpu": 0, "-1": 0, "cuda": ALL_LAYERS, "mps": ALL_LAYERS, "0": ALL_LAYERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What a call takes: transformers' names, meanings and defaults, but greedy unless asked otherwise."""

    max_new_tokens: int | None = None
    max_length: int | None = None
    return_full_text: bool = True
    num_return_sequences: int = 1
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "top_k", "top_p"):
            if getattr(self, name) is not None and self.do_sample is None:
                raise InvalidSettingError(
                    name, "changes nothing without `do_sample`", hint="add do_sample=True, or leave it out"
                )
        for name in ("max_new_tokens", "max_length", "num_return_sequences"):
            count = getattr(self, name)
            if count is not None and (not isinstance(count, int) or count < 1):
                raise InvalidSettingError(
                    name, f"is {count!r}; it must be at least 1", hint="leave it out, or ask for more"
                )
        if self.num_return_sequences > 1 and not self.do_sample:
            raise InvalidSettingError(
                "num_return_sequences", "gives equal answers without `do_sample`", hint="add do_sample=True"
            )

    def sampling(self) -> SamplingSettings:
        """Return the settings; temperature 0.7 and top-k 50 are those of transformers 5's pipeline."""
        if not self.do_sample:
            return SamplingSettings(temperature=0)
        return SamplingSettings(
            temperature=0.7 if self.temperature is None else self.temperature,
            top_k=50 if self.top_k is None else self.top_k,
            top_p=1.0 if self.top_p is None else self.top_p,
            min_p=0.0,
        )


class TextGenerationPipeline:
    """Conversations or texts in, transformers' lists of dictionaries out. Made by `phi4local.pipeline`.

    Args:
        model: an open model; `close` closes it.
        options: what calls take when they do not say otherwise.

    Attributes:
        task: "text-generation".
        model: the model, with everything else that it can do.
    """

    task = TASK

    def __init__(self, model: LanguageModel, options: Mapping[str, Any]) -> None:
        self.model = model
        self._options = dict(options)

    def __call__(self, text_inputs: Any, **options: Any) -> list[Any]:  # noqa: ANN401 - as transformers
        """Answer a conversation or continue a text; a list of them is worked on together.

        Args:
            text_inputs: a text, a list of messages, or a list of either.
            options: `max_new_tokens` (256), `max_length` (with the prompt), `return_full_text`,
                `num_return_sequences`, and with `do_sample=True` `temperature`, `top_k` and `top_p`.

        Returns:
            `[{"generated_text": …}]` for one input, a list of such lists for several. For a conversation the
            value is the messages with the answer as the last one; with `return_full_text=False`, its text.

        Example::

            >>> outputs = pipeline([{"role": "user", "content": "What is 3 plus 4?"}], max_new_tokens=128)
            >>> outputs[0]["generated_text"][-1]
            {'role': 'assistant', 'content': '3 plus 4 is 7.'}

        Raises:
            InvalidSettingError: an argument that this pipeline does not have, or an input of another shape.
            EngineError: the engine failed.
        """
        chosen = _checked({**self._options, **options})
        several = _is_list(text_inputs) and not _is_conversation(text_inputs)
        inputs = list(text_inputs) if several else [text_inputs]
        started: list[list[Generation]] = []
        try:
            started.extend(
                [self._start(item, chosen) for _ in range(chosen.num_return_sequences)] for item in inputs
            )
            outputs = [
                [{"generated_text": _laid_out(item, generation.text, chosen)} for generation in generations]
                for item, generations in zip(inputs, started, strict=True)
            ]
        finally:
            for generations in started:
                for generation in generations:
                    generation.cancel()
        return outputs if several else outputs[0]

    def close(self) -> None:
        """Close the model."""
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, item: Any, options: _Options) -> Generation:  # noqa: ANN401
        sampling, limit = options.sampling(), self._most_tokens(item, options)
        if isinstance(item, str):
            return self.model.generate(item, sampling=sampling, max_tokens=limit)
        messages = as_messages(item)
        if not messages or messages[-1].role == "assistant":
            raise InvalidSettingError(
                "text_inputs", "does not end with a user's message", hint="add what the model shall answer"
            )
        return self.model.chat(messages, sampling=sampling, max_tokens=limit)

    def _most_tokens(self, item: Any, options: _Options) -> int:  # noqa: ANN401
        if options.max_new_tokens is not None or options.max_length is None:
            return 256 if options.max_new_tokens is None else options.max_new_tokens
        prompt_tokens = len(self.model.tokenize(item))
        if options.max_length <= prompt_tokens:
            raise InvalidSettingError(
                "max_length",
                f"is {options.max_length}, and the prompt has {prompt_tokens} tokens",
                hint="use max_new_tokens, which does not count the prompt",
            )
        return options.max_length - prompt_tokens


def make_pipeline(
    task: str,
    model: str | LanguageModel | None = None,
    *,
    device_map: str | int | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    **options: Any,  # noqa: ANN401 - as in transformers
) -> TextGenerationPipeline:
    """Open a model for `TextGenerationPipeline`; see `phi4local.pipeline`."""
    if task != TASK:
        raise InvalidSettingError("task", f"is {task!r}", hint=f"this pipeline does {TASK!r} only")
    loading = {**(model_kwargs or {})}
    for name in ("torch_dtype", "dtype", "device"):
        if name in options:
            loading[name] = options.pop(name)
    if device_map is not None:
        loading["device_map"] = device_map
    _checked(options)
    dtype = loading.pop("dtype", loading.pop("torch_dtype", "auto"))
    device = loading.pop("device_map", loading.pop("device", "auto"))
    for name in loading:
        raise InvalidSettingError(
            name,
            "is not known to this pipeline",
            hint="known in model_kwargs: torch_dtype, dtype, device_map",
        )
    settings = LoadSettings(gpu_layers=_gpu_layers(device), parallel=batch_size)
    if isinstance(model, LanguageModel):
        if settings != LoadSettings() or str(dtype) != "auto":
            raise InvalidSettingError(
                "model", "is open already", hint="say how to load it where it is loaded"
            )
        return TextGenerationPipeline(model, options)
    return TextGenerationPipeline(load_model(_name_with(model, str(dtype)), settings, consent=agree), options)


def _gpu_layers(device: Any) -> int | None:  # noqa: ANN401
    """Return how many layers a device means. Examples: "auto" → None; "cpu" → 0; "cuda:0" → all."""
    name = str(device).removesuffix(":0")
    if name not in _GPU_LAYERS:
        raise InvalidSettingError("device_map", f"is {device!r}", hint=f"known: {', '.join(_GPU_LAYERS)}")
    return _GPU_LAYERS[name]


def _name_with(model: str | None, dtype: str) -> str | None:
    """Return the name of a model with the quantization that a dtype asks for.

    Examples: ("phi4-nano", "torch.float32") → "phi4-nano:F32"; ("microsoft/phi-4", "auto") → "phi-4".
    """
    for name in catalog.model_names():
        if model and model == catalog.find(name).repository:
            model = name
    dtype = dtype.removeprefix("torch.")
    if dtype not in _QUANTIZATIONS:
        raise InvalidSettingError("torch_dtype", f"is {dtype!r}", hint=f"known: {', '.join(_QUANTIZATIONS)}")
    quantization = _QUANTIZATIONS[dtype]
    if quantization is None or (model and model.partition(":")[2].upper() == quantization):
        return model
    if model is None or model.lower() not in catalog.model_names():
        raise InvalidSettingError(
            "torch_dtype",
            f"is {dtype!r}, and the file decides",
            hint='use "auto", or convert the model again',
        )
    return f"{model}:{quantization}"


def _checked(options: Mapping[str, Any]) -> _Options:
    known = [field.name for field in fields(_Options)]
    for name in options:
        if name not in known:
            raise InvalidSettingError(
                name,
                "is not known to this pipeline",
                hint=f"known: {', '.join(known)}; or use phi4local.load",
            )
    return _Options(**options)


def _is_list(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list | tuple)


def _is_conversation(value: Any) -> bool:  # noqa: ANN401
    return _is_list(value) and bool(value) and not _is_list(value[0]) and not isinstance(value[0], str)


def _laid_out(item: Any, answer: str, options: _Options) -> Any:  # noqa: ANN401
    """Return the value of `generated_text`. Example: ("Hi", " there") → "Hi there"."""
    if not options.return_full_text:
        return answer
    if isinstance(item, str):
        return item + answer
    return [*item, {"role": "assistant", "content": answer}]
