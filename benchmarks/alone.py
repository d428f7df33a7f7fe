"""A trial outside any study: trained from its start, and told to nobody."""

from __future__ import annotations

from pathlib import Path

from precsearch.results import Progress


class AloneSession:
    """The `Session` of such a trial.

    Args:
        seed: of everything random in it.
        directory: to write to.
    """

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.directory = directory

    def resume(self) -> Path | None:
        """Nothing: it is trained from its start."""
        return None

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        """Heard by nobody."""
