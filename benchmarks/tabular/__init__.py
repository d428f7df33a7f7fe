"""A tabular benchmark: every allocation of a small net, trained with many seeds, and what finds the good ones."""
