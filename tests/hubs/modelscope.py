"""ModelScope as far as a download needs it: two listings and one address for files.

It answers a range with status 200 and a Content-Range; a listing ends at 3,000 entries without a word.
"""

from __future__ import annotations

import json
import re
import urllib.parse

from tests.hubs.huggingface import Repository
from tests.hubs.server import Hub, Reply, Request

NOT_FOUND, NO_ACCESS, BAD_PARAMETER = 10010205001, 10010203001, 10010201001


class ModelScopeHub(Hub):
    """The hub. `MODELSCOPE_ENDPOINT=hub.url` leads clients here.

    Attributes:
        repositories: by `models/OWNER/NAME` and `datasets/OWNER/NAME`.
        cap: entries after which a listing ends.
        inline: large files come from here instead of through a redirect to the CDN.
        upper_case: digests in upper case.
        no_digests: digests are empty, as for files that were never hashed.
        lower_case_keys: `path` and `size` instead of `Path` and `Size`.
        bare_list: `Data` is the list itself.
        always_200: errors have the HTTP status 200 and say so in `Code` only.
    """

    def __init__(self):
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.cap = 3000
        self.inline = self.upper_case = self.no_digests = False
        self.lower_case_keys = self.bare_list = self.always_200 = False

    def add(self, name: str, files: dict, *, kind: str = "models", **more) -> Repository:
        """Add a repository and return it."""
        self.repositories[f"{kind}/{name}"] = Repository(files, **more)
        return self.repositories[f"{kind}/{name}"]

    def reply(self, request: Request) -> Reply:
        """Answer a request to the hub."""
        path = urllib.parse.unquote(request.path)
        if found := re.fullmatch(r"/api/v1/(models|datasets)/([^/]+/[^/]+)(?:/(.+))?", path):
            return self._api(request, *found.groups())
        if found := re.fullmatch(r"/(models|datasets)/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind, name, revision, file = found.groups()
            kept = self._repository(request, kind, name)
            return kept if isinstance(kept, Reply) else self._file(kept, revision, file)
        return self._error(404, NOT_FOUND, "not found")

    def _repository(self, request, kind, name):
        kept = self.repositories.get(f"{kind}/{name}")
        if kept is None:
            return self._error(404, NOT_FOUND, "模型不存在")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (kept.private or kept.gated) and token not in kept.tokens:
            return self._error(403, NO_ACCESS, "无访问权限")
        return kept

    def _api(self, request, kind, name, rest):
        kept = self._repository(request, kind, name)
        if isinstance(kept, Reply):
            return kept
        query = request.query
        if rest is None:
            return self._json(
                {"Name": name.partition("/")[2], "Path": name.partition("/")[0], "Downloads": 1}
            )
        if rest == "revisions":
            branches = [{"Revision": "master", "CreatedAt": 1736294400}]
            return self._json({"RevisionMap": {"Branches": branches, "Tags": []}})
        if rest == "repo":
            return self._file(kept, query.get("Revision", "master"), query.get("FilePath", ""))
        if rest in ("repo/files", "repo/tree"):
            if query.get("Revision", "master") not in ("master", kept.revision()):
                return self._error(404, NOT_FOUND, "版本不存在")
            return self._listing(kept, kind, query)
        return self._error(404, NOT_FOUND, "not found")

    def _listing(self, kept, kind, query):
        root, recursive = query.get("Root", "").strip("/"), query.get("Recursive", "")
        paths = [path for path in sorted(kept.files) if not root or path.startswith(f"{root}/")]
        folders = sorted({path.rpartition("/")[0] for path in paths} - {"", root})
        entries = [{"Name": f.rpartition("/")[2], "Path": f, "Type": "tree", "Size": 0} for f in folders]
        entries += [self._entry(kept, path) for path in paths]
        if recursive.lower() != "true":
            depth = root.count("/") + 1 if root else 0
            entries = [entry for entry in entries if entry["Path"].count("/") == depth]
        if kind == "datasets":  # these have pages
            size = int(query.get("PageSize", 100))
            first = (int(query.get("PageNumber", 1)) - 1) * size
            entries = entries[first : first + size]
        entries = entries[: self.cap]
        if self.lower_case_keys:
            entries = [{key.lower(): value for key, value in entry.items()} for entry in entries]
        return self._json(entries if self.bare_list else {"Files": entries, "IsVisual": False})

    def _entry(self, kept, path):
        digest = "" if self.no_digests else kept.sha256(path)
        return {
            "Name": path.rpartition("/")[2],
            "Path": path,
            "Type": "blob",
            "Size": len(kept.body(path)),
            "Sha256": digest.upper() if self.upper_case else digest,
            "IsLFS": kept.is_lfs(path),
            "Revision": kept.revision(),
            "Mode": "33188",
            "InCheck": False,
        }

    def _file(self, kept, revision, path):
        if revision not in ("master", kept.revision()) or path not in kept.files:
            return self._error(404, NOT_FOUND, "文件不存在", route="resolve")
        body = kept.body(path)
        if kept.is_lfs(path) and not self.inline:
            headers = {"Location": self.sign(Reply(body=body, file=path))}
            return Reply(status=302, headers=headers, route="resolve", file=path)
        headers = {"X-Linked-ETag": f'"{kept.sha256(path)}"'} if kept.is_lfs(path) else {}
        return Reply(body=body, headers=headers, route="resolve", file=path, ranges="200")

    def _error(self, status, code, text, *, route="api"):
        data = {"Code": code, "Success": False, "Message": text, "RequestId": "0", "Data": None}
        return self._encoded(data, status=200 if self.always_200 else status, route=route)

    def _json(self, data):
        return self._encoded(
            {"Code": 200, "Success": True, "Message": "success", "RequestId": "0", "Data": data}
        )

    @staticmethod
    def _encoded(data, *, status=200, route="api"):
        body = json.dumps(data, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return Reply(status=status, body=body, headers=headers, route=route)
