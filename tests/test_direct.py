"""Direct quantization: trained float weights rounded and measured as they are; retraining from the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_trials import Watcher
from real_trials import Recorder, experiment, left, train
from safetensors.torch import load_file
from torch import nn

from precsearch import apply_allocation
from precsearch.allocation import Allocation
from precsearch.conversion import quantizers_of
from precsearch.data import load_data
from precsearch.errors import ConfigurationError, ModelError
from precsearch.evaluation.accuracy import measure
from precsearch.layers import weights_of
from precsearch.models import build_model
from precsearch.quantization.quantizers import WeightQuantizer
from precsearch.results import RunDirectory, read_steps
from precsearch.study.driver import run_study
from precsearch.trial import inspect_trial, run_trial

NONE = "inner.epochs={warmup: 0, search: 0, finetune: 0}"
FLOAT = "inner.sampler=float"
SUNG = ("inner.quantizer=symmetric", "inner.sampler=uniform")
NETS = {
    "mlp": "model={name: mlp, hidden: [12, 10]}",
    "mlp with batch norm": "model={name: mlp, hidden: [12], batch_norm: true}",
    "lenet5": "model={name: lenet5}",
    "convnet": "model={name: convnet, width: 0.25}",
    "resnet20": "model={name: resnet20, width: 0.25}",
}
FEW = ("data.train_limit=128", "data.validation=64")


def weights(folder: Path) -> str:
    return f"model.checkpoint={folder / 'weights.safetensors'}"


def _larger(folder: Path) -> tuple[str, ...]:
    """The digits at 16 x 16, which a LeNet can take."""
    data = load_data(experiment().data)
    made = {}
    for name in ("train", "test"):
        split = getattr(data, name)
        made[f"{name}_inputs"] = np.kron(split.inputs.numpy(), np.ones((1, 1, 2, 2), np.float32))
        made[f"{name}_targets"] = split.targets.numpy()
    np.savez(folder / "digits.npz", **made)
    return (f"data={{name: arrays, path: {folder / 'digits.npz'}, train_limit: 128, validation: 40}}",)


@pytest.fixture(scope="module", params=NETS)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, ...], Path, Any]:
    """What the float trial of each network leaves."""
    folder = tmp_path_factory.mktemp("float")
    net = (NETS[request.param], *FEW, *(_larger(folder) if request.param == "lenet5" else ()))
    epochs = "inner.epochs={warmup: 1, search: 0, finetune: 1}"
    return net, folder, train(folder, *net, FLOAT, epochs)


class TestDirect:
    def test_it_is_the_float_network_with_rounded_weights(
        self, trained: tuple[tuple[str, ...], Path, Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        net, folder, _ = trained
        given = (*net, *SUNG, "inner.budget={kind: layer_bits, limit: 3}", "inner.bits=[2, 3, 4]", weights(folder))
        session = Recorder(tmp_path)
        result = run_trial(experiment(*given, NONE), session)
        assert session.told == [] and read_steps(tmp_path) == ()
        assert (tmp_path / "steps.jsonl").read_bytes() == b""
        assert not recwarn.list  # float weights, named as the model names them
        assert {layer.bits(t) for layer in result.allocation.layers for t in ("weight", "activation")} == {3}
        before, after = load_file(folder / "weights.safetensors"), load_file(tmp_path / "weights.safetensors")
        for name, value in before.items():
            if "running" in name or "num_batches" in name:
                continue
            parent, _, leaf = name.rpartition(".")
            stored = after.get(name, after.get(f"{parent}.parametrizations.{leaf}.original"))
            assert stored is not None and torch.equal(stored, value), name
        # what it computes with is on the grid of seven levels, L2-optimal for these very weights
        document = experiment(*given)
        data = load_data(document.data)
        model = build_model(document.model.model_copy(update={"checkpoint": None}), data.input_shape, data.classes)
        apply_allocation(model, Allocation.from_json(tmp_path / "allocation.json"))
        model.load_state_dict(after)
        for name, weight in weights_of(model).items():
            (quantizer,) = quantizers_of(weight)["weight"]
            assert isinstance(quantizer, WeightQuantizer)
            code = weight.value / quantizer.ranges().step
            torch.testing.assert_close(code, code.round(), atol=1e-4, rtol=0)
            assert len(code.round().unique()) <= 7, name
            fresh = WeightQuantizer([3], "l2", "tensor", weight.channels, "symmetric")
            fresh(weight.stored)
            torch.testing.assert_close(quantizer.reach, fresh.reach, rtol=0.05, atol=0)
        assert measure(model, data.test).accuracy == result.metrics["test_accuracy"]

    def test_many_bits_change_nothing_to_speak_of(
        self, trained: tuple[tuple[str, ...], Path, Any], tmp_path: Path
    ) -> None:
        net, folder, before = trained
        given = (*net, *SUNG, "inner.bits=[2, 12]", "inner.budget={kind: layer_bits, limit: 12}", weights(folder))
        with pytest.warns(match="binds nowhere"):
            result = train(tmp_path, *given, NONE)
        if "batch" in net[0] or "resnet" in net[0]:  # their statistics are taken anew, as for every allocation
            assert result.metrics["train_loss"] == pytest.approx(before.metrics["train_loss"], rel=0.3)
        else:
            assert result.metrics["train_loss"] == pytest.approx(before.metrics["train_loss"], rel=0.02)

    def test_retraining_starts_from_the_same_weights_and_gains(
        self, trained: tuple[tuple[str, ...], Path, Any], tmp_path: Path
    ) -> None:
        net, folder, _ = trained
        given = (*net, *SUNG, "inner.budget={kind: layer_bits, limit: 2}", "inner.bits=[2, 3]", weights(folder))
        direct = train(tmp_path / "direct", *given, NONE)
        retrained = train(
            tmp_path / "retrained", *given, "inner.epochs={warmup: 0, search: 0, finetune: 4}",
            "inner.optimizer.finetune_lr=0.01",
        )  # fmt: skip
        assert direct.allocation.bits() == retrained.allocation.bits()
        assert retrained.metrics["train_loss"] < direct.metrics["train_loss"]
        assert retrained.allocation.provenance["weights"] == direct.allocation.provenance["weights"]

    def test_the_same_again(self, trained: tuple[tuple[str, ...], Path, Any], tmp_path: Path) -> None:
        net, folder, _ = trained
        given = (*net, *SUNG, "inner.budget={kind: layer_bits, limit: 2}", "inner.bits=[2, 3]", weights(folder))
        first, second = (left(tmp_path / n, train(tmp_path / n, *given, NONE, seed=3)) for n in ("a", "b"))
        assert first == second


@pytest.mark.parametrize("sampler", ["fixed", "random", "float"])
def test_other_samplers_that_learn_nothing(tmp_path: Path, sampler: str) -> None:
    before = train(tmp_path / "float", FLOAT)
    given = ["inner.allocation=[4, 8, 3]", "inner.budget.limit=6"] if sampler == "fixed" else []
    result = train(tmp_path / "direct", f"inner.sampler={sampler}", *given, weights(tmp_path / "float"), NONE)
    if sampler == "fixed":
        assert list(result.allocation.bits().values()) == [4, 8, 3]
    if sampler == "float":
        assert result.metrics["test_loss"] == before.metrics["test_loss"]


def test_one_layer_alone(tmp_path: Path) -> None:
    """As layer-wise sensitivity has it: all others are pinned to float32."""
    before = train(tmp_path / "float", FLOAT)
    losses = {}
    for bits in (2, 8):
        losses[bits] = train(
            tmp_path / str(bits), *SUNG, "inner.pin={fc1: float, out: float}", f"inner.candidates={{fc2: [{bits}]}}",
            f"inner.budget={{kind: layer_bits, limit: {bits}}}", "inner.targets=[weight]", weights(tmp_path / "float"),
            NONE,
        ).metrics["train_loss"]  # fmt: skip
    assert abs(losses[8] - before.metrics["train_loss"]) < abs(losses[2] - before.metrics["train_loss"])


def test_through_a_study(tmp_path: Path) -> None:
    train(tmp_path / "float", FLOAT)
    document = experiment(
        *SUNG, NONE, weights(tmp_path / "float"), "study={n_trials: 3, baselines: [random], sampler: {name: grid}}",
        "space={inner.budget.limit: {type: categorical, choices: [2, 3, 4]}}",
    )  # fmt: skip
    directory = RunDirectory(tmp_path / "run")
    run_study(document, directory, Watcher())
    records = directory.records()
    assert [record.state for record in records] == ["complete"] * 3
    assert all(record.state == "complete" for record in directory.baselines())


class TestRefused:
    @pytest.mark.parametrize(
        "given", [(), SUNG, ("model.checkpoint=w.safetensors",), ("model={name: resnet18}", *SUNG)]
    )  # fmt: skip
    def test_without_trained_weights_or_with_a_search_something_must_be_learned(self, given: tuple[str, ...]) -> None:
        with pytest.raises(ConfigurationError, match=r"inner: at least one epoch .* give `model.checkpoint`") as raised:
            experiment(*given, NONE)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("given", [("model={name: resnet18, weights: DEFAULT}",), ("model={name: 'mine:net'}",)])
    def test_weights_may_come_another_way(self, given: tuple[str, ...]) -> None:
        assert experiment(*given, *SUNG, NONE).inner.epochs.search == 0

    @pytest.mark.parametrize(
        ("net", "says"),
        [
            ("model={name: mlp, hidden: [12]}", r"of 4 tensors in the model, .* has 2 unexpected \(fc2.*of another"),
            (
                "model={name: mlp, hidden: [12, 11]}",
                r"of another shape \(fc2.weight \[10, 12\] in the file and \[11, 1",
            ),
            ("model={name: resnet20, width: 0.25}", r"tensors in the model, .* missing \(conv1.*; 6 unexpected \(fc1"),
        ],
    )
    def test_weights_of_another_network_are_one_clear_error(self, tmp_path: Path, net: str, says: str) -> None:
        folder = tmp_path / "float"
        folder.mkdir()
        train(folder, NETS["mlp"], FLOAT)
        document = experiment(net, *SUNG, NONE, weights(folder))
        for run in (inspect_trial, lambda document: run_trial(document, Recorder(tmp_path / "direct"))):
            with pytest.raises(ModelError, match=says) as raised:
                run(document)
            assert "`model.checkpoint`" in str(raised.value) and "\n" not in str(raised.value)

    def test_a_directory_is_told_its_file(self, tmp_path: Path) -> None:
        train(tmp_path / "float", FLOAT)
        with pytest.raises(ModelError, match=r"give .*float/weights\.safetensors"):
            train(tmp_path / "direct", *SUNG, NONE, f"model.checkpoint={tmp_path / 'float'}")


def test_batch_norm_is_taken_anew_over_all_images(tmp_path: Path) -> None:
    """Of the rounded network, each batch counting alike; weights and biases of the norm are left alone."""
    net = NETS["mlp with batch norm"]
    train(tmp_path / "float", net, FLOAT)
    given = (net, *SUNG, "inner.targets=[weight]", "inner.budget.limit=2", weights(tmp_path / "float"))
    train(tmp_path / "direct", *given, NONE)
    after = load_file(tmp_path / "direct" / "weights.safetensors")
    document = experiment(*given)
    data = load_data(document.data)
    model = build_model(document.model.model_copy(update={"checkpoint": None}), data.input_shape, data.classes)
    apply_allocation(model, Allocation.from_json(tmp_path / "direct" / "allocation.json"))
    model.load_state_dict(after)
    with torch.no_grad():
        hidden = model.fc1(data.train.inputs.flatten(1))  # type: ignore[attr-defined, operator]
    norm = model.norm1
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, hidden.mean(0), rtol=1e-4, atol=1e-4)  # batches of equal size
