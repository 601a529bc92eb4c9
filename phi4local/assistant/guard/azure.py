"""Azure AI Content Safety as a rule: texts leave this machine for it.

Source: the operation `text:analyze`, version 2024-09-01, of
https://learn.microsoft.com/rest/api/contentsafety/text-operations/analyze-text
"""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from phi4local.errors import GuardCheckError, InvalidSettingError, OfflineError, RemoteError
from phi4local.runtime.remote.address import parse_address
from phi4local.runtime.remote.connection import Server
from phi4local.store.http import is_offline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.assistant.guard.finding import Direction
    from phi4local.runtime.remote.address import Address

ENDPOINT_VARIABLE, KEY_VARIABLE = "CONTENT_SAFETY_ENDPOINT", "CONTENT_SAFETY_KEY"
API_VERSION = "2024-09-01"
CATEGORIES = ("Hate", "SelfHarm", "Sexual", "Violence")
SEVERITIES = (2, 4, 6)
"""What the service answers with four levels, above 0 for harmless."""
MOST_CHARACTERS = 10_000
"""Most code points of one request."""
SILENCE_SECONDS = 20.0
WAIT_SECONDS = 1.0
_AGAIN = {429, 500, 502, 503, 504}


class AzureContentSafety:
    """A rule that asks Azure AI Content Safety how severe a text is.

    The endpoint and the key are those of the environment, `CONTENT_SAFETY_ENDPOINT` and
    `CONTENT_SAFETY_KEY`. A busy or broken service is asked once more.

    Args:
        severity: what is blocked from here on: 2 (low), 4 (medium) or 6 (high).
        categories: which of `CATEGORIES` are asked about.
        blocklists: names of block lists of the resource.
        on_failure: what happens when there is no answer.
        api_version: the version of the interface.

    Raises:
        InvalidSettingError: the environment has no endpoint or key, or an address without encryption.
    """

    most_characters = MOST_CHARACTERS

    def __init__(
        self,
        name: str,
        *,
        severity: int = 4,
        categories: Sequence[str] = CATEGORIES,
        blocklists: Sequence[str] = (),
        on_failure: Literal["block", "allow"] = "block",
        api_version: str = API_VERSION,
    ) -> None:
        self.name = name
        self.on_failure = on_failure
        self._severity = severity
        self._question: dict[str, Any] = {"categories": list(categories), "outputType": "FourSeverityLevels"}
        if blocklists:
            self._question |= {"blocklistNames": list(blocklists), "haltOnBlocklistHit": False}
        self._path = f"/contentsafety/text:analyze?api-version={quote(api_version, safe='')}"
        self._server = _Azure(_endpoint(), os.environ.get(KEY_VARIABLE, ""))

    def check(self, text: str, direction: Direction) -> str | None:
        """Return the category that is as severe as the policy blocks, or the block list; `None` if neither.

        Raises:
            OfflineError: no connection may be made.
            RemoteError: the service is not there, or refuses.
            GuardCheckError: the answer is not of the documented shape.
        """
        del direction
        if is_offline():
            raise OfflineError(self._server.address.host)
        body = {**self._question, "text": text.encode("utf-8", "replace").decode()}
        try:
            answer = self._server.ask(self._path, body)
        except RemoteError as error:
            if error.status not in _AGAIN:
                raise
            time.sleep(WAIT_SECONDS)
            answer = self._server.ask(self._path, body)
        return self._verdict(answer)

    def _verdict(self, answer: dict[str, Any]) -> str | None:
        try:
            lists = [str(match["blocklistName"]) for match in answer.get("blocklistsMatch") or ()]
            found = {str(one["category"]): int(one["severity"]) for one in answer["categoriesAnalysis"]}
        except (KeyError, TypeError, ValueError):
            raise GuardCheckError(self.name, "the service's answer has another shape") from None
        if missing := set(self._question["categories"]) - found.keys():
            raise GuardCheckError(self.name, f"the service says nothing about {', '.join(sorted(missing))}")
        if lists:
            return f"block list {lists[0][:64]}"
        worst = max(found, key=lambda category: found[category])
        return worst if found[worst] >= self._severity else None


class _Azure(Server):
    """The service with its own header for the key."""

    def __init__(self, address: Address, key: str) -> None:
        super().__init__(address, api_key=key, silence_seconds=SILENCE_SECONDS)
        self._subscription_key = key

    def headers(self) -> dict[str, str]:
        """Return what every request carries."""
        return {
            "Accept": "application/json",
            "User-Agent": "phi4local",
            "Ocp-Apim-Subscription-Key": self._subscription_key,
        }


def _endpoint() -> Address:
    text, key = os.environ.get(ENDPOINT_VARIABLE, ""), os.environ.get(KEY_VARIABLE, "")
    hint = f"the resource's page in the Azure portal shows both; set {ENDPOINT_VARIABLE} and {KEY_VARIABLE}"
    if not text or not key:
        missing = KEY_VARIABLE if text else ENDPOINT_VARIABLE
        raise InvalidSettingError(missing, "is not set, and the guard's policy asks Azure", hint=hint)
    if not (key.isascii() and key.isprintable()):
        raise InvalidSettingError(KEY_VARIABLE, "is no key", hint=hint)
    try:
        address = parse_address(text)
    except InvalidSettingError:
        raise InvalidSettingError(ENDPOINT_VARIABLE, "is no address", hint=hint) from None
    if not (address.secure or address.on_this_machine):
        raise InvalidSettingError(ENDPOINT_VARIABLE, "is an address without encryption", hint="use https://")
    return dataclasses.replace(address, path="", model=None)
