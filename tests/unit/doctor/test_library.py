"""What is said about llama-cpp-python: its version, its back ends and what it leaves out."""

import sys

import pytest

from phi4local.doctor import library
from phi4local.doctor.library import Library
from phi4local.native.build import VERSION
from tests.broken_library import broken_package

SYSTEM = "CPU : SSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 0 | OPENMP = 1 | REPACK = 1 | "


def by_name(**facts):
    return {result.name: result for result in library.check(Library(**facts))}


def test_another_version_is_wrong(tmp_path, monkeypatch):
    folder = tmp_path / "llama_cpp_python-0.3.16.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.3.16\n")
    monkeypatch.syspath_prepend(tmp_path)
    result = by_name(system_info=SYSTEM)["llama-cpp-python"]
    assert (result.state, result.seen) == (
        "wrong",
        f"version 0.3.16; phi4local works with {VERSION} only",
    )
    assert result.command.endswith(" -m phi4local.native.build --force")


@pytest.mark.parametrize(
    ("has", "state", "words"),
    [
        ({"AVX2", "F16C"}, "ok", "the build uses AVX2, F16C"),
        ({"AVX2", "FMA", "AVX512"}, "warning", "leaves out AVX512, FMA, which this processor has"),
        ({"AVX512"}, "warning", "leaves out AVX512,"),  # not part of a longer name
        (set(), "skipped", "does not list"),
    ],
)
def test_instruction_sets_are_compared(has, state, words):
    system = SYSTEM + "AVX512_VNNI = 1 | "
    result = library.check_instruction_sets(system, frozenset(has), "build")
    assert result.state == state
    assert words in result.seen
    assert result.command == ("build" if state == "warning" else "")


def test_back_ends_are_those_of_the_files(tmp_path):
    for name in ("libggml-base.so", "libggml-cpu.so", "libggml-cuda.so", "libggml-rpc.so", "libggml.so"):
        (tmp_path / name).touch()
    found = Library(folder=str(tmp_path), system_info=SYSTEM)
    assert (found.back_ends(), found.gpu_back_ends()) == (("CUDA", "RPC"), ("CUDA",))


@pytest.mark.skipif(sys.platform == "win32", reason="another shell")
def test_a_rebuild_keeps_the_gpu(tmp_path, monkeypatch):
    (tmp_path / "libggml-cuda.so").touch()
    monkeypatch.setattr(library.hardware, "instruction_sets", lambda: frozenset({"AVX512"}))
    result = by_name(folder=str(tmp_path), system_info=SYSTEM)["instruction sets"]
    assert result.command.startswith("CMAKE_ARGS=-DGGML_CUDA=on ")


def test_a_driver_that_crashes_is_wrong_and_the_way_back_is_the_cpu():
    found = by_name(system_info=SYSTEM, device_problem="asking for devices is ended by SIGSEGV")["back ends"]
    assert (found.state, found.seen) == ("wrong", "CPU; asking for devices is ended by SIGSEGV")
    assert "CMAKE_ARGS=" in found.command


BROKEN = {
    "raises SyntaxError": ("def", "loading the library ends with code 1: SyntaxError: invalid syntax"),
    "raises AttributeError": ("import os; os.nothing", "ends with code 1: AttributeError: "),
    "lacks its library": ("raise FileNotFoundError('libllama.so')", "libllama.so"),
    "crashes": ("import os; os.abort()", "is ended by SIGABRT"),
    "hangs": ("import time; time.sleep(600)", " hangs"),
    "leaves": ("import sys; print('{\"devices\": []}'); sys.exit(0)", "loading the library ends with code 0"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_package_is_tried_in_another_process(kind, tmp_path, monkeypatch):
    code, words = BROKEN[kind]
    folder = broken_package(tmp_path, code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    found = library.try_loading(1.0 if kind == "hangs" else 60.0)
    assert words in found.problem
    assert found.package == str(folder)
    assert found.devices == ()
