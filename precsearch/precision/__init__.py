"""The precision distribution: what it costs, how it is drawn under a budget, how it learns."""
