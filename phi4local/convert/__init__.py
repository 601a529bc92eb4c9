"""Make a GGUF file from a safetensors checkpoint, in one pass and without torch.

Importing this costs no numpy: heavy libraries are loaded when a conversion begins.
"""

from phi4local.convert.conversion import ConversionSummary, convert_checkpoint
from phi4local.convert.fingerprint import fingerprint
from phi4local.convert.merge import AdapterUse
from phi4local.convert.plan import ConversionPlan, PlannedTensor, plan_conversion, quantization_named
from phi4local.convert.recognise import recognise
from phi4local.planning.mixes import QUANTIZATIONS

__all__ = [
    "QUANTIZATIONS",
    "AdapterUse",
    "ConversionPlan",
    "ConversionSummary",
    "PlannedTensor",
    "convert_checkpoint",
    "fingerprint",
    "plan_conversion",
    "quantization_named",
    "recognise",
]
