"""Format `state_dict`: whatever the network, its file is the float model's own state, with the quantized values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nets import NETS, Tied, numbers, words
from packed_nets import Every, Own, outputs, searched
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import precsearch
from precsearch.exports.network.network import Network
from precsearch.exports.report import ExportReport
from precsearch.layers import weights_of


def exported(network: Network, path: Path, targets: Tensor | None = None) -> ExportReport:
    report = precsearch.export_model(
        network.model, network.allocation, "state_dict", path, inputs=network.inputs, targets=targets
    ).report
    assert report is not None
    return report


def plain(model: nn.Module) -> nn.Module:
    """The float model without what parametrized it."""
    for module in model.modules():
        for name in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, name)
    return model


def one_input(name: str) -> bool:
    return isinstance(NETS[name][1], Tensor)


class TestAnyNet:
    @pytest.mark.parametrize("name", [name for name in NETS if one_input(name)])
    def test_it_loads_into_the_float_model(self, name, tmp_path):
        make, example = NETS[name]
        network = searched(make, example, targets=["weight"])
        expected = outputs(network.model, example)
        report = exported(network, tmp_path / "net.safetensors")
        state, fresh = load_file(tmp_path / "net.safetensors"), make()
        assert set(state) == set(fresh.state_dict())
        fresh.load_state_dict(state, strict=True)
        assert torch.allclose(outputs(fresh, example), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
        assert report.rerun.difference <= 1e-6 and report.rerun.agreement == 1

    @pytest.mark.parametrize("name", NETS)
    def test_its_values_are_those_that_torch_computes_with(self, name, tmp_path):
        make, example = NETS[name]
        network = searched(make, example, granularity="channel")
        from precsearch.exports.network.float_weights import FloatWeights

        written = FloatWeights().write(self.with_inputs(network, example), tmp_path / "net")
        state = load_file(tmp_path / "net")
        for weight in weights_of(network.model).values():
            found = state[f"{weight.module_name}.{weight.parameter}".lstrip(".")]
            assert torch.equal(found, weight.value.detach())
        assert (tmp_path / "net").stat().st_size == written.header + sum(value.nbytes for value in state.values())

    def with_inputs(self, network: Network, example: Any) -> Network:
        """Exports run one tensor: a model of several arguments takes them from here instead."""

        def whole(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return (example, {}) if isinstance(example, tuple) else ((), dict(example))

        if not isinstance(example, Tensor):
            network.model.register_forward_pre_hook(whole, with_kwargs=True)
        return network

    def test_batchnorm(self, tmp_path):
        network = searched(Every, words(), targets=["weight"])
        exported(network, tmp_path / "net")
        state, fresh = load_file(tmp_path / "net"), Every()
        assert int(state["norm.num_batches_tracked"]) == 7 and torch.equal(
            state["norm.running_var"], network.model.norm.running_var
        )
        fresh.load_state_dict(state, strict=True)
        assert torch.equal(outputs(fresh, words()), outputs(network.model, words()))

    def test_tied_weights(self, tmp_path):
        network = searched(Tied, words(), targets=["weight"])
        report = exported(network, tmp_path / "net")
        state, fresh = load_file(tmp_path / "net"), Tied()
        assert torch.equal(state["decode.weight"], state["embed.weight"])
        assert report.written.notes == ("decode.weight is embed.weight, and in the file under both names",)
        fresh.load_state_dict(state, strict=True)
        assert fresh.decode.weight is fresh.embed.weight
        assert torch.equal(outputs(fresh, words()), outputs(network.model, words()))
        assert report.float_size == sum(value.nbytes for name, value in state.items() if name != "decode.weight")

    @pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
    def test_a_parametrization_of_ones_own(self, norm, tmp_path):
        def make() -> nn.Module:
            return nn.Sequential(norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))

        network = searched(make, numbers(4, 6), targets=["weight"])
        before = outputs(network.model, numbers(4, 6))
        report = exported(network, tmp_path / "net")
        assert report.written.notes[0].startswith("0.weight: plain, though the model parametrized it; load the file")
        fresh = plain(make())
        fresh.load_state_dict(load_file(tmp_path / "net"), strict=True)
        assert torch.equal(outputs(fresh, numbers(4, 6)), before)
        assert parametrize.is_parametrized(network.model[0]), "the network itself is as it was"
        assert torch.equal(outputs(network.model, numbers(4, 6)), before)

    def test_a_module_held_twice_and_other_rarities(self, tmp_path):
        network = searched(Own, numbers(4, 6), targets=["weight"])
        report = exported(network, tmp_path / "net")
        state, fresh = load_file(tmp_path / "net"), plain(Own())
        assert torch.equal(state["alias.weight"], state["first.weight"]) and "scale.bias" in state
        fresh.load_state_dict(state, strict=True)
        assert fresh.alias is fresh.first
        assert torch.equal(outputs(fresh, numbers(4, 6)), outputs(network.model, numbers(4, 6)))
        assert any("alias.weight is first.weight" in note for note in report.written.notes)
        assert any(note.startswith("first.weight, scale.bias: plain") for note in report.written.notes)

    def test_a_module_with_a_name_like_ours(self, tmp_path):
        class Named(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.my_quantizer_0 = nn.Linear(6, 6)
                self.parametrizations_of_mine = nn.Linear(6, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.parametrizations_of_mine(self.my_quantizer_0(x).relu())

        network = searched(Named, numbers(4, 6))
        exported(network, tmp_path / "net")
        Named().load_state_dict(load_file(tmp_path / "net"), strict=True)


def unbiased() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False))


class TestInputs:
    """The file leaves out how inputs are quantized, and says what its user gets."""

    def test_what_its_user_gets(self, tmp_path):
        example = numbers(64, 6)
        network = searched(unbiased, example, {"0": (3, 1), "2": (3, 1)})
        targets = outputs(network.model, example).argmax(1)
        report = exported(network, tmp_path / "net", targets)
        fresh = unbiased()
        fresh.load_state_dict(load_file(tmp_path / "net"), strict=True)
        share = 100 * float((outputs(fresh, example).argmax(1) == targets).double().mean())
        assert share < 100, "one bit changes answers"
        (note,) = report.written.notes
        assert note == (
            "what layers read is not quantized in the float model that loads this file: "
            f"accuracy {share:.2f} % (with quantized inputs 100.00 %), the same answer on {share:.2f} % of 64 inputs"
        )
        assert report.rerun.accuracy == 1, "the re-run quantizes them"
        kept = {(each.layer, each.target): each for each in report.written.kept}
        assert kept["2", "activation"].held_as == "left out" and kept["2", "activation"].why
        assert kept["2", "weight"].held_as == "FLOAT32" and kept["2", "weight"].bits == 3

    def test_without_targets(self, tmp_path):
        network = searched(NETS["twice"][0], numbers(16, 6))
        (note,) = exported(network, tmp_path / "net").written.notes
        assert "loads this file: the same answer on " in note and note.endswith("% of 16 inputs")

    def test_nothing_to_say_where_no_input_is_quantized(self, tmp_path):
        network = searched(NETS["twice"][0], numbers(16, 6), targets=["weight"])
        assert exported(network, tmp_path / "net").written.notes == ()
