"""Build llama-cpp-python for this machine once, and reuse it.

The package index has only its source, and a plain `pip install` also compiles image input and download code.
This program leaves those out, keeps the wheel, and installs it in seconds the next time. It runs before
anything is installed, so it imports the standard library only: `python3 phi4local/native/build.py --help`.

`CMAKE_ARGS` chooses a GPU (`-DGGML_CUDA=on`) and is remembered for the next call. `PHI4LOCAL_CACHE` names the
folder of kept wheels. `PHI4LOCAL_LLAMA_WHEEL` and `PHI4LOCAL_LLAMA_WHEEL_SHA256` name a wheel made elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CMAKE_INCLUDE = Path(__file__).with_suffix(".cmake")
RECIPE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
VERSION: str = RECIPE["version"]
NOTE = "phi4local-llama-cpp.json"

_PROBE = "import sysconfig; print(sysconfig.get_platform(), sysconfig.get_path('platlib'), sep='\\n')"
_LOAD = "import ctypes, pathlib; [ctypes.CDLL(str(p)) for p in pathlib.Path({!r}).glob('*llama.[ds]*')]"


class BuildError(Exception):
    """A known failure: what happened, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The Python that gets the package: its program, its platform and its package folder."""

    python: str
    platform: str
    packages: Path

    @classmethod
    def of(cls, python: str) -> Target:
        """Ask a Python about itself.

        Raises:
            BuildError: it does not run.
        """
        lines = _output(python, "-c", _PROBE).splitlines()
        if len(lines) != 2:
            raise BuildError(f"`{python}` does not run", "name a Python with `--python`")
        return cls(python, lines[0], Path(lines[1]))

    def remembered(self) -> dict[str, str]:
        """Return key and CMAKE_ARGS of the installed build; nothing when somebody else installed it."""
        with contextlib.suppress(OSError, ValueError):
            note: dict[str, str] = json.loads((self.packages / NOTE).read_text(encoding="utf-8"))
            return note if note.get("record") == self._record() else {}
        return {}

    def install(self, wheel: Path, key: str, cmake_args: str) -> bool:
        """Install one file and note its key; False when pip refuses it or its library does not load."""
        pip = ("pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
        load = _LOAD.format(str(self.packages / "llama_cpp" / "lib"))
        for step in (("-m", *pip, "--force-reinstall", str(wheel)), ("-c", load)):
            command = (self.python, *step)
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode:  # noqa: S603
                return False
        note = {"key": key, "cmake_args": cmake_args, "record": self._record()}
        (self.packages / NOTE).write_text(json.dumps(note), encoding="utf-8")
        return True

    def _record(self) -> str:
        """Return the hash of pip's list of installed files; it differs between two builds."""
        record = self.packages / f"llama_cpp_python-{VERSION}.dist-info" / "RECORD"
        return hashlib.sha256(record.read_bytes()).hexdigest() if record.exists() else "nothing"


def prepare(target: Target, environment: Mapping[str, str], *, force: bool = False) -> bool:
    """Bring the package into a Python the cheapest way that works; False when it is there already.

    Raises:
        BuildError: the compiler is missing or failed, or its library does not load.
    """
    note = target.remembered()
    cmake_args = environment.get("CMAKE_ARGS", note.get("cmake_args", ""))
    environment = {**environment, "CMAKE_ARGS": cmake_args}
    key = key_of(parts_of(target, environment))
    if note.get("key") == key and not force:
        return False
    shelf = cache_folder(environment) / key
    with tempfile.TemporaryDirectory(prefix="phi4local-") as work:
        kept = [] if force else sorted(shelf.glob("*.whl"))
        for wheel in _wheels(target, Path(work), environment, kept):
            if target.install(wheel, key, cmake_args):
                return wheel in kept or _keep(wheel, shelf)
    raise BuildError("the compiled library does not load", "try another compiler: set CC and CXX")


def key_of(parts: Mapping[str, str]) -> str:
    """Return the name of a build: 24 hexadecimal digits that change with every part."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()[:24]


def parts_of(target: Target, environment: Mapping[str, str]) -> dict[str, str]:
    """Return by name everything that decides what the compiler makes."""
    return {
        "version": VERSION,
        "recipe": " ".join((*RECIPE["cmake_flags"], *RECIPE["left_out"], CMAKE_INCLUDE.read_text("utf-8"))),
        **{name: environment.get(name, "") for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS", "LDFLAGS")},
        "compilers": " / ".join(compilers(environment)),
        "processor": cpu_features(),
        "platform": f"{target.platform} {platform.machine()} {' '.join(platform.libc_ver())}",
    }


def compilers(environment: Mapping[str, str]) -> list[str]:
    """Return the first line that the C and the C++ compiler say about themselves; "" for a missing one.

    Example: `["cc (Debian 12.2.0-14) 12.2.0", "c++ (Debian 12.2.0-14) 12.2.0"]`.
    """
    if sys.platform == "win32" and not environment.get("CC"):
        # Every Visual Studio has this program at this place; CMake finds it the same way.
        finder = f"{environment.get('PROGRAMFILES(X86)')}/Microsoft Visual Studio/Installer/vswhere.exe"
        wanted = ("-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64")
        return [_output(finder, "-products", "*", *wanted, "-property", "installationVersion")]
    commands = []
    for variable, names in (("CC", ("cc", "gcc", "clang")), ("CXX", ("c++", "g++", "clang++"))):
        usual = next(filter(shutil.which, names), names[0])
        commands.append(shlex.split(environment.get(variable, "")) or [usual])
    return [_output(*command, "--version").partition("\n")[0] for command in commands]


def cpu_features() -> str:
    """Return what the processor can do, in the system's words: the compiler makes use of all of it."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        lines = listed.read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    if sys.platform == "darwin":
        return _output("/usr/sbin/sysctl", "machdep.cpu.brand_string", "hw.optional")
    return os.environ.get("PROCESSOR_IDENTIFIER", "")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of kept wheels: `PHI4LOCAL_CACHE`, or the system's place for caches."""
    usual = environment.get("XDG_CACHE_HOME") or "~/.cache"
    places = {"darwin": "~/Library/Caches", "win32": environment.get("LOCALAPPDATA", "~/AppData/Local")}
    default = Path(places.get(sys.platform, usual)).expanduser() / "phi4local" / "wheels"
    return Path(environment.get("PHI4LOCAL_CACHE") or default)


def fetch_prebuilt(url: str, sha256: str, folder: Path, *, seconds: float = 3.0) -> Path | None:
    """Try once to download a wheel; None when it is late, missing, misnamed or has another hash.

    Every piece must come within `seconds`, and all of it within twenty times that.
    """
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    fitting = re.fullmatch(rf"llama_cpp_python-{re.escape(VERSION)}(\+[\w.]+)?-[\w.-]+\.whl", name)
    if not (sha256 and fitting and url.startswith(("https://", "http://"))):
        return None
    digest, latest = hashlib.sha256(), time.monotonic() + 20 * seconds
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer, (folder / name).open("wb") as file:  # noqa: S310 - see above
            while (block := answer.read1(1 << 16)) and time.monotonic() < latest:
                digest.update(block)
                file.write(block)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    if digest.hexdigest() == sha256.lower():
        return folder / name
    _say(f"notice: what came from {url} does not have the sha256 {sha256}; it is not used")
    return None


def compile_wheel(target: Target, folder: Path, environment: Mapping[str, str]) -> Path:
    """Compile in `folder` and return the wheel.

    Raises:
        BuildError: with the likely cause and the place of the log.
    """
    if not all(compilers(environment)):
        hints = RECIPE["compiler_hints"]
        raise BuildError("there is no C and C++ compiler", hints.get(sys.platform, hints["linux"]))
    include = Path(shutil.copy(CMAKE_INCLUDE, folder))  # CMake would split a path with a semicolon
    flags = ";".join((*RECIPE["cmake_flags"], f"-DCMAKE_PROJECT_INCLUDE={include.as_posix()}"))
    settings = (f"cmake.args={flags}", f"wheel.exclude={';'.join(RECIPE['left_out'])}")
    # Without pip's cache: it knows a wheel by its version and would hand this one out for other flags.
    command = [target.python, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-cache-dir"]
    command += ["--no-binary=llama-cpp-python", f"llama-cpp-python=={VERSION}", f"--wheel-dir={folder}/made"]
    command += [f"--config-settings={setting}" for setting in settings]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    defaults = {"CMAKE_BUILD_PARALLEL_LEVEL": str(cores), "PYTHONUNBUFFERED": "1"}
    _say(f"compiling llama-cpp-python {VERSION} for this machine, once; about 2-3 minutes on two cores")
    log = folder / "build.log"
    with log.open("wb") as file:
        _run_with_progress(command, {**defaults, **environment, "TMPDIR": str(folder)}, file)
    if wheel := next(folder.glob("made/*.whl"), None):
        return wheel
    text = log.read_text(encoding="utf-8", errors="replace")
    known = next(entry for entry in RECIPE["failures"] if re.search(entry["words"], text))
    kept = shutil.copy(log, tempfile.mkdtemp(prefix="phi4local-"))
    raise BuildError(f"llama-cpp-python: {known['cause']}; log: {kept}", known["hint"])


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 done, 1 known error, 130 interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="the Python that gets the package")
    parser.add_argument("--force", action="store_true", help="compile again, whatever is there")
    parser.add_argument("--print-key", action="store_true", help="print the name of this build and stop")
    options = parser.parse_args(arguments)
    try:
        target = Target.of(str(Path(options.python)))
        if options.print_key:
            sys.stdout.write(key_of(parts_of(target, os.environ)) + "\n")
        elif prepare(target, os.environ, force=options.force):
            _say(f"llama-cpp-python {VERSION} is installed")
    except BuildError as error:
        _say("error: {}\nhint: {}".format(*error.args))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _wheels(target: Target, work: Path, environment: Mapping[str, str], kept: list[Path]) -> Iterator[Path]:
    """Yield wheels from the quickest to the surest; the next is made when the one before did not work."""
    yield from kept
    known = RECIPE["prebuilt"].get(target.platform, {"url": "", "sha256": ""})
    url = environment.get("PHI4LOCAL_LLAMA_WHEEL", known["url"])
    sha256 = environment.get("PHI4LOCAL_LLAMA_WHEEL_SHA256", known["sha256"])
    if not environment["CMAKE_ARGS"] and (fetched := fetch_prebuilt(url, sha256, work)):
        yield fetched
    yield compile_wheel(target, work, environment)


def _keep(wheel: Path, shelf: Path) -> bool:
    """Put a wheel on its shelf in one step: two set-ups at the same time do not harm each other."""
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        Path(shutil.copy(wheel, shelf / f".{os.getpid()}.partial")).replace(shelf / wheel.name)
    except OSError as error:
        _say(f"notice: cannot write `{shelf}` ({error.strerror}); the wheel is not kept for the next time")
    return True


def _run_with_progress(command: list[str], environment: Mapping[str, str], log: IO[bytes]) -> None:
    """Run a command with its output in `log`, and say every now and then how far it is."""
    live, started = sys.stderr.isatty(), time.monotonic()
    own_group = sys.platform != "win32"  # ending it ends the compilers too
    options: Any = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "start_new_session": own_group}
    with subprocess.Popen(command, env=environment, stdout=log, **options) as process:  # noqa: S603 - ours
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1 if live else 30)
                written = Path(log.name).read_text(encoding="utf-8", errors="replace")
                *_, step = ["", *re.findall(r"^ *\[\d+/\d+\]", written, re.MULTILINE)]  # how ninja counts
                text = f"compiling: {time.monotonic() - started:.0f} s {step.strip()}"
                sys.stderr.write(f"\r{text}   " if live else f"{text}\n")
        finally:
            sys.stderr.write("\n" if live else "")
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL) if own_group else process.kill()


def _output(*command: str) -> str:
    """Return what a program prints; nothing when it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace")  # noqa: S603 - fixed
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise SystemExit(main())
