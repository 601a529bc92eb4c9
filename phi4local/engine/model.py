"""A model in memory: the file, its vocabulary, its adapters and its contexts."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local import hardware
from phi4local.engine.adapters import Adapters
from phi4local.engine.pace import STEP_SECONDS
from phi4local.engine.speculation.draft_model import DraftModel
from phi4local.errors import ContextTooLongError, EngineError, InvalidSettingError
from phi4local.native import devices, llama
from phi4local.native.context import ContextShape, NativeContext
from phi4local.planning.plan import BATCH_TOKENS, DEFAULT_CONTEXT_TOKENS, KEPT_SEQUENCES
from phi4local.prompts import TokenSegment, break_up
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from phi4local.engine.adapters import AdapterFile
    from phi4local.engine.events import Request
    from phi4local.engine.speculation.draft_model import DraftFile
    from phi4local.prompts import Segment

QUEUE_LIMIT = 256
LONGEST_TOKEN = 512
"""No token of the family has more characters (the longest of cl100k are 128 spaces)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What the engine has to know of a validated file.

    Attributes:
        path: the GGUF file.
        trained_context_tokens: the context of the header.
        layers: transformer blocks; the output is one more that a GPU can hold.
        user_defined_tokens: texts of USER_DEFINED tokens, which llama.cpp finds in plain text too.
        short_context_tokens: with LongRoPE, the context up to which the short factors hold: 4,096 for
            Phi-4-mini. `None` without.
        adapters: LoRA adapters to load with it.
        pre_tokenizer: llama.cpp's name of the way to cut text into pieces; `None` takes the file's.
        draft: a smaller model with the same vocabulary, which guesses next tokens.
    """

    path: Path
    trained_context_tokens: int
    layers: int
    user_defined_tokens: tuple[str, ...] = ()
    short_context_tokens: int | None = None
    adapters: tuple[AdapterFile, ...] = ()
    pre_tokenizer: str | None = None
    draft: DraftFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What came out of loading; `settings` has no unset field any more. Sizes in bytes.

    The last four are llama-bench's words for model and hardware: "phi3 14B Q4_K - Medium", "AMD EPYC",
    "NVIDIA H100 80GB HBM3", "CUDA".
    """

    settings: LoadSettings
    parameters: int
    size_bytes: int
    vocabulary_tokens: int
    load_seconds: float
    system_info: str
    description: str = ""
    cpu_info: str = ""
    gpu_info: str = ""
    back_ends: str = ""


def resolve(settings: LoadSettings, file: ModelFile) -> LoadSettings:
    """Fill the unset fields for this machine.

    Example: nothing set, a context of 16,384 in the file → 4,096 tokens of context, f16 cache, one thread
    for each core, everything on the GPU when the library has one.
    """
    filled = settings.filled_from(
        LoadSettings(
            context_tokens=min(file.trained_context_tokens, DEFAULT_CONTEXT_TOKENS),
            gpu_layers=file.layers + 1,
            kv_type="f16",
            threads=hardware.usable_cores(),
            parallel=1,
            unified_kv=True,
            step_seconds=STEP_SECONDS,
            queue_limit=QUEUE_LIMIT,
            speculation="auto",
        )
    )
    context_tokens = max(16, min(filled.context_tokens or 0, file.trained_context_tokens))
    every_cell = context_tokens * (filled.parallel or 1)
    gpu_layers = min(filled.gpu_layers or 0, file.layers + 1) if llama.supports_gpu() else 0
    # The fused kernel rounds keys and values to f16; who asks for an f32 cache wants them exact.
    exact = filled.kv_type == "f32" and filled.flash_attention is None
    # Evaluating again on a GPU is as fast as copying cells out of it, which the next prompt would wait for.
    usual_parking = 0 if _all_on_gpu(gpu_layers, filled, file) else context_tokens
    return replace(
        filled,
        context_tokens=context_tokens,
        parked_tokens=usual_parking if filled.parked_tokens is None else filled.parked_tokens,
        cache_tokens=max(context_tokens, min(filled.cache_tokens or every_cell, every_cell)),
        gpu_layers=gpu_layers,
        device_cut=gpu_layers > file.layers if filled.device_cut is None else filled.device_cut,
        flash_attention=False if exact else filled.flash_attention,
    )


def _all_on_gpu(gpu_layers: int | None, settings: LoadSettings, file: ModelFile) -> bool:
    return (gpu_layers or 0) > file.layers and settings.kv_offload is not False


class LoadedModel:
    """Model and context together, with the tokens of the cache.

    Raises:
        ModelLoadError: llama.cpp refused the file.
        EngineError: there is no memory for the context.
    """

    def __init__(
        self, file: ModelFile, settings: LoadSettings, *, progress: Callable[[float], bool] | None = None
    ) -> None:
        started = time.perf_counter()
        settings = resolve(settings, file)
        self.native = llama.NativeModel(
            file.path,
            placement=settings.placement(),
            pre_tokenizer=file.pre_tokenizer,
            progress=progress,
        )
        self._settings = settings
        self.cells_on_gpu = _all_on_gpu(settings.gpu_layers, settings, file)
        self.context_tokens = settings.context_tokens or 0
        self._short_context_tokens = file.short_context_tokens
        self._contexts: list[NativeContext] = []
        try:
            self.adapters = Adapters(self.native, file.adapters)
            self.context = self.new_context(long=False)
            self.draft = DraftModel(file.draft, settings) if file.draft is not None else None
        except BaseException:
            llama.close_all(*self._contexts, self.native)
            raise
        self.path = file.path
        self.trained_context_tokens = file.trained_context_tokens
        self._user_defined = file.user_defined_tokens
        self._pieces: dict[int, bytes | None] = {}
        self._closed = False
        self.facts = ModelFacts(
            settings=settings,
            parameters=self.native.parameters,
            size_bytes=self.native.size_bytes,
            vocabulary_tokens=self.native.vocabulary_tokens,
            load_seconds=time.perf_counter() - started,
            system_info=llama.system_info(),
            description=self.native.description,
            **devices.summary(),
        )

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Return the token ids of a prompt; text of people never yields a control token.

        Example: `[TextSegment("<|im_end|>", special=False)]` gives the ids of ten plain characters.

        Raises:
            ContextTooLongError: so much text that it cannot fit, whatever its tokens are.
            InvalidSettingError: a token id that the vocabulary does not have.
            EngineError: the model is closed.
        """
        if self._closed:
            raise EngineError("the model is closed", hint="load it again")
        text_bytes = sum(len(s.text) for s in segments if not isinstance(s, TokenSegment))
        if text_bytes > LONGEST_TOKEN * self.trained_context_tokens:  # minutes of work for a known answer
            raise ContextTooLongError(
                prompt_tokens=text_bytes // LONGEST_TOKEN,
                context_tokens=self.context_tokens,
                trained_context_tokens=self.trained_context_tokens,
            )
        ids: list[int] = []
        for segment in segments:
            if isinstance(segment, TokenSegment):
                self._check_ids(segment.token_ids)
                ids += segment.token_ids
            elif segment.special:
                ids += self.native.tokenize(segment.text, special=True)
            else:
                for piece in break_up(segment.text, self._user_defined):
                    ids += self.native.tokenize(piece, special=False)
        return ids

    def _check_ids(self, ids: Sequence[int]) -> None:
        """Refuse foreign ids here: llama.cpp would refuse the whole batch, with everybody else's tokens."""
        if ids and not 0 <= min(ids) <= max(ids) < self.native.vocabulary_tokens:
            raise InvalidSettingError(
                "token_ids",
                f"has ids from {min(ids):,} to {max(ids):,}",
                hint=f"the model knows 0 to {self.native.vocabulary_tokens - 1:,}",
            )

    def tokenize_turns(self, request: Request) -> tuple[list[int], list[int]]:
        """Return the token ids of a request's prompt and the places where its `turn_starts` are."""
        ids: list[int] = []
        places = []
        for start, end in itertools.pairwise((0, *request.turn_starts, len(request.segments))):
            ids += self.tokenize(request.segments[start:end])
            places.append(len(ids))
        return ids, places[:-1]

    def piece(self, token: int) -> bytes | None:
        """Return the bytes of `token`, or `None` when it ends the answer."""
        try:
            return self._pieces[token]
        except KeyError:
            ends = self.native.ends_generation(token)
            piece = self._pieces[token] = None if ends else self.native.piece(token)
            return piece

    @property
    def has_two_contexts(self) -> bool:
        """Whether long sequences need a context of their own, with LongRoPE's long factors."""
        return self._short_context_tokens is not None and self._short_context_tokens < self.context_tokens

    def new_context(self, *, long: bool) -> NativeContext:
        """Make a context, which lives as long as the model.

        llama.cpp takes LongRoPE's short factors for a context whose sequences can have no more than the
        original number of tokens. In a unified cache each of them can have all cells, so several sequences
        need streams there.

        Raises:
            EngineError: there is no memory for it.
        """
        settings = self._settings
        parallel, unified = settings.parallel or 1, bool(settings.unified_kv)
        cells = (settings.cache_tokens if unified else settings.context_tokens) or 0
        if self._short_context_tokens is not None and not long:
            unified = unified and parallel == 1
            cells = min(self._short_context_tokens, self.context_tokens)
        context = NativeContext(
            self.native,
            ContextShape(
                context_tokens=cells,
                batch_tokens=BATCH_TOKENS,
                threads=settings.threads or 1,
                kv_type=settings.kv_type or "f16",
                flash_attention=settings.flash_attention,
                kv_offload=settings.kv_offload is not False,
                device_cut=bool(settings.device_cut),
                sequences=parallel + KEPT_SEQUENCES if unified else parallel,
                unified=unified,
            ),
        )
        self._contexts.append(context)
        return context

    def close(self) -> None:
        """Free contexts and model."""
        self._closed = True
        if self.draft is not None:
            self.draft.close()
        llama.close_all(*self._contexts, self.native)
