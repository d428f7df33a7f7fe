"""The inventory of a model against counts by hand: layers, MACs, sizes, what is read in common, what lies in memory."""

import copy

import pytest
import torch
from nets import Attention, Branching, Recurrent, Residual, Tied, Transformer, Twice, UNet, numbers, words
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from precsearch import ModelError, PrecsearchWarning
from precsearch.layers import Inventory, take_inventory
from precsearch.models import lenet5

TOLD = pytest.mark.filterwarnings("ignore:.*stays in float32:precsearch.PrecsearchWarning")


def macs(inventory: Inventory) -> dict[str, int]:
    return {layer.name: layer.macs for layer in inventory.layers}


def uncovered(inventory: Inventory) -> dict[str, str]:
    return {layer.name: layer.uncovered_input for layer in inventory.layers if layer.uncovered_input}


class TestCounts:
    def test_lenet(self):
        found = take_inventory(lenet5((1, 28, 28), 10), torch.rand(3, 1, 28, 28))
        assert macs(found) == {
            "conv1": 6 * 25 * 28 * 28, "conv2": 16 * 6 * 25 * 10 * 10, "fc1": 400 * 120, "fc2": 120 * 84, "fc3": 840,
        }  # fmt: skip
        assert [layer.inputs for layer in found.layers] == [784, 6 * 14 * 14, 400, 120, 84]
        assert [layer.outputs for layer in found.layers] == [6 * 784, 1600, 120, 84, 10]
        assert found.float_elements == 6 + 16 + 120 + 84 + 10  # the biases

    def test_grouped_transposed_and_strided_convolutions(self):
        found = take_inventory(UNet(), numbers(2, 3, 8, 8))
        # a transposed convolution spreads each input over its kernel: 12/2 inputs a group, 4 outputs, 2 x 2
        assert macs(found) == {
            "down1": 64 * 3 * 8 * 9, "down2": 16 * 8 * 12 * 9, "up": 16 * 12 * 4 * 4, "out": 64 * 16 * 2,
        }  # fmt: skip
        assert {layer.name: layer.channels for layer in found.layers}["up"] == 8

    def test_recurrent_nets(self):
        found = take_inventory(Recurrent(nn.LSTM), words(4, 7))
        first, hidden, second = 7 * 64 * 12, 7 * 64 * 16, 7 * 64 * 32
        assert macs(found) == {
            "embed": 0,
            **{f"net.weight_ih_l0{way}": first for way in ("", "_reverse")},
            **{f"net.weight_hh_l{n}{way}": hidden for n in (0, 1) for way in ("", "_reverse")},
            **{f"net.weight_ih_l1{way}": second for way in ("", "_reverse")},
            "out": 160,
        }
        # the batch of an unpacked input and of a packed one is the same
        assert macs(take_inventory(Recurrent(nn.LSTM, packed=True), words(2, 7))) == macs(found)

    @TOLD
    def test_attention(self):
        found = take_inventory(Attention(), (numbers(4, 3, 8), numbers(4, 5, 6), numbers(4, 5, 4)))
        assert macs(found) == {
            "attention.q_proj_weight": 3 * 8 * 8, "attention.k_proj_weight": 5 * 8 * 6,
            "attention.v_proj_weight": 5 * 8 * 4, "attention.out_proj": 3 * 8 * 8, "out": 24,
        }  # fmt: skip
        packed = macs(take_inventory(Transformer(), words(4, 7)))
        assert packed["encoder.layers.0.self_attn.in_proj_weight"] == 7 * 16 * 48

    def test_all_products_of_weights_are_counted(self):
        """Against the flop counter's own total, where no product is without a weight."""
        for model, x in ((Residual(), numbers(2, 3, 8, 8)), (UNet(), numbers(2, 3, 8, 8)), (Twice(), numbers(2, 6))):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(x)
            assert sum(macs(take_inventory(model, x)).values()) * 2 * len(x) == counter.get_total_flops()

    def test_a_layer_called_twice_counts_twice(self):
        found = take_inventory(Twice(), numbers(4, 6))
        assert macs(found) == {"first": 48, "again": 128, "out": 24} and found.layer("again").inputs == 16

    def test_tied_weights_are_told_and_counted_where_they_run(self):
        found = take_inventory(Tied(), words(4, 7))
        assert macs(found) == {"embed": 0, "middle": 7 * 144, "decode": 7 * 12 * 40}
        assert found.layer("decode").tied_to == "embed" and found.layer("embed").tied_to is None
        assert found.float_elements == 12

    def test_the_model_is_left_as_it_was(self):
        model = Recurrent(nn.GRU)
        model.out.eval()
        before = copy.deepcopy(model.state_dict())
        take_inventory(model, words())
        assert model.training and not model.out.training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not model._forward_pre_hooks and not model.out._forward_pre_hooks and not model.net._forward_hooks


class TestShared:
    def test_sums_join_what_their_readers_must_agree_on(self):
        found = take_inventory(Residual(), numbers(2, 3, 8, 8)).shared
        assert [(each.kind, each.readers) for each in found] == [("residual", ("a1", "b1", "short"))]

    def test_one_tensor_read_by_several(self):
        class Heads(nn.Module):
            def __init__(self):
                super().__init__()
                self.q, self.k, self.other = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)

            def forward(self, x):
                return self.q(x) + self.k(x.reshape(len(x), 6)) + self.other(x * 2)

        (shared,) = take_inventory(Heads(), numbers(2, 6)).shared
        assert (shared.kind, shared.readers) == ("shared_input", ("q", "k"))

    def test_a_broadcast_or_a_weight_joins_nothing(self):
        class Broadcast(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b, self.out = nn.Linear(6, 6), nn.Linear(6, 1), nn.Linear(6, 2)
                self.shift = nn.Parameter(torch.randn(6))

            def forward(self, x):
                return self.out(self.a(x + self.shift) + self.b(x))

        assert take_inventory(Broadcast(), numbers(2, 6)).shared == ()


class TestMemory:
    def test_a_chain_holds_input_and_output(self):
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Linear(5, 3))
        moments = take_inventory(net, numbers(4, 6)).moments
        assert [(m.layer, m.live) for m in moments] == [
            ("0", (("0", 6), ("2", 8))), ("2", (("2", 8), ("3", 5))), ("3", (("3", 5),)),
        ]  # fmt: skip

    def test_a_shortcut_stays_until_it_is_added(self):
        moments = {m.layer: m.live for m in take_inventory(Residual(), numbers(2, 3, 8, 8)).moments}
        stream = 8 * 64
        # while a2 runs: the stream (read by a1), its own input, and what it adds becomes the next stream
        assert ("a1", stream) in moments["a2"] and ("a2", stream) in moments["a2"]
        assert {reader for reader, _ in moments["b2"]} >= {"b2"}

    def test_words_made_of_numbers_are_followed(self):
        """The model's input becomes indices within it: what is looked up is made from them all the same."""

        class Greys(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.out = nn.Embedding(9, 6), nn.Linear(6, 3)

            def forward(self, x):
                return self.out(self.embed((x * 8).round().long()))

        moments = {m.layer: m.live for m in take_inventory(Greys(), torch.rand(4, 5)).moments}
        assert moments == {"embed": ((None, 5), ("out", 30)), "out": (("out", 30),)}

    def test_what_nothing_says_the_bits_of_is_float(self):
        moments = {m.layer: m.live for m in take_inventory(UNet(), numbers(2, 3, 8, 8)).moments}
        # the skip is read by down2 as well as by the concatenation, which nothing quantizes
        assert ("down2", 8 * 64) in moments["up"]
        assert ("out", 16 * 64) in moments["out"]


class TestReasons:
    def test_of_parameters_that_make_no_layer(self):
        class Net(Branching):
            def __init__(self):
                super().__init__()
                self.scale, self.never = nn.Parameter(torch.ones(1, 6)), nn.Parameter(torch.ones(2, 2))
                self.listed = nn.ParameterList([torch.randn(6, 6)])

            def forward(self, x):
                return super().forward((x * self.scale) @ self.listed[0])

        with pytest.warns(PrecsearchWarning) as told:
            found = take_inventory(Net(), numbers(4, 6))
        assert found.left_float == {
            "scale": "it enters no matrix product, convolution or lookup, only mul",
            "never": "the example input made no use of it",
            "listed.0": "it is in a ParameterList or ParameterDict, which cannot be parametrized",
            "large": "its forward was never called with the example input",
        }
        assert len(told) == len(found.left_float)

    @TOLD
    def test_of_inputs_that_cannot_be_quantized(self):
        assert uncovered(
            take_inventory(
                Branching(),
                numbers(4, 6),
            )
        ) == {"mix": "it is made inside the module's forward"}
        recurrent = uncovered(take_inventory(Recurrent(nn.GRU), words()))
        assert recurrent["embed"] == "it has no float numbers" and "net.weight_ih_l0" not in recurrent
        assert recurrent["net.weight_ih_l0_reverse"] == "another weight of the module reads it"
        out = uncovered(take_inventory(Transformer(), words()))["encoder.layers.0.self_attn.out_proj"]
        assert out == "its module's forward is bypassed: another function reads the weight"

    @pytest.mark.parametrize(
        ("model", "example", "told"),
        [
            (nn.Sequential(nn.LazyLinear(3)), numbers(2, 6), "0.weight is not initialized; run the model on one batch"),
            (nn.Linear(6, 3), numbers(2, 6), "wrap it: nn.Sequential"),
            (nn.Sequential(nn.Linear(6, 3)), torch.tensor(1.0), r"a batch of at least one sample .* the shape \[\]"),
            (nn.Sequential(nn.Linear(6, 3)), {"x": 3}, "a batch of at least one sample .* but got a dict"),
            (nn.Sequential(nn.Linear(6, 3)), torch.zeros(0, 6), r"but got the shape \[0, 6\]"),
        ],
    )
    def test_mistakes(self, model, example, told):
        with pytest.raises(ModelError, match=told):
            take_inventory(model, example)
