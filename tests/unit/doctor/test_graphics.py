"""GPUs found without llama.cpp: drivers that answer, fail and hang, and what to type."""

import os
import shutil
import sys

import pytest

from phi4local.doctor import graphics
from phi4local.doctor.graphics import Card, Cards
from phi4local.doctor.library import Library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the other systems have no such files")
ANSWER = "NVIDIA GeForce RTX 4070, 12282\nNVIDIA GH200 480GB, [N/A]"
FAILURE = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running."
)
SEES = {
    "name": "CUDA0",
    "description": "NVIDIA H100",
    "back_end": "CUDA",
    "total_bytes": 85e9,
    "free_bytes": 84e9,
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty search path, so that no tool of this machine takes part."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CUDACXX", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def system(tmp_path):
    """`system(vendor="0x10de", …)`: a machine with one device on its bus; without words, none."""

    def make(vendor=None, device="0x2786", kind="0x030000"):
        root = tmp_path / "root"
        folder = root / "sys/bus/pci/devices/0000:01:00.0"
        folder.mkdir(parents=True)
        if vendor:
            for name, text in (("vendor", vendor), ("device", device), ("class", kind)):
                (folder / name).write_text(f"{text}\n")
        return root

    return make


def install(folder, name, script):
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def library(folder=None, *names, **more):
    """A library with these back ends in its folder."""
    for name in names:
        (folder / f"libggml-{name}.so").touch()
    return Library(folder=str(folder or "/nowhere"), system_info="CPU : AVX2 = 1 | ", **more)


def test_nvidia_smi_names_the_cards(path, system):
    install(path, "nvidia-smi", f"echo '{ANSWER}'")
    assert graphics.look(system=system()).found == (
        Card(vendor="NVIDIA", name="NVIDIA GeForce RTX 4070", memory_bytes=12282 * 2**20),
        Card(vendor="NVIDIA", name="NVIDIA GH200 480GB"),
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f'echo "{FAILURE}"; exit 9', "nvidia-smi ends with code 9: NVIDIA-SMI has failed"),
        ("exec tail -f /dev/null", "nvidia-smi hangs"),
        ("kill -SEGV $$", "nvidia-smi is ended by SIGSEGV"),
    ],
)
def test_a_driver_that_does_not_answer_is_named_and_the_bus_still_shows_the_card(script, words, path, system):
    (path / "tail").symlink_to(shutil.which("tail", path=os.defpath))
    install(path, "nvidia-smi", script)
    cards = graphics.look(1.0 if "tail" in script else 60.0, system=system("0x10de"))
    assert cards.found == (Card(vendor="NVIDIA", name="NVIDIA GPU 0x2786"),)
    assert cards.trouble.startswith(words)


def test_a_driver_without_its_tool_is_read_from_proc(path, system):
    root = system("0x10de")
    folder = root / "proc/driver/nvidia/gpus/0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 27\n")
    assert [card.name for card in graphics.look(system=root).found] == ["NVIDIA A100-SXM4-40GB"]


@pytest.mark.parametrize(
    ("vendor", "kind", "found"),
    [
        ("0x1002", "0x030000", ["AMD GPU 0x2786"]),
        ("0x8086", "0x038000", ["Intel GPU 0x2786"]),
        ("0x1002", "0x120000", ["AMD GPU 0x2786"]),
        ("0x8086", "0x020000", []),  # a network card
        ("0x1a03", "0x030000", []),  # a server's console
        (None, "", []),
    ],
)
def test_the_bus_is_read_by_class_and_maker(vendor, kind, found, path, system):
    assert [card.name for card in graphics.look(system=system(vendor, kind=kind)).found] == found


@pytest.mark.parametrize(
    ("vendor", "program", "flag"),
    [
        ("NVIDIA", "nvcc", "-DGGML_CUDA=on"),
        ("AMD", "hipcc", "-DGGML_HIP=on"),
        ("AMD", "glslc", "-DGGML_VULKAN=on"),
        ("Apple", "true", "-DGGML_METAL=on"),
    ],
)
def test_a_cpu_build_beside_a_gpu_gets_the_command_for_it(vendor, program, flag, path):
    install(path, program, "exit 0")
    result = graphics.check(library(), Cards(found=(Card(vendor=vendor, name="A GPU"),)))
    assert result.state == "warning"
    assert result.command == f"CMAKE_ARGS={flag} {sys.executable} -m phi4local.native.build"
    assert result.advice == ""


def test_a_missing_toolkit_is_said(path):
    result = graphics.check(library(), Cards(found=(Card(vendor="AMD", name="A GPU"),)))
    assert result.advice == "install the Vulkan SDK first: glslc is not here"


def test_a_gpu_inside_the_processor_is_no_warning(path):
    result = graphics.check(library(), Cards(found=(Card(vendor="Intel", name="Intel GPU 0x7d55"),)))
    assert result.state == "ok"
    assert "-DGGML_VULKAN=on" in result.command


def test_a_device_that_the_build_sees_is_right(path):
    result = graphics.check(library(devices=(SEES,)), Cards())
    assert (result.state, result.seen) == ("ok", "CUDA0: NVIDIA H100, 84.0 of 85.0 GB free")


def test_a_build_for_the_gpu_that_finds_none_is_wrong(path, tmp_path):
    cards = Cards(found=(Card(vendor="NVIDIA", name="A GPU"),), trouble="nvidia-smi hangs")
    result = graphics.check(library(tmp_path, "cuda", "cpu", "base"), cards)
    assert (result.state, result.command) == ("wrong", "nvidia-smi")
    assert result.seen == "A GPU; the build has CUDA and finds no device: nvidia-smi hangs"


def test_a_variable_that_hides_the_gpu_is_named(path, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    cards = Cards(found=(Card(vendor="NVIDIA", name="A GPU"),))
    result = graphics.check(library(tmp_path, "cuda"), cards)
    assert (result.state, result.command) == ("warning", "unset CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize("trouble", [{"problem": "hangs"}, {"device_problem": "hangs"}])
def test_a_broken_library_leaves_the_question_open(trouble, path):
    result = graphics.check(library(**trouble), Cards(found=(Card(vendor="NVIDIA", name="A GPU"),)))
    assert result.state == "skipped"
    assert result.seen.startswith("A GPU")


def test_no_gpu_is_no_fault(path):
    assert graphics.check(library(), Cards()).state == "ok"
