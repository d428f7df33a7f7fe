"""What makes a step cheap changes nothing else: kernels, inputs rounded again, images that speak for their bits."""

import copy
import gc
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

import precsearch
from precsearch.conversion import hooks as hooks_module
from precsearch.errors import ConfigurationError
from precsearch.quantization import kernels as kernels_module
from precsearch.quantization.fake_quantize import fake_quantize
from precsearch.quantization.grids import EVEN, SYMMETRIC, UNSIGNED
from precsearch.quantization.rounded_again import Recipe
from precsearch.training.building import in_memory_format

pytestmark = pytest.mark.filterwarnings("ignore::precsearch.errors.PrecsearchWarning")
GRIDS = [EVEN, SYMMETRIC, UNSIGNED]


class Net(nn.Module):
    """Images, a convolution, BatchNorm, a residual sum, a linear layer."""

    def __init__(self, channels=1, view=False):
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.out = nn.Linear(6 * 64, 10)
        self.view = view

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = x + torch.relu(self.second(x))
        return self.out(x.view(len(x), -1) if self.view else x.flatten(1))


def made(channels=1, **options):
    torch.manual_seed(0)
    x = torch.rand(16, channels, 8, 8)
    net = Net(channels).to(memory_format=options.pop("memory_format", torch.contiguous_format))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return precsearch.SearchableModel(net, precsearch.Budget("average_bits", 4.0), x[:2], **options), x


def gradients(searchable, x, steps=3):
    torch.manual_seed(1)
    target = torch.randint(0, 10, (len(x),))
    for _ in range(steps):  # the first looks at the data
        searchable.zero_grad()
        loss = nn.functional.cross_entropy(searchable(x), target)
        loss.backward()
    return loss, {name: p.grad.clone() for name, p in searchable.named_parameters() if p.requires_grad}


@pytest.fixture
def always_compiled(monkeypatch):
    """Tensors of every size are worth a call of compiled code, and the test fails unless it ran."""
    ran, compiled = set(), kernels_module._compiled

    def noted(function):
        made = compiled(function)
        return lambda *args: ran.add(function) or made(*args)

    monkeypatch.setattr(kernels_module, "_compiled", noted)
    for name in ("_WORTH_ROUNDING", "_WORTH_PULLING"):
        monkeypatch.setattr(kernels_module, name, 1)
    yield
    assert ran == {kernels_module._quantize, kernels_module._pull_back}


class TestKernels:
    @given(
        st.sampled_from(GRIDS),
        st.integers(2, 8),
        st.integers(0, 10**6),
        st.sampled_from(["contiguous", "channels_last", "strided", "one channel"]),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_single_numbers_are_the_tensors(self, grid, bits, seed, layout, clip):
        """The path of few operations gives what the operations on tensors give, in any layout."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(3, 1 if layout == "one channel" else 4, 5, 6, generator=generator)
        x = {"strided": x.transpose(1, 3)}.get(layout, x)
        if layout in ("channels_last", "one channel"):
            x = x.to(memory_format=torch.channels_last)
        weight = torch.randn(x.shape, generator=generator)
        found = []
        for dtype in (torch.float32, torch.float64):
            leaf = x.detach().clone(memory_format=torch.preserve_format).to(dtype).requires_grad_()
            reach = torch.tensor([0.9], dtype=dtype, requires_grad=True)
            step = reach.detach() / grid.levels(bits)
            step.requires_grad_()
            q = fake_quantize(leaf, step, reach, grid, clip)
            assert layout == "strided" or q.stride() == leaf.stride()
            (q * weight.to(dtype)).sum().backward()
            found.append([q.detach(), leaf.grad, step.grad, reach.grad])
        ties = ((x / (0.9 / grid.levels(bits)) - grid.offset) % 1 - 0.5).abs() < 1e-3
        assert bool(((found[0][0] - found[1][0]).abs() < 1e-5)[~ties].all())
        assert torch.equal(found[0][1].double(), found[1][1])
        if not bool(ties.any()):
            torch.testing.assert_close(found[0][2].double(), found[1][2], rtol=1e-4, atol=1e-3)
            torch.testing.assert_close(found[0][3].double(), found[1][3], rtol=1e-4, atol=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.usefixtures("always_compiled")
    def test_compiled_equals_eager(self, grid):
        x = torch.randn(8, 4096)
        weight = torch.randn_like(x)
        found = []
        for kernels in ("eager", "compiled"):
            leaf = x.clone().requires_grad_()
            reach = torch.tensor([0.9], requires_grad=True)
            step = (reach.detach() / grid.levels(4)).requires_grad_()
            q = fake_quantize(leaf, step, reach, grid, kernels=kernels)
            (q * weight).sum().backward()
            found.append([q.detach(), leaf.grad, step.grad, reach.grad])
        (q, x_grad, *ranges), (q_c, x_grad_c, *ranges_c) = found
        assert torch.equal(q, q_c) and torch.equal(x_grad, x_grad_c)
        for one, other in zip(ranges, ranges_c, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-2)

    @pytest.mark.slow
    @pytest.mark.usefixtures("always_compiled")
    def test_a_search_compiled_is_the_eager_one(self):
        (_, eager), (_, compiled) = (gradients(*made(kernels=kernels)) for kernels in ("eager", "compiled"))
        for name, expected in eager.items():
            torch.testing.assert_close(compiled[name], expected, rtol=1e-3, atol=1e-5)

    def test_no_compiler(self, monkeypatch):
        """Forced, it is an error with the remedy; left to itself, one warning and plain operations."""

        def broken(*_, **__):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand so on")

        monkeypatch.setattr(kernels_module, "_compiled", broken)
        monkeypatch.setattr(kernels_module, "_WORTH_COMPILING", 1)
        kernels_module._problem.cache_clear()
        try:
            with pytest.raises(ConfigurationError, match=r"No working C\+\+ compiler found; install one \(g\+\+\)"):
                made(kernels="compiled")
            kernels_module._problem.cache_clear()
            x = torch.rand(16, 1, 8, 8)
            with pytest.warns(precsearch.errors.PrecsearchWarning, match="goes on with plain operations") as told:
                gradients(precsearch.SearchableModel(Net(), precsearch.Budget("average_bits", 4.0), x[:2]), x)
            assert sum("plain operations" in str(each.message) for each in told) == 1
        finally:
            kernels_module._problem.cache_clear()

    def test_a_name_that_is_none(self):
        with pytest.raises(ConfigurationError, match="kernels must be one of auto, eager, compiled, but got 'fast'"):
            made(kernels="fast")


class TestFirstInputs:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_the_shortcut_is_the_full_gradient(self, channels, memory_format, monkeypatch):
        taken, speak = [], hooks_module.speak_for_input
        monkeypatch.setattr(hooks_module, "speak_for_input", lambda *args: taken.append(1) or speak(*args))
        searchable, x = made(channels, memory_format=memory_format, kernels="eager")
        full, _ = made(channels, memory_format=memory_format, kernels="eager")
        full.load_state_dict(searchable.state_dict())
        _, short = gradients(searchable, x)
        _, long = gradients(full, x.clone().requires_grad_())  # an input that needs its gradient takes the long way
        assert len(taken) == 3  # a step each, of the first alone
        assert searchable.sampler.logits.grad.abs().max() > 0
        for name, expected in long.items():
            torch.testing.assert_close(short[name], expected, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("frozen", [True, False])
    def test_weights_that_do_not_learn(self, frozen, bias):
        torch.manual_seed(0)
        x, found = torch.rand(16, 1, 8, 8), []
        for leaf in (x, x.clone().requires_grad_()):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Conv2d(1, 4, 3, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
            net[0].weight.requires_grad_(not frozen)
            searchable = precsearch.SearchableModel(net, precsearch.Budget("average_bits", 4.0), x[:2])
            found.append(gradients(searchable, leaf)[1])
        assert ("model.0.parametrizations.weight.original" in found[0]) is not frozen
        for name, expected in found[1].items():
            torch.testing.assert_close(found[0][name], expected, rtol=1e-3, atol=1e-6)

    def test_a_weight_that_is_not_quantized_learns(self):
        torch.manual_seed(0)
        x, found = torch.rand(16, 1, 8, 8), []
        for leaf in (x, x.clone().requires_grad_()):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
            budget = precsearch.Budget("average_bits", 4.0)
            searchable = precsearch.SearchableModel(net, budget, x[:2], targets=["activation"])
            found.append(gradients(searchable, leaf)[1])
        for name, expected in found[1].items():
            torch.testing.assert_close(found[0][name], expected, rtol=1e-3, atol=1e-6)

    def test_hooks_that_change_the_output_come_after_it(self):
        short, x = made(kernels="eager")
        full, _ = made(kernels="eager")
        for each in (short, full):
            each.model.first.register_forward_hook(lambda module, args, output: 3 * output)
        _, found = gradients(short, x)
        _, expected = gradients(full, x.clone().requires_grad_())
        torch.testing.assert_close(found["sampler.logits"], expected["sampler.logits"], rtol=1e-3, atol=1e-6)

    def test_what_follows_may_change_the_output_in_place(self):
        torch.manual_seed(0)
        x, found = torch.rand(16, 1, 8, 8), []
        for inplace, leaf in ((False, x), (True, x), (True, x.clone().requires_grad_())):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(144, 10))
            searchable = precsearch.SearchableModel(net, precsearch.Budget("average_bits", 4.0), x[:2])
            found.append(gradients(searchable, leaf)[1])
        for other in found[1:]:
            for name, expected in found[0].items():
                torch.testing.assert_close(other[name], expected, rtol=1e-3, atol=1e-6)

    def test_a_forward_of_its_own_takes_the_long_way(self):
        class Standardized(nn.Conv2d):
            def forward(self, x):
                return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

        torch.manual_seed(0)
        x = torch.rand(16, 1, 8, 8)
        found = []
        for leaf in (x, x.clone().requires_grad_()):
            torch.manual_seed(0)
            net = nn.Sequential(Standardized(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
            searchable = precsearch.SearchableModel(net, precsearch.Budget("average_bits", 4.0), x[:2])
            found.append(gradients(searchable, leaf)[1]["sampler.logits"])
        torch.testing.assert_close(*found)


class TestRoundedAgain:
    def test_nothing_is_kept_twice(self, monkeypatch):
        """What layers kept of their quantized inputs is made in the backward pass, once each."""
        searchable, x = made(kernels="eager")
        gradients(searchable, x)
        rounded, make = [], Recipe.make
        monkeypatch.setattr(Recipe, "make", lambda recipe: rounded.append(recipe.x.shape) or make(recipe))
        loss = searchable(x).sum()
        assert not rounded
        loss.backward()
        assert sorted(map(tuple, rounded)) == [(16, 6, 8, 8), (16, 384)]  # the image is small, and kept

    def test_a_forward_without_a_backward_leaves_nothing(self):
        searchable, x = made(kernels="eager")
        gradients(searchable, x)

        def large():
            gc.collect()
            return [each for each in gc.get_objects() if type(each) is torch.Tensor and each.numel() >= 1000]

        before = large()  # held, so that none of them gives its address to a new one
        known = {id(each) for each in before}
        left = []
        for _ in range(3):
            searchable(x)
            left.append([each.shape for each in large() if id(each) not in known])
        assert left[0] == left[1] == left[2]

    def test_an_error_in_a_forward_leaves_no_trace(self):
        searchable, x = made(kernels="eager")
        gradients(searchable, x)
        hooks = {name: len(module._forward_hooks) for name, module in searchable.named_modules()}
        wrong = {(4, 1, 9, 9): "mat1 and mat2 shapes", (4, 2, 8, 8): "expected input.* to have 1 channels"}
        for shape, told in wrong.items():
            with pytest.raises(RuntimeError, match=told):
                searchable(torch.rand(shape))
            assert torch._C._autograd._top_saved_tensors_default_hooks(True) is None
            assert parametrize._cache_enabled == 0
            assert torch.is_grad_enabled()
        gradients(searchable, x)
        assert {name: len(module._forward_hooks) for name, module in searchable.named_modules()} == hooks

    def test_the_error_told_is_the_modules_own(self):
        """Torch goes through the hooks of a module whose forward failed: none may be taken away meanwhile."""
        searchable, x = made(kernels="eager")
        gradients(searchable, x)
        seen = []
        for module in (searchable.model.first, searchable.model.out):
            module.register_forward_hook(lambda module, args, output: seen.append(output), always_call=True)
        with pytest.raises(RuntimeError, match="mat1 and mat2 shapes"):
            searchable(torch.rand(4, 1, 9, 9))
        with pytest.raises(RuntimeError, match="to have 1 channels"):
            searchable(torch.rand(4, 2, 8, 8))
        assert seen[1:] == [None, None]

    def test_an_input_changed_in_place_is_an_error(self):
        searchable, x = made(kernels="eager")
        gradients(searchable, x)

        class Changes(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                x = x * 1.0
                out = self.inner(x)
                x.add_(1.0)
                return out

        layer = nn.Sequential(nn.Identity(), nn.Linear(8, 4))
        net = Changes(layer)
        x = torch.rand(5, 8, requires_grad=True)
        searchable = precsearch.SearchableModel(net, precsearch.Budget("average_bits", 4.0), x[:2].detach())
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            searchable(x).sum().backward()

    def test_two_forwards_before_one_backward(self):
        """A look at the data in between must not change what the first one rounds again with."""
        one, x = made(kernels="eager", sampler="uniform")
        two = copy.deepcopy(one)
        target = torch.randint(0, 10, (len(x),))
        for _ in range(20):
            first = nn.functional.cross_entropy(one(x), target)
            second = nn.functional.cross_entropy(one(x), target)
            (first + second).backward()
            nn.functional.cross_entropy(two(x), target).backward()
            nn.functional.cross_entropy(two(x), target).backward()
        for (name, p), q in zip(one.named_parameters(), two.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5, msg=name)


class TestMemoryFormat:
    def test_auto_takes_channels_last_where_the_model_runs_so(self):
        x = torch.rand(2, 1, 8, 8)
        runs, views = (in_memory_format(Net(view=view), x, "auto") for view in (False, True))
        assert runs.second.weight.is_contiguous(memory_format=torch.channels_last)
        assert views.second.weight.is_contiguous() and views.training

    def test_auto_leaves_nets_of_few_convolutions_alone(self):
        net, x = (
            nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), *[nn.Linear(4, 4) for _ in range(4)]),
            torch.rand(2, 3, 8, 8),
        )
        assert in_memory_format(net, x, "auto")[0].weight.is_contiguous()
        assert not in_memory_format(net, x, "channels_last")[0].weight.is_contiguous()

    def test_forced_where_it_does_not_run(self):
        with pytest.raises(precsearch.errors.ModelError, match="view size is not compatible"):
            in_memory_format(Net(view=True), torch.rand(2, 1, 8, 8), "channels_last")

    def test_nothing_changes_but_rounding(self):
        plain, x = made(kernels="eager")
        other, _ = made(kernels="eager", memory_format=torch.channels_last)
        (loss, found), (loss_o, found_o) = gradients(plain, x), gradients(other, x)
        torch.testing.assert_close(loss, loss_o, rtol=1e-5, atol=0)
        for name, expected in found.items():
            torch.testing.assert_close(found_o[name], expected, rtol=2e-3, atol=1e-5)
