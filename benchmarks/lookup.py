"""What guessing from the text so far brings, beside the same engine without it.

    python -m benchmarks.lookup --model FILE.gguf --json benchmarks/results/lookup.json
    python -m benchmarks.lookup --model FILE.gguf --gpu-layers 99

Recorded answers are replayed: the model computes everything, and what is chosen is the recorded token instead
of its own choice, so that any model gives the same text. So the numbers tell of tasks and machine, not of how
well a small model does what it is told. Three answers repeat parts of their prompts (edit a text, extract
from it, change a class), one repeats nothing.

The bound: the shortest time by the measured cost of each batch size, if at each step somebody who knows the
answer had chosen the length of the lookup's draft.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import phi4local.engine.sequence as sequence_module
from benchmarks.pairs import Limit, Ratio, add_options, run, write
from phi4local import gguf
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.engine.model import LoadedModel
from phi4local.engine.sampling import Choice
from phi4local.engine.speculation.lookup import Lookup
from phi4local.native.context import Piece
from phi4local.prompts import TextSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.native.context import NativeContext

ARTICLE = (
    "The harbour of Lindow was built in 1874 by the engineer Maria Holt. For thirty years it was the "
    "largest on the coast, with room for forty ships. The storm of 1903 destroyed the eastern wall, "
    "and the town could not afford to build it again. Fishing boats used what was left until 1931. "
    "Today the harbour belongs to a society of volunteers, who repaired the lighthouse in 1998 and "
    "open it to visitors every Sunday from April to October. The society has 212 members and is paid "
    "for by its members alone.\n"
)
CODE = """class Account:
    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance += amount
        self.history.append(("deposit", amount))

    def withdraw(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        if amount > self.balance:
            raise ValueError("not enough money")
        self.balance -= amount
        self.history.append(("withdraw", amount))
"""
TASKS = {
    "edit": (
        "Correct the years: the harbour was built in 1876.\n" + ARTICLE,
        ARTICLE.replace("1874", "1876"),
    ),
    "extract": (
        ARTICLE + "Copy the sentences that contain a year.\n",
        "".join(part.strip() + ".\n" for part in ARTICLE.split(". ") if any(map(str.isdigit, part))),
    ),
    "code": (
        CODE + "Rename balance to total and show the whole class.\n",
        CODE.replace("balance", "total"),
    ),
    "nothing repeated": (
        "Tell me something about rivers.\n",
        "Water falls on mountains as rain or snow, gathers in small streams, and runs downhill "
        "because gravity pulls it. Several brooks join, valleys grow wider, sediment settles, meadows"
        " flourish beside slow bends. Cities began near such places: boats carried grain, mills "
        "ground flour, tanners needed washing basins. Engineers later straightened banks, which made "
        "floods worse further down. Nowadays some countries give land back, letting marshes store "
        "winter surplus like a sponge. Salmon return first, then otters, kingfishers, even beavers "
        "whose dams calm everything again.",
    ),
}


class Replay:
    """Stands in for `TokenChooser`: takes the recorded tokens, after looking at the logits as greedy does."""

    done = False
    answer: tuple[int, ...] = ()
    wants_cut = False

    def __init__(self, *_arguments: object) -> None:
        self._coming = iter(self.answer)

    def choose(self, context: NativeContext, row: int = -1, *, cut: bool = False) -> Choice:
        """Return the next recorded token; wait for the logits as a sampler has to."""
        del cut
        context.logits(row)[0]
        return Choice(next(self._coming))

    def close(self) -> None:
        """Nothing to free."""


def seconds_of(engine: Engine, prompt: str, answer: Sequence[int]) -> float:
    """Replay an answer; return the seconds of its generation."""
    Replay.answer = tuple(answer)
    request = Request(
        segments=(TextSegment(prompt, special=False),),
        sampling=SamplingSettings(temperature=0),
        max_tokens=len(answer),
        ignore_end=True,
    )
    return engine.submit(request).result().finished.timings.generation_seconds


def batch_seconds(model: LoadedModel, rounds: int = 15) -> list[float]:
    """Return the median seconds of batches of 1, 2, … tokens at place 256, each with its row of logits."""
    context = model.context
    times: dict[int, list[float]] = {n: [] for n in range(1, context.rows + 1)}
    context.decode(range(256), 0)
    for _ in range(rounds):
        for count, seen in times.items():
            context.forget_from(256)
            started = time.perf_counter()
            context.decode_batch((Piece(0, 256, range(300, 300 + count), count),))
            context.wait()
            seen.append(time.perf_counter() - started)
    return [sorted(seen)[rounds // 2] for seen in times.values()]


def bound_seconds(prompt: list[int], answer: Sequence[int], costs: list[float]) -> float:
    """Return the time of the fastest steps with drafts of this lookup, their lengths known beforehand.

    A step that accepts k guesses costs what k + 1 tokens cost, so no wrong guess is paid for.
    """
    tokens = [*prompt, answer[0]]
    lookup, right = Lookup(tokens), []
    for place in range(1, len(answer)):
        lookup.learn()
        match = lookup.match()
        draft = lookup.draft(match, len(costs) - 1) if match else []
        pairs = zip(draft, answer[place:], strict=False)
        right.append(
            next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(draft), len(answer) - place))
        )
        tokens.append(answer[place])
    best = [0.0] * (len(right) + 1)
    for place in range(len(right) - 1, -1, -1):
        longest = min(right[place], len(right) - place - 1)
        best[place] = min(costs[count] + best[place + count + 1] for count in range(longest + 1))
    return best[0]


def measure(options: argparse.Namespace) -> tuple[list[Ratio | Limit], list[float]]:
    """Measure all tasks, each with and without guesses in turn; return results and the batches' seconds."""
    file = file_facts(gguf.validate(options.model)).model_file()
    settings = LoadSettings(context_tokens=2048, threads=options.threads, gpu_layers=options.gpu_layers)
    model = LoadedModel(file, settings)
    costs = batch_seconds(model)
    texts = {
        name: [model.tokenize([TextSegment(text, special=False)]) for text in task]
        for name, task in TASKS.items()
    }
    model.close()
    vars(sequence_module)["TokenChooser"] = Replay
    results: list[Ratio | Limit] = []
    with (
        Engine(file, settings) as ours,
        Engine(file, settings.filled_from(LoadSettings(speculation="off"))) as plain,
    ):
        for name, (prompt, answer) in texts.items():
            ratio = Ratio(name, bar=0.98 if name == "nothing repeated" else 1.0)
            steps = len(answer) - 1

            def round_(
                number: int, name: str = name, answer: list[int] = answer, ratio: Ratio = ratio
            ) -> None:
                sides = (ours, plain) if number % 2 else (plain, ours)
                speeds = {
                    side: (len(answer) - 1) / seconds_of(side, TASKS[name][0], answer) for side in sides
                }
                ratio.add(speeds[ours], speeds[plain])

            seconds_of(ours, TASKS[name][0], answer)  # the first steps of each size are slower
            run([ratio], round_, options)
            results.append(ratio)
            bound = steps * costs[0] / bound_seconds(prompt, answer, costs)
            share = Limit(
                f"{name}, of a bound of {bound:.2f}", ratio.interval()[1] / bound, 0.9, "", at_least=True
            )
            print(share.row(), flush=True)
            results.append(share)
    return results, costs


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_options(parser)
    options = parser.parse_args()
    results, costs = measure(options)
    facts = {"model": options.model.name, "gpu_layers": options.gpu_layers, "threads": options.threads}
    write(options.json, results, **facts, batch_ms=[round(cost * 1e3, 3) for cost in costs])


if __name__ == "__main__":
    main()
