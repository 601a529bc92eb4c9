"""Which GGUF file of a repository a tag means.

A tag is a quantization (`Q4_K_M`), the end of a file's name (`IQ3_S-imat`), or the whole name. Sources:
Hugging Face's documentation of `ollama run hf.co/...`; llama.cpp's common/download.cpp for what is no model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.errors import UnknownTagError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phi4local.store.remote import RemoteFile

PREFERRED = ("Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "IQ4_XS", "Q4_0", "Q5_K_M", "Q3_K_M", "Q6_K", "Q8_0")
"""What is taken without a tag, the first that is there; behind them the smallest of four bits or more."""

_LABEL = re.compile(
    r"(?:^|(?<=[-._/]))((?:UD-)?(?:I?Q[1-8](?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4(?:_MOE)?|BF16|F16|F32))(?=$|[-.])",
    re.IGNORECASE,
)
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_NO_MODEL = re.compile(r"(?:.*/)?(?:mmproj|mtp-|eagle3-|dflash-|dspark-)|.*imatrix", re.IGNORECASE)
_BITS = {"MXFP4": 4, "MXFP4_MOE": 4, "BF16": 16, "F16": 16, "F32": 32}
_MOST_LISTED = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One model file of a repository, or one model in several parts.

    Attributes:
        quantization: such as `Q4_K_M` or `UD-Q4_K_XL`; empty when the name does not say.
        files: its parts in order.
        parts: how many there should be.
    """

    quantization: str
    files: tuple[RemoteFile, ...]
    parts: int = 1

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(file.size_bytes for file in self.files)

    @property
    def path(self) -> str:
        """The name of the first part."""
        return self.files[0].path

    @property
    def stem(self) -> str:
        """The name without folder, number of the part and ending."""
        return _stem(self.path).rpartition("/")[2]


def label(path: str) -> str:
    """Return the quantization in a file's name, or an empty text.

    Examples: `phi-4-Q4_K_M.gguf` → `Q4_K_M`; `BF16/phi-4-UD-q2_k_xl-00001-of-00002.gguf` → `UD-Q2_K_XL`.
    """
    found = _LABEL.findall(_stem(path).rpartition("/")[2])
    return str(found[-1]).upper() if found else ""


def offers(files: Iterable[RemoteFile]) -> tuple[Offer, ...]:
    """Group the GGUF models among files: parts that belong together are one offer. Smallest first.

    Example: `a-Q8_0-00001-of-00002.gguf` and `a-Q8_0-00002-of-00002.gguf` are one offer of two files.
    """
    groups: dict[tuple[str, int], dict[int, RemoteFile]] = {}
    for file in files:
        if not file.path.lower().endswith(".gguf") or _NO_MODEL.match(file.path):
            continue
        found = _SHARD.fullmatch(file.path)
        number, parts = (int(found[2]), int(found[3])) if found else (1, 1)
        if 1 <= number <= parts:
            groups.setdefault((_stem(file.path), parts), {})[number] = file
    found_offers = [
        Offer(quantization=label(stem), files=tuple(group[n] for n in sorted(group)), parts=parts)
        for (stem, parts), group in groups.items()
    ]
    return tuple(sorted(found_offers, key=lambda offer: (offer.size_bytes, offer.path)))


def choose(offered: Sequence[Offer], tag: str | None, *, where: str) -> Offer:
    """Return what a tag means; without one, the usual quantization. Never another one than was asked for.

    Args:
        offered: from `offers`.
        tag: upper and lower case are the same.
        where: the repository, for messages.

    Example: of `Q4_0`, `Q4_K_M` and `Q8_0`, no tag means `Q4_K_M` and `q8_0` means `Q8_0`.

    Raises:
        UnknownTagError: nothing fits, or several do, or a part is missing; the hint lists what is there.
    """
    if not offered:
        raise UnknownTagError(f"`{where}` has no GGUF model")
    fitting = _fitting(offered, tag) if tag else _usual(offered)
    depth = min((offer.path.count("/") for offer in fitting), default=0)
    fitting = [offer for offer in fitting if offer.path.count("/") == depth]
    if len(fitting) != 1:
        names = ", ".join(offer.path for offer in fitting[:_MOST_LISTED])
        if fitting:
            raise UnknownTagError(
                f"`{where}` has {len(fitting)} models for `{tag or 'no tag'}`",
                hint=f"give the file: {names}",
            )
        raise UnknownTagError(f"`{where}` has no `{tag}`", hint=f"it has {listed(offered)}")
    offer = fitting[0]
    if len(offer.files) != offer.parts:
        problem = f"`{where}` has {len(offer.files)} of the {offer.parts} parts of `{offer.stem}`"
        raise UnknownTagError(problem, hint=f"take another: it has {listed(offered)}")
    return offer


def listed(offered: Sequence[Offer]) -> str:
    """Return the tags of offers in one line. Example: `Q4_0, Q4_K_M, Q8_0`."""
    names = dict.fromkeys(offer.quantization or offer.path for offer in offered)
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(list(names)[:_MOST_LISTED]) + more


def _fitting(offered: Sequence[Offer], tag: str) -> list[Offer]:
    wanted = tag.casefold()
    tests = (
        lambda offer: offer.quantization.casefold() == wanted,
        lambda offer: re.search(rf"(?:^|[-.]){re.escape(wanted)}$", offer.stem.casefold()),
        lambda offer: wanted in _names(offer),
    )
    for test in tests:
        if found := [offer for offer in offered if test(offer)]:
            return found
    return []


def _names(offer: Offer) -> set[str]:
    path = offer.path.casefold()
    name = path.rpartition("/")[2]
    return {path, name, path.removesuffix(".gguf"), name.removesuffix(".gguf"), _stem(path)}


def _usual(offered: Sequence[Offer]) -> list[Offer]:
    whole = [offer for offer in offered if len(offer.files) == offer.parts]
    for quantization in PREFERRED:
        if found := [offer for offer in whole if offer.quantization == quantization]:
            return found
    good = [offer for offer in whole if bits(offer.quantization) >= 4]
    return (good or whole or list(offered))[:1]


def bits(quantization: str) -> int:
    """Return about how many bits a weight has. Examples: `UD-Q4_K_XL` → 4, `BF16` → 16, unknown → 0."""
    found = re.search(r"Q([1-8])", quantization)
    return int(found[1]) if found else _BITS.get(quantization, 0)


def _stem(path: str) -> str:
    found = _SHARD.fullmatch(path)
    return found[1] if found else re.sub(r"\.gguf$", "", path, flags=re.IGNORECASE)
