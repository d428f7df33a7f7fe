"""What may be pinned, and what is refused with a reason when a network is made searchable."""

import pytest
from test_conversion import X, bits, convert, mlp
from torch import nn
from torch.nn.utils import parametrize

import precsearch
from precsearch import ConfigurationError, ModelError, PrecsearchWarning

# what a limit that nothing reaches is told is tested in test_diagnosis.py
pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")


class TestPins:
    def test_bits_float_and_patterns(self):
        found = bits(convert(mlp(), pin={"fc*": 5, "fc2": "float"}, bits=[2, 4], limit=4.5))
        assert found == {"fc1": (5, 5), "fc2": (None, None), "out": (4, 4)}

    def test_first_and_last_layers_are_searched(self):
        searchable = convert(mlp())
        assert {name for slot in searchable.plan.problem.slots for name, _ in slot.members} == {"fc1", "fc2", "out"}

    def test_float_means_untouched(self):
        model = mlp()
        convert(model, pin={"fc2": "float"})
        assert type(model.fc2) is nn.Linear and not parametrize.is_parametrized(model.fc2)

    @pytest.mark.parametrize(
        ("pin", "told"),
        [
            ({"fc3": 8}, r"no layer 'fc3'; did you mean 'fc[12]'\? Its layers: fc1, fc2, out"),
            ({"zzz": 8}, r"no layer 'zzz'\. Its layers"),
            ({"fc1": 17}, "takes 1 to 16 bits or 'float', but got 17"),
            ({"fc1": True}, "but got True"),
            ({"fc1": "8"}, "but got '8'"),
        ],
    )
    def test_mistakes(self, pin, told):
        with pytest.raises(ConfigurationError, match=told):
            convert(mlp(), pin=pin)


class TestRefusals:
    def test_a_layer_that_is_never_called_stays_float(self):
        class Unused(nn.Module):
            def __init__(self):
                super().__init__()
                self.used, self.unused = nn.Linear(6, 3), nn.Linear(6, 3)

            def forward(self, x):
                return self.used(x)

        with pytest.warns(PrecsearchWarning, match="unused stays in float32: its forward was never called"):
            searchable = convert(Unused())
        assert bits(searchable).keys() == {"used"}

    @pytest.mark.parametrize("targets", [["weight"], ["activation"], ["weight", "activation"]])
    def test_a_model_converted_twice(self, targets):
        model = mlp()
        allocation = convert(model, targets=targets).allocation()
        for again in (lambda: convert(model), lambda: precsearch.apply_allocation(model, allocation)):
            with pytest.raises(ModelError, match="converted once, but this Sequential has quantizers"):
                again()

    @pytest.mark.parametrize(
        ("model", "example", "told"),
        [
            (nn.Linear(6, 3), X, r"wrap it: nn.Sequential\(layer\)"),
            (nn.Sequential(nn.ReLU()), X, "at least one layer .* must be there"),
            (mlp(), X[:, :5], r"must run on the example input of shape \[8, 5\]"),
        ],
    )
    def test_models_that_cannot_be_searched(self, model, example, told):
        with pytest.raises(ModelError, match=told):
            convert(model, example)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"bits": [4, 2]}, "ascending"),
            ({"bits": [2, 2]}, "without doubles"),
            ({"bits": [2.5, 4]}, "whole"),
            ({"bits": [0, 4]}, "from 1 to 16"),
            ({"bits": []}, r"got \[\]"),
            ({"quantizer": "lsq"}, "quantizer must be one of dorefa, symmetric"),
            ({"scale": "l1"}, "scale must be one of l2, max"),
            ({"granularity": "row"}, "granularity must be one of"),
            ({"targets": []}, "at least one target"),
            ({"targets": ["weights"]}, "target must be one of weight, activation, gradient, but got 'weights'"),
            ({"sampler": "gumbel"}, "sampler must be one of perturb-and-map"),
            ({"sampler": "fixed"}, "an allocation goes with the `fixed` sampler"),
        ],
    )
    def test_names_and_bits(self, options, told):
        with pytest.raises(ConfigurationError, match=told):
            convert(mlp(), **options)
