"""Bits of gradients in trials and studies: fixed, searched by the outer search, or drawn at random under a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_trials import Watcher
from real_trials import Interrupted, Recorder, experiment, left, train

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment, apply_point, with_overrides
from precsearch.precision.samplers.learned import PerturbAndMap
from precsearch.quantization import gradients
from precsearch.results import RunDirectory
from precsearch.study.driver import run_study
from precsearch.trial import run_trial

ALL = "inner.targets=[weight, activation, gradient]"
LIMITS = "inner.budget={kind: average_bits, limit: {weight: 3, activation: 3, gradient: 5}}"


@pytest.fixture
def steps_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Levels of every gradient that was rounded, counted in steps: 2^b - 1."""
    seen: list[int] = []
    plain = gradients.round_gradient

    def spied(gradient: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        seen.append(int(steps))
        return plain(gradient, steps)

    monkeypatch.setattr(gradients, "round_gradient", spied)
    return seen


class TestFixed:
    def test_pinned_they_are_rounded_to_these_bits_in_every_step(self, tmp_path: Path, steps_seen: list[int]) -> None:
        session = Recorder(tmp_path)
        document = experiment(ALL, "inner.pin={'*': {gradient: 6}}", "inner.budget.limit=3")
        result = run_trial(document, session)
        assert set(steps_seen) == {2**6 - 1}
        assert len(steps_seen) == 3 * (2 + 2) * 3  # layers x epochs but the warm-up x batches
        assert {layer.bits("gradient") for layer in result.allocation.layers} == {6}
        assert result.metrics["average_bits_gradient"] == 6
        assert session.told[-1].metrics["train_loss"] < session.told[0].metrics["train_loss"]
        assert result.allocation.budget is not None
        assert set(result.allocation.budget.by_target) == {"weight", "activation"}

    def test_uniform(self, tmp_path: Path, steps_seen: list[int]) -> None:
        train(tmp_path, ALL, LIMITS, "inner.sampler=uniform", "inner.bits=[2, 3, 4, 5]")
        assert set(steps_seen) == {2**5 - 1}

    def test_one_layer_by_its_path(self) -> None:
        document = experiment(ALL, "inner.pin={fc1: {weight: 8}}", "inner.pin.fc1.gradient=4", "inner.pin.out=float")
        assert document.inner.pin == {"fc1": {"weight": 8, "gradient": 4}, "out": "float"}
        with pytest.raises(ConfigurationError, match="1 <= bits <= 16"):
            experiment(ALL, "inner.pin.*.gradient=17")

    def test_names_with_dots_are_names(self) -> None:
        document = experiment("inner.pin.block1.0.conv1=4", "inner.pin.block2.conv1.weight=5", "inner.pin.gradient=6")
        assert document.inner.pin == {"block1.0.conv1": 4, "block2.conv1": {"weight": 5}, "gradient": 6}


class TestSearchedOutside:
    def space(self, dimension: str, *more: str) -> Experiment:
        short = "inner.epochs={warmup: 0, search: 1, finetune: 1}"
        study = "study={n_trials: 3, baselines: [], sampler: {name: grid}}"
        return with_overrides(experiment(ALL, short, *more), [f"space={{{dimension}}}", study])

    @pytest.mark.parametrize(
        ("dimension", "path"),
        [
            ("'inner.pin.*.gradient': {type: int, low: 4, high: 8, step: 2}", "inner.pin.*.gradient"),
            ("'inner.budget.limit.gradient': {type: categorical, choices: [4, 6, 8]}", "inner.budget.limit.gradient"),
        ],
    )
    def test_by_a_study(self, tmp_path: Path, dimension: str, path: str, steps_seen: list[int]) -> None:
        by_limit = "limit" in path
        more = (LIMITS, "inner.sampler=uniform", "inner.bits=[2, 3, 4, 6, 8]") if by_limit else ()
        directory = RunDirectory(tmp_path)
        run_study(self.space(dimension, *more), directory, Watcher())
        records = directory.records()
        assert [record.state for record in records] == ["complete"] * 3
        found = {record.params[path]: record.metrics["average_bits_gradient"] for record in records}
        assert found == {4: 4, 6: 6, 8: 8}
        assert set(steps_seen) == {2**bits - 1 for bits in found}

    def test_candidates_as_text(self) -> None:
        document = self.space(
            "'inner.candidates.*.gradient': {type: categorical, choices: ['4,8', '6']}",
            "inner.budget={kind: average_bits, limit: {weight: 3, activation: 3, gradient: 8}}",
        )
        for text, bits in (("4,8", (4, 8)), ("6", (6,))):
            assert apply_point(document, {"inner.candidates.*.gradient": text}).inner.candidates == {
                "*": {"gradient": bits}
            }

    def test_a_wrong_end_is_told_before_anything_runs(self) -> None:
        with pytest.raises(ConfigurationError, match=r"`inner.pin.\*.gradient` cannot be 17: .*1 <= bits <= 16"):
            self.space("'inner.pin.*.gradient': {type: int, low: 4, high: 17}")


class TestDrawn:
    def test_at_random_under_the_budget_and_never_learned(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_seen: list[int]
    ) -> None:
        draws: list[Any] = []
        samplers: list[PerturbAndMap] = []
        plain = PerturbAndMap.draw

        def spied(self: PerturbAndMap, temperature: float) -> Any:
            drawn = plain(self, temperature)
            samplers.append(self)
            if torch.is_grad_enabled():
                draws.append(drawn.candidates)
            return drawn

        monkeypatch.setattr(PerturbAndMap, "draw", spied)
        result = train(
            tmp_path, ALL, LIMITS, "inner.regularization.kind=none", "inner.stochastic=true", "inner.logits.lr=0.3",
            "inner.epochs={warmup: 1, search: 4, finetune: 4}",
        )  # fmt: skip
        sampler = samplers[0]
        problem = sampler.problem
        of_gradients = np.array([slot.name.endswith("gradient") for slot in problem.slots])
        assert of_gradients.sum() == 3
        assert all((problem.spent(candidates) <= problem.limits).all() for candidates in draws)
        assert len({tuple(candidates[of_gradients]) for candidates in draws}) > 3
        logits = sampler.logits.detach()
        assert not logits[of_gradients].any() and logits[~of_gradients].any()
        assert {int(np.log2(steps + 1)) for steps in steps_seen} <= {2, 3, 4, 8} and len(set(steps_seen)) > 1
        assert result.metrics["average_bits_gradient"] <= 5

    def test_interrupted_and_resumed_it_is_the_same(self, tmp_path: Path) -> None:
        """The noise of the rounding comes from the generator that the checkpoint has."""
        through = left(tmp_path / "through", train(tmp_path / "through", ALL, LIMITS))
        with pytest.raises(Interrupted):
            run_trial(experiment(ALL, LIMITS), Recorder(tmp_path / "cut", die_after=[2]))
        assert left(tmp_path / "cut", run_trial(experiment(ALL, LIMITS), Recorder(tmp_path / "cut"))) == through
