"""Adapters as PEFT saves them, copied and spoiled: what merging and converting have to refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.random_checkpoint import write_json

ADAPTERS = Path(__file__).parent / "golden" / "adapters"


def copied(name, parent, tensors=None, **values):
    """Copy an adapter below `parent`, with other values in its config and its tensors changed."""
    folder = Path(shutil.copytree(ADAPTERS / name, parent / "adapter"))
    if values:
        settings = json.loads((folder / "adapter_config.json").read_text())
        write_json(folder / "adapter_config.json", settings | values)
    if tensors:
        found = load_file(folder / "adapter_model.safetensors")
        tensors(found)
        save_file(found, folder / "adapter_model.safetensors")
    return folder


def rename(old, new):
    def change(found):
        for name in [name for name in found if old in name]:
            found[name.replace(old, new)] = found.pop(name)

    return change


def resize(name, *shape):
    return lambda found: found.update({name: np.ones(shape, np.float32)})


def zero(ending):
    return lambda found: found.update({n: np.zeros_like(v) for n, v in found.items() if n.endswith(ending)})


def fill(name, value):
    return lambda found: found[name].fill(value)
