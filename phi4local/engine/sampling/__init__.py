"""From logits to a token: `TokenChooser`, one for each request."""

from phi4local.engine.sampling.chooser import Choice, TokenChooser

__all__ = ["Choice", "TokenChooser"]
