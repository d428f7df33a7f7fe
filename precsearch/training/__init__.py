"""One network learning: weights and precision distribution together."""
