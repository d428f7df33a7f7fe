"""The tools themselves, on what is written for them: every layer has the bits that were asked for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import precsearch
from precsearch.allocation import Allocation
from precsearch.exports.dialects import DIALECTS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # the tools warn of themselves and of torch
PAGE = (Path(__file__).parent.parent / "docs" / "export-dialects.md").read_text()
MODULES = {"Brevitas": "brevitas", "ModelOpt": "modelopt", "torchao": "torchao"}


def needs(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 16, 3)
        self.up = nn.ConvTranspose2d(16, 8, 2)
        self.body = nn.Sequential(nn.Linear(392, 32), nn.ReLU(), nn.Linear(32, 64), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(torch.relu(self.up(torch.relu(self.conv(x)))).flatten(1))
        return out


LAYERS = ["conv", "up", "body.0", "body.2", "body.3"]


def images() -> Tensor:
    return torch.rand(32, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def asked(tmp_path: Path, weights: list[int], activations: list[int], granularity: str = "tensor") -> Allocation:
    """An allocation with these bits; 32 is float."""
    path = tmp_path / "asked.json"
    summary = {
        name: {"w_precision": w, "in_precision": a, "type": "MPSLinear"}
        for name, w, a in zip(LAYERS, weights, activations, strict=True)
    }
    path.write_text(json.dumps(summary))
    return precsearch.import_allocation(
        path, "plinio", model=Net(), example_input=images(), granularity=granularity, quantizer="symmetric"
    )


def net() -> Net:
    torch.manual_seed(0)
    return Net()


BITS = [
    ([2, 3, 4, 5, 6], [8, 7, 6, 5, 4]),
    ([8, 7, 6, 5, 32], [2, 3, 32, 8, 8]),
    ([1, 8, 3, 1, 4], [1, 1, 1, 1, 2]),
    ([32, 10, 12, 3, 2], [12, 32, 16, 32, 8]),
]
FULL = 6  # bits whose levels are all reached by so many weights, nearly


def check_levels(values: Tensor, bits: int) -> None:
    """Values on a grid of so many bits, and of no fewer."""
    levels = len(values.detach().unique())
    assert levels <= 2**bits
    if bits <= FULL:
        assert levels > 2 ** (bits - 1), "fewer bits would have held them"


def program(tool: str) -> str:
    """The page's code up to and with a tool's section."""
    sections = {
        title: re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    }
    return "\n".join([*sections["A network and its allocation"], *sections[tool]])


def from_page(tool: str, name: str) -> Any:
    """A function that the page defines."""
    found: dict[str, Any] = {}
    code = next(re.finditer(r"^import brevitas.*?^    return net$", program(tool), re.MULTILINE | re.DOTALL))[0]
    exec(code, found)
    return found[name]


@pytest.mark.parametrize(("weights", "activations"), BITS)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_brevitas_has_the_bits(tmp_path: Path, weights: list[int], activations: list[int], granularity: str) -> None:
    needs("brevitas")
    allocation = asked(tmp_path, weights, activations, granularity)
    made = from_page("Brevitas", "to_brevitas")(net(), json.loads(DIALECTS["brevitas"].write(allocation).text))
    made(images())
    made.eval()
    assert made(images()).isfinite().all()
    for name, kept in held("brevitas", allocation):
        layer = made.get_submodule(name)
        assert torch.equal(layer.weight, net().get_submodule(name).weight)
        for quantizer, bits in ((layer.weight_quant, kept["weight"]), (layer.input_quant, kept["activation"])):
            assert quantizer.is_quant_enabled == (bits is not None)
            assert bits is None or int(quantizer.bit_width()) == bits
        if kept["weight"] is not None:
            quantized = layer.quant_weight()
            check_levels((quantized.value / quantized.scale).round(), kept["weight"])
            assert (quantized.scale.numel() > 1) == (granularity == "channel")


def held(name: str, allocation: Allocation) -> Iterator[tuple[str, dict[str, int | None]]]:
    """Layer -> target -> bits that the tool is to have: as searched, except where the export says otherwise."""
    kept = {(each.layer, each.target): each for each in DIALECTS[name].write(allocation).kept}
    for layer in allocation.layers:
        found: dict[str, int | None] = {}
        for target in ("weight", "activation"):
            one = kept[layer.name, target]
            said = re.match(r"(\d+) bit", one.held_as)
            assert one.why is not None or one.bits == (int(said[1]) if said else None)
            found[target] = int(said[1]) if said else None
        yield layer.name, found


@pytest.mark.parametrize(("weights", "activations"), BITS)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_modelopt_has_the_bits(tmp_path: Path, weights: list[int], activations: list[int], granularity: str) -> None:
    needs("modelopt")
    import modelopt.torch.quantization as mtq

    allocation = asked(tmp_path, weights, activations, granularity)
    config = json.loads(DIALECTS["modelopt"].write(allocation).text)
    made = mtq.quantize(net(), config, lambda each: each(images()))
    assert made(images()).isfinite().all()
    for name, kept in held("modelopt", allocation):
        layer = made.get_submodule(name)
        for quantizer, bits in ((layer.weight_quantizer, kept["weight"]), (layer.input_quantizer, kept["activation"])):
            assert quantizer.is_enabled == (bits is not None)
            assert bits is None or quantizer.num_bits == bits
        assert not layer.output_quantizer.is_enabled
        if kept["weight"] is not None:
            quantizer = layer.weight_quantizer
            channels = net().get_submodule(name).weight.shape[1 if name == "up" else 0]
            assert quantizer.amax.numel() == (channels if granularity == "channel" else 1)
            step = quantizer.amax / (2 ** (kept["weight"] - 1) - 1)
            check_levels((quantizer(layer.weight) / step).round(), kept["weight"])
        if kept["activation"] is not None:
            assert layer.input_quantizer.unsigned == (name != "body.3"), "what was never negative has no sign"


@pytest.mark.parametrize(("weights", "activations"), BITS)
def test_torchao_has_the_bits(tmp_path: Path, weights: list[int], activations: list[int]) -> None:
    needs("torchao")
    from torchao.core.config import config_from_dict, config_to_dict
    from torchao.quantization import quantize_

    allocation = asked(tmp_path, weights, activations)
    config = json.loads(DIALECTS["torchao"].write(allocation).text)
    made = net()
    assert config_to_dict(config_from_dict(config)) == config, "exactly as torchao writes it"
    quantize_(made, config_from_dict(config), filter_fn=None)
    assert made(images()).isfinite().all()
    for name, kept in held("torchao", allocation):
        weight = made.get_submodule(name).weight
        if kept["weight"] is None:
            assert torch.equal(weight, net().get_submodule(name).weight), "left in float32"
            continue
        assert name.startswith("body"), "linear layers alone"
        assert weight.target_dtype == getattr(torch, f"int{kept['weight']}")
        check_levels(weight.qdata, kept["weight"])
        assert (weight.activation_quantization is None) == (kept["activation"] is None)


def test_nncf_has_no_map_of_layers_to_bits() -> None:
    needs("nncf")
    spec = find_spec("nncf")
    assert spec is not None
    assert spec.origin is not None
    sources = list(Path(spec.origin).parent.rglob("*.py"))
    assert len(sources) > 100
    assert not [path for path in sources if "bitwidth_per_scope" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("tool", MODULES)
def test_the_page_runs_and_prints_what_it_shows(tool: str, tmp_path: Path) -> None:
    needs(MODULES[tool])
    section = PAGE.partition(f"\n## {tool}\n")[2].partition("\n## ")[0]
    shown = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(shown) == 1
    here = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, "-c", program(tool)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == shown[0]


def test_the_page_shows_what_is_written(tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec("from __future__ import annotations\n" + program("A network and its allocation"), found)
    finally:
        os.chdir(here)
    for tool, name in (("NNCF", "nncf"), ("PLiNIO", "plinio"), ("HAWQ", "hawq")):
        section = PAGE.partition(f"\n## {tool}\n")[2].partition("\n## ")[0]
        block = re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]
        assert json.loads(block) == json.loads(DIALECTS[name].write(found["allocation"]).text)
