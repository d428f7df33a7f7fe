"""Runs of kind `compare` and `grid`, read for people and machines."""
