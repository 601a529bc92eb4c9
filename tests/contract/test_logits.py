"""Logits of the F32 file are those of transformers."""

import numpy as np
import pytest

from phi4local.convert import convert_checkpoint
from phi4local.engine.model import LoadedModel, ModelFile
from phi4local.settings import LoadSettings


@pytest.fixture(scope="module")
def file(checkpoint, native_library, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return ModelFile(path=path, trained_context_tokens=2048, layers=8)


@pytest.fixture(scope="module")
def cases(checkpoint):
    with np.load(checkpoint / "reference-logits.npz") as reference:
        names = [name.removesuffix("_ids") for name in reference.files if name.endswith("_ids")]
        return {name: (reference[f"{name}_ids"].tolist(), reference[f"{name}_logits"]) for name in names}


def test_there_are_three_references(cases):
    assert set(cases) == {"identity", "story", "memory"}


@pytest.mark.parametrize(("kv_type", "largest"), [("f32", 1e-3), ("f16", 2e-2)])
@pytest.mark.parametrize("name", ["identity", "story", "memory"])
def test_the_last_logits_of_a_prompt_agree(file, cases, name, kv_type, largest):
    ids, reference = cases[name]
    model = LoadedModel(file, LoadSettings(kv_type=kv_type, threads=1))
    try:
        model.context.decode(ids, 0)
        logits = np.ctypeslib.as_array(model.context.logits(), (8192,)).copy()
    finally:
        model.close()
    assert np.abs(logits - reference).max() <= largest
