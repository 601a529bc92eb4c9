"""Make GGUF files from a safetensors checkpoint or a GGUF file, in one pass and without torch.

Importing this costs no numpy: heavy libraries are loaded when a conversion begins.
"""

from phi4local.convert.conversion import (
    ConversionSummary,
    convert_checkpoint,
    convert_to_several,
    expected_seconds,
)
from phi4local.convert.fingerprint import fingerprint
from phi4local.convert.merge import AdapterUse
from phi4local.convert.plan import (
    ConversionPlan,
    PlannedTensor,
    plan_conversion,
    plan_conversions,
    quantization_named,
)
from phi4local.convert.recognise import recognise
from phi4local.convert.streamed import ShardStream, StreamedCheckpoint
from phi4local.convert.typing_rules import TargetOptions
from phi4local.planning.mixes import QUANTIZATIONS, TypeChoices

__all__ = [
    "QUANTIZATIONS",
    "AdapterUse",
    "ConversionPlan",
    "ConversionSummary",
    "PlannedTensor",
    "ShardStream",
    "StreamedCheckpoint",
    "TargetOptions",
    "TypeChoices",
    "convert_checkpoint",
    "convert_to_several",
    "expected_seconds",
    "fingerprint",
    "plan_conversion",
    "plan_conversions",
    "quantization_named",
    "recognise",
]
