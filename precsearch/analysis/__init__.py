"""Reading results: fronts, trade-offs, statistics and verdicts. No torch here."""
