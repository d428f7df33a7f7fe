"""What the YAML of a `compare` or a `grid` may say, and what its cells and arms are."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from made_arms import COMPARE, GRID, make_compare, make_grid

from precsearch.experiment import ARM_KINDS
from precsearch.experiment.compare import ArmKind
from precsearch.experiment.loading import dump_experiment, load_experiment, load_experiment_text


@pytest.mark.parametrize("text", [COMPARE, GRID])
def test_written_out_and_read_again_it_is_the_same(text: str) -> None:
    experiment = load_experiment_text(text)
    assert load_experiment_text(dump_experiment(experiment)) == experiment


def test_every_kind_of_arm_is_registered() -> None:
    assert list(ARM_KINDS) == list(get_args(ArmKind))


def test_made_runs_are_read(tmp_path: Path) -> None:
    run = make_compare(tmp_path / "compare", failed=((0, "learned", 2),))
    read = run.trainings()
    assert len(read) == 2 * 4 * 6 and [folder.name for folder, r in read if r.state == "failed"] == ["0000-learned-02"]
    assert {r.label for _, r in read} == set(load_experiment(run.experiment).compare.arms)  # type: ignore[union-attr]
    run = make_grid(tmp_path / "grid", seeds=2)
    assert len(run.trainings()) == 2 * (8 * 7 + 2 * 3 * 5)
    for folder, record in run.trainings():
        assert folder == run.training(record.number, record.label, record.index)
