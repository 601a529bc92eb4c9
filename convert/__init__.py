"""The converter's workshop in a checkout; the machinery is `phi4local.convert`."""
