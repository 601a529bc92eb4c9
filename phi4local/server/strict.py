"""What the requests of all dialects have in common: unknown fields are refused, ignored ones reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORED = "X-Phi4local-Ignored"
"""The header that names the fields of a request that have no effect here."""


class Strict(BaseModel):
    """A model that knows its fields and turns no text into a number.

    Attributes:
        without_effect: fields that clients send and that change nothing here; the answer's header names them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    without_effect: ClassVar[tuple[str, ...]] = ()

    def ignored(self) -> tuple[str, ...]:
        """Return the fields that were sent and have no effect."""
        return tuple(name for name in self.without_effect if getattr(self, name) is not None)


def report(ignored: Sequence[str]) -> dict[str, str]:
    """Return the header that names fields. Example: `("user",)` → `{"X-Phi4local-Ignored": "user"}`."""
    return {IGNORED: ", ".join(ignored)} if ignored else {}
