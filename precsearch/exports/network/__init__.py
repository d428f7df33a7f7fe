"""Whole networks on their way out: what is written is run again before it is left. Torch is loaded here."""
