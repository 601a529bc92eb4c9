"""The two sets of settings that everything is built from: how to load a model, how to choose tokens.

An unset field is `None`: the manifest or the plan decides. The resolved copy is what the engine gets and
what `--json` shows. CLI, server, Python API and benchmarks build these two and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.errors import InvalidSettingError
from phi4local.offload import (
    Placement,
    check_endpoints,
    check_shares,
    check_split_mode,
    parse_overrides,
)
from phi4local.settings_base import (
    Settings,
    bias_pairs,
    require,
    require_text,
    require_texts,
    require_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
"""Element types that llama.cpp's KV cache can have."""
SPECULATIONS = ("auto", "lookup", "off")
"""Whether next tokens are guessed from the text so far and evaluated together."""
STRUCTURE_SETTINGS = (
    *("json_schema", "regex", "grammar", "structure_repeat"),
    *("structure_after", "structure_trigger", "structure_end", "structure_start"),
)
"""The settings that constrain an answer, and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings(Settings):
    """How a model is put into memory. `None` lets the model and the machine decide.

    Attributes:
        context_tokens: room for prompt and answer together, in tokens; at least 16.
        gpu_layers: layers kept on the GPU; 0 keeps all on the CPU, a large number all on the GPU.
        kv_type: element type of the KV cache, one of `KV_TYPES`.
        threads: CPU threads that compute.
        flash_attention: use the fused attention kernel.
        parallel: sequences that can be in work at the same time, each with up to `context_tokens`.
        unified_kv: one pool of cells for all sequences, which can share a prefix then. Otherwise each has a
            stream of its own: a little faster when nothing is shared.
        cache_tokens: cells of that pool, at least `context_tokens`. When they are fewer than all sequences
            need together, the newest one waits, and is evaluated again later.
        parked_tokens: tokens of finished sequences that may be kept in main memory, beside the cache, for
            the case that they go on; 0 for none.
        step_seconds: longest step of prompt evaluation, after which others go on and cancelling takes
            effect; 0 for no limit.
        queue_limit: requests that may wait for their turn.
        device_cut: let a GPU that computes the logits choose the 128 most likely tokens, where a request's
            chain begins with a smaller top-k or is greedy.
        speculation: guess next tokens from the text so far and evaluate them together, for the same answer
            in fewer steps: "auto" where it pays, without a seed, "lookup" where a guess is likely, "off".
        draft_model: a smaller model with the same vocabulary, by any name of a model on this machine, that
            guesses next tokens too; unset looks repeated text up and nothing else.
        kv_offload: keep the KV cache of layers on the GPU there too.
        tensor_overrides: `REGEX=BUFFER` texts: tensors whose name fits go to that buffer type, such as `CPU`
            or `CUDA1`; the first that fits counts.
        split_mode: how several GPUs share the model, "none", "layer" or "row".
        tensor_split: share of each GPU, in their order; unset divides by free memory.
        main_gpu: the GPU that takes everything when `split_mode` is "none"; counted from 0.
        rpc: `host:port` of ggml's RPC servers whose devices hold layers too. Nothing is encrypted or
            authenticated there: for a trusted network only.
        force: load what the plan says won't fit.
        require_gpu: refuse to compute on the CPU what was meant for a GPU.

    Example: `LoadSettings(context_tokens=4096, kv_type="q8_0")`.

    Raises:
        InvalidSettingError: a value outside its range.
    """

    context_tokens: int | None = None
    gpu_layers: int | None = None
    kv_type: str | None = None
    threads: int | None = None
    flash_attention: bool | None = None
    parallel: int | None = None
    unified_kv: bool | None = None
    cache_tokens: int | None = None
    parked_tokens: int | None = None
    step_seconds: float | None = None
    queue_limit: int | None = None
    device_cut: bool | None = None
    speculation: str | None = None
    draft_model: str | None = None
    kv_offload: bool | None = None
    tensor_overrides: tuple[str, ...] | None = None
    split_mode: str | None = None
    tensor_split: tuple[float, ...] | None = None
    main_gpu: int | None = None
    rpc: tuple[str, ...] | None = None
    force: bool | None = None
    require_gpu: bool | None = None

    def __post_init__(self) -> None:
        require_whole("context_tokens", self.context_tokens, low=16, high=2**31 - 1)
        require_whole("gpu_layers", self.gpu_layers, low=0, high=2**31 - 1)
        require_whole("threads", self.threads, low=1, high=512)
        require_whole("parallel", self.parallel, low=1, high=128)
        require_whole("cache_tokens", self.cache_tokens, low=16, high=2**31 - 1)
        require_whole("parked_tokens", self.parked_tokens, low=0, high=2**31 - 1)
        require("step_seconds", self.step_seconds, low=0)
        require_whole("queue_limit", self.queue_limit, low=1, high=2**20)
        if self.kv_type is not None and self.kv_type not in KV_TYPES:
            raise InvalidSettingError(
                "kv_type", f"is {self.kv_type!r}; it must be one of {', '.join(KV_TYPES)}"
            )
        if self.speculation is not None and self.speculation not in SPECULATIONS:
            raise InvalidSettingError(
                "speculation", f"is {self.speculation!r}; it must be one of {', '.join(SPECULATIONS)}"
            )
        if self.draft_model is not None and not (isinstance(self.draft_model, str) and self.draft_model):
            raise InvalidSettingError("draft_model", f"is {self.draft_model!r}; it must be a model's name")
        require_whole("main_gpu", self.main_gpu, low=0, high=15)
        self.placement()

    def placement(self) -> Placement:
        """Return where the weights go; what is unset stays on the CPU, undivided."""
        return Placement(
            gpu_layers=self.gpu_layers or 0,
            overrides=parse_overrides(self.tensor_overrides),
            split_mode=check_split_mode(self.split_mode),
            split=check_shares(self.tensor_split),
            main_gpu=self.main_gpu,
            rpc=check_endpoints(self.rpc),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings(Settings):
    """How the next token is chosen from the logits. `None` takes the manifest's value.

    The fields stand in the order in which llama.cpp applies them; `docs/sampling.md` explains each one.

    Attributes:
        logit_bias: token id → number added to its logit; -100 forbids the token. Kept as sorted pairs.
        repeat_penalty: divide the logits of recent tokens by this; 1 is off.
        frequency_penalty: subtract this for every recent occurrence of a token; 0 is off.
        presence_penalty: subtract this once for every token that occurred recently; 0 is off.
        penalty_last_tokens: how many tokens count as recent.
        dry_multiplier: strength of the penalty on repeated phrases (DRY); 0 is off.
        dry_base: how fast that penalty grows with each repeated token.
        dry_allowed_length: repeated phrases shorter than this many tokens are free.
        dry_last_tokens: how many tokens are searched for repeated phrases.
        dry_sequence_breakers: texts that no repeated phrase reaches across.
        top_n_sigma: drop tokens more than n standard deviations below the best logit; 0 is off.
        top_k: keep the k most likely tokens; 0 keeps all.
        typical_p: keep the most typical tokens whose probabilities sum to p; 1 is off.
        top_p: keep the smallest set whose probabilities sum to p (nucleus sampling); 1 is off.
        min_p: drop tokens less likely than p times the most likely one; 0 is off.
        xtc_probability: how often the likeliest choices are excluded (XTC); 0 is off.
        xtc_threshold: of the tokens at least this likely, XTC leaves only the last; above 0.5 is off.
        temperature: 0 takes the most likely token every time; higher is more varied.
        dynamic_temperature_range: let the temperature vary by this much both ways; 0 is off.
        dynamic_temperature_exponent: how the model's uncertainty becomes a temperature in that range.
        mirostat: 1 or 2 aims at a constant surprise, instead of penalties and all of the filters above.
        mirostat_tau: the surprise aimed at, in bits for each token.
        mirostat_eta: how fast mirostat corrects itself.
        seed: number that makes random choices repeatable.
        logprobs: report log-probabilities, of the chosen token and of this many likely ones.
        stop: texts that end the answer; they are not part of it.
        json_schema: the answer is JSON that follows this schema: its text, or a mapping; `{}` for any JSON.
        regex: the answer matches this regular expression as a whole.
        grammar: the answer follows this grammar, in llama.cpp's GBNF.
        structure_after: the answer is free up to this text, such as `</think>`, which has to come, and
            follows the schema or expression behind it.
        structure_trigger: the same for a text or control token that may come or not, such as `<|tool_call|>`.
        structure_end: the text or control token that stands behind a structure with a trigger; then the
            answer is free again, and the trigger may come again. Without it the answer ends there.
        structure_start: an answer that begins with this text, such as `{"name"`, follows the schema or
            expression from its first character on; any other is free. So does what follows `structure_after`.
        structure_repeat: the structure may come up to so many times, one a line.

    Example: `SamplingSettings(temperature=0.7, top_p=0.95, seed=1)`.

    Raises:
        InvalidSettingError: a value outside its range.
    """

    logit_bias: Mapping[int, float] | tuple[tuple[int, float], ...] | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    penalty_last_tokens: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_last_tokens: int | None = None
    dry_sequence_breakers: tuple[str, ...] | None = None
    top_n_sigma: float | None = None
    top_k: int | None = None
    typical_p: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    temperature: float | None = None
    dynamic_temperature_range: float | None = None
    dynamic_temperature_exponent: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    seed: int | None = None
    logprobs: int | None = None
    stop: tuple[str, ...] | None = None
    json_schema: str | Mapping[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None
    structure_after: str | None = None
    structure_trigger: str | None = None
    structure_end: str | None = None
    structure_start: str | None = None
    structure_repeat: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.json_schema, dict):
            object.__setattr__(self, "json_schema", json.dumps(self.json_schema))
        for name in STRUCTURE_SETTINGS:
            if name not in _WHOLE_SAMPLING_RANGES:
                require_text(name, getattr(self, name))
        for name, (low, high) in _SAMPLING_RANGES.items():
            require(name, getattr(self, name), low=low, high=high)
        for name, (low, high) in _WHOLE_SAMPLING_RANGES.items():
            require_whole(name, getattr(self, name), low=low, high=high)
        for name in ("stop", "dry_sequence_breakers"):
            require_texts(name, getattr(self, name))
        if self.logit_bias is not None:
            object.__setattr__(self, "logit_bias", bias_pairs(self.logit_bias))


_SAMPLING_RANGES = {
    "repeat_penalty": (0.01, 100),
    "frequency_penalty": (-100, 100),
    "presence_penalty": (-100, 100),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 100),
    "top_n_sigma": (0, 100),
    "typical_p": (0, 1),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0.001, 1),
    "temperature": (0, 100),
    "dynamic_temperature_range": (0, 100),
    "dynamic_temperature_exponent": (0, 10),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 1),
}
_WHOLE_SAMPLING_RANGES = {
    "structure_repeat": (1, 64),
    "penalty_last_tokens": (0, 2**20),
    "dry_allowed_length": (1, 2**20),
    "dry_last_tokens": (0, 2**20),
    "top_k": (0, 2**31 - 1),
    "mirostat": (0, 2),
    "seed": (0, 2**32 - 1),
    "logprobs": (0, 100),
}
DEFAULT_SAMPLING = SamplingSettings(
    logit_bias=(),
    repeat_penalty=1.0,
    frequency_penalty=0.0,
    presence_penalty=0.0,
    penalty_last_tokens=64,
    dry_multiplier=0.0,
    dry_base=1.75,
    dry_allowed_length=2,
    dry_last_tokens=64,
    dry_sequence_breakers=("\n", ":", '"', "*"),
    top_n_sigma=0.0,
    top_k=40,
    typical_p=1.0,
    top_p=0.95,
    min_p=0.05,
    xtc_probability=0.0,
    xtc_threshold=0.1,
    temperature=0.8,
    dynamic_temperature_range=0.0,
    dynamic_temperature_exponent=1.0,
    mirostat=0,
    mirostat_tau=5.0,
    mirostat_eta=0.1,
    stop=(),
)
"""llama.cpp's own defaults (common/common.h, common_params_sampling); a manifest's values come first."""
