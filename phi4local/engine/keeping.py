"""Put a kept sequence's cells into a file, and back into a cache."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from phi4local.engine.saved_state import (
    MOST_BYTES,
    SavedState,
    StateIdentity,
    read_saved,
    sample_digest,
    write_saved,
)
from phi4local.errors import InvalidSettingError, SavedStateError
from phi4local.native.state import read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.engine.cache import AdapterKey
    from phi4local.engine.lanes import Lanes
    from phi4local.engine.model import LoadedModel

__all__ = ["MOST_BYTES", "Keeping", "KeptState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptState:
    """What was saved or restored: tokens of the conversation, bytes of the file."""

    tokens: int
    file_bytes: int


class Keeping:
    """Saves and restores sequences of one model. Its methods run on the scheduler's thread.

    Args:
        model: the loaded model.
        lanes: its lanes.
    """

    def __init__(self, model: LoadedModel, lanes: Lanes) -> None:
        self._model = model
        self._lanes = lanes
        self._digest: str | None = None

    def save(self, ids: Sequence[int], key: AdapterKey, path: Path, *, most_bytes: int) -> KeptState:
        """Save the cached sequence that begins like `ids`.

        Raises:
            InvalidSettingError: nothing of it is in the cache.
            SavedStateError: the file would have more than `most_bytes`.
            FileWriteError: the operating system refused.
        """
        found = [(lane, lane.cache.find_prefix(ids, key, moved_too=True)) for lane in self._lanes]
        lane, prefix = max(found, key=lambda pair: pair[1].tokens)
        if prefix.holding is None:
            raise InvalidSettingError(
                "conversation", "is not in the cache", hint="save it right after an answer"
            )
        number = prefix.holding.number
        state = SavedState(
            tokens=list(lane.cache.cells.tokens(number)),
            adapters=key,
            exact_tokens=prefix.holding.exact_tokens,
            long=lane is not self._lanes.lane(long=False),
            streams=lane.context.streams,
            cells=read_state(lane.context, number),
        )
        size = write_saved(path, self._identity(), state, most_bytes=most_bytes)
        return KeptState(tokens=len(state.tokens), file_bytes=size)

    def restore(self, path: Path) -> KeptState:
        """Put a saved sequence back, where the next request that begins like it finds it.

        Raises:
            SavedStateError: not a saved state, damaged, of another model or settings, or too long.
            EngineError: there is no memory for the context that it needs.
        """
        state = read_saved(path, self._identity())
        if state.long and not self._model.has_two_contexts:
            raise SavedStateError(path, "was computed for a longer context than this model was loaded with")
        lane = self._lanes.lane(long=state.long)
        if state.streams != lane.context.streams:
            raise SavedStateError(path, "was saved with another `parallel` or `unified_kv`")
        holding = lane.cache.adopt(len(state.tokens), state.adapters)
        if holding is None:
            raise SavedStateError(path, f"has {len(state.tokens):,} tokens, for which there is no room")
        if not write_state(lane.context, holding.number, state.cells):
            lane.cache.drop(holding)
            raise SavedStateError(path, "was refused by llama.cpp")
        lane.cache.cells.append(holding.number, state.tokens)
        holding.exact_tokens = state.exact_tokens
        lane.cache.keep(holding)
        return KeptState(tokens=len(state.tokens), file_bytes=path.stat().st_size)

    def _identity(self) -> StateIdentity:
        if self._digest is None:
            self._digest = sample_digest(self._model.path)
        settings = self._model.facts.settings
        return StateIdentity(
            model=self._digest,
            kv_type=settings.kv_type or "",
            flash_attention=settings.flash_attention,
            library=version("llama-cpp-python"),
        )
