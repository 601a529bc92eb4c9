"""What llama.cpp itself reports about its buffers, for a file and the settings of a context.

    llama_memory.py FILE '[{"n_ctx": 4096, "kv": 1, "fa": 1, "batch": 512, "sequences": 1, "unified": true}]'

prints one JSON object for each: MiB by buffer, as the library's log has them. A third argument is the number
of layers on GPUs.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys

import llama_cpp.llama_cpp as api

lines: list[str] = []


@api.llama_log_callback
def _keep(_level, text, _data):
    lines.append(text.decode("utf-8", "replace"))


def _report(model, asked):
    lines.clear()
    parameters = api.llama_context_default_params()
    parameters.n_ctx, parameters.n_seq_max = asked["n_ctx"], asked["sequences"]
    parameters.n_batch = parameters.n_ubatch = min(asked["batch"], asked["n_ctx"])
    parameters.n_outputs_max = asked["sequences"]
    parameters.type_k = parameters.type_v = asked["kv"]
    parameters.flash_attn_type = asked["fa"]
    parameters.kv_unified = asked["unified"]
    context = api.llama_init_from_model(model, parameters)
    if not context:
        raise SystemExit(f"no context: {lines[-3:]}")
    api.llama_free(context)
    return _sizes()


def _sizes():
    found = {}
    for line in lines:
        match = re.search(r"(\S+)\s+(model|KV|output|compute) buffer size = +([\d.]+) MiB", line)
        if match:
            found[f"{match[2]} {match[1]}"] = float(match[3])
    return found


def main():
    """Load, report, free."""
    api.llama_log_set(_keep, ctypes.c_void_p(0))
    api.llama_backend_init()
    loading = api.llama_model_default_params()
    loading.n_gpu_layers = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    model = api.llama_model_load_from_file(sys.argv[1].encode(), loading)
    weights = _sizes()
    reports = [_report(model, asked) for asked in json.loads(sys.argv[2])]
    api.llama_model_free(model)
    json.dump({"weights": weights, "contexts": reports}, sys.stdout)


if __name__ == "__main__":
    main()
