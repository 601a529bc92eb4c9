"""llama-cpp-python: is it there, is it the right one, does it load, and was it built for this machine?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import hardware
from phi4local.doctor import programs
from phi4local.doctor.result import OK, SKIPPED, WARNING, WRONG, Result
from phi4local.engine.worker.process import child_command
from phi4local.native.build import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = "llama-cpp-python"
_BACK_ENDS = {
    "cuda": "CUDA",
    "hip": "HIP",
    "vulkan": "Vulkan",
    "metal": "Metal",
    "sycl": "SYCL",
    "opencl": "OpenCL",
    "cann": "CANN",
    "musa": "MUSA",
    "rpc": "RPC",
    "blas": "BLAS",
}
NO_GPU = frozenset({"RPC", "BLAS"})
"""Back ends that are no GPU of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What loading the library showed.

    Attributes:
        problem: why it is not usable, or an empty text.
        package: folder of the Python package that was found.
        folder: of its shared libraries.
        system_info: llama.cpp's line about instruction sets and back ends.
        devices: GPUs that it sees: `name`, `description`, `back_end`, `total_bytes`, `free_bytes` of each.
        device_problem: why asking for devices failed, or an empty text.
    """

    problem: str = ""
    package: str = ""
    folder: str = ""
    system_info: str = ""
    devices: tuple[dict[str, Any], ...] = ()
    device_problem: str = ""

    def back_ends(self) -> tuple[str, ...]:
        """Return what the build can compute on beside the CPU, by the names of its files."""
        names = {
            path.name.partition(".")[0].rpartition("ggml-")[2] for path in Path(self.folder).glob("*ggml-*")
        }
        return tuple(shown for name, shown in _BACK_ENDS.items() if name in names)

    def gpu_back_ends(self) -> tuple[str, ...]:
        """Return those of them that are for GPUs."""
        return tuple(name for name in self.back_ends() if name not in NO_GPU)


def try_loading(seconds: float) -> Library:
    """Load the library in a child process and return what it showed.

    Args:
        seconds: how long it may take.
    """
    try:
        found = importlib.util.find_spec("llama_cpp")
    except (ImportError, ValueError) as error:
        return Library(problem=f"looking for it fails: {error}")
    if found is None:
        return Library(problem="is not installed")
    package = next(iter(found.submodule_search_locations or ()), "")
    try:
        ran = programs.run(child_command("phi4local.doctor.probe"), seconds)
    except OSError as error:
        return Library(package=package, problem=f"its process does not start: {error.strerror or error}")
    facts: dict[str, Any] = {"stage": "starting"}
    for line in ran.stdout.splitlines():
        facts |= _json_object(line)
    if "devices" in facts and not ran.code:
        shown = {name: facts[name] for name in ("folder", "system_info")}
        return Library(package=package, devices=tuple(facts["devices"]), **shown)
    reason = programs.last_line(ran.stderr)
    problem = f"{facts['stage']} {ran.ending()}" + (f": {reason}" if reason and ran.code == 1 else "")
    if "system_info" in facts:
        shown = {name: facts[name] for name in ("folder", "system_info")}
        return Library(package=package, device_problem=problem, **shown)
    return Library(package=package, problem=problem)


def _json_object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # cut off in the middle
        return {}
    return found if isinstance(found, dict) else {}


def check(library: Library) -> Iterator[Result]:
    """Yield what is to say about the package, its back ends and its instruction sets."""
    yield _check_package(library, installed_version())
    if library.problem:
        yield Result(name="back ends", state=SKIPPED, seen="the library does not load")
        yield Result(name="instruction sets", state=SKIPPED, seen="the library does not load")
        return
    yield _check_back_ends(library)
    build = programs.build_command(cmake_args(library.gpu_back_ends()), force=True)
    yield check_instruction_sets(library.system_info, hardware.instruction_sets(), build)


def cmake_args(back_ends: Iterable[str]) -> str:
    """Return what builds these back ends. Example: `["CUDA"]` → `-DGGML_CUDA=on`."""
    return " ".join(f"-DGGML_{name.upper()}=on" for name in back_ends)


def installed_version() -> str | None:
    """Return the version that the package index's files say, or `None`."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_package(library: Library, version: str | None) -> Result:
    name = PACKAGE
    if library.problem == "is not installed":
        return Result(name=name, state=WRONG, seen=library.problem, command=programs.build_command())
    shown = version or "of unknown version"
    if version not in (None, VERSION):
        seen = f"version {version}; phi4local works with {VERSION} only"
        return Result(name=name, state=WRONG, seen=seen, command=programs.build_command(force=True))
    elsewhere = _not_the_installed_one(library)
    advice = "unset PYTHONPATH or LLAMA_CPP_LIB_PATH if that is not what you want" if elsewhere else ""
    if library.problem:
        seen = f"{shown} does not load: {library.problem}{elsewhere}"
        command = "" if elsewhere else programs.build_command(force=True)
        return Result(name=name, state=WRONG, seen=seen, advice=advice, command=command)
    state = WARNING if elsewhere else OK
    return Result(name=name, state=state, seen=f"{shown} loads{elsewhere}", advice=advice)


def _not_the_installed_one(library: Library) -> str:
    """Return words about the folder that hides the installed package, or an empty text."""
    for found, installed in ((library.package, "llama_cpp"), (library.folder, "llama_cpp/lib")):
        try:
            ours = importlib.metadata.distribution(PACKAGE).locate_file(installed)
            if found and not Path(found).samefile(str(ours)):
                return f"; {found} hides the installed one"
        except (importlib.metadata.PackageNotFoundError, OSError):
            return f"; it is the one in {found}" if found else ""
    return ""


def _check_back_ends(library: Library) -> Result:
    found = ("CPU", *library.back_ends())
    if library.device_problem:
        return Result(
            name="back ends",
            state=WRONG,
            seen=f"{', '.join(found)}; {library.device_problem}",
            advice="update the GPU's driver, or build for the CPU alone",
            command=programs.build_command("", force=True),
        )
    return Result(name="back ends", state=OK, seen=", ".join(found))


def check_instruction_sets(system_info: str, has: frozenset[str], build: str) -> Result:
    """Compare what the processor can do with what the build makes use of.

    Args:
        system_info: llama.cpp's line, such as "CPU : AVX = 1 | AVX2 = 1 | ".
        has: of the processor, in ggml's spelling; empty where the system does not tell.
        build: the command that compiles for this processor.

    Example: "CPU : AVX2 = 1 | " on a processor with AVX2 and AVX512 is a warning.
    """
    name = "instruction sets"
    used = set(re.findall(r"(\w+) = 1", system_info))
    if not has:
        return Result(name=name, state=SKIPPED, seen="this system does not list the processor's")
    missed = sorted(has - used)
    if missed:
        seen = f"the build leaves out {', '.join(missed)}, which this processor has"
        advice = "compile it for this processor"
        return Result(name=name, state=WARNING, seen=seen, advice=advice, command=build)
    return Result(name=name, state=OK, seen=f"the build uses {', '.join(sorted(has))}")
