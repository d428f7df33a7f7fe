"""Fake quantization: grids, ranges, and the one-branch function whose gradient reaches the bit-width."""
