"""Where in a file, or on the command line, a value stands; and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from precsearch.errors import ConfigurationError

Trail = tuple[str | int, ...]  # keys and indices from the top of the document; a key of `space` is one entry


@dataclass(frozen=True, order=True)
class Place:
    """A line and a column of a source, from 1; line 0 where the source has no lines."""

    line: int
    column: int
    source: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Finding:
    """Something wrong with the value at `trail`, or with the last key of it."""

    trail: Trail
    message: str
    at_key: bool = False

    @property
    def path(self) -> str:
        """The trail as text, such as ``study.objectives[0].metric``."""
        text = ""
        for part in self.trail:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text


@dataclass(frozen=True, order=True)
class Problem:
    """A finding, placed; its text is one line."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass
class Places:
    """Trail -> place, for keys and for values.

    Attributes:
        top: the place of whatever is not in the source, such as a default.
    """

    top: Place
    keys: dict[Trail, Place] = field(default_factory=dict)
    values: dict[Trail, Place] = field(default_factory=dict)
    overrides: dict[Trail, Place] = field(default_factory=dict)

    def override(self, trail: Trail, place: Place) -> None:
        """From now on `trail` and everything below it stands at `place`."""
        for known in (self.keys, self.values):
            for other in [other for other in known if other[: len(trail)] == trail]:
                del known[other]
            known[trail] = place
        self.overrides[trail] = place

    def problem(self, finding: Finding) -> Problem:
        """Place a finding: at its value, at its key, or at the nearest block around it in the source."""
        known = self.keys if finding.at_key else self.values
        around = (finding.trail[:n] for n in range(len(finding.trail), -1, -1))
        place = next((known[trail] for trail in around if trail in known), self.top)
        said_already = place.source.startswith(f"--set {finding.path}=")
        where = "" if said_already or not finding.trail else f"{finding.path}: "
        inside = [
            str(other)
            for trail, other in self.overrides.items()
            if len(trail) > len(finding.trail) > 0 and trail[: len(finding.trail)] == finding.trail
        ]
        after = f" (after {', '.join(inside)})" if inside and not finding.at_key else ""
        return Problem(place, where + finding.message + after)


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise one error that lists every problem, a line each, in the order of the source.

    Raises:
        ConfigurationError: when there is a problem.
    """
    if found := sorted(set(problems)):
        raise ConfigurationError("\n".join(str(problem) for problem in found))
