"""The store as Ollama would read it, by a reader that was written from Ollama's rules."""

import hashlib
import json
import re

import pytest

from phi4local import catalog
from phi4local.errors import StoreError
from phi4local.store import blobs, installed, manifests, publish
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName

# The real manifest of phi4:14b, without a line end, 856 bytes; `ollama list` shows the id ac896e5b8b34.
PHI4 = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":'
    b'{"mediaType":"application/vnd.docker.container.image.v1+json","digest":'
    b'"sha256:f5d6f49c64775df1536e9d747c6b6b4c101f6a8658108fbd18a15d046575c68b","size":486},"layers":['
    b'{"mediaType":"application/vnd.ollama.image.model","digest":'
    b'"sha256:fd7b6731c33c57f61767612f56517460ec2d1e2e5a3f0163e0eb3d8d8cb5df20","size":9053114464},'
    b'{"mediaType":"application/vnd.ollama.image.template","digest":'
    b'"sha256:32695b892af87ef8fca6e13a1a31c67c1441d7398be037e366e2fc763857c06a","size":275},'
    b'{"mediaType":"application/vnd.ollama.image.license","digest":'
    b'"sha256:fa8235e5b48faca34e3ca98cf4f694ef08bd216d28b58071a1f85b1d50cb814d","size":1084},'
    b'{"mediaType":"application/vnd.ollama.image.params","digest":'
    b'"sha256:45a1c652dddc9efdcefa977ab81cfbe26b6e52bc8e78f2f4c698538783e0ac80","size":82}]}'
)


class Ollama:
    """What `ollama list`, `ollama show` and its start-up prune see in a folder of models.

    Rules: manifest/paths.go (four parts, `BlobsPath` takes `sha256-` and 64 hex digits only),
    manifest/manifest.go (the id is the digest of the file's bytes; unknown keys are skipped),
    server/images.go (`PruneLayers`: what no manifest names is deleted from blobs, whatever it is called).
    """

    PREFIX = "application/vnd.ollama.image."

    def __init__(self, root):
        self.models = {}
        for path in (root / "manifests").glob("*/*/*/*"):
            host, namespace, model, tag = path.relative_to(root / "manifests").parts
            short = host == "registry.ollama.ai"
            name = model if short and namespace == "library" else f"{namespace}/{model}"
            data = path.read_bytes()
            self.models[f"{name if short else f'{host}/{name}'}:{tag}"] = (
                hashlib.sha256(data).hexdigest()[:12],
                json.loads(data),
            )
        self.root = root

    def blob(self, digest):
        assert re.fullmatch(r"sha256[:-][0-9a-fA-F]{64}", digest), digest
        return self.root / "blobs" / digest.replace(":", "-")

    def read(self, name):
        """Layers by type, and the config, as GetModel reads them; every size and digest is right."""
        found = {}
        _, manifest = self.models[name]
        for layer in (*manifest["layers"], manifest["config"]):
            data = self.blob(layer["digest"]).read_bytes()
            assert len(data) == layer["size"]
            assert hashlib.sha256(data).hexdigest() == layer["digest"].removeprefix("sha256:")
            found.setdefault(layer["mediaType"], []).append(data)
        assert manifest["schemaVersion"] == 2
        assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
        return {kind.removeprefix(self.PREFIX): data for kind, data in found.items()}

    def would_prune(self):
        """File names in `blobs` that no manifest names."""
        needed = {
            self.blob(layer["digest"]).name
            for _, manifest in self.models.values()
            for layer in (*manifest["layers"], manifest["config"])
        }
        return {path.name for path in (self.root / "blobs").iterdir()} - needed


def test_ollama_reads_a_model_of_ours(keep, home):
    keep("phi-4:Q8_0", b"GGUF weights", member=catalog.find("phi-4"))
    ollama = Ollama(home / "models")
    assert set(ollama.models) == {"phi-4:Q8_0"}
    found = ollama.read("phi-4:Q8_0")
    assert found["model"] == [b"GGUF weights"]
    assert json.loads(found["params"][0]) == {"stop": ["<|im_end|>", "<|endoftext|>"], "temperature": 0.0}
    assert found["template"][0].decode() == catalog.find("phi-4").ollama_template
    (config,) = map(json.loads, found["application/vnd.docker.container.image.v1+json"])
    assert (config["model_format"], config["model_family"], config["file_type"]) == ("gguf", "phi3", "Q8_0")
    layers = ollama.models["phi-4:Q8_0"][1]["layers"]
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    assert ollama.would_prune() == set()


def test_nothing_that_ollama_would_prune_stays_after_models_come_and_go(keep, home):
    keep("a:Q8_0", b"one")
    keep("a:Q8_0", b"two")
    keep("b:Q8_0", b"two")
    assert Ollama(home / "models").would_prune() == set()
    assert len(list((home / "models" / "blobs").iterdir())) == 2  # one file and one config for both


def test_one_file_under_two_names_is_kept_once(keep, blob):
    first, second = keep("a:Q8_0", b"same"), keep("b:Q8_0", b"same")
    assert first.path.samefile(second.path)
    assert first.path.resolve() == blob(b"same")


def test_the_view_has_real_names_and_links_that_move_with_the_store(keep, home, tmp_path):
    model = keep("hf.co/unsloth/phi-4-GGUF:Q8_0", b"weights")
    assert model.path.is_relative_to(home / "models" / "files" / "hf.co" / "unsloth" / "phi-4-GGUF" / "Q8_0")
    assert model.path.suffix == ".gguf"
    moved = tmp_path / "moved"
    home.rename(moved)
    assert (moved / model.path.relative_to(home)).read_bytes() == b"weights"


def test_a_view_that_somebody_changed_is_made_again(keep):
    model = keep("a:Q8_0", b"right")
    model.path.unlink()
    assert installed.ready_path(model).read_bytes() == b"right"
    model.path.unlink()
    model.path.write_bytes(b"wrong")
    assert installed.ready_path(model).read_bytes() == b"right"


def test_a_registry_manifest_keeps_its_bytes_and_its_id(home):
    manifest = manifests.decode(PHI4, ModelName.parse("phi4:14b"), home)
    assert manifest.sha256[:12] == "ac896e5b8b34"
    assert [layer.kind for layer in manifest.layers] == ["model", "template", "license", "params"]
    assert manifest.layers[0].size_bytes == 9_053_114_464


def test_a_verbatim_manifest_is_stored_byte_for_byte(keep, home):
    data = keep("a:Q8_0").manifest.path.read_bytes()
    verbatim = json.dumps(json.loads(data), indent=3).encode()
    made = publish.publish_verbatim(ModelName.parse("hf.co/u/b:x"), verbatim)
    assert made.path == home / "models" / "manifests" / "hf.co" / "u" / "b" / "x"
    assert made.path.read_bytes() == verbatim
    assert Ollama(home / "models").models["hf.co/u/b:x"][0] == hashlib.sha256(verbatim).hexdigest()[:12]


def test_a_manifest_whose_blob_is_not_here_is_not_written(home):
    with pytest.raises(StoreError):
        publish.publish_verbatim(ModelName.parse("phi4:14b"), PHI4)
    assert not list((home / "models").rglob("14b"))


def test_a_checkpoint_is_kept_as_a_folder(home):
    stored = []
    for path in ("config.json", "sub/model.safetensors"):
        digest = blobs.add(path.encode())
        stored.append(publish.StoredFile(path=path, digest=digest, size_bytes=len(path), kind="file"))
    name = ModelName.parse("hf.co/microsoft/phi-4:main")
    model = installed.of(publish.publish(name, stored, Origin(source="hf.co/microsoft/phi-4")))
    assert (model.kind, model.quantization) == ("files", "")
    assert (model.path / "sub" / "model.safetensors").read_text() == "sub/model.safetensors"
    assert Ollama(home / "models").would_prune() == set()


def test_parts_of_a_model_lie_side_by_side_under_their_names(home):
    names = [f"phi-4-{part:05d}-of-00002.gguf" for part in (1, 2)]
    stored = [
        publish.StoredFile(path=name, digest=blobs.add(name.encode()), size_bytes=len(name)) for name in names
    ]
    origin = Origin(quantization="Q4_K_M")
    model = installed.of(publish.publish(ModelName.parse("hf.co/u/big:Q4_K_M"), stored, origin))
    assert model.path.name == names[0]
    assert sorted(path.name for path in model.path.parent.iterdir()) == names


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["layers"][0].update(digest="sha256:../../x"),
        lambda m: m["layers"][0].update(digest=7),
        lambda m: m["layers"][0].update(size=-1),
        lambda m: m["layers"][0].update(size=2**63),
        lambda m: m["layers"][0].update(size=1.5),
        lambda m: m["layers"][0].update(size=True),
        lambda m: m["layers"][0].update(name="../../x"),
        lambda m: m["layers"][0].pop("mediaType"),
        lambda m: m.update(layers={"a": 1}),
        lambda m: m.update(layers=m["layers"] * 4097),
        lambda m: m.update(config=[1]),
        lambda m: m.update(phi4local=[1]),
        lambda m: m.update(phi4local={"files": {"sha256:" + "a" * 64: "/etc/passwd"}}),
        lambda m: m.update(padding="x" * 5_000_000),
    ],
)
def test_a_hostile_manifest_is_refused(change, home):
    manifest = json.loads(PHI4)
    change(manifest)
    with pytest.raises(StoreError):
        manifests.decode(json.dumps(manifest).encode(), ModelName.parse("x"), home)
    assert not home.exists()
