"""What is measured: every combination of the values that a person gave, in llama-bench's order.

Source: `get_cmd_params_instances` in tools/llama-bench/llama-bench.cpp of llama.cpp 0c1e57098: the order in
which a model has to be loaded least often.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One line of a table; the fields stand in the order in which llama-bench's loops are nested.

    `None` leaves a value to the path: `chat` asks the plan, `raw` takes llama-bench's default.

    Attributes:
        parallel: streams at the same time.
        n_depth, n_prompt, n_gen: tokens in the context before, tokens read and tokens written of a stream.
    """

    n_gpu_layers: int | None = None
    split_mode: str | None = None
    load_mode: str | None = None
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] | None = None
    tensor_overrides: tuple[str, ...] | None = None
    no_host: bool | None = None
    repack: bool | None = None
    embeddings: bool | None = None
    no_op_offload: bool | None = None
    n_batch: int | None = None
    n_ubatch: int | None = None
    type_k: str | None = None
    type_v: str | None = None
    no_kv_offload: bool | None = None
    flash_attn: int | None = None
    n_threads: int | None = None
    cpu_mask: str | None = None
    cpu_strict: bool | None = None
    parallel: int = 1
    n_depth: int = 0
    poll: int | None = None
    n_prompt: int = 0
    n_gen: int = 0

    @property
    def context_tokens(self) -> int:
        """Room that a stream needs."""
        return self.n_depth + self.n_prompt + self.n_gen

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the named fields that are set."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


NAMES = tuple(field.name for field in fields(Test))
LOADING = (
    *("n_gpu_layers", "split_mode", "load_mode", "main_gpu", "tensor_split", "tensor_overrides"),
    *("no_host", "repack"),
)
"""What a model is loaded with; the rest belongs to a context."""
ONLY_RAW = (
    *("load_mode", "no_host", "repack", "embeddings", "no_op_offload", "n_batch", "n_ubatch"),
    *("cpu_mask", "cpu_strict", "poll"),
)
"""What the engine that chat uses decides by itself."""


def combinations(
    values: Mapping[str, Sequence[Any]],
    prompts: Sequence[int],
    answers: Sequence[int],
    both: Sequence[tuple[int, int]] = (),
) -> Iterator[Test]:
    """Yield the tests.

    Args:
        values: by the name of a field of `Test`, what to try; fields that are left out keep their default.
        prompts: lengths of prompts, each a test; 0 is none.
        answers: lengths of answers, each a test; 0 is none.
        both: prompt and answer measured together.

    Example: two depths, `prompts` 512 and `answers` 128 → pp512, tg128, pp512 @ d1024, tg128 @ d1024.
    """
    numbers = [(prompt, 0) for prompt in prompts] + [(0, answer) for answer in answers] + list(both)
    chosen = [(name, values[name]) for name in NAMES if values.get(name)]
    for combination in itertools.product(*(found for _name, found in chosen)):
        given: dict[str, Any] = dict(zip((name for name, _found in chosen), combination, strict=True))
        for prompt, answer in numbers:
            if prompt or answer:
                yield Test(**given, n_prompt=prompt, n_gen=answer)


def check_chat(tests: Sequence[Test]) -> None:
    """Refuse what the path that chat uses does not have.

    Raises:
        InvalidSettingError: an option for the bare loop, or keys and values of different types.
    """
    for test in tests:
        for name in test.given(*ONLY_RAW):
            raise InvalidSettingError(
                name, "is for the bare loop", hint="add --raw; the engine of chat decides it by itself"
            )
        if test.type_k == "iq4_nl":
            raise InvalidSettingError("type_k", "is iq4_nl, which the engine does not have", hint="add --raw")
        if test.type_k != test.type_v:
            raise InvalidSettingError(
                "type_v", "is not the type of the keys", hint="give both one type with --kv, or add --raw"
            )


def check_raw(tests: Sequence[Test]) -> None:
    """Refuse what the bare loop does not have.

    Raises:
        InvalidSettingError: several streams.
    """
    if any(test.parallel > 1 for test in tests):
        raise InvalidSettingError("parallel", "is for the path that chat uses", hint="leave --raw out")


def check_length(tests: Sequence[Test], context_tokens: int, model: str) -> None:
    """Refuse a test that is longer than a model's context.

    Raises:
        InvalidSettingError: with the longest test.
    """
    longest = max(tests, key=lambda test: test.context_tokens)
    if longest.context_tokens > context_tokens:
        raise InvalidSettingError(
            "tests",
            f"take {longest.context_tokens:,} tokens, more than the context of {model}",
            hint=f"-p, -n and -d together may have {context_tokens:,} tokens",
        )
