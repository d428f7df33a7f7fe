"""Starting from a checkpoint: what training scripts write is read, and what does not fit is refused in words."""

from __future__ import annotations

import argparse
import hashlib
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from real_trials import Interrupted, Recorder, experiment, left, train
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from precsearch.data import load_data
from precsearch.errors import ModelError, PrecsearchWarning
from precsearch.evaluation.accuracy import measure
from precsearch.experiment import ModelSettings
from precsearch.models import build_model, starts, weights_used
from precsearch.study.tune_space import at_home
from precsearch.trial import inspect_trial, run_trial

SHAPE = (1, 8, 8)
State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _told_anew() -> None:
    starts._tell.cache_clear()


def build(checkpoint: Path | str | None, classes: int = 10, **settings: Any) -> nn.Module:
    given = {"name": "mlp", "hidden": [5, 4], "batch_norm": True, **settings}
    if checkpoint is not None:
        given["checkpoint"] = str(checkpoint)
    return build_model(ModelSettings.model_validate(given), SHAPE, classes)


def trained(classes: int = 10, **settings: Any) -> State:
    state: State = build(None, classes, **settings).state_dict()
    return {
        name: torch.rand_like(value) if value.is_floating_point() else torch.tensor(7) for name, value in state.items()
    }


def saved(folder: Path, content: Any, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def same(model: nn.Module, state: State) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


WRAPPED: dict[str, Any] = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"epoch": 3, "lr": torch.tensor(0.1), "state_dict": s},
    "model": lambda s: {"model": s, "optimizer": {"state": {}}},
    "nested": lambda s: {"model": {"state_dict": s}},
    "DataParallel": lambda s: prefixed(s, "module."),
    "Lightning": lambda s: {"state_dict": prefixed(s, "model."), "pytorch-lightning_version": "2"},
    "Lightning, compiled": lambda s: {"state_dict": prefixed(s, "model._orig_mod.")},
    "before 2018": lambda s: {name: value for name, value in s.items() if "num_batches" not in name},
    "half": lambda s: {n: v.half() if v.is_floating_point() else v for n, v in s.items()},
}


@pytest.mark.parametrize("form", WRAPPED)
def test_what_training_scripts_write_is_read(tmp_path: Path, form: str) -> None:
    state = trained()
    model = build(saved(tmp_path, WRAPPED[form](state)))
    for name, value in model.state_dict().items():
        if form == "before 2018" and "num_batches" in name:
            assert value == 0
        else:
            assert torch.equal(value, state[name].half().float() if form == "half" else state[name])


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_files_are_told_apart_by_content(tmp_path: Path, name: str) -> None:
    state = trained()
    save_file(state, tmp_path / name)
    assert same(build(tmp_path / name), state)
    assert same(build(saved(tmp_path, state, "b.safetensors")), state)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float8_e4m3fn])
def test_other_floating_point_types(tmp_path: Path, kind: torch.dtype) -> None:
    state = {name: value.to(kind) if value.is_floating_point() else value for name, value in trained().items()}
    loaded = build(saved(tmp_path, state)).state_dict()
    assert all(torch.equal(loaded[name], value.to(loaded[name].dtype)) for name, value in state.items())


def test_a_sparse_tensor(tmp_path: Path) -> None:
    state = trained()
    assert same(build(saved(tmp_path, {**state, "fc1.weight": state["fc1.weight"].to_sparse()})), state)


def test_a_checkpoint_of_the_old_torch_format(tmp_path: Path) -> None:
    state = trained()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(build(tmp_path / "old.pth"), state)


@settings(deadline=None, max_examples=30)
@given(hidden=st.lists(st.integers(1, 6), min_size=1, max_size=4), norm=st.booleans(), classes=st.integers(1, 5))
def test_a_state_dict_makes_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, hidden: list[int], norm: bool, classes: int
) -> None:
    state = trained(classes, hidden=hidden, batch_norm=norm)
    path = saved(tmp_path_factory.mktemp("round"), state)
    assert same(build(path, classes, hidden=hidden, batch_norm=norm), state)


def test_an_own_model_by_import_path_starts_from_a_checkpoint(tmp_path: Path) -> None:
    state = {"weight": torch.rand(3, 2), "bias": torch.rand(3)}
    settings = {"name": "torch.nn:Linear", "in_features": 2, "out_features": 3, "checkpoint": saved(tmp_path, state)}
    model = build_model(ModelSettings.model_validate({**settings, "checkpoint": str(settings["checkpoint"])}), (2,), 3)
    assert same(model, state)


@pytest.mark.parametrize("own", ["model", "module"])
def test_a_model_whose_own_names_look_like_a_prefix(own: str) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(own, nn.Linear(2, 3))

    source, target = Wrapper(), Wrapper()
    assert starts._named_alike(source.state_dict(), target.state_dict()).keys() == target.state_dict().keys()
    stripped = starts._named_alike(prefixed(source.state_dict(), "module."), target.state_dict())
    assert stripped.keys() == target.state_dict().keys()


def test_old_names_of_densenet() -> None:
    name = "features.denseblock1.denselayer1."
    renamed = starts._named_alike({name + "norm.1.weight": torch.ones(1)}, {name + "norm1.weight": torch.ones(1)})
    assert list(renamed) == [name + "norm1.weight"]


class TestAnotherNumberOfClasses:
    def test_the_head_starts_fresh_and_is_named_once(self, tmp_path: Path) -> None:
        state = trained(3)
        path = saved(tmp_path, state)
        torch.manual_seed(5)
        with pytest.warns(PrecsearchWarning, match="for 3 classes and the data has 10; out starts fresh") as told:
            model = build(path)
        assert len(told) == 1
        torch.manual_seed(5)
        untrained = build(None).state_dict()
        for name, value in model.state_dict().items():
            assert torch.equal(value, untrained[name] if name.startswith("out.") else state[name])
        build(path)  # warnings are errors: nothing is said again

    def test_a_hidden_layer_as_wide_as_the_classes_is_no_head(self, tmp_path: Path) -> None:
        path = saved(tmp_path, trained(hidden=[10, 3]))
        with pytest.raises(ModelError, match="of another shape"):
            build(path, hidden=[10, 4])
        with pytest.raises(ModelError, match="of another shape"):
            build(saved(tmp_path, trained(hidden=[9, 4])), hidden=[10, 4])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda s: {**s, "extra": torch.ones(1)}, r"has 1 unexpected \(extra\); build the model with"),
        (lambda s: {n: v for n, v in s.items() if n != "fc2.weight"}, r"has 1 missing \(fc2.weight\)"),
        (
            lambda s: {**s, "fc1.weight": torch.ones(5, 3)},
            r"1 of another shape \(fc1.weight \[5, 3\] in the file and \[5, 64\] here\)",
        ),
        (lambda s: prefixed(s, "backbone."), r"\d+ missing \(fc1.weight, .*, and \d+ more\); \d+ unexpected \(back"),
        (lambda s: {**s, "fc1.weight": torch.ones(5, 64, dtype=torch.int8)}, "fc1.weight in .* is torch.int8"),
        (lambda s: {**s, "fc1.weight": torch.full((5, 64), torch.nan)}, "fc1.weight in .* infinities or NaN"),
        (lambda s: {"epoch": 3, "loss": 0.1}, "alone or under one of state_dict, .* holds the keys epoch, loss"),
        (lambda s: {}, "holds nothing"),
        (lambda s: [1, 2], "holds a list"),
        (lambda s: {"state_dict": {}}, "holds nothing"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, content: Any, says: str) -> None:
    path = saved(tmp_path, content(trained()))
    with pytest.raises(ModelError, match=says) as caught:
        build(path)
    assert str(caught.value).startswith("`model.checkpoint`: ") and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class TestUnreadable:
    def refused(self, path: Path, says: str) -> None:
        with pytest.raises(ModelError, match=says) as caught:
            build(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    def test_pickled_code_is_not_run(self, tmp_path: Path) -> None:
        marker = tmp_path / "ran"

        class Evil:
            def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
                return Path.touch, (marker,)

        self.refused(saved(tmp_path, {"state_dict": trained(), "evil": Evil()}), "can run any code, so it is refused")
        assert not marker.exists()

    def test_python_objects_are_named(self, tmp_path: Path) -> None:
        content = {"model": trained(), "args": argparse.Namespace(lr=1)}
        self.refused(saved(tmp_path, content), r"holds Python objects \(argparse.Namespace\)")
        self.refused(saved(tmp_path, build(None)), "holds Python objects")

    def test_a_script_module(self, tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, but such files are about
            torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "s.pt"))
        self.refused(tmp_path / "s.pt", "cannot be read as one|holds Python objects")

    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x10" + 7 * b"\0" + b"{", b"PK\x03\x04 cut"])
    def test_other_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.pth").write_bytes(content)
        self.refused(tmp_path / "x.pth", "cannot be read as one")

    @pytest.mark.parametrize("kind", ["pth", "safetensors"])
    @settings(deadline=None, max_examples=30)
    @given(keep=st.floats(0, 0.99))
    def test_a_file_cut_short(self, tmp_path_factory: pytest.TempPathFactory, kind: str, keep: float) -> None:
        whole = tmp_path_factory.mktemp("cut") / f"x.{kind}"
        torch.save(trained(), whole) if kind == "pth" else save_file(trained(), whole)
        content = whole.read_bytes()
        whole.write_bytes(content[: int(keep * len(content))])
        self.refused(whole, "cannot be read as one")

    def test_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused(tmp_path / "none.pth", "cannot read .*No such file")
        self.refused(tmp_path, "Is a directory")
        saved(tmp_path, trained(), "weights.safetensors")
        self.refused(tmp_path, f"give {tmp_path}/weights.safetensors")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ModelError, match=f"{tmp_path}/x.pth"):
            build("x.pth")

    def test_two_starts(self, tmp_path: Path) -> None:
        path = saved(tmp_path, torch.nn.Linear(1, 1).state_dict())
        model = build_model(ModelSettings(name="squeezenet1_1"), (3, 32, 32), 2)
        whole = str(saved(tmp_path, model.state_dict(), "whole.pth"))
        both = ModelSettings.model_validate({"name": "squeezenet1_1", "weights": whole, "checkpoint": str(path)})
        with pytest.raises(ModelError, match=r"`model.checkpoint` or `model.weights` must be given, not both"):
            build_model(both, (3, 32, 32), 2)


class TestTrials:
    FLOAT = (
        "inner.bits=[16]",
        "inner.quantizer=symmetric",
        "inner.scale=max",
        "inner.budget.limit=16",
        "inner.sampler=uniform",
        "inner.epochs={warmup: 20, search: 0, finetune: 0}",
    )

    def test_a_float_run_of_ours_is_a_start(self, tmp_path: Path) -> None:
        """The recipe of docs/models.md: warm-up alone trains in float32, and 16 bits measure what it learned."""
        first = train(tmp_path / "float", *self.FLOAT)
        file = tmp_path / "float" / "weights.safetensors"
        raw = load_file(file)
        with pytest.warns(PrecsearchWarning, match="its float weights are taken, its bit-widths and ranges are not"):
            model = build(file, hidden=[12, 10], batch_norm=False)
        assert torch.equal(model.state_dict()["fc1.weight"], raw["fc1.parametrizations.weight.original"])
        data = load_data(experiment().data)
        learned = measure(model, data.train)  # in float32, never quantized
        assert math.isclose(learned.accuracy, first.metrics["train_accuracy"], abs_tol=1.5 / len(data.train))
        assert math.isclose(learned.loss, first.metrics["train_loss"], rel_tol=0.01)
        start = f"model.checkpoint={file}"
        again = train(tmp_path / "again", start, *self.FLOAT[:-1], "inner.epochs={warmup: 0, search: 0, finetune: 1}")
        fresh = train(tmp_path / "fresh", *self.FLOAT[:-1], "inner.epochs={warmup: 0, search: 0, finetune: 1}")
        accuracy = [each.metrics["train_accuracy"] for each in (first, again, fresh)]
        assert accuracy[1] > accuracy[0] - 0.03 and accuracy[1] > accuracy[2] + 0.1
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        assert again.allocation.provenance["weights"] == {"source": "weights.safetensors", "sha256": digest}
        assert "weights" not in fresh.allocation.provenance

    def test_a_trial_from_a_checkpoint_repeats_itself(self, tmp_path: Path) -> None:
        path = saved(tmp_path, trained(hidden=[12, 10], batch_norm=False))
        start = f"model.checkpoint={path}"
        assert left(tmp_path / "a", train(tmp_path / "a", start)) == left(tmp_path / "b", train(tmp_path / "b", start))

    def test_a_resumed_trial_still_says_where_it_started(self, tmp_path: Path) -> None:
        start = f"model.checkpoint={saved(tmp_path, trained(hidden=[12, 10], batch_norm=False))}"
        through = train(tmp_path / "a", start)
        with pytest.raises(Interrupted):
            run_trial(experiment(start), Recorder(tmp_path / "b", die_after=[4]))
        assert left(tmp_path / "b", run_trial(experiment(start), Recorder(tmp_path / "b"))) == left(
            tmp_path / "a", through
        )

    def test_a_wrong_checkpoint_is_told_before_any_training(self, tmp_path: Path) -> None:
        path = saved(tmp_path, trained())
        with pytest.raises(ModelError, match="the weights must be those of this Sequential"):
            inspect_trial(experiment(f"model.checkpoint={path}"))

    def test_paths_start_from_where_tune_was_called(self) -> None:
        placed = at_home(experiment("model={name: resnet18, weights: a.pth, checkpoint: b/c.pth}"), Path("/home"))
        assert (placed.model.checkpoint, placed.model.arguments["weights"]) == ("/home/b/c.pth", "/home/a.pth")
        named = at_home(experiment("model={name: resnet18, weights: DEFAULT}"), Path("/home"))
        assert (named.model.checkpoint, named.model.arguments["weights"]) == (None, "DEFAULT")
        own = at_home(experiment("model={name: 'a:b', weights: a.pth}"), Path("/home"))
        assert own.model.arguments["weights"] == "a.pth"


def test_a_random_start_is_no_start() -> None:
    assert weights_used(build(None)) == {}
