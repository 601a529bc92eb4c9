"""The training loop: AdamW on an adapter, answers only, repeatable, and resumed where it was.

Its own loop instead of a trainer's: what is needed of one fits on two pages, a step is the same with and
without a resume, and the output layer is computed only for tokens that are learned, which saves gigabytes
with a vocabulary of 100,352. Scheme and defaults are those of ms-swift, that is of transformers' Trainer.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.errors import TrainingError
from phi4local.finetune.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.finetune.options import TrainOptions
    from phi4local.finetune.tokens import Sample

_BETAS = (0.9, 0.95)
"""Of AdamW, as ms-swift has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far the training is, after a step.

    Attributes:
        step, steps: done, and in all.
        epoch: passes over the data so far.
        loss: mean over the learned tokens of the step, nats; NaN never comes here.
        learning_rate: of the step.
        gradient_norm: before it was cut.
        seconds: the step took.
        tokens: computed in the step, padding included.
        peak_bytes: most memory of the GPU so far; 0 without one.
        eval_loss: on held-out samples, where the step measured it.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    tokens: int
    peak_bytes: int
    eval_loss: float | None = None


def learning_rate(step: int, steps: int, options: TrainOptions) -> float:
    """Return the rate of a step, counted from 0: a rise, then half a cosine down to 0.

    Example: 100 steps, a share of 0.05, a rate of 1e-4 → 2e-5 at the first, 1e-4 at the sixth.

    Source: `get_cosine_schedule_with_warmup` of transformers, which counts the first step as 0 of the rise.
    """
    warmup = math.ceil(steps * options.warmup_ratio)
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class Training:
    """A run over samples, one step of the optimizer at a time.

    Args:
        model: with the adapter to train, from `network.attach`.
        samples: to learn from.
        held_out: to measure on.
        padding_id: fills short samples of a batch.
        options: how.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a PeftModel
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        padding_id: int,
        options: TrainOptions,
    ) -> None:
        import torch

        self.model, self.options = model, options
        self._samples, self._held_out, self._padding_id = samples, held_out, padding_id
        self._trained = [weights for weights in model.parameters() if weights.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._trained, lr=options.learning_rate, betas=_BETAS, weight_decay=options.weight_decay
        )
        group = options.per_device_train_batch_size * options.gradient_accumulation_steps
        self._steps_of_epoch = math.ceil(len(samples) / group)
        self.steps = self._steps_of_epoch * options.num_train_epochs
        self.step = 0

    def run(self) -> Iterator[Report]:
        """Train from `self.step` to the end; yield a report after each step.

        Raises:
            TrainingError: the loss is no number, or the memory is full.
        """
        import torch

        self.model.train()
        while self.step < self.steps:
            try:
                report = self._take_step()
                self.step += 1
                last = self.step == self.steps
                if self._held_out and (self.step % self.options.eval_steps == 0 or last):
                    report = replace(report, eval_loss=self.loss_of(self._held_out))
            except torch.OutOfMemoryError as error:
                raise TrainingError(
                    f"the memory is full at step {self.step + 1:,}",
                    hint="take a shorter `--max-length`, a smaller batch, or `--quant-bits 4`",
                ) from error
            yield report

    def _take_step(self) -> Report:
        import torch

        start = time.monotonic()
        rate = learning_rate(self.step, self.steps, self.options)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        samples = self._samples_of_step()
        learned = sum(sample.learned for sample in samples)
        size, loss, tokens = self.options.per_device_train_batch_size, 0.0, 0
        for first in range(0, len(samples), size):
            batch = samples[first : first + size]
            part = self._loss_sum(batch) / max(1, learned)
            part.backward()
            loss += float(part.detach())
            tokens += len(batch) * max(len(sample.ids) for sample in batch)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {self.step + 1:,} is {loss}",
                hint="a lower `--learning-rate`, or float32 instead of float16",
            )
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, self.options.max_grad_norm))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Report(
            step=self.step + 1,
            steps=self.steps,
            epoch=(self.step + 1) / self._steps_of_epoch,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            seconds=time.monotonic() - start,
            tokens=tokens,
            peak_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        )

    def _samples_of_step(self) -> list[Sample]:
        """Return this step's share of its epoch's order, which follows from seed and epoch alone."""
        import torch

        epoch, place = divmod(self.step, self._steps_of_epoch)
        generator = torch.Generator().manual_seed(self.options.seed + epoch)
        order = torch.randperm(len(self._samples), generator=generator).tolist()
        count = self.options.per_device_train_batch_size * self.options.gradient_accumulation_steps
        return [self._samples[index] for index in order[place * count : (place + 1) * count]]

    def loss_of(self, samples: Sequence[Sample]) -> float:
        """Return the mean loss over the learned tokens of samples, in nats; nothing is trained."""
        import torch

        size, total = self.options.per_device_eval_batch_size, 0.0
        self.model.eval()
        with torch.inference_mode():
            for first in range(0, len(samples), size):
                total += float(self._loss_sum(samples[first : first + size]))
        self.model.train()
        return total / max(1, sum(sample.learned for sample in samples))

    def _loss_sum(self, batch: Sequence[Sample]) -> Any:  # noqa: ANN401 - a tensor
        """Return the sum of the losses of a batch's learned tokens.

        The output layer, 100,352 wide, is computed only where something is learned.
        """
        import torch

        base = self.model.get_base_model()
        longest = max(len(sample.ids) for sample in batch)
        ids = torch.full((len(batch), longest), self._padding_id)
        labels = torch.full((len(batch), longest), IGNORED)
        mask = torch.zeros((len(batch), longest), dtype=torch.long)
        for row, sample in enumerate(batch):
            ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
            labels[row, : len(sample.ids)] = torch.tensor(sample.labels)
            mask[row, : len(sample.ids)] = 1
        ids, labels, mask = (tensor.to(base.device) for tensor in (ids, labels, mask))
        hidden = base.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        targets = labels[:, 1:]
        learned = targets != IGNORED
        logits = base.lm_head(hidden[:, :-1][learned])
        return torch.nn.functional.cross_entropy(logits.float(), targets[learned], reduction="sum")
