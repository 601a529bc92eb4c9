"""llama.cpp's context: KV cache, compute buffers and batches of many sequences.

Typed and thin. Callers keep account of the cells (`phi4local.engine.cells`): llama.cpp aborts the process on
some wrong uses, and answers others with a code.

Source: include/llama.h and src/llama-kv-cache.cpp of llama.cpp 0c1e57098, as vendored in llama-cpp-python
0.3.36.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from phi4local.errors import EngineError, InvalidSettingError
from phi4local.native.device_cut import DeviceCut
from phi4local.native.llama import bindings, last_log_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.native.activations import ActivationReader
    from phi4local.native.llama import NativeModel

_FEWEST_CELLS = 256
"""llama.cpp's unit of cells. A batch has no more tokens than that; each sequence needs a place in it."""
GGML_TYPE = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20}
GGML_TYPE |= {"bf16": 30}
"""enum ggml_type of the types that a KV cache can have."""
_NO_POOLING = 0  # LLAMA_POOLING_TYPE_NONE: one vector for each token


class Piece(NamedTuple):
    """Tokens of one sequence in a batch.

    Attributes:
        sequence: number of the sequence, 0 to `sequences` - 1.
        position: place of the first token in its sequence.
        tokens: one or more token ids.
        rows: how many of the last tokens need logits.

    Example: `Piece(0, 12, (8104,), 1)` is one step of a sequence that has 12 tokens.
    """

    sequence: int
    position: int
    tokens: Sequence[int]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShape:
    """What a context is made with.

    Attributes:
        context_tokens: cells of the KV cache; with `unified` shared by all sequences, else of each sequence.
        batch_tokens: most tokens in one decode.
        threads: CPU threads.
        kv_type: element type of the cache, one of `settings.KV_TYPES`.
        flash_attention: on, off, or `None` to let llama.cpp choose.
        sequences: how many sequences can have cells.
        unified: one pool of cells, so that sequences can share a prefix; else each sequence has a stream of
            its own, which computes faster when nothing is shared.
        kv_offload: keep the cells of a layer where its weights are; else all of them in main memory.
        device_cut: let sequences have their logits cut where they are computed, see `DeviceCut`.
        embeddings: keep the last hidden state of every token, for `hidden_states`.
        most_logits: rows of logits that one decode can have; one for each sequence when left out.
    """

    context_tokens: int
    batch_tokens: int
    threads: int
    kv_type: str = "f16"
    flash_attention: bool | None = None
    sequences: int = 1
    unified: bool = True
    kv_offload: bool = True
    device_cut: bool = False
    embeddings: bool = False
    most_logits: int | None = None


class NativeContext:
    """KV cache and compute buffers of one model, which must outlive them.

    Args:
        model: whose context it is.
        shape: what it is made with.
        observer: sees what is computed, or `None`.

    Raises:
        EngineError: llama.cpp could not make the context, usually for lack of memory.
    """

    def __init__(
        self, model: NativeModel, shape: ContextShape, observer: ActivationReader | None = None
    ) -> None:
        self._api = api = bindings()
        parameters = api.llama_context_default_params()
        cells = max(shape.context_tokens, _FEWEST_CELLS)
        parameters.n_ctx = cells * (1 if shape.unified else shape.sequences)
        parameters.n_batch = parameters.n_ubatch = min(shape.batch_tokens, parameters.n_ctx)
        parameters.n_threads = parameters.n_threads_batch = shape.threads
        parameters.type_k = parameters.type_v = GGML_TYPE[shape.kv_type]
        parameters.flash_attn_type = -1 if shape.flash_attention is None else int(shape.flash_attention)
        parameters.n_seq_max = shape.sequences
        # Rows of logits: one for each sequence (llama.cpp asks for no fewer), not one for each token.
        # Those of sequences that are only kept are free for guesses.
        parameters.n_outputs_max = parameters.n_outputs_max_per_seq = max(
            shape.sequences, shape.most_logits or 0
        )
        if shape.embeddings:
            parameters.embeddings = True
            parameters.pooling_type = _NO_POOLING
            parameters.n_outputs_max = parameters.n_batch
        parameters.kv_unified = shape.unified
        parameters.offload_kqv = shape.kv_offload
        parameters.no_perf = True
        self._observer = observer  # llama.cpp keeps a pointer to its callback
        if observer is not None:
            parameters.cb_eval = observer.callback
        self.handle = api.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            raise EngineError(
                f"llama.cpp cannot make a context of {parameters.n_ctx:,} tokens: {last_log_line()}",
                hint="try a smaller `--context` or another `--kv` type",
            )
        self.memory = api.llama_get_memory(self.handle)
        self.cut = DeviceCut(self.handle, enabled=shape.device_cut)
        self.unified = shape.unified
        self.sequences = shape.sequences
        self.streams = 1 if shape.unified else shape.sequences
        self.context_tokens: int = api.llama_n_ctx_seq(self.handle)
        self.batch_tokens: int = parameters.n_batch
        self.rows: int = parameters.n_outputs_max
        self._batch = api.llama_batch_init(self.batch_tokens, 0, 1)
        for i in range(self.batch_tokens):
            self._batch.n_seq_id[i] = 1
        # Each access through the structure makes a new pointer object; a step needs four of them.
        self._ids, self._positions, self._wanted = self._batch.token, self._batch.pos, self._batch.logits
        self._owners = [self._batch.seq_id[i] for i in range(self.batch_tokens)]

    def decode(self, tokens: Sequence[int], position: int) -> None:
        """Evaluate `tokens` of sequence 0 at `position` and after it; logits come for the last one.

        Raises:
            InvalidSettingError: no tokens, or more than `batch_tokens` (llama.cpp would abort).
            EngineError: llama.cpp returned an error.
        """
        self.decode_batch((Piece(0, position, tokens, 1),))

    def decode_batch(self, pieces: Sequence[Piece]) -> list[int]:
        """Evaluate pieces of several sequences in one batch.

        Returns:
            For each piece the row of its last token: what `logits` and the samplers take.

        Raises:
            InvalidSettingError: no tokens, or more than `batch_tokens` (llama.cpp would abort).
            EngineError: llama.cpp returned an error.
        """
        rows = []
        count = sum(len(piece.tokens) for piece in pieces)
        if not 0 < count <= self.batch_tokens:
            raise InvalidSettingError("batch", f"has {count} tokens; it must have 1 to {self.batch_tokens}")
        i = 0
        for sequence, position, tokens, wanted_rows in pieces:
            end = i + len(tokens)
            for place, token in enumerate(tokens, position):
                self._ids[i] = token
                self._positions[i] = place
                self._owners[i][0] = sequence
                self._wanted[i] = i + wanted_rows >= end
                i += 1
            rows.append(i - 1)
        self._batch.n_tokens = count
        code = self._api.llama_decode(self.handle, self._batch)
        if code:
            raise EngineError(f"llama.cpp could not evaluate {count} tokens (code {code}): {last_log_line()}")
        return rows

    def wait(self) -> None:
        """Wait until the newest decode is done; without a GPU it is already."""
        self._api.llama_synchronize(self.handle)

    def logits(self, row: int = -1) -> Any:  # noqa: ANN401 - POINTER(c_float)
        """Return a pointer to the logits of a row, float32, `(vocab,)`; valid until the next decode."""
        return self._api.llama_get_logits_ith(self.handle, row)

    def hidden_states(self) -> Any:  # noqa: ANN401
        """Return a pointer to the last norm's output for the batch's tokens, float32, `(tokens, width)`."""
        return self._api.llama_get_embeddings(self.handle)

    def forget_from(self, position: int, *, sequence: int = 0) -> None:
        """Drop the cached tokens of a sequence at `position` and after it."""
        self._api.llama_memory_seq_rm(self.memory, sequence, position, -1)

    def share(self, source: int, target: int, tokens: int) -> None:
        """Let the empty sequence `target` begin with the first `tokens` cells of `source`.

        In a unified cache the cells are tagged for both. Streams are copied whole (llama.cpp refuses less),
        and the rest is dropped.
        """
        end = tokens if self.unified else -1
        self._api.llama_memory_seq_cp(self.memory, source, target, 0, end)
        if not self.unified:
            self.forget_from(tokens, sequence=target)

    def cut_out(self, sequence: int, start: int, end: int) -> None:
        """Drop the cells of a sequence from `start` up to `end`, and move what follows down.

        The keys of the moved cells are rotated to their new places before the next decode. None of the
        moved cells may be shared: they would move for the other sequence too.
        """
        self._api.llama_memory_seq_rm(self.memory, sequence, start, end)
        self._api.llama_memory_seq_add(self.memory, sequence, end, -1, start - end)

    def wipe(self, *, zero: bool = True) -> None:
        """Drop all cached tokens, set their keys and values to zero, and begin again at the first cell."""
        self._api.llama_memory_clear(self.memory, zero)

    def can_move_cells(self) -> bool:
        """Return whether `cut_out` may be called; llama.cpp would abort otherwise."""
        return bool(self._api.llama_memory_can_shift(self.memory))

    def close(self) -> None:
        """Free the cache and the buffers."""
        if self.handle:
            self._api.llama_batch_free(self._batch)
            self._api.llama_free(self.handle)
            self.cut.close()
            self.handle = None
