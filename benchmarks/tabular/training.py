"""Trains many allocations of one fully connected net at once: their weights are stacked into one net of many.

All start from the same weights and see the same batches, as ordinary trainings with one seed do; optimizer, schedule,
rounding and ranges are the project's own. `tests/test_tabular.py` shows that a net of the stack ends like its ordinary
training.

Legend: N nets, B images, I inputs and O outputs of a layer, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from precsearch.data import Batches, load_data, training_batches
from precsearch.experiment import Experiment
from precsearch.quantization.base import REFRESH_EVERY
from precsearch.quantization.fake_quantize import fake_quantize
from precsearch.quantization.grids import EVEN
from precsearch.quantization.scales import l2_reach
from precsearch.training.building import build_network
from precsearch.training.stages import FinetuneStage, Stage

Bits = tuple[int, ...]

# Nets trained together: their weights should stay in the processor's cache.
CHUNK = 128


class Stack(nn.Module):
    """Nets that differ in their weights' bits; quantized by `dorefa`, per tensor, scale `l2`.

    Args:
        layers: the float net's linear layers, with a ReLU between two.
        allocations: of each net, bits of each layer.

    Attributes:
        reaches: ranges, [N] a layer; empty until data was seen.
        age: training forwards seen.
        enabled: whether it rounds.
    """

    def __init__(self, layers: Sequence[nn.Linear], allocations: Sequence[Bits]) -> None:
        super().__init__()
        self.allocations = list(allocations)
        count = len(self.allocations)
        self.weights = nn.ParameterList(layer.weight.detach().repeat(count, 1, 1) for layer in layers)
        self.biases = nn.ParameterList(layer.bias.detach().repeat(count, 1) for layer in layers)
        self.reaches: list[Tensor] = []
        self.age = 0
        self.enabled = True
        bits_LN = torch.tensor(self.allocations).T
        self.single_LN = bits_LN == 1
        self.levels_LN = torch.tensor([[EVEN.levels(int(bits)) for bits in row] for row in bits_LN])

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, ...] -> outputs [N, B, O]."""
        if self.training:
            if self.age % REFRESH_EVERY == 0:
                self.look()
            self.age += 1
        h_NBI = x.flatten(1).expand(len(self.allocations), -1, -1)
        for number, bias in enumerate(self.biases):
            h_NBI = nn.functional.relu(h_NBI) if number else h_NBI
            h_NBI = torch.baddbmm(bias.unsqueeze(1), h_NBI, self.rounded(number).transpose(1, 2))
        return h_NBI

    def rounded(self, number: int) -> Tensor:
        """The weights that layer `number` computes with, [N, O, I]."""
        weight: Tensor = self.weights[number]
        if not self.enabled:
            return weight
        reach_N = self.reaches[number]
        step_N = reach_N / self.levels_LN[number].to(reach_N)
        made = fake_quantize(self._squashed(number), step_N, reach_N, EVEN, False, "eager")
        return made.view_as(weight)

    @torch.no_grad()
    def look(self) -> None:
        """Set the ranges from the weights."""
        found = []
        for number, levels_N in enumerate(self.levels_LN):
            # As candidates, not as rows: the rule then looks at as many values of each as of a single net's weight.
            rows = list(torch.split(self._squashed(number), 1))
            before = self.reaches[number].unsqueeze(1) if self.reaches else None
            found.append(l2_reach(rows, [EVEN] * len(rows), levels_N.tolist(), before)[:, 0])
        self.reaches = found

    def _squashed(self, number: int) -> Tensor:
        rows = self.weights[number].flatten(1)
        return torch.where(self.single_LN[number].unsqueeze(1), rows, torch.sigmoid(rows * 2) * 2 - 1)


class StackedTraining:
    """The trainings of one seed.

    Args:
        experiment: of a fully connected net; its epochs, optimizer and candidates are used.
        seed: of first weights and order.
        convert: applied to images and weights, such as `Tensor.double`.
    """

    def __init__(self, experiment: Experiment, seed: int, convert: Callable[[Tensor], Tensor] | None = None) -> None:
        self.inner = experiment.inner
        self.data = load_data(experiment.data)
        self.convert = convert or (lambda values: values)
        self.order = torch.Generator().manual_seed(seed)
        self.batches = training_batches(self.data.train, experiment.data, self.order)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, _ = build_network(experiment, self.data)
        self.layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        for layer in self.layers:
            layer.weight.data, layer.bias.data = self.convert(layer.weight.data), self.convert(layer.bias.data)
        # While warming up nothing is rounded: one net for each bit-width stands for all.
        self.warm = Stack(self.layers, [(bits,) * len(self.layers) for bits in self.inner.bits])
        self.warm.enabled = False
        self.warming = self._stage(self.warm)
        for _ in range(self.inner.epochs.warmup):
            self._epoch(self.warming)
        self.after = self.order.get_state()

    def losses(self, allocations: Sequence[Bits]) -> Iterator[float]:
        """The validation loss that each allocation's training ends with."""
        for begin in range(0, len(allocations), CHUNK):
            yield from self._train(allocations[begin : begin + CHUNK])

    def _train(self, allocations: Sequence[Bits]) -> list[float]:
        self.order.set_state(self.after)
        stack = Stack(self.layers, allocations)
        stage = self._stage(stack)
        self._continue(stage, stack)
        for _ in range(self.inner.epochs.search):
            self._epoch(stage)
        for inputs, _ in self.batches.plain():  # recalibration
            stack(self.convert(inputs))
        tuning = FinetuneStage(stack, self.inner, self.batches)
        for _ in range(self.inner.epochs.finetune):
            self._epoch(tuning)
        return self._measure(stack.eval())

    def _stage(self, stack: Stack) -> Stage:
        epochs, optimizer = self.inner.epochs, self.inner.optimizer
        steps = (epochs.warmup + epochs.search) * len(self.batches)
        return Stage(stack, list(stack.parameters()), optimizer, optimizer.lr, steps)

    def _continue(self, stage: Stage, stack: Stack) -> None:
        """Give every net what its own warm-up would have left."""
        warm = self.warm
        with torch.no_grad():
            for mine, first in zip(stack.parameters(), warm.parameters(), strict=True):
                mine.copy_(first[:1].expand_as(mine))
        stack.age = warm.age
        if not warm.reaches:
            return
        rows_LN = [[self.inner.bits.index(bits) for bits in layer] for layer in zip(*stack.allocations, strict=True)]
        stack.reaches = [reach[rows] for reach, rows in zip(warm.reaches, rows_LN, strict=True)]
        state = self.warming.optimizer.state_dict()
        count = len(stack.allocations)
        moments = {
            key: {
                # a copy of the step, too: the optimizer counts it in place
                name: (value[:1].expand(count, *value.shape[1:]) if value.dim() else value).clone()
                for name, value in each.items()
            }
            for key, each in state["state"].items()
        }
        stage.optimizer.load_state_dict({**state, "state": moments})
        stage.schedule.load_state_dict(self.warming.schedule.state_dict())

    def _epoch(self, stage: Stage) -> None:
        stage.model.train()
        for inputs, targets in self.batches:
            stage.zero_grad()
            # The sum over nets: each gets the gradient that it would get alone.
            loss = _losses(stage.model(self.convert(inputs)), targets).sum()
            stage.step(lambda made=loss: made)

    @torch.no_grad()
    def _measure(self, stack: Stack) -> list[float]:
        split = self.data.validation
        total = torch.zeros(len(stack.allocations), dtype=torch.float64)
        for inputs, targets in Batches(split, 1000):
            total += len(targets) * _losses(stack(self.convert(inputs)), targets).double()
        return [float(loss) for loss in total / len(split)]


def _losses(outputs_NBO: Tensor, targets_B: Tensor) -> Tensor:
    """Mean cross-entropy of each net, [N]."""
    nets = len(outputs_NBO)
    each = nn.functional.cross_entropy(outputs_NBO.flatten(0, 1), targets_B.repeat(nets), reduction="none")
    return each.view(nets, -1).mean(1)
