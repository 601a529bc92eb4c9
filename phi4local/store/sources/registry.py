"""An Ollama registry, or another that keeps GGUF models as Ollama does: the Docker protocol, version 2.

Source: server/images.go, download.go and auth.go of ollama fb307609. Unlike there, a blob may come without a
redirect, and a token is only asked of the registry's own host.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.errors import AccessDeniedError, DownloadError, StoreError, UnknownTagError
from phi4local.store import http, manifests
from phi4local.store.http import Credentials
from phi4local.store.names import DEFAULT_HOST
from phi4local.store.reference_words import is_loopback
from phi4local.store.remote import RemoteFile, RemoteModel
from phi4local.store.sources import access
from phi4local.store.sources.quantizations import label
from phi4local.store.sources.refusals import refusal, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phi4local.store.http import Reply
    from phi4local.store.references import Reference

_ENDPOINTS = {DEFAULT_HOST: "https://registry.ollama.ai", "hf.co": "https://huggingface.co"}
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_SAME_SERVICE = (
    {"https://hf.co", "https://huggingface.co"},
    {"https://registry.ollama.ai", "https://ollama.com"},
)
_AGENTS = {"modelscope.cn": "ollama/0.12.0 (phi4local)"}
"""ModelScope gives another manifest to clients that do not call themselves so."""
_NOT_GGUF = {"tensor", "json", "config.json"}


def resolve(reference: Reference, *, checkpoint: bool = False) -> RemoteModel:
    """Return what a name means now: its manifest, byte for byte, and every blob that the manifest lists.

    Raises:
        RemoteNotFoundError: no such model or tag.
        AccessDeniedError: private, or a token server that is not the registry's.
        DownloadError: the server is not reached, or its manifest is none that can be used.
    """
    if checkpoint:
        raise UnknownTagError(f"`{reference}` is no checkpoint", hint="take one from hf.co or modelscope.cn")
    endpoint, credentials = endpoint_of(reference)
    base = f"{endpoint}/v2/{reference.repository}"
    headers = {"Accept": _MANIFEST_TYPE, **_agent(reference)}
    reply = http.get(f"{base}/manifests/{reference.tag}", credentials=credentials, headers=headers)
    if reply.status != 200:
        raise _refusal(reply, reference)
    manifest = _checked(reply, reference)
    files: dict[str, RemoteFile] = {}
    kinds: dict[str, str] = {}
    for layer in (*manifest.layers, *((manifest.config,) if manifest.config else ())):
        path = f"{reference.name}-{reference.tag}.gguf" if layer.kind == "model" else layer.kind
        path = layer.path or (path if path not in kinds and "/" not in path else f"blob-{layer.digest[:12]}")
        if layer.digest in files:
            if files[layer.digest].size_bytes != layer.size_bytes:
                raise _bad(reference, "gives one blob two sizes")
            continue
        kinds[path] = layer.kind
        files[layer.digest] = RemoteFile(
            path=path,
            url=f"{base}/blobs/sha256:{layer.digest}",
            size_bytes=layer.size_bytes,
            sha256=layer.digest,
            credentials=credentials,
            source=f"{reference.host}/{reference.repository}@sha256:{layer.digest}",
        )
    return RemoteModel(
        reference=reference,
        revision=None,
        files=tuple(files.values()),
        quantization=label(f"{(reference.tag or '').replace('-', '.')}.gguf"),
        kinds=kinds,
        manifest=reply.body,
    )


def endpoint_of(reference: Reference) -> tuple[str, Credentials]:
    """Return where a reference's registry is, and what it is told.

    `PHI4LOCAL_REGISTRY` stands for `registry.ollama.ai`. `PHI4LOCAL_REGISTRY_AUTH`, as `HOST=USER:PASSWORD`
    or `HOST=TOKEN`, is told to this host and to no other.

    Raises:
        InvalidReferenceError: PHI4LOCAL_REGISTRY is no address.
    """
    endpoint = _ENDPOINTS.get(reference.host, f"{reference.scheme}://{reference.host}")
    given = os.environ.get("PHI4LOCAL_REGISTRY")
    if reference.host == DEFAULT_HOST and given:
        endpoint = access.endpoint_from(given, "PHI4LOCAL_REGISTRY")
    host, _, secret = os.environ.get("PHI4LOCAL_REGISTRY_AUTH", "").partition("=")
    if not secret or host.lower() != urllib.parse.urlsplit(endpoint).netloc.lower():
        return endpoint, RegistryCredentials(endpoint)
    secret = access.checked_token(secret, "PHI4LOCAL_REGISTRY_AUTH")
    if ":" in secret:
        basic = base64.b64encode(secret.encode()).decode()
        return endpoint, RegistryCredentials(endpoint, {"Authorization": f"Basic {basic}"})
    return endpoint, RegistryCredentials(endpoint, {"Authorization": f"Bearer {secret}"})


class RegistryCredentials(Credentials):
    """Credentials that follow the registry's challenge: `Bearer realm="…",service="…",scope="…"`."""

    def __init__(self, origin: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(origin, headers)
        self._own = dict(headers or {})
        self._lock = threading.Lock()

    def refresh(self, headers: Mapping[str, str]) -> bool:
        """Ask the realm for a token; true when there is a new one.

        Raises:
            AccessDeniedError: the realm is somebody else's, or gives none.
        """
        found = dict(re.findall(r'(\w+)="([^"]{0,2000})"', headers.get("www-authenticate", "")))
        if not headers.get("www-authenticate", "").lower().startswith("bearer ") or "realm" not in found:
            return False
        realm = found.pop("realm")
        if not self._is_own(realm):
            raise AccessDeniedError(
                f"{self.origin} sends for a token to {http.origin_of(realm)}, which is somebody else",
                hint="nothing was sent there; take the model from another source",
            )
        query = urllib.parse.urlencode({name: found[name] for name in ("service", "scope") if name in found})
        with self._lock:
            # What a person gave is for the registry's own origin; a partner's realm is asked without it.
            own = Credentials(self.origin, self._own)
            address = f"{realm}{'&' if '?' in realm else '?'}{query}"
            reply = http.get(address, credentials=own, limit_bytes=65_536)
            self._headers = {"Authorization": f"Bearer {self._token(reply)}"}
        return True

    def _is_own(self, realm: str) -> bool:
        try:
            parts = urllib.parse.urlsplit(realm)
        except ValueError:
            return False
        theirs = http.origin_of(realm)
        private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))
        partners = any({theirs, self.origin} <= service for service in _SAME_SERVICE)
        return private and parts.username is None and (theirs == self.origin or partners)

    def _token(self, reply: Reply) -> str:
        answer = reply.json() if reply.status == 200 else {}
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,16384}", token):
            hint = "for a private model, set PHI4LOCAL_REGISTRY_AUTH to HOST=USER:PASSWORD"
            raise AccessDeniedError(f"{self.origin} gives no token to us", hint=hint)
        return token


def _agent(reference: Reference) -> dict[str, str]:
    agent = _AGENTS.get(reference.host)
    return {"User-Agent": agent} if agent else {}


def _checked(reply: Reply, reference: Reference) -> manifests.StoredManifest:
    """Read the manifest of a GGUF model.

    Raises:
        DownloadError: it is another one than announced, or something else.
    """
    announced = reply.headers.get("docker-content-digest", "").lower()
    if announced.startswith("sha256:") and announced != f"sha256:{hashlib.sha256(reply.body).hexdigest()}":
        raise _bad(reference, "is not the one that was announced: its SHA-256 differs")
    try:
        manifest = manifests.decode(reply.body, reference.stored_as(), Path("manifest"))
    except StoreError as error:
        raise _bad(reference, error.problem) from error
    models = manifest.of_kind("model")
    if {layer.kind for layer in manifest.layers} & _NOT_GGUF:
        raise _bad(reference, "is of a model in safetensors, which phi4local does not run from a registry")
    if not models:
        raise _bad(reference, "lists no model")
    if len(models) > 1 and not all(layer.path for layer in models):
        raise _bad(reference, f"lists {len(models)} models")
    if any(layer.size_bytes == 0 for layer in models):
        raise _bad(reference, "lists an empty model")
    return manifest


def _bad(reference: Reference, problem: str) -> DownloadError:
    return DownloadError(
        f"the manifest of `{reference}` {problem}", hint="nothing was written; try another tag or source"
    )


def _refusal(reply: Reply, reference: Reference) -> DownloadError:
    what = str(reference.stored_as())  # as a person calls it: `phi4:14b`
    if reply.status == 400 and re.search(r"shard|\btag\b|quantization|gguf", said(reply), re.IGNORECASE):
        hint = f"leave out `--source`, and give the quantization, as in {reference.stored_as('Q4_K_M')}"
        return UnknownTagError(f"there is no `{what}`; the server says: {said(reply)}", hint=hint)
    hint = "check the name; for a private model, set PHI4LOCAL_REGISTRY_AUTH to HOST=USER:PASSWORD"
    return refusal(reply, what, hint=hint)
