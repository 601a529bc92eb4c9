"""`check --against` compares answers: what neither keys nor weights tell is found there."""

import pytest

from phi4local.bench.quality.against import check_logits
from phi4local.convert import convert_to_several
from phi4local.convert.check_file import check_file
from tests.random_checkpoint import NANO

pytestmark = pytest.mark.usefixtures("native_library")
QUANTIZATIONS = ("F32", "Q4_K_M", "Q2_K")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logits")
    outputs = {name: folder / f"{name}.gguf" for name in QUANTIZATIONS}
    convert_to_several(NANO, outputs)
    return outputs


def test_fewer_bits_are_further_from_the_checkpoint_and_good_all_the_same(files):
    found = [check_logits(files[name], NANO) for name in QUANTIZATIONS]
    assert all(one.findings == () and one.not_run == "" for one in found)
    distances = [one.divergence.kl.value for one in found]
    assert distances == sorted(distances)
    assert distances[0] < 1e-5
    assert found[0].divergence.same_top.value > 0.99


def test_a_key_that_is_left_out_and_changes_answers_is_found(files, tmp_path):
    """Without its base of rotation llama.cpp takes 10,000; the keys' comparison has a note about it only."""
    path = tmp_path / "spoiled.gguf"
    path.write_bytes(files["Q4_K_M"].read_bytes().replace(b"phi3.rope.freq_base", b"quiz.rope.freq_base"))
    assert check_file(path, NANO).findings == ()
    (finding,) = check_logits(path, NANO).findings
    assert finding.place == "logits"
    assert "mean KL divergence" in finding.problem


def test_a_checkpoint_that_memory_has_no_room_for_is_not_converted(files, monkeypatch, phi4local_home):
    monkeypatch.setattr("phi4local.hardware.available_bytes", lambda: 40_000_000)
    found = check_logits(files["Q4_K_M"], NANO)
    assert found.divergence is None
    assert found.not_run == "the checkpoint needs 0.0 GB of memory in F32, and 0.0 GB are free"
    assert not list(phi4local_home.rglob("F32.gguf"))


def test_the_command_says_it(run_cli, files, tmp_path):
    path = tmp_path / "spoiled.gguf"
    path.write_bytes(files["F32"].read_bytes().replace(b"phi3.rope.freq_base", b"quiz.rope.freq_base"))
    bad = run_cli(["check", path, "--against", NANO])
    assert bad.returncode == 1
    assert "mean KL divergence" in " ".join(bad.stdout.split())
    unread = run_cli(["check", path, "--against", NANO, "--no-logits"])
    assert unread.returncode == 0
    assert "beside" not in unread.stderr
