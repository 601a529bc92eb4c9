"""An Ollama registry: the part of the Docker registry protocol, version 2, that `ollama pull` uses."""

from __future__ import annotations

import hashlib
import json
import re
import secrets

from tests.hubs.server import Hub, Reply, Request, content

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
OLLAMA_TYPE = "application/vnd.ollama.image."


class OllamaRegistry(Hub):
    """The registry. `PHI4LOCAL_REGISTRY=hub.url` makes it the default one.

    Attributes:
        manifests: bytes, by `NAMESPACE/MODEL:TAG`.
        blobs: contents, by digest (`sha256:...`).
        blob_status: 307 to the CDN, 302 to the CDN, or 200 with the bytes.
        secured: ask for a Bearer token first, as registries do; `tokens` are those that were handed out.
        realm: where a token is to be had; its own `/token` unless set.
        private: then `/token` itself wants this value in `Authorization`.
        announces_digest: the answer has a Docker-Content-Digest.
        manifest_length: the answer to a manifest has a Content-Length; registry.ollama.ai's has none.
    """

    def __init__(self):
        super().__init__()
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, object] = {}
        self.blob_status = 307
        self.secured = False
        self.realm = f"{self.url}/token"
        self.private: str | None = None
        self.tokens: set[str] = set()
        self.announces_digest = self.manifest_length = True

    def add(self, name: str, layers: list[tuple[str, object]], *, config: bytes | None = b"{}\n") -> dict:
        """Add a model of layers, as (kind, content), and return its manifest.

        Example: `add("library/phi4:14b", [("model", gguf), ("template", b"{{ .Prompt }}")])`.
        """
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE} | ({} if config is None else self.add_blob(config)),
            "layers": [
                {"mediaType": kind if "/" in kind else OLLAMA_TYPE + kind} | self.add_blob(source)
                for kind, source in layers
            ],
        }
        self.put(name, manifest)
        return manifest

    def put(self, name: str, manifest: object) -> None:
        """Set a manifest: bytes as they are, anything else as JSON."""
        data = (
            manifest if isinstance(manifest, bytes) else json.dumps(manifest, separators=(",", ":")).encode()
        )
        self.manifests[name] = data

    def add_blob(self, source) -> dict:
        """Add a content and return `digest` and `size`."""
        body = content(source)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.blobs[digest] = body
        return {"digest": digest, "size": len(body)}

    def reply(self, request: Request) -> Reply:
        """Answer a request to the registry."""
        if request.path == "/token":
            return self._token(request)
        if (
            self.secured
            and request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens
        ):
            return self._ask(request)
        if found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", request.path):
            return self._manifest(request, f"{found[1]}:{found[2]}")
        if found := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", request.path):
            return self._blob(found[2])
        return Reply(status=404, body=b"404 page not found")

    def _manifest(self, request, name):
        if request.method == "HEAD":
            return Reply(status=405, route="manifest")
        if name not in self.manifests:
            return self._error(404, "MANIFEST_UNKNOWN", "manifest unknown", route="manifest")
        body = self.manifests[name]
        headers = {"Content-Type": MANIFEST_TYPE}
        if self.announces_digest:
            headers["Docker-Content-Digest"] = f"sha256:{hashlib.sha256(body).hexdigest()}"
        return Reply(body=body, headers=headers, route="manifest", no_length=not self.manifest_length)

    def _blob(self, digest):
        if digest not in self.blobs:
            return self._error(404, "BLOB_UNKNOWN", "blob unknown to registry", route="blob")
        reply = Reply(body=self.blobs[digest], route="blob", file=digest, ranges="206")
        if self.blob_status == 200:
            return reply
        return Reply(
            status=self.blob_status, headers={"Location": self.sign(reply)}, route="blob", file=digest
        )

    def _ask(self, request):
        found = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs)/[^/]+", request.path)
        scope = f"repository:{found[1]}:pull" if found else ""
        challenge = f'Bearer realm="{self.realm}",service="{self.host}",scope="{scope}"'
        reply = self._error(401, "UNAUTHORIZED", "authentication required", route="manifest")
        reply.headers["WWW-Authenticate"] = challenge
        return reply

    def _token(self, request):
        if self.private is not None and request.headers.get("authorization") != self.private:
            return self._error(401, "UNAUTHORIZED", "authentication required", route="token")
        token = secrets.token_hex(16)
        self.tokens.add(token)
        return Reply(body=json.dumps({"token": token}).encode(), route="token")

    @staticmethod
    def _error(status, code, text, *, route):
        body = json.dumps({"errors": [{"code": code, "message": text}]}).encode()
        return Reply(status=status, body=body, headers={"Content-Type": "application/json"}, route=route)
