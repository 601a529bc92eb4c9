"""The manifest of `phi4:14b` as Ollama's registry serves it."""

import hashlib

from phi4local.store import sources
from phi4local.store.references import parse

DIGESTS = {
    "model": "fd7b6731c33c57f61767612f56517460ec2d1e2e5a3f0163e0eb3d8d8cb5df20",
    "template": "32695b892af87ef8fca6e13a1a31c67c1441d7398be037e366e2fc763857c06a",
    "license": "fa8235e5b48faca34e3ca98cf4f694ef08bd216d28b58071a1f85b1d50cb814d",
    "params": "45a1c652dddc9efdcefa977ab81cfbe26b6e52bc8e78f2f4c698538783e0ac80",
}
SIZES = {"model": 9053114464, "template": 275, "license": 1084, "params": 82}
CONFIG_DIGEST = "f5d6f49c64775df1536e9d747c6b6b4c101f6a8658108fbd18a15d046575c68b"
LAYERS = ",".join(
    f'{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{digest}","size":{SIZES[kind]}}}'
    for kind, digest in DIGESTS.items()
)
MANIFEST = (
    '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
    '"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
    f'"digest":"sha256:{CONFIG_DIGEST}","size":486}},"layers":[{LAYERS}]}}'
).encode()
PARAMS = b'{"stop":["\\u003c|im_start|\\u003e","\\u003c|im_end|\\u003e","\\u003c|im_sep|\\u003e"]}\n'
CONFIG = (
    '{"model_format":"gguf","model_family":"phi3","model_families":["phi3"],"model_type":"14.7B",'
    '"file_type":"Q4_K_M","architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":['
    + ",".join(f'"sha256:{digest}"' for digest in DIGESTS.values())
    + "]}}\n"
).encode()


def test_the_bytes_are_those_of_the_registry():
    assert (len(MANIFEST), hashlib.sha256(MANIFEST).hexdigest()[:12]) == (856, "ac896e5b8b34")
    assert (len(PARAMS), hashlib.sha256(PARAMS).hexdigest()) == (82, DIGESTS["params"])
    assert (len(CONFIG), hashlib.sha256(CONFIG).hexdigest()) == (486, CONFIG_DIGEST)


def test_phi4_14b_resolves_to_the_id_that_ollama_list_shows(registry):
    registry.put("library/phi4:14b", MANIFEST)
    registry.put("library/phi4:latest", MANIFEST)
    for name in ("phi4:14b", "phi4", "ollama run phi4:14b", "https://ollama.com/library/phi4:14b"):
        model = sources.resolve(parse(name))
        assert hashlib.sha256(model.manifest).hexdigest()[:12] == "ac896e5b8b34"
        sizes = {model.kinds[file.path]: (file.sha256, file.size_bytes) for file in model.files}
        expected = {kind: (digest, SIZES[kind]) for kind, digest in DIGESTS.items()}
        assert sizes == expected | {"config": (CONFIG_DIGEST, 486)}
        assert model.size_bytes == 9053116391


def test_the_blobs_of_phi4_14b_arrive_as_they_are(registry):
    registry.put("library/phi4:14b", MANIFEST)
    registry.add_blob(PARAMS)
    registry.add_blob(CONFIG)
    files = {file.path: file for file in sources.resolve(parse("phi4:14b")).files}
    from phi4local.store import http

    for path, content in (("params", PARAMS), ("config", CONFIG)):
        assert http.get(files[path].url, credentials=files[path].credentials).body == content
