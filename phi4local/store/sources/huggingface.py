"""Hugging Face: which files a repository has, and where their bytes are.

Two questions for a model: its commit, and the tree of that commit. `huggingface_hub` is asked for the saved
token; its own requests retry no listing and send the token to any endpoint, so ours go through `store.http`.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from phi4local.errors import AccessDeniedError, DownloadError, RemoteNotFoundError, UnsafeNameError
from phi4local.store import http
from phi4local.store.paths import safe_commit, safe_digest, safe_path
from phi4local.store.remote import RemoteFile
from phi4local.store.sources import access
from phi4local.store.sources.listing import MOST_FILES, Listing
from phi4local.store.sources.refusals import near, refusal, said

if TYPE_CHECKING:
    from phi4local.store.http import Credentials, Reply
    from phi4local.store.references import Reference

HOST, DEFAULT_ENDPOINT = "hf.co", "https://huggingface.co"
_ORIGINS = {DEFAULT_ENDPOINT, "https://hf.co"}
_MOST_PAGES = 100


def look(reference: Reference) -> Listing:
    """Return what is in a repository, with sizes and digests.

    Raises:
        RemoteNotFoundError: no such repository or revision.
        AccessDeniedError: private or gated.
        DownloadError: the server is not reached, or answers nonsense.
    """
    endpoint, credentials = endpoint_of(reference)
    kind = "datasets" if reference.dataset else "models"
    api = f"{endpoint}/api/{kind}/{reference.repository}"
    wanted = urllib.parse.quote(reference.revision or "main", safe="")
    info = _asked(f"{api}/revision/{wanted}?expand[]=sha&expand[]=gated", reference, credentials)
    if not isinstance(info, dict) or not isinstance(info.get("sha"), str):
        raise DownloadError(f"{endpoint} does not speak Hugging Face's protocol", hint="check HF_ENDPOINT")
    commit = safe_commit(info["sha"])
    if info.get("gated"):
        _asked(f"{api}/auth-check", reference, credentials, as_json=False)
    base = f"{endpoint}/{'datasets/' if reference.dataset else ''}{reference.repository}/resolve/{commit}"
    source = f"{HOST}/{'datasets/' if reference.dataset else ''}{reference.repository}@{commit}"
    files = []
    for entry in _tree(f"{api}/tree/{commit}?recursive=true&expand=false", reference, credentials):
        file = _file(entry, base, source, credentials)
        if file is not None:
            files.append(file)
    return Listing(commit, tuple(files))


def endpoint_of(reference: Reference) -> tuple[str, Credentials]:
    """Return where a reference's hub is, and what it is told. `HF_ENDPOINT` stands for `hf.co`.

    Raises:
        InvalidReferenceError: HF_ENDPOINT is no address.
    """
    endpoint = f"{reference.scheme}://{reference.host}"
    if reference.host == HOST:
        endpoint = access.endpoint_from(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT, "HF_ENDPOINT")
    token = None
    if access.is_trusted(endpoint, _ORIGINS):
        from huggingface_hub import constants, get_token

        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return endpoint, access.bearer(endpoint, access.checked_token(token, "HF_TOKEN") if token else None)


def _tree(url: str, reference: Reference, credentials: Credentials) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        reply = http.get(url, credentials=credentials)
        if reply.status != 200:
            raise _refusal(reply, reference, credentials)
        page = reply.json()
        if not isinstance(page, list):
            raise DownloadError(f"{http.origin_of(url)} answered with no listing")
        entries += [entry for entry in page if isinstance(entry, dict)]
        if len(entries) > MOST_FILES:
            raise DownloadError(f"`{reference.repository}` has more than {MOST_FILES:,} files")
        following = re.search(r'<([^<>]+)>\s*;\s*rel="next"', reply.headers.get("link", ""))
        if not following:
            return entries
        following_url = urllib.parse.urljoin(url, following[1])
        if http.origin_of(following_url) != http.origin_of(url):
            raise DownloadError(f"{http.origin_of(url)} continues its listing at another host")
        url = following_url
    raise DownloadError(f"the listing of `{reference.repository}` does not end")


def _file(entry: dict[str, Any], base: str, source: str, credentials: Credentials) -> RemoteFile | None:
    """Return the file of an entry, or `None` for folders and names that are not safe."""
    path, size, lfs = entry.get("path"), entry.get("size"), entry.get("lfs")
    if entry.get("type") != "file" or not isinstance(path, str) or type(size) is not int or size < 0:
        return None
    try:
        safe_path(path)
    except UnsafeNameError:
        return None
    oid = entry.get("oid")
    return RemoteFile(
        path=path,
        url=f"{base}/{urllib.parse.quote(path)}",
        size_bytes=size,
        sha256=safe_digest(str(lfs.get("oid"))) if isinstance(lfs, dict) else None,
        git_sha1=oid if not lfs and isinstance(oid, str) and re.fullmatch(r"[0-9a-f]{40}", oid) else None,
        credentials=credentials,
        source=f"{source}/{path}",
    )


def _asked(url: str, reference: Reference, credentials: Credentials, *, as_json: bool = True) -> Any:  # noqa: ANN401
    reply = http.get(url, credentials=credentials)
    if reply.status != 200:
        raise _refusal(reply, reference, credentials)
    return reply.json() if as_json else None


def _refusal(reply: Reply, reference: Reference, credentials: Credentials) -> DownloadError:
    """Return the error that the header names; 401 and 403 alone do not tell what happened."""
    what = f"{reference.host}/{reference.repository}"
    page = f"{DEFAULT_ENDPOINT}/{reference.repository}"
    code, known = reply.headers.get("x-error-code", ""), bool(credentials.headers_for(reply.url))
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if code == "GatedRepo":
        hint = f"ask for access at {page}" + ("" if known else f" and {log_in}")
        return AccessDeniedError(f"`{what}` is only for people with access", hint=hint)
    if code == "RevisionNotFound":
        return RemoteNotFoundError(f"`{what}` has no revision `{reference.revision}`", hint=f"see {page}")
    if code == "RepoNotFound" or (reply.status == 401 and not known):
        problem = f"there is no repository `{what}`, or it is private"
        return RemoteNotFoundError(problem, hint=f"{near(what)}; for a private one, {log_in}")
    if reply.status == 401:
        hint = f"{log_in} again, or unset it for public models"
        return AccessDeniedError(
            f"{reference.host} does not accept the token; it says: {said(reply)}", hint=hint
        )
    return refusal(reply, what, hint=f"ask for access at {page} and {log_in}")
