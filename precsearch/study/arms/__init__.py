"""Running the arms of a `compare` or a `grid`: planned, tuned, trained, all of them kept."""
