"""Programs that measure phi4local and its peers side by side in one run; results in `results/`."""
