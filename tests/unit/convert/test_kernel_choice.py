"""Which kernels a conversion takes, what it says about them, and that nothing else loads Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi4local.convert import convert_checkpoint
from phi4local.convert.kernels import Choice, Work, cache, choose
from phi4local.convert.kernels.choice import numba_is_installed, saved_seconds
from phi4local.errors import InvalidSettingError

PHI4 = {
    Work("BF16", "Q4_K"): 11_900_000_000,
    Work("BF16", "Q6_K"): 2_760_000_000,
    Work("BF16", "F32"): 414_720,
}
NANO = {Work("BF16", "Q4_K"): 7_000_000, Work("BF16", "Q6_K"): 3_600_000}

needs_numba = pytest.mark.skipif(not numba_is_installed(), reason="an extra: phi4local[convert]")


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """A cache folder of this test's own."""
    monkeypatch.setenv("PHI4LOCAL_CACHE", str(tmp_path / "cache"))
    cache.code_folder.cache_clear()
    yield tmp_path / "cache"
    cache.code_folder.cache_clear()


@pytest.fixture
def without_numba(monkeypatch):
    """As if it were not installed."""
    monkeypatch.setitem(sys.modules, "numba", None)


@needs_numba
def test_auto_compiles_for_a_large_model_only(empty_cache):
    assert choose("auto", PHI4, 2).numba == {Work("BF16", "Q4_K"), Work("BF16", "Q6_K")}
    assert choose("auto", NANO, 2) == Choice(frozenset())
    assert choose("auto", {Work("BF16", "Q4_0"): 10**10}, 2) == Choice(frozenset())


@needs_numba
def test_auto_takes_compiled_kernels_for_less(empty_cache):
    weights = {Work("BF16", "Q4_K"): 60_000_000}
    assert choose("auto", weights, 1).numba == frozenset()
    cache.remember_compiled("q4_k_q5_k")
    assert choose("auto", weights, 1).numba == set(weights)
    assert choose("auto", NANO, 2).numba == frozenset()


@needs_numba
def test_a_kernel_for_few_weights_is_not_compiled(empty_cache):
    weights = {Work("BF16", "Q4_K"): 10**10, Work("F32", "Q6_K"): 1000}
    assert choose("auto", weights, 2).numba == {Work("BF16", "Q4_K")}


@needs_numba
def test_types_of_one_family_share_the_cost_of_compiling(empty_cache):
    both = {Work("BF16", "Q4_K"): 70_000_000, Work("F16", "Q5_K"): 70_000_000}
    for work, count in both.items():
        assert choose("auto", {work: count}, 1).numba == frozenset()
    assert choose("auto", both, 1).numba == set(both)


@needs_numba
def test_old_types_are_searched_with_column_weights_only(empty_cache):
    plain, weighted = Work("BF16", "Q4_1"), Work("BF16", "Q4_1", weighted=True)
    assert choose("numba", {plain: 10**9, weighted: 10**9}, 1).numba == {weighted}
    assert choose("auto", {plain: 10**9, weighted: 10**9}, 1).numba == {weighted}


@needs_numba
def test_both_can_be_demanded(empty_cache):
    assert choose("numba", NANO, 2).numba == set(NANO)
    assert choose("ggml", PHI4, 2).numba == frozenset()


def test_without_numba_auto_says_what_it_would_save(without_numba):
    choice = choose("auto", PHI4, 2)
    assert choice.numba == frozenset()
    assert choice.missing_seconds == pytest.approx(436 - 58 - 13, abs=5)
    assert choose("auto", NANO, 2).missing_seconds == 0


def test_without_numba_it_cannot_be_demanded(without_numba):
    with pytest.raises(InvalidSettingError, match="not installed") as caught:
        choose("numba", PHI4, 2)
    assert "pip install numba" in caught.value.hint


def test_other_kernels_are_refused(checkpoint, tmp_path):
    with pytest.raises(InvalidSettingError, match="'cuda'"):
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q4_K_M", kernels="cuda")
    with pytest.raises(TypeError, match="kernel"):
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q4_K_M", kernel="ggml")
    assert list(tmp_path.iterdir()) == []


def test_saving_as_documented():
    assert saved_seconds(Work("BF16", "Q4_K"), 150_000_000, 1) == pytest.approx(8.7, abs=0.05)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [({"PHI4LOCAL_CACHE": "/c"}, "/c/kernels"), ({"XDG_CACHE_HOME": "/x"}, "/x/phi4local/kernels")],
)
@pytest.mark.skipif(sys.platform != "linux", reason="places of Linux")
def test_cache_folder(environment, folder):
    assert cache.cache_folder(environment) == Path(folder)


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PHI4LOCAL_CACHE", str(tmp_path / "file"))
    cache.code_folder.cache_clear()
    try:
        assert cache.writable_folder() is None
        assert not cache.is_compiled("Q4_K-BF16")
        cache.remember_compiled("q4_k_q5_k")
    finally:
        cache.code_folder.cache_clear()


TRAP = """
import os, pathlib
pathlib.Path(os.environ["TRAP"]).touch()
raise ImportError("nobody may import this")
"""


@pytest.fixture
def trap(tmp_path):
    """A numba that leaves a trace when it is imported: the environment with it, and the trace."""
    folder = tmp_path / "path" / "numba"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(TRAP)
    trace = tmp_path / "imported"
    path = os.pathsep.join([str(folder.parent), os.environ.get("PYTHONPATH", "")])
    return {
        "PYTHONPATH": path,
        "TRAP": str(trace),
        "PHI4LOCAL_HOME": str(tmp_path / "home"),
        "PHI4LOCAL_CACHE": str(tmp_path / "cache"),
    }, trace


def test_the_trap_works(trap):
    environment, trace = trap
    subprocess.run([sys.executable, "-c", "import numba"], env={**os.environ, **environment}, check=False)
    assert trace.exists()


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [(["--help"], ""), (["run", "phi4-nano", "Hello", "-n", "1"], ""), (["chat", "phi4-nano"], "Hello\n")],
)
def test_other_commands_neither_load_numba_nor_write_kernels(
    arguments, typed, trap, run_cli, tmp_path, native_library
):
    environment, trace = trap
    done = run_cli(arguments, input=typed, env=environment)
    assert done.returncode == 0, done.stderr
    assert not trace.exists()
    assert not (tmp_path / "cache").exists()


def test_a_numba_that_does_not_import_is_said_and_replaced(trap, run_cli, checkpoint, tmp_path):
    """As one that refuses the numpy beside it."""
    environment, trace = trap
    arguments = ["convert", checkpoint, "-o", tmp_path / "m.gguf", "--kernels", "numba"]
    done = run_cli(arguments, env=environment)
    assert done.returncode == 0
    assert trace.exists()
    assert "could not be loaded, ggml did their work (ImportError: nobody may import this)" in done.stderr
    assert "Q4_K by ggml" in done.stderr


def test_convert_says_what_quantized(run_cli, checkpoint, tmp_path):
    done = run_cli(["convert", checkpoint, "-o", tmp_path / "m.gguf", "--kernels", "ggml"])
    assert done.returncode == 0
    assert "million weights a second and thread: Q4_K by ggml at" in done.stderr
    assert "kernels ready" not in done.stderr


@pytest.mark.full
@needs_numba
def test_convert_reports_numba(run_cli, checkpoint, tmp_path):
    environment = {"PHI4LOCAL_CACHE": str(tmp_path / "cache")}
    for attempt in range(2):
        output = tmp_path / f"{attempt}.gguf"
        done = run_cli(["convert", checkpoint, "-o", output, "--kernels", "numba"], env=environment)
        assert done.returncode == 0
        assert "Q4_K by numba at" in done.stderr
        assert "kernels ready after" in done.stderr
    assert (tmp_path / "0.gguf").read_bytes() == (tmp_path / "1.gguf").read_bytes()


@pytest.mark.full
@needs_numba
@pytest.mark.parametrize("damage", [b"", b"no pickle", b"\x80\x04."])
def test_damaged_kernels_are_forgotten(run_cli, checkpoint, tmp_path, damage):
    environment = {"PHI4LOCAL_CACHE": str(tmp_path / "cache")}
    arguments = ["convert", checkpoint, "-o", tmp_path / "m.gguf", "--kernels", "numba", "--force"]
    assert "by numba" in run_cli(arguments, env=environment).stderr
    for path in tmp_path.rglob("*.nb[ic]"):
        path.write_bytes(damage)
    assert "by ggml" in run_cli(arguments, env=environment).stderr
    done = run_cli(arguments, env=environment)
    assert done.returncode == 0
    assert "by numba" in done.stderr
