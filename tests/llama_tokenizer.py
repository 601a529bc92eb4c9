"""Ask llama.cpp for token ids, in a process of its own: a bad vocabulary would end this one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PROGRAM = """
import ctypes, json, sys, llama_cpp as l
parameters = l.llama_model_default_params()
parameters.vocab_only = True
model = l.llama_model_load_from_file(sys.argv[1].encode(), parameters)
vocabulary = l.llama_model_get_vocab(model)
found = []
for text in json.loads(sys.stdin.read()):
    data = text.encode()
    ids = (l.llama_token * (len(data) + 8))()
    count = l.llama_tokenize(vocabulary, data, len(data), ids, len(ids), False, sys.argv[2] == "special")
    found.append(list(ids[:count]))
print(json.dumps(found))
"""


def llama_ids(path: Path, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
    """Return the ids of each text by the vocabulary of the GGUF file `path`; nothing is put around a text."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), "special" if special else "plain"],
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)
