"""Format `packed`: every bit of every bit-width comes back, in as many bytes as were promised, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import NETS, Tied, Transformer, numbers, words
from packed_nets import EVERY, Every, Own, outputs, picture, same_picture, searched
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import precsearch
from precsearch.errors import AllocationError, ExportError, ModelError
from precsearch.exports.network.bits import pack, packed_bytes, unpack
from precsearch.exports.network.integers import input_ranges
from precsearch.exports.network.network import Network
from precsearch.exports.network.packed import beyond_promise, pack_network
from precsearch.exports.network.packed_file import FORMAT, Packed, header_bytes, read_packed
from precsearch.models import build_model
from precsearch.quantization.rows import from_rows, to_rows

BITS = st.integers(1, 16)


@st.composite
def codes(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    bits = draw(BITS)
    half = 1 << (bits - 1)
    return bits, np.array(draw(st.lists(st.integers(-half, half - 1), max_size=70)), np.int16)


class TestBits:
    @given(codes())
    def test_every_code_comes_back(self, drawn):
        bits, values = drawn
        packed = pack(values, bits)
        assert packed.dtype == np.uint8 and len(packed) == packed_bytes(len(values), bits) == -(
            -len(values) * bits // 8
        )
        assert np.array_equal(unpack(packed, bits, len(values)), values)

    @given(codes())
    def test_as_one_long_number(self, drawn):
        bits, values = drawn
        number = sum((int(value) & ((1 << bits) - 1)) << (place * bits) for place, value in enumerate(values))
        assert pack(values, bits).tobytes() == number.to_bytes(packed_bytes(len(values), bits), "little")

    def test_by_hand(self):
        assert pack(np.array([1, -1, -4, 3], np.int16), 3).tolist() == [0b00111001, 0b0111]

    def test_more_than_are_packed_at_once(self, monkeypatch):
        monkeypatch.setattr("precsearch.exports.network.bits._AT_ONCE", 16)
        values = np.arange(-4, 4, dtype=np.int16).repeat(7)
        assert np.array_equal(unpack(pack(values, 3), 3, len(values)), values)


def written(network: Network, path: Path) -> bytes:
    path.write_bytes(pack_network(network).to_bytes())
    return path.read_bytes()


def again(model: nn.Module, like: Packed) -> Packed:
    """What is packed of a loaded model: its plain weights on the grids of the file."""
    weights = {}
    for name, each in like.weights.items():
        rows = to_rows(model.get_parameter(name).detach(), each.groups)
        steps = each.step.view(-1, *[1] * (rows.dim() - 1))
        found = (rows / steps - each.grid.offset).round().to(torch.int16)
        weights[name] = replace(each, codes=from_rows(found, each.groups))
    state = model.state_dict()
    floats = {name: state[name] for name in like.floats}
    return replace(like, weights=weights, floats=floats, inputs=input_ranges(model))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


class TestRoundTrip:
    """A network of every kind of layer: its codes, its outputs and its file come back as they were."""

    @settings(max_examples=15, deadline=None)
    @given(
        st.lists(BITS, min_size=5, max_size=5),
        st.lists(BITS, min_size=5, max_size=5),
        st.sampled_from(["dorefa", "symmetric"]),
        st.sampled_from(["tensor", "channel"]),
        st.sampled_from([1, 2]),
    )
    def test_any_bits(self, folder, weights, activations, quantizer, granularity, groups):
        bits = {name: (weight, read) for name, weight, read in zip(EVERY, weights, activations, strict=True)}
        bits["embed"] = (weights[0],)
        self.check(folder / "any.packed", bits, quantizer, granularity, groups)

    @pytest.mark.parametrize(
        ("quantizer", "granularity"),
        [
            ("dorefa", "tensor"),
            ("symmetric", "channel"),
            pytest.param("dorefa", "channel", marks=pytest.mark.slow),
            pytest.param("symmetric", "tensor", marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.parametrize("bits", range(1, 17))
    def test_each(self, bits, quantizer, granularity, folder):
        chosen = {name: (bits, bits) if name != "embed" else (bits,) for name in EVERY}
        self.check(folder / "each.packed", chosen, quantizer, granularity, 2)

    def check(self, path: Path, bits: dict[str, Any], quantizer: str, granularity: str, groups: int) -> None:
        make, example = (lambda: Every(groups)), words()
        network = searched(make, example, {**bits, "decode": (bits["embed"][0], 7)}, quantizer=quantizer,
                           granularity=granularity)  # fmt: skip
        expected, blob = outputs(network.model, example), written(network, path)
        assert pack_network(network).to_bytes() == blob
        packed, loaded = read_packed(path), precsearch.load_packed(make(), path)
        assert packed.same == {"decode.weight": "embed.weight"}
        assert {name: each.bits for name, each in packed.weights.items()} == {f"{n}.weight": bits[n][0] for n in EVERY}
        assert torch.equal(outputs(loaded, example), expected)
        once_more = again(loaded, packed)
        for name, each in once_more.weights.items():
            assert torch.equal(each.codes, packed.weights[name].codes)
        assert packed.to_bytes() == once_more.to_bytes() == blob

    @pytest.mark.parametrize("targets", [("weight",), ("weight", "activation", "gradient")])
    @pytest.mark.parametrize("name", NETS)
    def test_every_net(self, name, targets, folder):
        make, example = NETS[name]
        network = searched(make, example, targets=targets)
        expected, blob = outputs(network.model, example), written(network, folder / "net.packed")
        loaded = precsearch.load_packed(make(), folder / "net.packed")
        assert torch.equal(outputs(loaded, example), expected)
        assert again(loaded, read_packed(folder / "net.packed")).to_bytes() == blob

    def test_what_is_loaded_is_plain(self, folder):
        network = searched(Every, words())
        written(network, folder / "plain.packed")
        loaded = precsearch.load_packed(Every(), folder / "plain.packed")
        assert type(loaded.conv) is nn.Conv1d and isinstance(loaded.conv.weight, nn.Parameter)
        assert loaded.decode.weight is loaded.embed.weight and not loaded.training
        assert not loaded.conv.weight.requires_grad and loaded.conv.bias.requires_grad
        plain = Every()
        plain.load_state_dict({n: v for n, v in loaded.state_dict().items() if "quantizer" not in n})

    def test_a_layer_in_float_stays_so(self, folder):
        network = searched(Every, words(), {"conv": (None, 5), "middle": (3, None)})
        written(network, folder / "float.packed")
        packed = read_packed(folder / "float.packed")
        assert "conv.weight" in packed.floats and "conv.weight" not in packed.weights
        assert "middle" not in {each.layer for each in packed.inputs}
        loaded = precsearch.load_packed(Every(), folder / "float.packed")
        assert torch.equal(outputs(loaded, words()), outputs(network.model, words()))

    def test_a_layer_of_ones_own_parametrization(self, folder):
        def make() -> nn.Module:
            return nn.Sequential(weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3))

        network = searched(make, numbers(4, 6))
        written(network, folder / "norm.packed")
        for fresh in (make(), nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))):
            loaded = precsearch.load_packed(fresh, folder / "norm.packed")
            assert torch.equal(outputs(loaded, numbers(4, 6)), outputs(network.model, numbers(4, 6)))
            assert type(loaded[0]) is nn.Linear

    def test_any_reader_of_safetensors_opens_it(self, folder):
        network = searched(Tied, words())
        written(network, folder / "open.packed")
        with safe_open(folder / "open.packed", "pt") as file:
            assert set(file.metadata()) == {FORMAT}
            assert json.loads(file.metadata()[FORMAT])["allocation"] == json.loads(network.allocation.to_json())
            assert file.get_tensor("weight/embed.weight").dtype == torch.uint8
            assert len([name for name in file.keys() if name.startswith("weight/")]) == 2  # noqa: SIM118


class TestPromise:
    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    @pytest.mark.parametrize("targets", [("weight",), ("weight", "activation")])
    @pytest.mark.parametrize("name", NETS)
    def test_any_net(self, name, targets, granularity):
        make, example = NETS[name]
        self.check(searched(make, example, targets=targets, granularity=granularity))

    @pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet20"])
    def test_nets_of_ours(self, name):
        shape = (3, 32, 32) if name == "resnet20" else (1, 28, 28)
        beyond = self.check(searched(lambda: made(name, shape), numbers(2, *shape), granularity="channel"))
        counters = 8 * sum(isinstance(each, nn.BatchNorm2d) for each in made(name, shape).modules())
        assert sum(beyond.values()) == counters

    def test_what_is_seldom(self):
        beyond = self.check(searched(Own, numbers(4, 6)))
        assert sorted(beyond.values()) == sorted([1, -16, -32, -4 * (6 * 8) - 4])

    def test_several_inputs_have_ranges_of_their_own(self):
        beyond = self.check(searched(Transformer, words()))
        assert beyond == {"further inputs of layers that read several": 4 * 2 * 2}

    def test_it_is_told(self, tmp_path):
        network = searched(NETS["conv1d"][0], NETS["conv1d"][1])
        path = tmp_path / "net.packed"
        report = precsearch.export_model(
            network.model, network.allocation, "packed", path, inputs=network.inputs
        ).report
        header = report.written.header
        assert report.size == path.stat().st_size == report.model_size + header + 8
        assert any(note.startswith("8 bytes beyond the promised size: buffers") for note in report.written.notes)
        assert any(note.startswith(f"{header:,} bytes are the header") for note in report.written.notes)
        assert report.rerun.difference == 0 and report.rerun.agreement == 1
        assert {(each.layer, each.target, each.held_as) for each in report.written.kept} == {
            (layer.name, target, f"{precision.bits} bits")
            for layer in network.allocation.layers
            for target, precision in layer.targets.items()
        }
        assert all(each.why is None for each in report.written.kept)

    def check(self, network: Network) -> dict[str, int]:
        blob, beyond = pack_network(network).to_bytes(), beyond_promise(network)
        assert len(blob) - header_bytes(blob) == network.allocation.cost.model_size + sum(beyond.values())
        return beyond


def made(name: str, shape: tuple[int, int, int]) -> nn.Module:
    from precsearch.experiment.loading import load_experiment_text

    text = f"version: 1\nname: x\ndata: {{name: digits}}\nmodel: {{name: {name}}}"
    return build_model(load_experiment_text(text).model, shape, 10)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tied") / "tied.packed"
    written(searched(Tied, words()), path)
    return path


class TestRefusals:
    def test_any_byte_altered(self, tied, tmp_path):
        blob = bytearray(tied.read_bytes())
        path = tmp_path / "altered.packed"
        for place in range(len(blob)):
            how = 1 << place % 8  # one bit
            blob[place] ^= how
            path.write_bytes(blob)
            with pytest.raises(AllocationError, match=r"altered\.packed: "):
                read_packed(path)
            blob[place] ^= how

    def test_any_length(self, tied, tmp_path):
        blob, path = tied.read_bytes(), tmp_path / "short.packed"
        for length in [*range(0, len(blob), 11), *range(len(blob) - 9, len(blob))]:
            path.write_bytes(blob[:length])
            with pytest.raises(AllocationError, match=r"short\.packed: .*(cut short|but it has)"):
                read_packed(path)
        path.write_bytes(blob + b"\0")
        with pytest.raises(AllocationError, match=f"{len(blob):,} bytes were written, but it has {len(blob) + 1:,}"):
            read_packed(path)

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_any_bytes(self, tied, folder, data):
        blob, path = bytearray(tied.read_bytes()), folder / "any-bytes.packed"
        start = data.draw(st.integers(0, len(blob)))
        end = data.draw(st.integers(start, min(len(blob), start + 40)))
        before = bytes(blob)
        blob[start:end] = data.draw(st.binary(max_size=40))
        path.write_bytes(blob)
        if bytes(blob) != before:
            with pytest.raises(AllocationError):
                read_packed(path)

    def test_a_model_is_left_as_it_was(self, tied, tmp_path):
        model = Tied().train()
        before = picture(model)
        blob = bytearray(tied.read_bytes())
        blob[-1] ^= 1
        (tmp_path / "altered").write_bytes(blob)
        (tmp_path / "short").write_bytes(blob[:-9])
        for path in (tmp_path / "altered", tmp_path / "short", tmp_path / "nothing"):
            with pytest.raises(AllocationError, match=str(path)):
                precsearch.load_packed(model, path)
            assert same_picture(before, picture(model))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda model: setattr(model, "middle", nn.Linear(12, 13)),
                "of another model, net: its layers have finger",
            ),
            (lambda model: setattr(model, "middle", nn.Linear(12, 12, bias=False)), r"'middle\.bias'.*nothing"),
            (lambda model: setattr(model, "middle", nn.Identity()), "has a layer 'middle'"),
            (lambda model: setattr(model, "more", nn.BatchNorm1d(3)), r"'more\.weight' it has nothing"),
            (lambda model: model.double(), r"float32 \[40, 12\].*float64 \[40, 12\]"),
        ],
    )
    def test_another_model(self, tied, change, said):
        model = Tied()
        change(model)
        before = picture(model)
        with pytest.raises(AllocationError, match=said):
            precsearch.load_packed(model, tied)
        assert same_picture(before, picture(model))

    def test_weights_that_are_one_in_the_model_and_two_in_the_file(self, tmp_path):
        def untied() -> nn.Module:
            model = Tied()
            model.decode.weight = nn.Parameter(model.embed.weight.detach() * 0.5)
            return model

        written(searched(untied, words()), tmp_path / "untied")
        precsearch.load_packed(untied(), tmp_path / "untied")
        with pytest.raises(AllocationError, match=r"'decode\.weight' and 'embed\.weight' are two tensors"):
            precsearch.load_packed(Tied(), tmp_path / "untied")

    def test_weights_that_are_two_in_the_model_and_one_in_the_file(self, tied):
        model = Tied()
        model.decode.weight = nn.Parameter(model.embed.weight.detach().clone())
        precsearch.load_packed(model, tied)
        assert torch.equal(model.decode.weight, model.embed.weight)

    def test_a_converted_model(self, tied):
        network = searched(Tied, words())
        with pytest.raises(ModelError, match="converted once"):
            precsearch.load_packed(network.model, tied)

    def test_a_newer_version(self, tied, tmp_path):
        blob = tied.read_bytes()
        (tmp_path / "newer").write_bytes(
            blob.replace(b'\\"version\\":1,\\"model\\"', b'\\"version\\":2,\\"model\\"', 1)
        )
        with pytest.raises(AllocationError, match=r"newer: packed format version 2 is not known here .* upgrade"):
            read_packed(tmp_path / "newer")

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_another_format(self, metadata, tmp_path):
        save_file({"a": torch.ones(3)}, tmp_path / "other", metadata=metadata)
        with pytest.raises(AllocationError, match=r"not a packed network: .*--format packed"):
            read_packed(tmp_path / "other")

    @pytest.mark.parametrize("text", ["", "{}", "x" * 100, '{"format": "precsearch-allocation", "version": 1}'])
    def test_another_kind_of_file(self, text, tmp_path):
        (tmp_path / "other").write_text(text)
        with pytest.raises(AllocationError, match="not a whole safetensors file"):
            read_packed(tmp_path / "other")

    def test_what_does_not_go_together(self, tied, tmp_path):
        """A file whose checksum is right, which nobody but its maker can mend."""
        packed = read_packed(tied)
        name = next(iter(packed.weights))
        blob = bytearray(
            packed.to_bytes().replace(f'\\"{name}\\",\\"bits\\":'.encode(), f'\\"{name}\\",\\"bitz\\":'.encode())
        )
        start = blob.index(b'\\"checksum\\":\\"') + len(b'\\"checksum\\":\\"')
        blob[start : start + 64] = b"0" * 64
        blob[start : start + 64] = sha256(blob).hexdigest().encode()
        (tmp_path / "odd").write_bytes(blob)
        with pytest.raises(AllocationError, match=r"odd: what it holds does not go together"):
            read_packed(tmp_path / "odd")

    def test_a_weight_that_is_not_float32(self):
        network = searched(Tied, words())
        network.model.double()
        with pytest.raises(ExportError, match=r"'embed' is torch\.float64"):
            pack_network(network)

    def test_a_state_that_is_no_tensor(self):
        class Told(Tied):
            def get_extra_state(self) -> Any:
                return {"told": 1}

        with pytest.raises(ExportError, match="'_extra_state' is a dict"):
            pack_network(searched(Told, words()))
