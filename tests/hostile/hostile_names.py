"""Names, digests and manifests that no honest server sends.

A pull of every one ends in an error or leaves the hostile file out; nothing is written outside the store.
"""

import json

GGUF = b"GGUF" + bytes(100)
LONG = "x" * 300

PATHS = {
    "parent": "../evil-Q4_K_M.gguf",
    "far parent": "../../../../../../tmp/evil-Q4_K_M.gguf",
    "parent inside": "a/../../evil-Q4_K_M.gguf",
    "absolute": "/tmp/evil-Q4_K_M.gguf",
    "drive": "C:\\evil-Q4_K_M.gguf",
    "drive with slash": "C:/evil-Q4_K_M.gguf",
    "backslashes": "..\\..\\evil-Q4_K_M.gguf",
    "UNC": "\\\\server\\share\\evil-Q4_K_M.gguf",
    "two slashes": "//server/share/evil-Q4_K_M.gguf",
    "NUL": "evil\x00-Q4_K_M.gguf",
    "line ends": "evil\r\n-Q4_K_M.gguf",
    "line end behind": "evil-Q4_K_M.gguf\n",
    "escape": "\x1b]0;evil\x07-Q4_K_M.gguf",
    "text direction": "evil\u202efugg-Q4_K_M.gguf",
    "line separator": "evil\u2028-Q4_K_M.gguf",
    "hidden tags": "evil\U000e0041-Q4_K_M.gguf",
    "300 bytes": f"{LONG}-Q4_K_M.gguf",
    "deep": "a/" * 600 + "evil-Q4_K_M.gguf",
    "device": "CON/evil-Q4_K_M.gguf",
    "device with ending": "aux.x/evil-Q4_K_M.gguf",
    "trailing dot": "evil./evil-Q4_K_M.gguf",
    "trailing space": "evil /evil-Q4_K_M.gguf",
    "dot": "./evil-Q4_K_M.gguf",
    "empty part": "a//evil-Q4_K_M.gguf",
    "stream": "evil:stream-Q4_K_M.gguf",
    "half a surrogate": "\ud800-Q4_K_M.gguf",
    "number": 5,
    "nothing": None,
    "list": ["evil-Q4_K_M.gguf"],
}
"""Paths in a listing."""

HARMLESS = {
    "encoded parent": "%2e%2e/%2e%2e/evil-Q4_K_M.gguf",
    "encoded slash": "..%2f..%2fevil-Q4_K_M.gguf",
    "full-width dots": "\uff0e\uff0e/evil-Q4_K_M.gguf",
    "division slash": "..\u2215evil-Q4_K_M.gguf",
}
"""Look like a way out and are plain names, if nobody decodes them."""

DIGESTS = {
    "63 digits": "a" * 63,
    "65 digits": "a" * 65,
    "not hex": "g" * 64,
    "parent": "../../../../" + "a" * 52,
    "sha512": "sha512:" + "a" * 128,
    "line end": "a" * 64 + "\n",
    "8 digits": "45640291",
}
PREFIXED = {
    "parent behind the dash": "sha256-../" + "4" * 61,
    "parent before": "../sha256-" + "4" * 64,
    "slash": "sha256:/" + "4" * 63,
    "number": 4,
}

MODEL = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "4" * 64, "size": 104}


def _with(**changes):
    return {"schemaVersion": 2, "layers": [MODEL | changes]}


def _without(key):
    return {"schemaVersion": 2, "layers": [{name: value for name, value in MODEL.items() if name != key}]}


MANIFESTS = {
    "no layers": {"schemaVersion": 2, "layers": []},
    "layers missing": {"schemaVersion": 2},
    "layers no list": {"schemaVersion": 2, "layers": {"0": MODEL}},
    "layer nothing": {"schemaVersion": 2, "layers": [None]},
    "too many layers": json.dumps({"layers": [MODEL] * 20_000}).encode(),
    "a million layers": b'{"layers":[' + b"{}," * 999_999 + b"{}]}",
    "negative size": _with(size=-1),
    "huge size": _with(size=2**70),
    "size no number": _with(size="104"),
    "size true": _with(size=True),
    "empty model": _with(size=0),
    "two models": {"layers": [MODEL, MODEL | {"digest": "sha256:" + "5" * 64}]},
    "two sizes": {"layers": [MODEL, MODEL | {"mediaType": "application/x", "size": 5}]},
    "no media type": _without("mediaType"),
    "no digest": _without("digest"),
    "no size": _without("size"),
    "nested index": {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"digest": "sha256:" + "4" * 64, "size": 5}],
    },
    "tensors": {"layers": [MODEL, MODEL | {"mediaType": "application/vnd.ollama.image.tensor"}]},
    "hostile name": _with(name="../../evil.gguf"),
    "hostile config": _with() | {"config": {"digest": "sha256:../../evil", "size": 5}},
    "100 MB": b'{"layers":"' + b"x" * 100_000_000 + b'"}',
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a list": [],
    "a text": b'"manifest"',
    "no JSON": b"{",
    "NaN": b'{"layers": [{"size": NaN}]}',
    "nothing": b"",
    "not UTF-8": b"\xff\xfe{}",
}
