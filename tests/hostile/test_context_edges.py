"""Prompts that are just shorter, as long as, and just longer than the context, with every limit of tokens."""

from __future__ import annotations

import pytest

from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.errors import ContextTooLongError
from phi4local.prompts import TokenSegment
from phi4local.settings import LoadSettings, SamplingSettings

CONTEXT = 256


@pytest.mark.parametrize("parallel", [1, 2])
def test_the_end_is_exact_at_every_edge(nano, parallel: int):
    settings = LoadSettings(context_tokens=CONTEXT, threads=1, gpu_layers=0, parallel=parallel)
    with Engine(nano, settings) as engine:
        for length in range(CONTEXT - 4, CONTEXT + 4):
            for most in (1, 2, 3, 10**6):
                request = Request(
                    segments=(TokenSegment((5,) * length),),
                    sampling=SamplingSettings(temperature=0),
                    max_tokens=most,
                    ignore_end=True,
                )
                if length >= CONTEXT:
                    with pytest.raises(ContextTooLongError) as caught:
                        engine.submit(request).result()
                    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (length, CONTEXT)
                    continue
                finished = engine.submit(request).result().finished
                assert finished.reason == "length"
                assert finished.usage.prompt_tokens == length
                assert finished.usage.generated_tokens == min(most, CONTEXT - length)
