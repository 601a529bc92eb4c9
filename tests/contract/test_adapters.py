"""LoRA adapters chosen by each request: the answers of a model into which they were merged."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.errors import GGUFError, InvalidSettingError
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import adapter_files, file_facts
from phi4local.settings import LoadSettings, SamplingSettings
from tests.lora_adapters import merged, random_deltas, write_adapter
from tests.random_checkpoint import write_weights

ALPHA, RANK = 8.0, 4
GREEDY = SamplingSettings(temperature=0)


def weights_of(folder):
    """Return the bfloat16 weights of a checkpoint as float32: the upper half of its bits."""
    found = {}
    for shard in sorted(folder.glob("*.safetensors")):
        data = shard.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                first, last = (start + offset for offset in entry["data_offsets"])
                bits = np.frombuffer(data[first:last], np.uint16).astype(np.uint32) << 16
                found[name] = bits.view(np.float32).reshape(entry["shape"])
    return found


@pytest.fixture(scope="module")
def base(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return gguf.validate(path)


@pytest.fixture(scope="module")
def weights(checkpoint):
    return weights_of(checkpoint)


@pytest.fixture(scope="module")
def deltas(weights):
    return {name: random_deltas(weights, rank=RANK, seed=seed) for seed, name in enumerate(("a", "b"))}


@pytest.fixture(scope="module")
def paths(deltas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(folder / f"{name}.gguf", pair, alpha=ALPHA) for name, pair in deltas.items()}


@pytest.fixture(scope="module")
def engine(base, paths, native_library):
    settings = LoadSettings(context_tokens=512, threads=1, parallel=4, kv_type="f32")
    with Engine(file_facts(base).model_file(adapter_files(paths, base)), settings) as engine:
        yield engine


@pytest.fixture(scope="module")
def merged_ids(checkpoint, weights, deltas, tmp_path_factory, native_library):
    """Return a function: the ids of a checkpoint into which adapters were merged with numpy."""

    def ids(prompt, scales):
        folder = tmp_path_factory.mktemp("merged")
        ignored = shutil.ignore_patterns("training", "*.safetensors", "*.index.json")
        shutil.copytree(checkpoint, folder / "c", ignore=ignored)
        parts = [(deltas[name], scale * ALPHA / RANK) for name, scale in scales]
        write_weights(folder / "c", merged(weights, parts), "F32")
        convert_checkpoint(folder / "c", folder / "m.gguf", "F32")
        settings = LoadSettings(context_tokens=512, threads=1, kv_type="f32")
        with Engine(file_facts(gguf.validate(folder / "m.gguf")).model_file(), settings) as engine:
            return engine.submit(ask(prompt)).result().token_ids

    return ids


@pytest.fixture(scope="module")
def prompt(checkpoint):
    return tuple(json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"][1]["prompt_ids"])


def ask(prompt, *adapters):
    return Request(
        segments=(TokenSegment(prompt),), sampling=GREEDY, max_tokens=24, ignore_end=True, adapters=adapters
    )


@pytest.mark.parametrize("scales", [(("a", 1.0),), (("b", -0.5),), (("a", 0.7), ("b", 0.4))])
def test_ids_are_those_of_the_merged_model(engine, merged_ids, prompt, scales):
    assert engine.submit(ask(prompt, *scales)).result().token_ids == merged_ids(prompt, scales)


def test_requests_with_different_adapters_work_side_by_side(engine, prompt):
    choices = [(), (("a", 1.0),), (("b", 1.0),), (("a", 0.5),)] * 3
    alone = {scales: engine.submit(ask(prompt, *scales)).result().token_ids for scales in set(choices)}
    assert len(set(alone.values())) == 4
    generations = [engine.submit(ask(prompt, *scales)) for scales in choices]
    assert [generation.result().token_ids for generation in generations] == [alone[s] for s in choices]


def test_cells_are_reused_only_under_the_same_adapters_and_scales(engine, prompt):
    def reused(*scales):
        return engine.submit(ask(prompt, *scales)).result().finished.usage.reused_tokens

    reused(("a", 0.25))
    assert reused(("a", 0.125)) == 0
    assert reused(("a", 0.25)) == len(prompt) - 1
    assert reused(("a", 0.25), ("b", 0.0)) == len(prompt) - 1  # a scale of 0 is no adapter


@pytest.mark.parametrize(
    "scales", [(("c", 1.0),), (("a", 1e9),), (("a", float("nan")),), (("a", 1), ("a", 1))]
)
def test_an_adapter_that_is_not_loaded_or_a_senseless_scale_is_refused(engine, prompt, scales):
    with pytest.raises(InvalidSettingError, match="adapters"):
        engine.submit(ask(prompt, *scales)).result()


def transposed(pairs):
    return {name: (first.T.copy(), second) for name, (first, second) in pairs.items()}


def without_half(pairs, path):
    import gguf as writer_package

    writer = writer_package.GGUFWriter(path, "phi3")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    name, (first, _) = next(iter(pairs.items()))
    writer.add_tensor(f"{name}.lora_a", first)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_files_that_are_no_adapter_for_this_model_are_refused(base, deltas, tmp_path):
    pairs = deltas["a"]
    write_adapter(tmp_path / "transposed.gguf", transposed(pairs))
    renamed = {name.replace("blk.0.", "blk.99."): pair for name, pair in pairs.items()}
    write_adapter(tmp_path / "other.gguf", renamed)
    write_adapter(tmp_path / "kind.gguf", pairs, kind="control_vector")
    write_adapter(tmp_path / "alpha.gguf", pairs, alpha=float("nan"))
    write_adapter(tmp_path / "empty.gguf", {})
    without_half(pairs, tmp_path / "half.gguf")
    messages = {
        "transposed": "does not fit",
        "other": r"blk\.99\.ffn_down\.weight` is not in the model",
        "kind": "adapter.type",
        "alpha": "adapter.lora.alpha",
        "empty": "has no `.lora_a`",
        "half": "has only `lora_a`",
    }
    for name, message in messages.items():
        with pytest.raises(GGUFError, match=message):
            gguf.validate_adapter(tmp_path / f"{name}.gguf", base)
    with pytest.raises(GGUFError, match="is no adapter"):
        gguf.validate_adapter(base.path, base)


def test_guesses_are_checked_under_the_adapters_of_their_request(native_library, base, paths, prompt):
    """A guess of the text is the same whatever adapters are on; what it is compared with is not."""
    repeated = prompt + prompt[:6]
    choices = [(), (("a", 1.0),), (("b", 1.0),), (("a", 0.5), ("b", 0.5))]
    files = file_facts(base).model_file(adapter_files(paths, base))
    settings = LoadSettings(context_tokens=512, threads=1, parallel=4, kv_type="f32", speculation="lookup")

    def long(*scales):
        return dataclasses.replace(ask(repeated, *scales), max_tokens=96)

    with Engine(files, dataclasses.replace(settings, speculation="off")) as without:
        expected = [without.submit(long(*scales)).result().token_ids for scales in choices]
    assert len(set(expected)) == 4
    with Engine(files, settings) as guessing:
        alone = [guessing.submit(long(*scales)).result() for scales in choices]
        running = [guessing.submit(long(*scales)) for scales in choices]
        together = [generation.result() for generation in running]
    assert [answer.token_ids for answer in alone] == expected
    assert [answer.token_ids for answer in together] == expected
    assert sum(answer.finished.usage.accepted_tokens for answer in alone) > 5
    assert sum(answer.finished.usage.accepted_tokens for answer in together) > 5
