"""The options of `phi4local finetune`, called as ms-swift calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA, ADAPTER, STEPS, OUTPUT = "Data", "Adapter", "Steps", "Output"

Dataset = Annotated[
    list[str],
    typer.Option(
        "--dataset", help="File, `self-cognition` or OWNER/NAME; #500 takes 500", rich_help_panel=DATA
    ),
]
OutputDir = Annotated[Path, typer.Option("--output-dir", help="Folder of the run", rich_help_panel=OUTPUT)]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", help="Name for `--adapter`", rich_help_panel=OUTPUT, show_default="the output folder's"
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model-name", help="What the model is called, for self-cognition", rich_help_panel=DATA),
]
ModelAuthor = Annotated[
    str | None, typer.Option("--model-author", help="Who made it, for self-cognition", rich_help_panel=DATA)
]
System = Annotated[
    str | None, typer.Option("--system", help="Instruction for samples that have none", rich_help_panel=DATA)
]
MaxLength = Annotated[
    int, typer.Option("--max-length", help="Longest sample, in tokens", rich_help_panel=DATA)
]
SplitDatasetRatio = Annotated[
    float, typer.Option("--split-dataset-ratio", help="Share that is held out", rich_help_panel=DATA)
]
TrainType = Annotated[str, typer.Option("--train-type", help="lora, rslora or dora", rich_help_panel=ADAPTER)]
LoraRank = Annotated[
    int, typer.Option("--lora-rank", help="Numbers between A and B", rich_help_panel=ADAPTER)
]
LoraAlpha = Annotated[
    float, typer.Option("--lora-alpha", help="The change counts alpha / rank", rich_help_panel=ADAPTER)
]
LoraDropout = Annotated[
    float,
    typer.Option("--lora-dropout", help="Share of inputs left out while training", rich_help_panel=ADAPTER),
]
TargetModules = Annotated[
    str, typer.Option("--target-modules", help="Layers, with commas", rich_help_panel=ADAPTER)
]
TorchDtype = Annotated[
    str | None,
    typer.Option(
        "--torch-dtype", help="Of the frozen weights", rich_help_panel=ADAPTER, show_default="by device"
    ),
]
QuantBits = Annotated[
    int | None,
    typer.Option(
        "--quant-bits",
        help="4 trains with frozen weights of 4 bits (QLoRA)",
        rich_help_panel=ADAPTER,
        show_default=False,
    ),
]
QuantMethod = Annotated[
    str, typer.Option("--quant-method", help="Who quantizes: bnb, bitsandbytes", rich_help_panel=ADAPTER)
]
NumTrainEpochs = Annotated[
    int, typer.Option("--num-train-epochs", help="How often each sample is seen", rich_help_panel=STEPS)
]
PerDeviceTrainBatchSize = Annotated[
    int, typer.Option("--per-device-train-batch-size", help="Samples at once", rich_help_panel=STEPS)
]
PerDeviceEvalBatchSize = Annotated[
    int, typer.Option("--per-device-eval-batch-size", help="The same, measuring", rich_help_panel=STEPS)
]
GradientAccumulationSteps = Annotated[
    int, typer.Option("--gradient-accumulation-steps", help="Batches for a step", rich_help_panel=STEPS)
]
LearningRate = Annotated[
    float, typer.Option("--learning-rate", help="The highest one", rich_help_panel=STEPS)
]
WarmupRatio = Annotated[
    float, typer.Option("--warmup-ratio", help="Share of steps in which it rises", rich_help_panel=STEPS)
]
WeightDecay = Annotated[float, typer.Option("--weight-decay", help="Of AdamW", rich_help_panel=STEPS)]
NoGradientCheckpointing = Annotated[
    bool,
    typer.Option(
        "--no-gradient-checkpointing",
        help="Keep what is inside of layers: faster, more memory",
        rich_help_panel=STEPS,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Of order, initial weights and dropout", rich_help_panel=STEPS)
]
EvalSteps = Annotated[
    int, typer.Option("--eval-steps", help="Steps between held-out losses", rich_help_panel=OUTPUT)
]
SaveSteps = Annotated[
    int, typer.Option("--save-steps", help="Steps between checkpoints", rich_help_panel=OUTPUT)
]
SaveTotalLimit = Annotated[
    int, typer.Option("--save-total-limit", help="Checkpoints that stay", rich_help_panel=OUTPUT)
]
LoggingSteps = Annotated[
    int, typer.Option("--logging-steps", help="Steps between lines", rich_help_panel=OUTPUT)
]
DataloaderNumWorkers = Annotated[
    int,
    typer.Option(
        "--dataloader-num-workers",
        help="Taken for ms-swift's sake: the data is in memory",
        rich_help_panel=STEPS,
    ),
]
Resume = Annotated[
    Path | None, typer.Option("--resume", help="Go on from a folder checkpoint-N", rich_help_panel=OUTPUT)
]
Plot = Annotated[
    Path | None, typer.Option("--plot", help="Loss curve as PNG, SVG, PDF or HTML", rich_help_panel=OUTPUT)
]
