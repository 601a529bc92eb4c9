"""GPUs of this machine, found without llama.cpp, and whether the build can use them.

llama.cpp sees only what it was built for, so that a CPU build says nothing about the GPU beside it.

Source: nvidia-smi(1); /proc/driver/nvidia of NVIDIA's driver; /sys/bus/pci of Linux, where class 0x03 is a
display controller and 0x12 a processing accelerator (PCI Code and ID Assignment Specification).
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.doctor import programs
from phi4local.doctor.library import cmake_args
from phi4local.doctor.result import OK, SKIPPED, WARNING, WRONG, Result

if TYPE_CHECKING:
    from phi4local.doctor.library import Library

_NAME = "GPU"
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
"""By the number that PCI gives them; the first ones are worth most here."""
_PCI_CLASSES = ("0x03", "0x12")
_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_HIDING = {
    "CUDA": ("CUDA_VISIBLE_DEVICES",),
    "HIP": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "Vulkan": ("GGML_VK_VISIBLE_DEVICES",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A GPU that the machine has. Example: NVIDIA, "NVIDIA GeForce RTX 4070", 12,282 MiB."""

    vendor: str
    name: str
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """What was found; `trouble` says why NVIDIA's driver does not answer, or is empty."""

    found: tuple[Card, ...] = ()
    trouble: str = ""


def look(seconds: float = 10.0, *, system: Path = Path("/")) -> Cards:
    """Return the GPUs of this machine. On Windows only NVIDIA's are found.

    Args:
        seconds: how long nvidia-smi may take.
        system: where `proc` and `sys` are.
    """
    if sys.platform == "darwin":
        apple = platform.machine() == "arm64"
        return Cards(found=(Card(vendor="Apple", name="Apple GPU"),) if apple else ())
    others = _on_the_bus(system)
    nvidia, trouble = _ask_nvidia(seconds)
    if not nvidia:
        nvidia = _known_to_driver(system) or [card for card in others if card.vendor == "NVIDIA"]
    if nvidia and not trouble and not shutil.which("nvidia-smi"):
        trouble = "nvidia-smi is not here, which comes with the driver"
    found = (*nvidia, *(card for card in others if card.vendor != "NVIDIA"))
    return Cards(found=found, trouble=trouble if nvidia else "")


def _ask_nvidia(seconds: float) -> tuple[list[Card], str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    try:
        ran = programs.run([program, *_QUERY], seconds)
    except OSError as error:
        return [], f"nvidia-smi does not start: {error.strerror or error}"
    if ran.code != 0:
        reason = programs.last_line(ran.stdout) or programs.last_line(ran.stderr)
        return [], f"nvidia-smi {ran.ending()}" + (f": {reason}" if reason else "")
    cards = []
    for line in ran.stdout.splitlines():
        name, _, mebibytes = line.rpartition(",")
        if name:
            known = mebibytes.strip().isdecimal()  # "[N/A]" where the memory is the machine's
            memory = int(mebibytes) * 2**20 if known else None
            cards.append(Card(vendor="NVIDIA", name=name.strip(), memory_bytes=memory))
    return cards, ""


def _known_to_driver(system: Path) -> list[Card]:
    cards = []
    for path in sorted((system / "proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            found = re.search(r"^Model:\s*(.+)$", path.read_text(errors="replace"), re.MULTILINE)
            cards.append(Card(vendor="NVIDIA", name=found[1].strip() if found else "NVIDIA GPU"))
    return cards


def _on_the_bus(system: Path) -> list[Card]:
    cards = []
    for folder in sorted((system / "sys/bus/pci/devices").glob("*")):
        with contextlib.suppress(OSError):
            vendor = _VENDORS.get((folder / "vendor").read_text().strip())
            if vendor and (folder / "class").read_text().startswith(_PCI_CLASSES):
                device = (folder / "device").read_text().strip()
                cards.append(Card(vendor=vendor, name=f"{vendor} GPU {device}"))
    return sorted(cards, key=lambda card: list(_VENDORS.values()).index(card.vendor))


def check(library: Library, cards: Cards) -> Result:
    """Say whether the build computes on the GPUs that are here, and what to type when it does not.

    Args:
        library: what loading llama.cpp showed.
        cards: what the machine has.
    """
    names = ", ".join(map(_shown, cards.found))
    if library.problem or library.device_problem:
        return Result(name=_NAME, state=SKIPPED, seen=f"{names or 'none seen'}; the library does not work")
    if library.devices:
        usable = ", ".join(_device(**device) for device in library.devices)
        return Result(name=_NAME, state=OK, seen=usable)
    built_for = library.gpu_back_ends()
    if not cards.found:
        build = f" (the build has {', '.join(built_for)})" if built_for else ""
        return Result(name=_NAME, state=OK, seen=f"none seen{build}; the processor computes")
    wanted, needed = _best(cards)
    if wanted in built_for:
        return _unseen(names, wanted, cards.trouble)
    seen = f"{names}; llama.cpp was built without {wanted} and computes on the processor"
    state = OK if cards.found[0].vendor == "Intel" else WARNING  # built into the processor, mostly
    command = programs.build_command(cmake_args([wanted]))
    return Result(name=_NAME, state=state, seen=seen, advice=cards.trouble or needed, command=command)


def _unseen(names: str, back_end: str, trouble: str) -> Result:
    """Return the result for a build that has the right back end and finds no device."""
    hidden = next((name for name in _HIDING.get(back_end, ()) if os.environ.get(name) in ("", "-1")), None)
    if hidden:
        seen = f"{names}; {hidden}={os.environ[hidden]} hides it, so the processor computes"
        return Result(name=_NAME, state=WARNING, seen=seen, command=programs.unset_command(hidden))
    seen = f"{names}; the build has {back_end} and finds no device" + (f": {trouble}" if trouble else "")
    advice = "install or update the driver, or give the container the GPU; this must list it"
    command = {"CUDA": "nvidia-smi", "HIP": "rocminfo", "Vulkan": "vulkaninfo --summary"}.get(back_end, "")
    return Result(name=_NAME, state=WRONG, seen=seen, advice=advice, command=command)


def _best(cards: Cards) -> tuple[str, str]:
    """Return the back end for the first card, and what must be there to build it when that is missing."""
    vendor = cards.found[0].vendor
    if vendor == "Apple":
        return "Metal", ""
    if vendor == "NVIDIA":
        toolkit = (
            shutil.which("nvcc") or os.environ.get("CUDACXX") or Path("/usr/local/cuda/bin/nvcc").exists()
        )
        return "CUDA", "" if toolkit else "install the CUDA toolkit first: nvcc is not here"
    if vendor == "AMD" and (shutil.which("hipcc") or Path("/opt/rocm/bin/hipcc").exists()):
        return "HIP", ""
    return "Vulkan", "" if shutil.which("glslc") else "install the Vulkan SDK first: glslc is not here"


def _shown(card: Card) -> str:
    return card.name + (f" with {card.memory_bytes / 1e9:.1f} GB" if card.memory_bytes else "")


def _device(name: str, description: str, total_bytes: int, free_bytes: int, **_more: object) -> str:
    return f"{name}: {description}, {free_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB free"
