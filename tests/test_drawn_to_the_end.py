"""Precision that is drawn to the end: as many steps as any trial, under the budget, measured frozen and as drawn."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_trials import Watcher
from hypothesis import given, settings
from hypothesis import strategies as st
from real_trials import Interrupted, Recorder, experiment, left, train
from safetensors.torch import load_file
from torch import nn

from precsearch import Budget, SearchableModel, apply_allocation
from precsearch.allocation import Allocation
from precsearch.data import Batches, load_data
from precsearch.errors import ConfigurationError
from precsearch.evaluation.accuracy import measure
from precsearch.evaluation.bit_flips import measure_bit_flips
from precsearch.evaluation.calibration import calibration
from precsearch.evaluation.drawn import evaluate_drawn, measure_draws
from precsearch.evaluation.images import Images, input_range
from precsearch.evaluation.victims import MeanOverDraws, evaluating
from precsearch.evaluation.whole import evaluate_network
from precsearch.experiment import EvaluateSettings, apply_point
from precsearch.measured import DRAWN, read_evaluation
from precsearch.models import build_model
from precsearch.results import RunDirectory
from precsearch.searchable import SearchableModel as Searchable
from precsearch.study.driver import run_study
from precsearch.training.drawn import DrawnStage
from precsearch.trial import run_trial

STOCHASTIC = "inner.stochastic=true"
NOISY = "model={name: mlp, hidden: [12, 10], dropout: 0.3, batch_norm: true}"
SPLITS = ("train", "validation", "test")
ALL_OF_IT = (
    "evaluate={images: 30, draws: 4, attacks: [fgsm, pgd], norms: [linf, l2], epsilons: [0.1], l2_epsilons: [0.5], "
    "steps: 2, perturbation: true, corruptions: [blur], bit_flips: [1e-2], alone: true}"
)


def through(directory: Path, *overrides: str) -> tuple[Any, dict[str, Any]]:
    result = train(directory, STOCHASTIC, *overrides)
    return result, left(directory, result) | {"drawn": without_time(directory)}


def without_time(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / DRAWN).read_text())
    return found | {"seconds": 0}


class TestTrial:
    def test_what_it_leaves_is_a_frozen_network_and_what_the_drawn_one_measured(self, tmp_path: Path) -> None:
        result, _ = through(tmp_path, NOISY, "evaluate.draws=5")
        plain = {name for name in result.metrics if not name.startswith("drawn_")}
        measured = {n for n in plain if n.partition("_")[0] in {"train", "validation", "test", "generalization"}}
        single = {
            f"{split}_{what}_single" for split in ("train", "validation", "test") for what in ("loss", "accuracy")
        }
        assert set(result.metrics) - plain == {f"drawn_{name}" for name in measured | single}
        drawn, frozen = read_evaluation(tmp_path, DRAWN), read_evaluation(tmp_path)
        assert drawn is not None and frozen is not None
        assert (drawn.draws, frozen.draws, drawn.split) == (5, 1, "validation")
        assert result.metrics["drawn_validation_brier"] == drawn.calibration.brier
        assert result.metrics["drawn_validation_loss"] == pytest.approx(drawn.calibration.nll, abs=1e-6)
        assert result.metrics["drawn_validation_loss"] < result.metrics["drawn_validation_loss_single"]  # Jensen

        document = experiment(NOISY)
        data = load_data(document.data)
        model = build_model(document.model, data.input_shape, data.classes)
        apply_allocation(model, Allocation.from_json(tmp_path / "allocation.json"))
        model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
            assert measure(model, split).accuracy == result.metrics[f"{name}_accuracy"]

    def test_an_ordinary_trial_leaves_none_of_it(self, tmp_path: Path) -> None:
        result = train(tmp_path)
        assert not (tmp_path / DRAWN).exists()
        assert not any(name.startswith("drawn_") for name in result.metrics)

    @pytest.mark.parametrize("sampler", ["perturb-and-map", "multinomial"])
    def test_steps_batches_and_learning_rates_are_those_of_the_frozen_arm(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
    ) -> None:
        """The two arms part where the search ends, and differ in nothing but the allocation of each step."""
        from precsearch.training.stages import FinetuneStage

        seen: dict[str, list[Any]] = {}
        plain = FinetuneStage.weight_step

        def spied(self: FinetuneStage, inputs: torch.Tensor, targets: torch.Tensor) -> float:
            arm = "drawn" if isinstance(self, DrawnStage) else "frozen"
            rate = self.optimizer.param_groups[0]["lr"]
            seen.setdefault(arm, []).append((float(inputs.sum()), targets.tolist(), rate))
            return plain(self, inputs, targets)

        monkeypatch.setattr(FinetuneStage, "weight_step", spied)
        frozen = train(tmp_path / "frozen", NOISY, f"inner.sampler={sampler}")
        drawn = train(tmp_path / "drawn", NOISY, f"inner.sampler={sampler}", STOCHASTIC)
        assert seen["drawn"] == seen["frozen"] and len(seen["drawn"]) == 2 * 3
        assert drawn.allocation.bits() == frozen.allocation.bits()
        assert drawn.allocation.bits("activation") == frozen.allocation.bits("activation")
        lines = [(tmp_path / arm / "steps.jsonl").read_text().splitlines() for arm in ("frozen", "drawn")]
        assert lines[0][:3] == lines[1][:3] and lines[0][3:] != lines[1][3:] and len(lines[0]) == len(lines[1])

    @pytest.mark.parametrize(
        ("sampler", "epoch"),
        [("perturb-and-map", 3), ("perturb-and-map", 4), ("perturb-and-map", 5), ("multinomial", 4)],
    )
    def test_interrupted_and_resumed_it_is_the_same(self, tmp_path: Path, sampler: str, epoch: int) -> None:
        given = (NOISY, f"inner.sampler={sampler}")
        _, whole = through(tmp_path / "through", *given)
        folder = tmp_path / "again"
        with pytest.raises(Interrupted):
            run_trial(experiment(STOCHASTIC, *given), Recorder(folder, die_after=[epoch]))
        resumed = run_trial(experiment(STOCHASTIC, *given), Recorder(folder))
        assert left(folder, resumed) | {"drawn": without_time(folder)} == whole

    def test_probabilities_stay_and_draws_go_on_at_the_last_temperature(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        logits, temperatures, drawn = [], [], []
        plain = DrawnStage.weight_step

        def spied(self: DrawnStage, inputs: torch.Tensor, targets: torch.Tensor) -> float:
            value = plain(self, inputs, targets)
            logits.append(next(self.searchable.sampler.parameters()).detach().clone())
            temperatures.append(self.searchable.temperature)
            drawn.append(tuple(quantizer.chosen_bits for quantizer in self.searchable.quantizers))
            assert all(parameter.grad is not None for parameter in self.searchable.model.parameters())
            return value

        monkeypatch.setattr(DrawnStage, "weight_step", spied)
        through(tmp_path, "inner.epochs={warmup: 1, search: 2, finetune: 4}", "inner.logits.lr=0.3")
        assert all(torch.equal(each, logits[0]) for each in logits) and bool(logits[0].any())
        assert temperatures == [pytest.approx(0.2)] * 12
        assert len(set(drawn)) > 1

    def test_without_a_search_it_draws_at_random(self, tmp_path: Path) -> None:
        result, _ = through(tmp_path, "inner.epochs={warmup: 1, search: 0, finetune: 2}")
        assert result.metrics["drawn_validation_accuracy"] > 0.1

    def test_everything_is_measured_of_the_mean(self, tmp_path: Path) -> None:
        result, _ = through(tmp_path, ALL_OF_IT)
        drawn = read_evaluation(tmp_path, DRAWN)
        assert drawn is not None and drawn.draws == 4
        assert len(drawn.attacks) == 4 and drawn.masking and drawn.perturbations
        assert drawn.corruptions and drawn.bit_flips and len(drawn.alone) == 3 * 2 * 4
        assert {f"drawn_{name}" for name in drawn.metrics()} <= set(result.metrics)


def test_baselines_beside_it_and_confirmed_arms_settle(tmp_path: Path) -> None:
    document = experiment(
        STOCHASTIC, "inner.epochs={warmup: 0, search: 1, finetune: 1}", "evaluate.draws=2",
        "study={n_trials: 2, sampler: {name: random}, baselines: [uniform, random, float]}",
        "space={inner.budget.limit: {type: float, low: 2.5, high: 4}}",
    )  # fmt: skip
    directory = RunDirectory(tmp_path)
    run_study(document, directory, Watcher())
    assert {record.state for record in directory.records()} == {"complete"}
    beside = directory.baselines()
    assert {record.baseline for record in beside} == {"uniform", "random", "float"}
    assert {record.state for record in beside} == {"complete"}
    assert not list(tmp_path.glob("baselines/*/drawn.json")) and len(list(tmp_path.glob("trials/*/drawn.json"))) == 2
    assert all("drawn_test_accuracy" in record.metrics for record in directory.records())
    for kind, allocation in (("fixed", "x.json"), ("uniform", None), ("float", None)):
        at = apply_point(document, document.inner.settled(kind, allocation))
        assert (at.inner.sampler, at.inner.stochastic, at.inner.allocation) == (kind, False, allocation)
    noisy = experiment("inner.sampler=float", "inner.noise.kind=weight")
    kinds = [apply_point(noisy, noisy.inner.settled(kind)).inner.noise.kind for kind in ("uniform", "float")]
    assert kinds == ["none", "weight"]


class TestRefused:
    @pytest.mark.parametrize("sampler", ["uniform", "random", "float", "gumbel-softmax", "fixed"])
    def test_samplers(self, sampler: str) -> None:
        given = ["inner.allocation=[2, 2, 2]"] if sampler == "fixed" else []
        why = "may break the budget" if sampler == "gumbel-softmax" else "which draws nothing"
        with pytest.raises(ConfigurationError, match=f"`stochastic: true` needs .* got '{sampler}'.*{why}"):
            experiment(STOCHASTIC, f"inner.sampler={sampler}", *given)

    def test_a_range(self) -> None:
        with pytest.raises(ConfigurationError, match=r"draws under one limit .* \[2, 4\]; give a `limit` alone"):
            experiment(STOCHASTIC, "inner.budget.range=[2, 4]")


def made(kind: str, limit: Any, seed: int, sampler: str = "perturb-and-map") -> SearchableModel:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    searchable = SearchableModel(
        net, Budget(kind, limit), torch.rand(4, 6), bits=[2, 3, 4, 8], sampler=sampler, seed=seed
    )  # fmt: skip
    with torch.no_grad():
        for logits in searchable.sampler.parameters():
            logits.copy_(torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed)))
    return searchable


class TestBudget:
    @given(
        st.floats(2, 6), st.integers(0, 10**6), st.sampled_from(["perturb-and-map", "multinomial"]),
        st.sampled_from(["average_bits", "layer_bits"]),
    )  # fmt: skip
    @settings(max_examples=25, deadline=None)
    def test_every_draw_of_the_fine_tune_and_of_the_evaluation_keeps_it(
        self, limit: float, seed: int, sampler: str, kind: str
    ) -> None:
        searchable = made(kind, limit, seed, sampler)
        searchable.sampler.hold()
        problem, x = searchable.plan.problem, torch.rand(5, 6)
        columns = [problem.bits.index] * len(problem.slots)
        for _ in range(5):
            searchable.train()(x).sum().backward()
            own = [quantizers[0].chosen_bits for quantizers in searchable.dials.quantizers]
            spent = problem.spent(np.array([index(bits) for index, bits in zip(columns, own, strict=True)]))
            assert (spent <= problem.limits).all()
            assert all(logits.grad is None for logits in searchable.sampler.parameters())
        with evaluating(searchable, 8, seed) as mean:
            assert isinstance(mean, MeanOverDraws) and len(mean.drawn) == 8
            assert all((problem.spent(candidates) <= problem.limits).all() for candidates in mean.drawn)
        assert searchable.training

    def test_held_draws_are_those_of_a_search_that_stands_still(self) -> None:
        for sampler in ("perturb-and-map", "multinomial"):
            free, held = (made("average_bits", 3.0, 5, sampler) for _ in range(2))
            held.sampler.hold()
            x = torch.rand(5, 6)
            for _ in range(6):
                assert torch.equal(free.train()(x), held.train()(x))


class TestMean:
    def searchable(self) -> Searchable:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
        model = Searchable(net, Budget("average_bits", 3.0), self.data().train.first(4).inputs, bits=[2, 3, 4, 8])  # type: ignore[attr-defined]
        model.train()
        for inputs, _ in Batches(self.data().train.first(256), 64):
            model(inputs)
        return model

    @staticmethod
    def data() -> Any:
        return load_data(experiment("data.train_limit=null").data)

    def probabilities(self, model: Searchable, inputs: torch.Tensor, draws: int, seed: int) -> list[torch.Tensor]:
        """By hand: of each draw, in evaluation mode."""
        twin = copy.deepcopy(model)
        twin.generator.manual_seed(seed)
        drawn = [twin.sampler.draw(twin.temperature).candidates for _ in range(draws)]
        assert len({tuple(each) for each in drawn}) > 1
        twin.eval()
        found = []
        for candidates in drawn:
            twin.dials.set(candidates)
            found.append(twin.model(inputs).softmax(1).detach())
        return found

    def test_loss_and_accuracy_by_hand(self) -> None:
        model, split = self.searchable(), self.data().validation
        found = self.probabilities(model, split.inputs, 6, 3)
        with evaluating(model, 6, 3) as mean:
            assert isinstance(mean, MeanOverDraws)
            together, single = measure_draws(mean, split)
        average = torch.stack(found).mean(0)
        chosen = average.gather(1, split.targets[:, None])
        assert together.loss == pytest.approx(float(-chosen.log().mean()), rel=1e-5)
        assert together.accuracy == float((average.argmax(1) == split.targets).double().mean())
        alone = [float((each.argmax(1) == split.targets).double().mean()) for each in found]
        assert single.accuracy == pytest.approx(float(np.mean(alone)))
        losses = [float(nn.functional.nll_loss(each.log(), split.targets)) for each in found]
        assert single.loss == pytest.approx(float(np.mean(losses)), rel=1e-5)

    def test_calibration_corruptions_and_flips_are_of_the_mean(self) -> None:
        model, data = self.searchable(), self.data()
        wanted = EvaluateSettings(images=60, draws=5, corruptions=("contrast",), bit_flips=(0.02,), flip_draws=2)
        before = copy.deepcopy(model.state_dict())
        found = evaluate_network(model, data, wanted, "test", seed=4)
        average = torch.stack(self.probabilities(model, data.test.inputs, 5, 4)).mean(0)
        by_hand = calibration(average.log(), data.test.targets)
        assert found.calibration.brier == pytest.approx(by_hand.brier, rel=1e-5)
        assert found.calibration.nll == pytest.approx(by_hand.nll, rel=1e-5)

        from precsearch.evaluation.corruptions import corrupt

        images = Images.of(data.test, 60, input_range(data))
        changed = torch.stack(self.probabilities(model, corrupt(images, "contrast", 5, 4), 5, 4)).mean(0)
        right = float((changed.argmax(1) == images.targets).double().mean())
        assert found.corruptions[0].accuracies[4] == pytest.approx(right)

        # nothing is left behind
        assert model.training and all(torch.equal(a, b) for a, b in zip(
            before.values(), model.state_dict().values(), strict=True))  # fmt: skip

    def test_without_flips_it_is_the_mean_and_each_draw_has_flips_of_its_own(self) -> None:
        model, data = self.searchable(), self.data()
        images = Images.of(data.test, 200, input_range(data))
        with evaluating(model, 4, 1) as mean:
            assert isinstance(mean, MeanOverDraws)
            whole = float((mean(images.inputs).argmax(1) == images.targets).double().mean())
            (none,) = measure_bit_flips(mean, images, (0.0,), 1, 1)
            (some,) = measure_bit_flips(mean, images, (0.05,), 2, 1)
            (again,) = measure_bit_flips(mean, images, (0.05,), 2, 1)
        assert none.accuracies == (whole,)
        assert some == again and some.accuracies[0] != some.accuracies[1]

    def test_settled_a_network_is_measured_as_before(self) -> None:
        model = self.searchable().eval()
        wanted = EvaluateSettings(images=60, draws=5, bit_flips=(0.02,))
        found = evaluate_network(model, self.data(), wanted, "test", seed=4)
        assert found.draws == 1
        assert found.calibration.nll == pytest.approx(measure(model, self.data().test).loss, abs=1e-6)

    def test_metrics_have_the_plain_names(self) -> None:
        model, data = self.searchable(), self.data()
        wanted = EvaluateSettings(images=20, draws=3, attacks=("fgsm",), epsilons=(0.1,))
        evaluation, metrics = evaluate_drawn(model, data, wanted, "test", 2)
        assert {"drawn_test_accuracy", "drawn_test_fgsm_accuracy", "drawn_test_ece", "drawn_generalization_gap",
                "drawn_test_accuracy_single", "drawn_train_loss"} <= set(metrics)  # fmt: skip
        assert evaluation.attacks[0].epsilons == (0.0, 0.1) and evaluation.draws == 3
