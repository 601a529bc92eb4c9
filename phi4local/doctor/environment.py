"""Variables of the environment that change what phi4local, its libraries or the drivers do."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

from phi4local.doctor.result import OK, WARNING, Result
from phi4local.store.http import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OURS = (
    "PHI4LOCAL_API_KEY",
    "PHI4LOCAL_CACHE",
    "PHI4LOCAL_DEBUG",
    "PHI4LOCAL_GRADER_KEY",
    "PHI4LOCAL_HOME",
    "PHI4LOCAL_LLAMA_WHEEL",
    "PHI4LOCAL_LLAMA_WHEEL_SHA256",
    "PHI4LOCAL_OFFLINE",
    "PHI4LOCAL_REGISTRY",
    "PHI4LOCAL_REGISTRY_AUTH",
    "PHI4LOCAL_REUSE",
    "PHI4LOCAL_SERVER",
    "PHI4LOCAL_TRUST_ENDPOINT",
)
_OWN = "PHI4LOCAL_"
_PREFIXES = (_OWN, "HF_", "HUGGING_FACE_", "MODELSCOPE_", "OLLAMA_", "GGML_", "GOMP_", "KMP_", "OMP_")
_OTHERS = {
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("LLAMA_CPP_LIB_PATH", "LLAMA_ATTN_ROT_DISABLE", "LLAMA_GRAPH_REUSE_DISABLE"),
    *("CMAKE_ARGS", "PYTHONPATH", "NO_COLOR"),
}
_SECRET = re.compile(r"TOKEN(?!_PATH)|KEY|AUTH|SECRET|PASS|CREDENTIAL")
_SWITCHES = ("PHI4LOCAL_OFFLINE", "HF_HUB_OFFLINE")
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_MOST_CHARACTERS = 100


def check(environment: Mapping[str, str] | None = None) -> Iterator[Result]:
    """Yield the variables that are set, then one result for each that does not do what it looks like.

    Values of secrets, and passwords and signatures in addresses, are never shown.

    Args:
        environment: `os.environ`, if left out.
    """
    name = "environment"
    given = os.environ if environment is None else environment
    found = {variable: value for variable, value in sorted(given.items()) if _matters(variable)}
    listed = ", ".join(f"{variable} {_value(variable, value)}" for variable, value in found.items())
    yield Result(name=name, state=OK, seen=listed or "no variable that changes anything is set")
    for variable, value in found.items():
        problem = _problem(variable, value)
        if problem is not None:
            seen, advice = problem
            yield Result(name=name, state=WARNING, seen=seen, advice=advice)


def _matters(variable: str) -> bool:
    return variable.startswith(_PREFIXES) or variable.upper() in _OTHERS


def _value(variable: str, value: str) -> str:
    """Return what may be said about a value. Examples: "is set" for a token; "= https://hf-mirror.com"."""
    if _SECRET.search(variable) and variable != "PHI4LOCAL_TRUST_ENDPOINT":
        return "is set"
    if "://" in value:
        value = shown(value)
    elif variable.upper().endswith("_PROXY"):
        value = value.rpartition("@")[2]
    return f"= {value[:_MOST_CHARACTERS]}" if value else "is empty"


def _problem(variable: str, value: str) -> tuple[str, str] | None:
    """Return what is wrong with a variable and what to do, or `None`."""
    if variable.startswith(_OWN) and variable not in OURS:
        ends = {name.removeprefix(_OWN): name for name in OURS}  # what all have in common is no likeness
        near = difflib.get_close_matches(variable.removeprefix(_OWN), ends, n=1)
        hint = f"did you mean {ends[near[0]]}?" if near else f"known: {', '.join(OURS)}"
        return f"{variable} is no variable of phi4local", hint
    if variable in _SWITCHES and value.strip().lower() not in (*_ON, *_OFF):
        return f"{variable} = {value[:20]} does not switch anything on", f"set it to 1, or unset {variable}"
    return None
