"""Perplexity and KL divergence: llama-perplexity measured the same, and reads the same files."""

import json
import math
import shutil
from pathlib import Path

import pytest
from gguf import GGUFReader

from benchmarks import build_peers
from benchmarks.quality import PER_CENT, STEPS, LlamaPerplexity, figure
from phi4local.bench.quality.measure import Reading, measure, work_folder
from phi4local.bench.quality.subjects import find_subject
from phi4local.bench.quality.text import write_held_out
from phi4local.convert import convert_to_several
from phi4local.errors import InvalidSettingError, NonFiniteLogitsError
from phi4local.settings import LoadSettings

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "quality.json").read_text())
CHUNKS = GOLDEN["chunks"]

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoint):
    """A folder with the files and the text that the golden figures were made with."""
    folder = tmp_path_factory.mktemp("quality")
    outputs = {name: folder / f"{name}.gguf" for name in ("F32", *STEPS)}
    convert_to_several(checkpoint, outputs, kernels="ggml")
    write_held_out(folder)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    """What phi4local measures."""
    return measured(folder, chunks=CHUNKS, save_base=folder / "base.logits")


def subject(path, context_tokens=512):
    return find_subject(str(path), LoadSettings(context_tokens=context_tokens, gpu_layers=0, threads=2))


def measured(folder, *, steps=STEPS, context_tokens=512, base=True, **reading):
    base = subject(folder / "F32.gguf", context_tokens) if base else None
    subjects = [subject(folder / f"{step}.gguf", context_tokens) for step in steps]
    if "base_logits" not in reading:
        reading["text"] = folder / "held-out.txt"
    found = measure(subjects, Reading(**reading), base=base, count=len(subjects))
    return {row.quantization: row for row in found}


def test_the_base_has_llama_perplexitys_perplexity(rows):
    value, error = GOLDEN["512"]["base"]
    assert rows["F32"].perplexity.value == pytest.approx(value, rel=1e-4)
    assert rows["F32"].perplexity.error == pytest.approx(error, rel=1e-3)
    assert rows["F32"].divergence is None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("batch", ["512", "2048"])
def test_three_digits_are_llama_perplexitys(rows, step, batch):
    """Whatever processor: a quarter of a per cent of perplexity, two per cent of what is compared."""
    golden = GOLDEN[batch]["steps"][step]
    for name, allowed in {
        "perplexity": 2.5e-3,
        "kl": 0.02,
        "rms_difference": 0.02,
        "same_top": 0.005,
    }.items():
        value, error = figure(rows[step], name)
        assert value == pytest.approx(golden[name][0], rel=allowed), name
        assert error == pytest.approx(golden[name][1], rel=0.1), name


def test_a_base_that_16_bits_cut_off_is_compared_with_its_exact_losses(rows):
    found = rows["Q4_K_M"]
    exact = math.log(found.perplexity.value / rows["F32"].perplexity.value)
    assert found.divergence.log_ratio.value == pytest.approx(exact, rel=1e-9)
    assert found.divergence.stored_base_perplexity.value < 0.9 * rows["F32"].perplexity.value


def test_a_model_does_not_diverge_from_itself(folder):
    found = measured(folder, steps=["F32"], chunks=2)["F32"].divergence
    assert abs(found.kl.value) < 1e-5
    assert found.same_top.value > 0.99
    assert found.log_ratio.value == 0


def test_saved_log_probabilities_are_a_base_without_its_model(folder, rows):
    again = measured(folder, steps=["Q8_0"], base=False, base_logits=folder / "base.logits")["Q8_0"]
    assert again.perplexity == rows["Q8_0"].perplexity
    assert again.divergence == rows["Q8_0"].divergence
    fewer = measured(folder, steps=["Q8_0"], base=False, base_logits=folder / "base.logits", chunks=3)
    assert fewer["Q8_0"].chunks == 3


def test_chunks_longer_than_a_batch_are_read_in_blocks(folder):
    """The second half of 1,100 tokens begins in the middle of a batch and ends in the middle of another."""
    whole = measured(folder, steps=["Q8_0"], chunks=1, context_tokens=1100)["Q8_0"]
    assert whole.scored_tokens == 549
    assert 0 < whole.divergence.kl.value < 0.01


def test_a_text_shorter_than_two_contexts_is_refused(folder, tmp_path):
    (tmp_path / "held-out.txt").write_text("Once upon a time there was a fox. " * 20)
    for name in ("F32", "Q8_0"):
        (tmp_path / f"{name}.gguf").symlink_to(folder / f"{name}.gguf")
    with pytest.raises(InvalidSettingError, match="two contexts"):
        measured(tmp_path, steps=["Q8_0"])


def test_nothing_is_left_of_the_base(rows, phi4local_home):
    assert not list((phi4local_home / "models" / "unfinished").glob("convert-quality*"))
    with work_folder() as first, work_folder() as second:
        assert first != second
    assert not first.exists()


@pytest.fixture(scope="module")
def peer():
    """llama-perplexity, where `python -m benchmarks.build_peers` was run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PHI4LOCAL_CACHE")  # the tests' own, which is empty
        found = build_peers.find()
    if found is None:
        pytest.skip("needs the programs of `python -m benchmarks.build_peers`")
    return LlamaPerplexity(found.program("llama-perplexity"), threads=2, batch=512)


def test_llama_perplexity_here_prints_the_same_digits(peer, folder, rows):
    """It reads our base's file, and we read its: the figures agree as far as it prints them."""
    found = peer.compare(folder / "Q4_K_M.gguf", folder / "base.logits")
    for name, (value, error) in found.items():
        mine, my_error = figure(rows["Q4_K_M"], name)
        digit = 1e-3 if name.partition(" ")[0] in PER_CENT else 1e-6
        # Its percentiles are at places in float32, which moves them by up to one in 10,000.
        assert mine == pytest.approx(value, abs=1.5 * digit, rel=1e-4 if " " in name else 1e-6), name
        assert error is None or my_error == pytest.approx(error, abs=1.5 * digit, rel=1e-3), name


def test_a_file_of_llama_perplexity_is_a_base(peer, folder, rows):
    theirs = folder / "theirs.logits"
    peer.read(folder / "F32.gguf", folder / "held-out.txt", theirs, 3)
    found = measured(folder, steps=["Q4_K_M"], base=False, base_logits=theirs)["Q4_K_M"]
    mine = measured(folder, steps=["Q4_K_M"], base=False, base_logits=folder / "base.logits", chunks=3)[
        "Q4_K_M"
    ]
    assert found.divergence.kl.value == pytest.approx(mine.divergence.kl.value, rel=1e-5)
    assert found.divergence.log_ratio == found.divergence.stored_log_ratio


def test_a_model_that_computes_nonsense_is_refused_and_the_others_are_shown(run_cli, folder, tmp_path):
    path = tmp_path / "poisoned.gguf"
    shutil.copy(folder / "F32.gguf", path)  # quantized products lose a NaN
    reader = GGUFReader(path, "r+")
    (norm,) = (tensor for tensor in reader.tensors if tensor.name == "output_norm.weight")
    norm.data[0] = math.nan
    reader.data.flush()
    with pytest.raises(NonFiniteLogitsError) as refused:
        list(measure([subject(path)], Reading(text=folder / "held-out.txt", chunks=1), count=1))
    assert refused.value.position == 256
    arguments = ["--text", folder / "held-out.txt", "--chunks", "1", "--output", "csv"]
    done = run_cli(["quality", folder / "Q8_0.gguf", path, *arguments])
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("Q8_0.gguf,Q8_0,")
    assert "error: the model computed values that are not finite at token 256\nhint: " in done.stderr
