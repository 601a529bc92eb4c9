"""Several tokens in one step: drafts guessed from the text so far, checked by the model itself."""

from phi4local.engine.speculation.checking import take_tokens
from phi4local.engine.speculation.drafter import drafter_for
from phi4local.engine.speculation.speculation import Speculation

__all__ = ["Speculation", "drafter_for", "take_tokens"]
