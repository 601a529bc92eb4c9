"""Conversations to token ids and labels, in the model's own template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local import convert
from phi4local.convert.recognise import recognise
from phi4local.errors import InvalidSettingError, MissingExtraError, TrainingError
from phi4local.messages import Message
from phi4local.prompts import break_up, choose_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phi4local.finetune.dataset import Conversation
    from phi4local.prompts import ChatTemplate, TextSegment

IGNORED = -100
"""The label of a token that is not learned; torch's cross entropy leaves it out."""
_CONTROL, _USER_DEFINED = 3, 4


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation as the network gets it.

    Attributes:
        ids: token ids.
        labels: the same where the model is to learn, else `IGNORED`.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(label != IGNORED for label in self.labels)


class Encoder:
    """Turns conversations into samples, with the ids that the engine computes for the same conversation.

    Template and tokens are those that a conversion of the checkpoint writes, known defects repaired: what is
    trained here is what is asked later. Control tokens in messages are plain text.

    Args:
        checkpoint: folder of the model.

    Example: of `(Message("user", "Hi"), Message("assistant", "Hello!"))` it learns `Hello`, `!` and the token
    that ends the turn.

    Raises:
        CheckpointError, UnsupportedCheckpointError: as a conversion.
        TrainingError: a SentencePiece vocabulary (Phi-3).
        MissingExtraError: `tokenizers` is not installed.
    """

    def __init__(self, checkpoint: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("finetune", "tokenizers", "turns text into tokens") from error
        keys: dict[str, Any] = {
            entry.key: entry.value for entry in convert.plan_conversion(checkpoint, "F16").metadata
        }
        if keys.get("tokenizer.ggml.model") != "gpt2":
            raise TrainingError(
                f"{checkpoint} has SentencePiece's vocabulary (Phi-3), which cannot be fine-tuned here",
                hint="Phi-4, Phi-4-mini and Phi-4-reasoning can",
            )
        manifest = recognise(checkpoint)
        self.template: ChatTemplate
        self.template, _ = choose_template(keys.get("tokenizer.chat_template"), manifest)
        self._strip = bool(manifest and manifest.strip_whitespace_around_special_tokens)
        kinds = list(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], strict=True))
        self._special = {text for text, kind in kinds if kind in (_CONTROL, _USER_DEFINED)}
        self._user_defined = [text for text, kind in kinds if kind == _USER_DEFINED]
        ends = [keys.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        self.end_ids = frozenset(end for end in ends if isinstance(end, int))
        self.padding_id = int(keys.get("tokenizer.ggml.padding_token_id", min(self.end_ids, default=0)))
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, conversation: Conversation, *, max_length: int, system: str | None = None) -> Sample:
        """Return ids and labels; every answer is learned, with the token that ends it.

        Args:
            conversation: turns that end with an answer.
            max_length: tokens after that are cut off.
            system: instruction, if the conversation has none.

        Raises:
            ChatTemplateError: the template does not take the conversation.
            InvalidSettingError: the template writes an earlier turn otherwise when others follow.
        """
        if system and conversation[0].role != "system":
            conversation = (Message("system", system), *conversation)
        ids = self._ids(conversation, generation_prompt=False)
        labels = [IGNORED] * len(ids)
        for place, turn in enumerate(conversation):
            if turn.role != "assistant":
                continue
            start = self._ids(conversation[:place], generation_prompt=True)
            end = self._ids(conversation[: place + 1], generation_prompt=False)
            if ids[: len(start)] != start or ids[: len(end)] != end:
                raise InvalidSettingError("template", "writes earlier turns otherwise when others follow")
            labels[len(start) : len(end)] = self._through_end(end[len(start) :])
        return Sample(tuple(ids[:max_length]), tuple(labels[:max_length]))

    def _through_end(self, answer: Sequence[int]) -> Iterator[int]:
        """Yield labels of an answer: up to the token that ends it; a template may write more behind that."""
        ended = False
        for token in answer:
            yield IGNORED if ended else token
            ended = ended or token in self.end_ids

    def _ids(self, conversation: Sequence[Message], *, generation_prompt: bool) -> list[int]:
        rendered = self.template.segments(
            conversation,
            add_generation_prompt=generation_prompt,
            strip_whitespace=self._strip,
            token_strings=self._special,
        )
        return [token for segment in rendered.segments for token in self._segment_ids(segment)]

    def _segment_ids(self, segment: TextSegment) -> Iterator[int]:
        self._tokenizer.encode_special_tokens = not segment.special
        pieces = [segment.text] if segment.special else break_up(segment.text, self._user_defined)
        for piece in pieces:
            yield from self._tokenizer.encode(piece, add_special_tokens=False).ids
