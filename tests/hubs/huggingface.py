"""Hugging Face as far as a download needs it: the API, `resolve`, and the CDN on another port.

Large files (`*.gguf`, `*.safetensors`, or over 1 MiB) are LFS files: `resolve` answers 302 with their
SHA-256. Small ones are redirected (307) on the same host and carry their git SHA-1.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.hubs.server import Hub, Reply, Request, content

if TYPE_CHECKING:
    from pathlib import Path

LFS_BYTES = 2**20


@dataclass
class Repository:
    """One repository; every attribute may be changed by a test.

    Attributes:
        files: bytes, or the path of a file, by their names.
        gated: `False`, "auto" or "manual"; then only `tokens` may fetch files.
        private: then only `tokens` may see it.
        commit: 40 hex digits; computed from the files unless set.
        announced: other SHA-256 digests than the true ones, by name.
    """

    files: dict[str, bytes | Path] = field(default_factory=dict)
    gated: bool | str = False
    private: bool = False
    tokens: tuple[str, ...] = ()
    commit: str = ""
    announced: dict[str, str] = field(default_factory=dict)
    _kept: dict = field(default_factory=dict)

    def body(self, path):
        """Return the bytes of a file."""
        return self._facts(path)[0]

    def sha256(self, path):
        """Return the digest that is announced."""
        return self.announced.get(path) or self._facts(path)[1]

    def git_sha1(self, path):
        """Return the digest that git gives a file: of `blob SIZE`, a zero byte and the content."""
        return self._facts(path)[2]

    def is_lfs(self, path):
        """Return whether git only has a pointer to this file."""
        return path.endswith((".gguf", ".safetensors")) or len(self.body(path)) > LFS_BYTES

    def revision(self):
        """Return what `main` points at: another commit when a file changes."""
        tree = "".join(f"{path} {self._facts(path)[1]}\n" for path in sorted(self.files))
        return self.commit or hashlib.sha1(tree.encode()).hexdigest()

    def _facts(self, path):
        source = self.files[path]
        if path not in self._kept or self._kept[path][0] is not source:
            body = content(source)
            git = hashlib.sha1(b"blob %d\0" % len(body))
            git.update(body)
            self._kept[path] = (source, (body, hashlib.sha256(body).hexdigest(), git.hexdigest()))
        return self._kept[path][1]


class HuggingFaceHub(Hub):
    """The hub. `HF_ENDPOINT=hub.url` leads clients here.

    Attributes:
        repositories: by `models/OWNER/NAME` and `datasets/OWNER/NAME`.
        page_size: entries of a listing before there is a next page.
        coded: whether errors carry `X-Error-Code`.
        linked_etag: replaces the ETag of every file.
    """

    def __init__(self):
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.page_size = 1000
        self.coded = True
        self.linked_etag: str | None = None

    def add(self, name: str, files: dict, *, kind: str = "models", **more) -> Repository:
        """Add a repository and return it."""
        self.repositories[f"{kind}/{name}"] = Repository(files, **more)
        return self.repositories[f"{kind}/{name}"]

    def reply(self, request: Request) -> Reply:
        """Answer a request to the hub."""
        path = request.path
        if found := re.fullmatch(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            return self._small(*found.groups())
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(.+))?", path):
            return self._api(request, *found.groups())
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(request, *found.groups())
        return self._error(404, None, "Not Found")

    def _repository(self, request, kind, name):
        """Return the repository, or the answer of one that is not there or not for everybody."""
        kept = self.repositories.get(f"{kind}/{urllib.parse.unquote(name)}")
        if kept is None or (kept.private and not self._allowed(request, kept)):
            return self._error(
                401, "RepoNotFound", "Repository not found" if kept else "Invalid username or password."
            )
        return kept

    @staticmethod
    def _allowed(request, repository):
        return request.headers.get("authorization", "").removeprefix("Bearer ") in repository.tokens

    def _api(self, request, kind, name, rest):
        kept = self._repository(request, kind, name)
        if isinstance(kept, Reply):
            return kept
        what, _, revision = (rest or "revision/main").partition("/")
        revision, _, folder = revision.partition("/")
        revision = urllib.parse.unquote(revision)
        if what == "auth-check":
            if kept.gated and not self._allowed(request, kept):
                return self._gated(request, urllib.parse.unquote(name))
            return Reply()
        if what == "refs":
            branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": kept.revision()}]
            return self._json({"branches": branches, "tags": [], "converts": []})
        if revision not in ("main", kept.revision()):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if what == "tree":
            return self._tree(request, kept, urllib.parse.unquote(folder))
        if what == "paths-info":
            wanted = dict.fromkeys(urllib.parse.parse_qs(request.body.decode()).get("paths", ()))
            return self._json([self._entry(kept, path) for path in wanted if path in kept.files])
        return self._json(self._info(kept, urllib.parse.unquote(name), "blobs" in request.query))

    def _info(self, kept, name, with_blobs):
        siblings = []
        for path in kept.files:
            sibling = {"rfilename": path}
            if with_blobs:
                size = len(kept.body(path))
                sibling |= {"size": size, "blobId": kept.git_sha1(path)}
                if kept.is_lfs(path):
                    sibling["lfs"] = {"sha256": kept.sha256(path), "size": size, "pointerSize": 135}
            siblings.append(sibling)
        return {
            "_id": "0" * 24,
            "id": name,
            "modelId": name,
            "sha": kept.revision(),
            "private": kept.private,
            "gated": kept.gated,
            "disabled": False,
            "tags": ["gguf"],
            "downloads": 1,
            "likes": 1,
            "createdAt": "2025-01-08T00:00:00.000Z",
            "lastModified": "2025-01-09T00:00:00.000Z",
            "siblings": siblings,
        }

    def _tree(self, request, kept, folder):
        paths = [path for path in sorted(kept.files) if not folder or path.startswith(f"{folder}/")]
        entries = [self._entry(kept, path) for path in paths]
        if request.query.get("recursive", "").lower() != "true":
            depth = folder.count("/") + 1 if folder else 0
            entries = [entry for entry in entries if entry["path"].count("/") == depth]
        first = int(request.query.get("cursor", 0))
        page = self._json(entries[first : first + self.page_size])
        if first + self.page_size < len(entries):
            query = urllib.parse.urlencode(request.query | {"cursor": first + self.page_size})
            page.headers["Link"] = f'<{self.url}{request.path}?{query}>; rel="next"'
        return page

    @staticmethod
    def _entry(kept, path):
        size = len(kept.body(path))
        entry = {"type": "file", "oid": kept.git_sha1(path), "size": size, "path": path}
        if kept.is_lfs(path):
            entry["lfs"] = {"oid": kept.sha256(path), "size": size, "pointerSize": 135}
        return entry

    def _resolve(self, request, kind, name, revision, path):
        kept = self._repository(request, (kind or "models/").rstrip("/"), name)
        revision, path = urllib.parse.unquote(revision), urllib.parse.unquote(path)
        if isinstance(kept, Reply):
            kept.route = "resolve"
            return kept
        if kept.gated and not self._allowed(request, kept):
            return self._gated(request, urllib.parse.unquote(name))
        if revision not in ("main", kept.revision()):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}", route="resolve")
        if path not in kept.files:
            return self._error(404, "EntryNotFound", "Entry not found", route="resolve")
        headers = {"X-Repo-Commit": kept.revision(), "Accept-Ranges": "bytes"}
        if not kept.is_lfs(path):
            return self._to_small(kept, kind, name, path, headers)
        etag = self.linked_etag or f'"{kept.sha256(path)}"'
        headers |= {"X-Linked-Size": str(len(kept.body(path))), "X-Linked-ETag": etag, "ETag": etag}
        headers["Location"] = self.sign(Reply(body=kept.body(path), file=path))
        return Reply(status=302, headers=headers, route="resolve", file=path)

    def _to_small(self, kept, kind, name, path, headers):
        where = f"{(kind or 'models/')}{name}/{kept.revision()}/{urllib.parse.quote(path)}"
        etag = self.linked_etag or f'"{kept.git_sha1(path)}"'
        headers |= {"Location": f"/api/resolve-cache/{where}?etag={urllib.parse.quote(etag)}", "ETag": etag}
        return Reply(status=307, headers=headers, route="resolve", file=path)

    def _small(self, kind, name, revision, path):
        kept, path = self.repositories[f"{kind}/{urllib.parse.unquote(name)}"], urllib.parse.unquote(path)
        etag = self.linked_etag or f'"{kept.git_sha1(path)}"'
        headers = {"X-Repo-Commit": revision, "ETag": etag}
        return Reply(body=kept.body(path), headers=headers, route="resolve", file=path, ranges="206")

    def _gated(self, request, name):
        if "authorization" in request.headers:
            text = (
                f"Access to model {name} is restricted and you are not in the authorized list. "
                f"Visit https://huggingface.co/{name} to ask for access."
            )
            return self._error(403, "GatedRepo", text, route="resolve")
        text = (
            f"Access to model {name} is restricted. You must have access to it and be authenticated to "
            "access it. Please log in."
        )
        return self._error(401, "GatedRepo", text, route="resolve")

    def _error(self, status, code, text, *, route="api"):
        headers = {"Content-Type": "application/json"}
        if code and self.coded:
            headers |= {"X-Error-Code": code, "X-Error-Message": text}
        return Reply(status=status, body=json.dumps({"error": text}).encode(), headers=headers, route=route)

    @staticmethod
    def _json(data):
        return Reply(body=json.dumps(data).encode(), headers={"Content-Type": "application/json"})
