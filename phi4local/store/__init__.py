"""Get and keep models: where everything lives, and what was converted before."""
