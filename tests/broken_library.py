"""llama-cpp-python packages that fail: found first on the path, in place of the installed one."""

import importlib.util
from pathlib import Path

WRAPPER = """
import pathlib
exec(compile(pathlib.Path({source!r}).read_text(), {source!r}, "exec"))
_decode = llama_decode
def llama_decode(context, batch):
    {body}
"""


def broken_package(place, code):
    """Make a package below `place` whose bindings are `code`; return its folder."""
    folder = place / "llama_cpp"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "llama_cpp.py").write_text(code)
    return folder


def wrapped_package(place, body):
    """Make a package below `place` with the real library, which computes a step by `body` instead.

    `body` is one line of Python that knows `context`, `batch` and the real `_decode`.
    """
    real = Path(importlib.util.find_spec("llama_cpp").submodule_search_locations[0])
    folder = place / "llama_cpp"
    folder.mkdir()
    for entry in real.iterdir():
        if entry.name not in ("llama_cpp.py", "__pycache__"):
            (folder / entry.name).symlink_to(entry)
    (folder / "llama_cpp.py").write_text(WRAPPER.format(source=str(real / "llama_cpp.py"), body=body))
    return folder
