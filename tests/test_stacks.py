"""A searchable model in the training stacks people have: compiled, distributed, accumulated, checkpointed, copied."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from functorch.compile import make_boxed_func
from nets import Residual, numbers
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils.checkpoint import checkpoint

from precsearch import Budget, SearchableModel
from precsearch.models import lenet5
from precsearch.quantization.base import REFRESH_EVERY

X = numbers(6, 3, 8, 8)
DRAWS = 50


def residual(seed=0, **options):
    torch.manual_seed(0)
    return SearchableModel(Residual(), Budget("average_bits", 4.0), X, bits=[2, 4, 8], seed=seed, **options)


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def alike(found, expected):
    """Within 1e-4 of each tensor's largest value: the batch in another order alone is 1e-5 of it away in float32."""
    return all(
        (a is None and b is None) or torch.allclose(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))
        for a, b in zip(found, expected, strict=True)
    )


# what the compiler does to find out about our code is none of our code's doing
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
class TestCompile:
    @pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
    def test_recompiles_at_most_twice_over_fifty_draws(self, backend):
        torch._dynamo.reset()
        x = torch.rand(8, 1, 28, 28)
        searchable = SearchableModel(lenet5((1, 28, 28), 10), Budget("average_bits", 3.0), x, bits=[2, 3, 4, 6, 8])
        graphs = []

        def count(graph, inputs):
            graphs.append(graph)
            if backend == "eager":
                return graph.forward
            from torch._inductor.compile_fx import compile_fx

            return compile_fx(graph, inputs)

        compiled = torch.compile(searchable, backend=count)
        seen = set()
        for _ in range(DRAWS):
            compiled(x).square().mean().backward()
            seen.add(tuple(quantizer.chosen_bits for quantizer in searchable.quantizers))
        assert len(seen) > DRAWS // 2, "the draws must differ for this to mean anything"
        assert 1 <= len(graphs) <= 3

    @pytest.mark.parametrize(
        ("granularity", "layout"), [("tensor", torch.channels_last), ("channel", torch.contiguous_format)]
    )
    @pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
    def test_computes_what_the_plain_model_computes(self, granularity, layout, backend):
        torch._dynamo.reset()
        x = X.contiguous(memory_format=layout)
        plain, other = (residual(granularity=granularity).to(memory_format=layout) for _ in range(2))
        compiled = torch.compile(other, backend=backend)
        for _ in range(REFRESH_EVERY + 2):
            out, expected = compiled(x), plain(x)
            assert torch.allclose(out, expected, atol=1e-5)
            for model, loss in ((plain, expected), (other, out)):
                model.zero_grad()
                loss.square().mean().backward()
            assert alike(gradients(other), gradients(plain))
        assert torch.allclose(compiled.eval()(x), plain.eval()(x), atol=1e-5)

    @pytest.mark.parametrize("granularity", ["tensor", "channel"])
    def test_copies_nothing_to_quantize_it(self, granularity):
        torch._dynamo.reset()
        operations = []

        def as_it_is(graph, _):  # torch itself makes the gradients of custom functions contiguous
            return make_boxed_func(graph.forward)

        def note(graph, inputs):
            operations.extend(str(node.target) for node in graph.graph.nodes)
            return as_it_is(graph, inputs)

        searchable = residual(granularity=granularity).to(memory_format=torch.channels_last)
        compiled = torch.compile(searchable, backend=aot_autograd(fw_compiler=note, bw_compiler=as_it_is))
        for _ in range(2):  # the first looks at the data, and runs uncompiled
            compiled(X.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        assert "aten.round.default" in operations, "no graph with a quantizer in it was seen"
        assert not [name for name in operations if "clone" in name or "contiguous" in name]


class TestTorch:
    def test_every_forward_of_an_accumulated_step_draws(self):
        searchable = residual()
        bits = []
        for part in X.split(2):
            searchable(part).square().sum().backward()
            bits.append([quantizer.chosen_bits for quantizer in searchable.quantizers])
        assert bits[0] != bits[1] or bits[1] != bits[2]
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in searchable.parameters())

    def test_autocast_learns_nearly_the_same(self):
        plain, mixed = residual(), residual()
        for _ in range(2):
            plain(X).square().mean().backward()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = mixed(X).float().square().mean()
            loss.backward()
        found, expected = mixed.sampler.logits.grad, plain.sampler.logits.grad
        assert float(nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0)) > 0.9

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("reentrant", [True, False])
    def test_activation_checkpointing_changes_nothing(self, whole, reentrant):
        """What is computed again in the backward pass is computed with the same draw and the same ranges."""

        class Thrifty(Residual):
            def forward(self, x):
                return checkpoint(super().forward, x, use_reentrant=reentrant)

        torch.manual_seed(0)
        model = Residual() if whole else Thrifty()
        thrifty = SearchableModel(model, Budget("average_bits", 4.0), X, bits=[2, 4, 8])
        plain = residual()
        x = X.clone().requires_grad_()
        for _ in range(REFRESH_EVERY + 2):
            for network in (plain, thrifty):
                network.zero_grad()
            plain(x).square().mean().backward()
            out = checkpoint(thrifty, x, use_reentrant=reentrant) if whole else thrifty(x)
            out.square().mean().backward()
            assert alike(gradients(thrifty), gradients(plain))

    def test_a_copy_goes_its_own_way(self):
        searchable = residual()
        searchable(X).sum().backward()
        twin = copy.deepcopy(searchable)
        for network in (searchable, twin):
            network.zero_grad()
            network(X).square().sum().backward()
        assert alike(gradients(twin), gradients(searchable))
        with torch.no_grad():
            twin.sampler.logits += torch.randn_like(twin.sampler.logits)
        searchable.eval()(X), twin.eval()(X)
        chosen = [[quantizer.chosen_bits for quantizer in network.quantizers] for network in (searchable, twin)]
        assert chosen[0] != chosen[1]

    def test_a_state_dict_brings_draws_ranges_and_logits(self):
        one, other = residual(seed=1), residual(seed=2)
        for _ in range(REFRESH_EVERY + 1):
            one(X).square().sum().backward()
        other.load_state_dict(one.state_dict())
        for _ in range(REFRESH_EVERY):
            assert torch.equal(one(X), other(X))
        assert torch.equal(one.eval()(X), other.eval()(X))


@pytest.mark.slow
class TestDistributed:
    def run(self, folder: Path, *more: object) -> list[dict]:
        folder.mkdir(exist_ok=True)
        script = Path(__file__).parent / "ddp_training.py"
        (folder / "meeting").unlink(missing_ok=True)
        here = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        processes = [
            subprocess.Popen(
                [sys.executable, script, str(rank), folder / "meeting", folder, *map(str, more)],
                env=os.environ | {"PYTHONPATH": here},
            )
            for rank in range(2)
        ]
        try:
            assert [process.wait(timeout=300) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]

    def test_two_processes_draw_and_find_the_same_and_resume(self, tmp_path):
        whole = self.run(tmp_path / "whole", 24, 10)
        assert whole[0] == whole[1]
        assert len({tuple(draw) for draw in whole[0]["draws"]}) > 5
        resumed = self.run(tmp_path / "resumed", 24, 0, tmp_path / "whole" / "state.pt")
        assert resumed[0] == resumed[1]
        assert resumed[0] == {**whole[0], "draws": whole[0]["draws"][10:]}
