"""A trial that was interrupted after any epoch and run again is the trial that ran through, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from real_trials import Interrupted, Recorder, experiment, left, train

from precsearch.errors import RunDirectoryError
from precsearch.trial import run_trial

EPOCHS = 5
NOISY = "model={name: mlp, hidden: [12, 10], dropout: 0.3, batch_norm: true, activation: gelu}"
CASES = {
    "plain": (),
    "dropout and batch norm": (NOISY,),
    "alternate": (NOISY, "inner.logits.update=alternate"),
    "sgd": (NOISY, "inner.optimizer={name: sgd, lr: 0.05, weight_decay: 1e-4}"),
    "alternate with sgd": ("inner.logits.update=alternate", "inner.optimizer={name: sgd, lr: 0.05}"),
    "multinomial": ("inner.sampler=multinomial",),
    "gumbel-softmax": (NOISY, "inner.sampler=gumbel-softmax"),
    "range": (NOISY, "inner.budget={kind: average_bits, range: [2.0, 6.0]}"),
    "range, multinomial": ("inner.budget.range=[2,6]", "inner.sampler=multinomial"),
    "random": ("inner.sampler=random",),
    "symmetric channels": (NOISY, "inner.quantizer=symmetric", "inner.granularity=channel", "inner.pin.out=float"),
    "search last": (NOISY, "inner.epochs={warmup: 2, search: 3, finetune: 0}"),
    "warm-up only": (NOISY, "inner.epochs={warmup: 5, search: 0, finetune: 0}"),
}


@pytest.mark.parametrize("case", CASES)
def test_interrupted_after_every_epoch(tmp_path: Path, case: str) -> None:
    document = experiment(*CASES[case])
    through = left(tmp_path / "through", train(tmp_path / "through", *CASES[case]))
    told: list[int] = []
    for sessions in range(1, EPOCHS + 1):
        session = Recorder(tmp_path / "cut", die_after=range(1, EPOCHS + 1))
        with pytest.raises(Interrupted):
            run_trial(document, session)
        assert session.resumed == (sessions > 1)
        told += [progress.step for progress in session.told]
    assert told == [1, *(step for again in range(1, EPOCHS) for step in (again, again + 1))]
    last = Recorder(tmp_path / "cut")
    assert left(tmp_path / "cut", run_trial(document, last)) == through
    assert [progress.step for progress in last.told] == [EPOCHS]


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_interrupted_once(tmp_path: Path, epoch: int) -> None:
    document = experiment(NOISY)
    through = left(tmp_path / "through", train(tmp_path / "through", NOISY))
    with pytest.raises(Interrupted):
        run_trial(document, Recorder(tmp_path / "cut", die_after=[epoch]))
    assert len((tmp_path / "cut" / "steps.jsonl").read_text().splitlines()) == epoch
    session = Recorder(tmp_path / "cut")
    assert left(tmp_path / "cut", run_trial(document, session)) == through
    assert [progress.step for progress in session.told] == list(range(epoch, EPOCHS + 1))


def test_steps_that_a_kill_left_beyond_the_checkpoint_are_trained_again(tmp_path: Path) -> None:
    through = left(tmp_path / "through", train(tmp_path / "through", NOISY))
    with pytest.raises(Interrupted):
        run_trial(experiment(NOISY), Recorder(tmp_path / "cut", die_after=[2]))
    steps = tmp_path / "cut" / "steps.jsonl"
    steps.write_bytes(b"".join(through["steps.jsonl"].splitlines(keepends=True)[:3]))
    assert left(tmp_path / "cut", run_trial(experiment(NOISY), Recorder(tmp_path / "cut"))) == through


def test_the_process_around_makes_no_difference(tmp_path: Path) -> None:
    """Neither what the process drew before nor how it is seeded: a resumed study runs in another one."""
    first = left(tmp_path / "a", train(tmp_path / "a", NOISY))
    torch.manual_seed(99)
    torch.rand(7)
    assert left(tmp_path / "b", train(tmp_path / "b", NOISY)) == first


@pytest.mark.parametrize("damage", ["cut short", "empty", "text"])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    with pytest.raises(Interrupted):
        run_trial(experiment(), Recorder(tmp_path, die_after=[1]))
    path = tmp_path / "checkpoint" / "state.pt"
    whole = path.read_bytes()
    path.write_bytes({"cut short": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(RunDirectoryError, match=r"cannot read the checkpoint .*state\.pt.*delete") as caught:
        run_trial(experiment(), Recorder(tmp_path))
    assert "\n" not in str(caught.value)
