"""The best file for a given size: errors are measured, then types are chosen."""

from phi4local.convert.fitting.choice import SizeChoice, choose_for_size
from phi4local.convert.fitting.recipe import read_recipe, recipe_text

__all__ = ["SizeChoice", "choose_for_size", "read_recipe", "recipe_text"]
