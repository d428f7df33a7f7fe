"""Temperature schedules: from `start` at the first search step to `end` at the last, in their own curves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from real_trials import Recorder, experiment

from precsearch.experiment import TemperatureSettings
from precsearch.training.schedules import SCHEDULES, temperature_at
from precsearch.trial import run_trial


@pytest.mark.parametrize(
    ("schedule", "half", "quarter"),
    [
        ("constant", 2.0, 2.0),
        ("linear", 1.1, 1.55),
        ("exponential", math.sqrt(2.0 * 0.2), 2.0 * 0.1**0.25),
        ("cosine", 1.1, 0.2 + 0.9 * (1 + math.sqrt(0.5))),
    ],
)
def test_curves(schedule: str, half: float, quarter: float) -> None:
    settings = TemperatureSettings.model_validate({"start": 2.0, "end": 0.2, "schedule": schedule})
    assert temperature_at(settings, 0.0) == 2.0
    assert temperature_at(settings, 0.25) == pytest.approx(quarter)
    assert temperature_at(settings, 0.5) == pytest.approx(half)
    assert temperature_at(settings, 1.0) == pytest.approx(2.0 if schedule == "constant" else 0.2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_trial_follows_its_schedule_while_it_searches(tmp_path: Path, schedule: str) -> None:
    document = experiment(f"inner.temperature={{start: 3.0, end: 0.3, schedule: {schedule}}}")
    session = Recorder(tmp_path)
    run_trial(document, session)
    told = [p.metrics["temperature"] for p in session.told if "temperature" in p.metrics]
    last = [0.0, 2 / 6, 5 / 6]  # what the last step of the warm-up and of each of two searches of 3 steps is at
    assert told == [pytest.approx(temperature_at(document.inner.temperature, progress)) for progress in last]
    assert ["temperature" in p.metrics for p in session.told] == [True, True, True, False, False]
