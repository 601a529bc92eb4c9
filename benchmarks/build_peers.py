"""Build llama.cpp's own programs from the source inside the pinned llama-cpp-python, to measure beside them.

    python -m benchmarks.build_peers

Prints JSON with the paths. Nothing but the package's source is downloaded, and only the first time; the
folder lies outside the checkout, in the cache folder of compiled wheels (`PHI4LOCAL_CACHE`). An interrupted
build goes on where it stopped. About ten minutes on two cores.

Two folders come out:
- `bin`: the programs beside a copy of the very library files that Python loads here, so that a comparison
  measures the programs and not two compilations;
- `built`: the same programs beside libraries of this build. They have ggml's RPC back end, which the usual
  package has not: `LLAMA_CPP_LIB_PATH=<built>` gives it to phi4local; `ggml-rpc-server` is the other end.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from phi4local.native import build

PROGRAMS = (
    "llama-quantize",
    "llama-batched-bench",
    "llama-bench",
    "llama-imatrix",
    "llama-completion",
    "llama-perplexity",
    "llama-export-lora",
    "llama-gguf-split",
    "ggml-rpc-server",
    "llama-server",
    "llama-cli",
)
"""Names of programs and of CMake's targets; what is compared most often comes first."""

FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON",  # so that the wheel's files can take the libraries' places
    "-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_UI=OFF",  # neither made with npm
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # nor downloaded
    "-DGGML_RPC=ON",
    f"-DLLAMA_BUILD_COMMIT=llama-cpp-python-{build.VERSION}",
)
CMAKE_INCLUDE = Path(__file__).with_suffix(".cmake")
NOTE = "peers.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Where the programs and sources are.

    Attributes:
        bin: programs that use a copy of the installed package's libraries.
        built: the same programs with the libraries of their own build, which have the RPC back end.
        source: llama.cpp's source, with `convert_hf_to_gguf.py`, `convert_lora_to_gguf.py` and `gguf-py`.
        flags: how it was configured.
        compilers: what compiled it.
    """

    bin: Path
    built: Path
    source: Path
    flags: tuple[str, ...]
    compilers: tuple[str, ...]

    @classmethod
    def read(cls, shelf: Path) -> Self | None:
        """Return what an earlier build left in a folder, or nothing."""
        try:
            note = json.loads((shelf / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        paths = {name: shelf / name for name in ("bin", "built")}
        source = shelf / "source" / "vendor" / "llama.cpp"
        return cls(source=source, flags=tuple(note["flags"]), compilers=tuple(note["compilers"]), **paths)

    def program(self, name: str, *, built: bool = False) -> Path:
        """Return the path of a program. Example: `program("llama-bench")` is `…/bin/llama-bench`."""
        suffix = ".exe" if sys.platform == "win32" else ""
        return (self.built if built else self.bin) / f"{name}{suffix}"


def find() -> Peers | None:
    """Return the finished build for this machine and package, or nothing."""
    return Peers.read(_shelf(_environment()))


def make(jobs: int) -> Peers:
    """Return the build for this machine, compiling what is missing.

    Raises:
        build.BuildError: a tool is missing or failed.
    """
    environment = _environment()
    shelf = _shelf(environment)
    if found := Peers.read(shelf):
        return found
    _check_tools(environment)
    source = _fetch_source(shelf)
    folder = shelf / "build"
    folder.mkdir(exist_ok=True)
    flags = (*FLAGS, *shlex.split(environment["CMAKE_ARGS"]))
    for file in (CMAKE_INCLUDE, build.CMAKE_INCLUDE):
        shutil.copy(file, shelf)
    include = (shelf / CMAKE_INCLUDE.name).as_posix()
    configure = ["cmake", "-S", str(source), "-B", str(folder), *flags, f"-DCMAKE_PROJECT_INCLUDE={include}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    _run(*configure)
    for name in PROGRAMS:
        _run(
            "cmake", "--build", str(folder), "--config", "Release", "--parallel", str(jobs), "--target", name
        )
    _collect(folder / "bin", shelf)
    note = {"flags": flags, "compilers": build.compilers(environment), "libraries": _library_hashes()}
    (shelf / NOTE).write_text(json.dumps(note, indent=1), encoding="utf-8")
    shutil.rmtree(folder)
    return Peers.read(shelf) or _fail("the note of the build cannot be read", f"look at `{shelf}`")


def library_folder() -> Path:
    """Return the folder of the libraries that Python loads.

    Raises:
        build.BuildError: the package is missing or has another version.
    """
    found = importlib.util.find_spec("llama_cpp")
    if not found or not found.origin or importlib.metadata.version("llama-cpp-python") != build.VERSION:
        raise build.BuildError(f"llama-cpp-python {build.VERSION} is not installed", "run `make setup`")
    return Path(found.origin).parent / "lib"


def _environment() -> dict[str, str]:
    target = build.Target.of(sys.executable)
    remembered = target.remembered().get("cmake_args", "")
    return {**os.environ, "CMAKE_ARGS": os.environ.get("CMAKE_ARGS", remembered)}


def _shelf(environment: dict[str, str]) -> Path:
    parts = build.parts_of(build.Target.of(sys.executable), environment)
    texts = (*FLAGS, *PROGRAMS, CMAKE_INCLUDE.read_text("utf-8"))
    key = build.key_of({**parts, "peers": " ".join(texts), **_library_hashes()})
    return build.cache_folder(environment) / "peers" / key


def _library_hashes() -> dict[str, str]:
    files = sorted(library_folder().iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def _check_tools(environment: dict[str, str]) -> None:
    if not shutil.which("cmake"):
        _fail("there is no cmake", "install it, for example with `pip install cmake ninja`")
    if not all(build.compilers(environment)):
        hints = build.RECIPE["compiler_hints"]
        _fail("there is no C and C++ compiler", hints.get(sys.platform, hints["linux"]))


def _fetch_source(shelf: Path) -> Path:
    """Download and unpack the package's source; return llama.cpp's folder in it."""
    final = shelf / "source"
    if not final.exists():
        shelf.mkdir(parents=True, exist_ok=True)
        download, partial = shelf / "download", shelf / "source.partial"
        shutil.rmtree(partial, ignore_errors=True)
        wanted = f"llama-cpp-python=={build.VERSION}"
        pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=llama-cpp-python")
        _run(*pip, f"--dest={download}", wanted)
        (archive,) = download.glob(f"llama_cpp_python-{build.VERSION}.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        (inside,) = partial.iterdir()
        inside.replace(final)
        shutil.rmtree(partial)
        shutil.rmtree(download)
    return final / "vendor" / "llama.cpp"


def _collect(made: Path, shelf: Path) -> None:
    """Copy programs and libraries to `built`, then the same with the installed libraries to `bin`."""
    for name in ("built", "bin"):
        shutil.rmtree(shelf / name, ignore_errors=True)
        shutil.copytree(made, shelf / name)
    for library in library_folder().iterdir():
        shutil.copy(library, shelf / "bin" / library.name)
    _run(str(shelf / "bin" / "llama-bench"), "--help")  # the libraries fit


def _run(*command: str) -> None:
    """Run a command with its output on stderr: stdout is the JSON."""
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode:
        _fail(f"`{shlex.join(command)}` failed", "the lines above say why")


def _fail(what: str, hint: str) -> Peers:
    raise build.BuildError(what, hint)


def main() -> int:
    """Parse, build, print the paths; 0 done, 1 known error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at the same time")
    options = parser.parse_args()
    try:
        peers = make(options.jobs)
    except build.BuildError as error:
        print("error: {}\nhint: {}".format(*error.args), file=sys.stderr)
        return 1
    print(json.dumps(asdict(peers), indent=1, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
