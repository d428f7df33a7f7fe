"""torchvision's models by name: built for the data at hand, with pretrained weights from a cache or a file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import urllib.error
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from precsearch.errors import ConfigurationError, DataError, ModelError, PrecsearchWarning
from precsearch.experiment import ModelSettings
from precsearch.models import build_model, starts, torchvision_names, weights_used
from precsearch.torchvision_import import import_torchvision

SMALLEST = {  # one of each family, at the smallest images that it takes
    "alexnet": 63,
    "convnext_tiny": 32,
    "densenet121": 29,
    "efficientnet_b0": 8,
    "efficientnet_v2_s": 8,
    "googlenet": 15,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 8,
    "mobilenet_v2": 8,
    "mobilenet_v3_small": 8,
    "regnet_x_400mf": 8,
    "regnet_y_400mf": 8,
    "resnet18": 8,
    "resnext50_32x4d": 8,
    "shufflenet_v2_x0_5": 8,
    "squeezenet1_1": 17,
    "swin_t": 8,
    "swin_v2_t": 8,
    "vgg11": 32,
    "vgg11_bn": 32,
    "vit_b_32": 224,
    "wide_resnet50_2": 8,
}
LIGHT = ("googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1")


@pytest.fixture(autouse=True)
def _told_anew() -> None:
    starts._tell.cache_clear()


def build(name: str, input_shape: tuple[int, ...] = (3, 32, 32), classes: int = 7, **arguments: Any) -> nn.Module:
    return build_model(ModelSettings.model_validate({"name": name, **arguments}), input_shape, classes)


def family(name: str) -> str:
    return str(import_torchvision().models.get_model_builder(name).__module__)


def test_every_family_is_among_the_tested() -> None:
    assert {family(name) for name in torchvision_names()} == {family(name) for name in SMALLEST}


@pytest.mark.parametrize(
    "name", [name if name in LIGHT else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST]
)
def test_a_family_trains_at_its_smallest_images(name: str) -> None:
    model = build(name, (3, SMALLEST[name], SMALLEST[name]))
    logits = model(torch.rand(2, 3, SMALLEST[name], SMALLEST[name]))
    assert logits.shape == (2, 7)
    nn.functional.cross_entropy(logits, torch.tensor([0, 6])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in torchvision_names() if not name.startswith("regnet")])
def test_every_name_is_built_with_the_classes_of_the_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precsearch.models.zoo._attempt", lambda model, shape: None)
    with torch.device("meta"):  # where large ones cost no memory; regnets compute their widths, which it cannot
        model = build(name, (3, 224, 224), 13)
    last = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    assert last.weight.shape[0] == 13


@pytest.mark.parametrize("name", ["googlenet", "squeezenet1_1", "alexnet"])
def test_the_size_said_to_be_needed_is_the_smallest(name: str) -> None:
    side = SMALLEST[name]
    with pytest.raises(ModelError, match=f"3 channels and at least {side} x {side} pixels") as caught:
        build(name, (3, side - 1, side - 1))
    assert f"[3, {side - 1}, {side - 1}]" in str(caught.value)
    build(name, (3, side, side))


@pytest.mark.parametrize(
    ("name", "shape", "arguments", "says"),
    [
        ("squeezenet1_1", (1, 28, 28), {}, r"needs images of 3 channels, but the data's are \[1, 28, 28\]"),
        ("squeezenet1_1", (1, 8, 8), {}, "3 channels and at least 17 x 17 pixels"),
        ("squeezenet1_1", (64,), {}, r"\[channels, height, width\], but got \[64\]"),
        ("squeezenet1_1", (3, 32, 32), {"droput": 0.1}, "accepts weights, dropout; nearest: 'dropout'"),
        ("mobilenet_v3_small", (3, 32, 32), {"widht_mult": 0.5}, "nearest: 'width_mult'"),
        ("squeezenet1_1", (3, 32, 32), {"num_classes": 3}, "comes from the data"),
        ("squeezenet1_1", (3, 32, 32), {"version": "1_0"}, "TypeError"),
        ("squeezenet1_1", (3, 32, 32), {"weights": "V1"}, "one of DEFAULT, IMAGENET1K_V1, or a path .* got 'V1'"),
        ("resnet50", (3, 32, 32), {"weights": "IMAGENET1K_V3"}, "nearest: 'IMAGENET1K_V"),
        ("googlenet", (3, 32, 32), {"aux_logits": True}, "would learn nothing; leave it out"),
    ],
)
def test_what_does_not_fit(name: str, shape: tuple[int, ...], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        build(name, shape, **arguments)


@pytest.mark.slow
def test_a_transformer_says_its_one_size_and_the_key_for_another() -> None:
    with pytest.raises(ModelError, match=r"224 x 224 pixels \(or another `model.image_size`\)"):
        build("vit_b_32")
    assert build("vit_b_32", image_size=32)(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_width_reaches_the_builder() -> None:
    narrow, wide = (build("mobilenet_v2", width_mult=width) for width in (0.25, 0.5))
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in wide.parameters())


def test_building_depends_on_the_global_generator_only() -> None:
    for _ in range(2):
        torch.manual_seed(3)
        model = build("squeezenet1_1")
        after = torch.rand(1)
    torch.manual_seed(3)
    again = build("squeezenet1_1")
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert model.training and all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet", "convnet, lenet5, mlp, resnet20, vgg_small, a classification model of torchvision .* 'resnet20'"),
        ("mobilenet_v4", "nearest: 'mobilenet_v2'"),
        ("torchvision.models.resnet18", "did you mean 'torchvision.models:resnet18'"),
    ],
)
def test_an_unknown_name(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        build(name)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "convnet", "vgg_small", "resnet20"])
def test_our_own_models_import_no_torchvision(name: str) -> None:
    code = (
        "import sys; from precsearch.models import build_model; from precsearch.experiment import ModelSettings\n"
        f"build_model(ModelSettings(name={name!r}), (1, 28, 28), 10); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


class TestWeights:
    """The network is simulated: torchvision's entry leads to a file of this test's making."""

    @pytest.fixture
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
        return tmp_path / "checkpoints"

    def entry(self, monkeypatch: pytest.MonkeyPatch, url: str, **meta: Any) -> None:
        entry = SimpleNamespace(url=url, name="IMAGENET1K_V1", meta=meta)
        monkeypatch.setattr("precsearch.models.zoo.weights_entry", lambda *_: entry)

    def published(self, folder: Path, name: str, classes: int = 1000, **arguments: Any) -> tuple[Path, Any]:
        state = import_torchvision().models.get_model(name, num_classes=classes, **arguments).state_dict()
        torch.save(state, folder / "made.pth")
        digest = hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()
        return (folder / "made.pth").rename(folder / f"{name}-{digest[:8]}.pth"), state

    def test_fetched_once_and_the_head_starts_fresh(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file, state = self.published(tmp_path, "squeezenet1_1")
        self.entry(monkeypatch, file.as_uri())
        with pytest.warns(PrecsearchWarning, match=r"1000 classes and the data has 7; classifier.1 starts fresh"):
            model = build("squeezenet1_1", weights="DEFAULT")
        assert torch.equal(model.state_dict()["features.0.weight"], state["features.0.weight"])
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert weights_used(model) == {"weights": {"source": "squeezenet1_1 IMAGENET1K_V1", "sha256": digest[:16]}}
        file.unlink()
        build("squeezenet1_1", weights="DEFAULT")  # from the cache, and told once
        assert [path.name for path in cache.iterdir()] == [file.name]
        assert capsys.readouterr().out == ""

    def test_all_of_it_is_loaded_where_the_classes_agree(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, state = self.published(tmp_path, "squeezenet1_1", 7)
        self.entry(monkeypatch, file.as_uri())
        model = build("squeezenet1_1", weights="IMAGENET1K_V1")
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())

    def test_weights_of_auxiliary_heads_are_left_out(self, tmp_path: Path) -> None:
        file, state = self.published(tmp_path, "googlenet", 7, aux_logits=True, init_weights=False)
        assert any(name.startswith("aux1.") for name in state)
        model: Any = build("googlenet", weights=str(file))
        assert model.aux1 is None and model.transform_input
        assert torch.equal(model.fc.weight, state["fc.weight"])
        assert not build("googlenet", weights=str(file), transform_input=False).transform_input

    @pytest.mark.parametrize("problem", [urllib.error.URLError("no network"), TimeoutError("timed out")])
    def test_no_network(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fails(*_: Any, **__: Any) -> None:
            raise problem

        monkeypatch.setattr("torch.hub.urlopen", fails)
        with pytest.raises(ModelError) as caught:
            build("squeezenet1_1", weights="DEFAULT")
        said = str(caught.value)
        assert "cannot fetch IMAGENET1K_V1 of squeezenet1_1 from https://" in said
        assert f"put it at {cache / 'squeezenet1_1-'}" in said and "`model.weights: path/to/squeezenet1_1-" in said
        assert "\n" not in said and caught.value.__suppress_context__
        assert list(cache.iterdir()) == []
        assert capsys.readouterr().out == ""

    def test_a_download_cut_short_leaves_nothing(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, _ = self.published(tmp_path, "squeezenet1_1")
        file.write_bytes(file.read_bytes()[:1000])
        self.entry(monkeypatch, file.as_uri())
        with pytest.raises(ModelError, match="invalid hash value"):
            build("squeezenet1_1", weights="DEFAULT")
        assert list(cache.iterdir()) == []

    def test_a_damaged_file_in_the_cache(self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file, _ = self.published(tmp_path, "squeezenet1_1")
        self.entry(monkeypatch, file.as_uri())
        cache.mkdir()
        (cache / file.name).write_bytes(file.read_bytes()[:1000])
        with pytest.raises(ModelError, match=r"cannot be read as one .* Delete it, and it is fetched again"):
            build("squeezenet1_1", weights="DEFAULT")

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "file"))
        with pytest.raises(ModelError, match="Not a directory"):
            build("squeezenet1_1", weights="DEFAULT")

    def test_a_size_that_goes_with_the_weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The pretrained position embedding decides the image size, unless the user does."""
        asked: list[dict[str, Any]] = []

        def stop(builder: Any, name: str, given: dict[str, Any], *_: Any, **__: Any) -> None:
            asked.append(given)
            raise ModelError("far enough")

        monkeypatch.setattr("precsearch.models.zoo.call_own", stop)
        for given in ({}, {"image_size": 32}):
            with pytest.raises(ModelError, match="far enough"):
                build("vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1", **given)
        assert [each["image_size"] for each in asked] == [384, 32]


def test_a_broken_torchvision_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise DataError("torchvision cannot be imported (ImportError: no)")

    monkeypatch.setattr("precsearch.models.zoo.import_torchvision", fails)
    with pytest.raises(ConfigurationError, match=r"resnet20, vgg_small, .*torchvision cannot be imported .*'resnet18'"):
        build("resnet18")
