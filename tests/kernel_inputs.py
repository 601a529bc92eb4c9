"""Weights to quantize: distributions like a model's, and edges of float32 that a model never has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

F = np.float32
LARGE = F(3.4e38)
CONSTANTS = (
    *(1.0, -1.0, 0.02, -0.02, 1e-20, -1e-20, 1e-40, -1e-40, 1e30, -1e30),
    *(1e-15, -1e-15, 9.9e-16, -9.9e-16, 65504.0, 7e4, 3e38, -3e38),
)
SCALES = (
    *(1e-45, 1e-42, 1e-40, 1e-38, 1e-37, 1e-30, 1e-25, 1e-20, 1e-18, 1e-16, 1e-15, 1e-14, 1e-10, 1e-6, 1e-5),
    *(1e-4, 1e-3, 1.0, 1e2, 1e4, 1e6, 1e10, 1e15, 1e18, 1e19, 1e20, 1e30, 1e37),
)


def distributions(weights: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield `weights` numbers of each kind; the counts leave partial tiles."""
    draw = np.random.default_rng(seed)
    count = weights // 256 * 256
    normal = draw.standard_normal(count, dtype=F) * F(0.02)
    yield "normal", normal
    outliers = normal.copy()
    outliers[draw.integers(0, count, count // 500)] *= F(8)
    yield "outliers", outliers
    yield "heavy-tailed", (draw.standard_t(3, count) * 0.01).astype(F)
    channels = np.exp(draw.standard_normal((count // 256, 1)) * 1.5).astype(F)
    yield "per-channel scales", (normal.reshape(-1, 256) * channels).reshape(-1)


def edges(seed: int = 1) -> Iterator[tuple[str, np.ndarray]]:
    """Yield finite edge sets, each a whole number of 256-weight blocks."""
    draw = np.random.default_rng(seed)
    for value in CONSTANTS:
        yield f"constant {value}", np.full(256 * 8, value, F)
    for scale in SCALES:
        with np.errstate(all="ignore"):
            scaled = np.clip(draw.standard_normal(256 * 32) * scale, -LARGE, LARGE)
        yield f"normal x {scale}", scaled.astype(F)
    yield from _zeros(draw)
    yield from _spreads(draw)
    yield from _outliers(draw)
    yield from _sparse(draw)
    yield from _magnitudes(draw)
    yield from _patterns(draw)


def _normal(draw: np.random.Generator, count: int = 256 * 64) -> np.ndarray:
    return draw.standard_normal(count, dtype=F) * F(0.02)


def _zeros(draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    yield "zeros", np.zeros(256 * 16, F)
    yield "negative zeros", np.full(256 * 16, -0.0, F)
    mixed = np.zeros(256 * 16, F)
    mixed[draw.integers(0, 2, mixed.size) == 1] = -0.0
    yield "zeros of both signs", mixed
    yield "one block", np.zeros(256, F)


def _spreads(draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    for size in (16, 32, 256):
        yield f"constant in each {size}", np.repeat(_normal(draw, 256 * 64 // size), size)
    yield "positive", np.abs(_normal(draw))
    yield "negative", -np.abs(_normal(draw))
    yield "around 5", _normal(draw) + F(5)
    yield "around -5", _normal(draw) - F(5)
    ulps = draw.integers(0, 3, 256 * 64).astype(F) * F(2.0**-23)
    yield "ulps above 1", F(1) + ulps
    yield "ulps below -1", -(F(1) + ulps)
    yield "ulps around -100", F(-100) + draw.integers(0, 2, 256 * 32).astype(F) * F(2.0**-17)
    nearly = np.full(256 * 32, -0.3, F)
    nearly[::7] = F(-0.3000001)
    yield "nearly constant", nearly
    mostly = np.full(256 * 32, -100, F)
    mostly[draw.integers(0, mostly.size, 200)] = 0
    yield "mostly -100", mostly


def _outliers(draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    for factor in (1e3, 1e8):
        values = _normal(draw)
        values[draw.integers(0, values.size, 300)] *= F(factor)
        yield f"outliers x {factor}", values
    for value in (1e30, LARGE, -LARGE):
        values = _normal(draw)
        values[draw.integers(0, values.size, 200)] = F(value)
        yield f"outliers of {value}", values
    values = _normal(draw)
    values[draw.integers(0, values.size, 100)] = -LARGE
    values[draw.integers(0, values.size, 100)] = LARGE
    yield "outliers of both signs", values


def _sparse(draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    for step, first in ((32, 0), (32, 31), (16, 0), (16, 15), (256, 0), (256, 255)):
        values = np.zeros(256 * 64, F)
        values[first::step] = _normal(draw, values.size // step)
        yield f"one of {step}, number {first}", values
    for size, factor in ((32, 0.0), (16, 0.0), (32, 1e-6), (16, 1e-7), (256, 0.0), (256, 1e-16)):
        values = _normal(draw)
        values.reshape(-1, size)[draw.integers(0, 2, values.size // size) == 1] *= F(factor)
        yield f"half of the {size}s x {factor}", values


def _magnitudes(draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    for size, low, high in ((16, -44, 30), (32, -20, 10), (256, -44, 36)):
        values = _normal(draw).reshape(-1, size)
        factors = (10.0 ** draw.uniform(low, high, (len(values), 1))).astype(F)
        yield f"each {size} with its own magnitude", (values * factors).reshape(-1)


def _patterns(draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    yield "integers", draw.integers(-8, 8, 256 * 64).astype(F)
    yield "two values", np.where(draw.integers(0, 2, 256 * 64) == 1, F(0.5), F(-0.25))
    yield "ternary", draw.integers(-1, 2, 256 * 64).astype(F)
    yield "alternating", np.tile(np.array([1, -1], F), 256 * 16)
    yield "halves, which are ties", draw.integers(-64, 64, 256 * 64).astype(F) / F(2)
    yield "line", np.linspace(-1, 1, 256 * 64).astype(F)
    bits = draw.integers(0, 2**32, 256 * 256, dtype=np.uint32)
    yield "any bits", np.where(np.isfinite(bits.view(F)), bits.view(F), F(0))
    yield "denormal bits", (bits & np.uint32(0x807FFFFF)).view(F)
    brain = (bits & np.uint32(0xFFFF0000)).view(F)
    yield "bfloat16 bits", np.where(np.isfinite(brain), brain, F(0))
    yield "very heavy-tailed", (draw.standard_t(2, 256 * 256) * 0.01).astype(F)
