"""A name → a running model: resolve, convert once, load. Assistant, server and bench stand on this."""
