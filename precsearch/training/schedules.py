"""Temperature schedules, by name: progress 0 to 1 -> temperature."""

from __future__ import annotations

import math
from collections.abc import Callable

from precsearch.experiment import TemperatureSettings

SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "constant": lambda start, end, progress: start,
    "linear": lambda start, end, progress: start + (end - start) * progress,
    "exponential": lambda start, end, progress: start * (end / start) ** progress,
    "cosine": lambda start, end, progress: end + (start - end) * (1 + math.cos(math.pi * progress)) / 2,
}


def temperature_at(settings: TemperatureSettings, progress: float) -> float:
    """Temperature when `progress` (0 to 1) of the search is done."""
    return SCHEDULES[settings.schedule](settings.start, settings.end, progress)
