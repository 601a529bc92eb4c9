"""ModelScope: two addresses, one that lists and one that gives bytes.

Source: `_legacy_api.py` of modelscope-hub 0.5.1. Errors come with status 200 too, so `Code` decides; listings
end at 3,000 entries without a word.
"""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phi4local.errors import DownloadError, UnsafeNameError
from phi4local.store import http
from phi4local.store.http import Credentials
from phi4local.store.paths import safe_digest, safe_path
from phi4local.store.remote import RemoteFile
from phi4local.store.sources import access
from phi4local.store.sources.listing import MOST_FILES, Listing
from phi4local.store.sources.refusals import refusal

if TYPE_CHECKING:
    from phi4local.store.references import Reference

DEFAULT_REVISION = "master"
LISTING_ENDS_AT = 3000
_ENDPOINTS = {"modelscope.cn": "https://modelscope.cn", "modelscope.ai": "https://www.modelscope.ai"}
_ORIGINS = {*_ENDPOINTS.values(), "https://www.modelscope.cn", "https://modelscope.ai"}
_PAGE = 200
_MOST_QUESTIONS = 100
_STATUS = {"10010205001": 404, "10010203001": 403, "10010103009": 401}
"""Codes that were seen with status 200."""


def look(reference: Reference) -> Listing:
    """Return what is in a repository, with sizes and digests.

    Raises:
        RemoteNotFoundError: no such repository or revision.
        AccessDeniedError: private or gated.
        DownloadError: the server is not reached, or answers nonsense.
    """
    endpoint, credentials = endpoint_of(reference)
    kind = "datasets" if reference.dataset else "models"
    api = f"{endpoint}/api/v1/{kind}/{reference.repository}"
    revision = reference.revision or DEFAULT_REVISION
    ask = _Pager(api=api, reference=reference, revision=revision, credentials=credentials)
    files = {file.path: file for entry in ask.entries() if (file := ask.file(entry))}
    return Listing(revision, tuple(files.values()))


def endpoint_of(reference: Reference) -> tuple[str, Credentials]:
    """Return where a reference's hub is, and what it is told.

    `MODELSCOPE_ENDPOINT`, or the older `MODELSCOPE_DOMAIN`, stands for `modelscope.cn` and `modelscope.ai`.

    Raises:
        InvalidReferenceError: the variable holds no address.
    """
    endpoint = f"{reference.scheme}://{reference.host}"
    if reference.host in _ENDPOINTS:
        variable = "MODELSCOPE_ENDPOINT" if os.environ.get("MODELSCOPE_ENDPOINT") else "MODELSCOPE_DOMAIN"
        given = os.environ.get(variable)
        endpoint = access.endpoint_from(given, variable) if given else _ENDPOINTS[reference.host]
    token = os.environ.get("MODELSCOPE_API_TOKEN")
    if not token or not access.is_trusted(endpoint, _ORIGINS):
        return endpoint, Credentials(endpoint)
    token = access.checked_token(token, "MODELSCOPE_API_TOKEN")
    cookie = f"m_session_id={urllib.parse.quote(token)}"
    return endpoint, Credentials(endpoint, {"Authorization": f"Bearer {token}", "Cookie": cookie})


class _Pager:
    """The files of one revision, asked for in as many questions as it takes."""

    def __init__(self, *, api: str, reference: Reference, revision: str, credentials: Credentials) -> None:
        self.api, self.reference, self.revision = api, reference, revision
        self.credentials = credentials
        self._questions = 0

    def entries(self) -> list[dict[str, Any]]:
        """Return every entry, with its keys in lower case."""
        if self.reference.dataset:
            return self._pages()
        found = self._ask("repo/files", Recursive="True")
        if len(found) < LISTING_ENDS_AT:
            return found
        return self._folder("")

    def _folder(self, root: str) -> list[dict[str, Any]]:
        """List folder by folder, where one listing would end too early."""
        found = self._ask("repo/files", Recursive="False", **({"Root": root} if root else {}))
        if len(found) >= LISTING_ENDS_AT:
            raise DownloadError(f"`{self.reference.repository}` has a folder of {LISTING_ENDS_AT:,} files")
        inside = [self._folder(str(entry.get("path"))) for entry in found if entry.get("type") == "tree"]
        return found + [entry for entries in inside for entry in entries]

    def _pages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number in range(1, _MOST_QUESTIONS + 1):
            page = self._ask("repo/tree", Recursive="True", PageNumber=str(number), PageSize=str(_PAGE))
            found += page
            if len(page) < _PAGE:
                break
        return found

    def _ask(self, what: str, **query: str) -> list[dict[str, Any]]:
        self._questions += 1
        if self._questions > _MOST_QUESTIONS:
            raise DownloadError(f"`{self.reference.repository}` has too many folders")
        url = f"{self.api}/{what}?{urllib.parse.urlencode({'Revision': self.revision, **query})}"
        reply = http.get(url, credentials=self.credentials)
        name = f"{self.reference.host}/{self.reference.repository}"
        hint = "it may be private or need a permission: set MODELSCOPE_API_TOKEN, or check the name"
        if reply.status != 200:
            raise refusal(reply, name, hint=hint)
        answer = reply.json()
        if not isinstance(answer, dict):
            raise DownloadError(f"{self.api} does not speak ModelScope's protocol")
        code = str(answer.get("Code", 200))
        if code != "200" or answer.get("Success") is False:
            raise refusal(replace(reply, status=_STATUS.get(code, 400)), name, hint=hint)
        data = answer.get("Data")
        if isinstance(data, dict):
            data = data.get("Files") or data.get("files") or []
        if not isinstance(data, list):
            raise DownloadError(f"{http.origin_of(url)} answered with no listing")
        if len(data) > max(LISTING_ENDS_AT, MOST_FILES):
            raise DownloadError(f"`{name}` has more than {MOST_FILES:,} files")
        return [
            {key.lower(): value for key, value in entry.items()} for entry in data if isinstance(entry, dict)
        ]

    def file(self, entry: dict[str, Any]) -> RemoteFile | None:
        """Return the file of an entry, or `None` for folders, git's own files and names that are not safe."""
        path, size, digest = entry.get("path"), entry.get("size"), entry.get("sha256")
        if entry.get("type") == "tree" or not isinstance(path, str) or type(size) is not int or size < 0:
            return None
        if path.rpartition("/")[2] in (".gitattributes", ".gitignore"):
            return None
        try:
            safe_path(path)
        except UnsafeNameError:
            return None
        query = urllib.parse.urlencode({"Revision": self.revision, "FilePath": path})
        kind = "datasets/" if self.reference.dataset else ""
        commit = entry.get("revision") if isinstance(entry.get("revision"), str) else self.revision
        return RemoteFile(
            path=path,
            url=f"{self.api}/repo?{query}",
            size_bytes=size,
            sha256=safe_digest(str(digest)) if digest else None,
            credentials=self.credentials,
            source=f"{self.reference.host}/{kind}{self.reference.repository}@{commit}/{path}",
        )
