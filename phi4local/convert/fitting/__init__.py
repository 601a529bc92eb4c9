"""The best file for a given size: errors are measured, then types are chosen."""

from phi4local.convert.fitting.choice import SizeChoice, choose_for_size

__all__ = ["SizeChoice", "choose_for_size"]
