"""Layers that share a bit-width: tied weights, shared tensors, groups of the user's own; drawn, answered, counted."""

import functools
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import NETS, Residual, Tied, Transformer, numbers, words
from test_any_model import convert
from torch import nn
from torch.nn.utils import parametrize

import precsearch
from precsearch import Allocation, AllocationError, Budget, BudgetError, ConfigurationError, SearchableModel
from precsearch.conversion import quantizers_of
from precsearch.layers import take_inventory, weights_of

pytestmark = pytest.mark.filterwarnings("ignore:the budget .* binds nowhere")

ALL = ("weight", "activation", "gradient")
BITS = (2, 3, 4, 8)
SMALL = ["tied", "twice", "residual", "u-net", "lstm", "attention", "bilinear", "conv1d", "branching"]
X = numbers(4, 3, 8, 8)


def now(searchable):
    """(layer, target) -> bits, as the quantizers have them at this moment."""
    found = {
        (name, target): {quantizer.chosen_bits for quantizer in quantizers}
        for name, weight in weights_of(searchable.model).items()
        for target, quantizers in quantizers_of(weight).items()
    }
    assert all(len(bits) == 1 for bits in found.values())
    return {part: bits.pop() for part, bits in found.items()}


def answer(searchable):
    layers = Allocation.from_json(searchable.allocation().to_json()).layers
    return {(layer.name, t): layer.bits(t) for layer in layers for t in layer.targets if layer.bits(t) is not None}


def groups(searchable):
    return {layer.name: layer.group for layer in searchable.allocation().layers}


@functools.cache
def known(name):
    """Names of the layers, the parts that can be quantized, and what is read in common: from a plain conversion."""
    make, example = NETS[name]
    plain = convert(make(), example, targets=ALL, bits=[4])
    layers = plain.allocation().layers
    parts = [(layer.name, target) for layer in layers for target in layer.targets]
    ties = [[(layer.tied_to, "weight"), (layer.name, "weight")] for layer in layers if layer.tied_to]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shared = take_inventory(make(), example).shared
    return [layer.name for layer in layers], parts, ties, shared


@st.composite
def asked(draw):
    """A net, what is asked of its layers, and the classes of parts that must then agree, joined one by one."""
    name = draw(st.sampled_from(SMALL))
    names, every, joined, shared = known(name)
    targets = draw(st.sampled_from([("weight",), ("weight", "activation"), ALL]))
    parts = [part for part in every if part[1] in targets]
    several = st.lists(st.sampled_from(names), min_size=2, max_size=4, unique=True)
    share = draw(st.lists(st.sampled_from(["residual", "shared_input"]), unique=True))
    joined = joined + [[(layer, "activation") for layer in each.readers] for each in shared if each.kind in share]
    own = {}
    for number in range(draw(st.integers(0, 3))):
        members, some = draw(several), draw(st.lists(st.sampled_from(targets), unique=True))
        if some:
            assume(all((layer, target) in parts for layer in members for target in some))
        own[f"g{number}"] = {"layers": members, "targets": some} if some else members
        chosen = some or [target for target in targets if target != "gradient"]
        joined += [[(layer, target) for layer in members] for target in chosen]
    pin = draw(st.dictionaries(st.sampled_from(names), st.sampled_from([3, 5, "float"]), max_size=2))
    offered = draw(st.dictionaries(st.sampled_from(names), st.sampled_from([[2, 3], [4, 8], [2, 8]]), max_size=2))
    class_of = {part: {part} for part in parts}
    for group in joined:
        own_parts = [part for part in group if part in class_of]
        union = set().union(*(class_of[part] for part in own_parts))
        class_of |= dict.fromkeys(union, union)
    return name, targets, {"share": share, "groups": own, "pin": pin, "candidates": offered}, class_of


def agreed(members, pin, offered):
    """What a class may get: a set of bits, `{None}` for float, or nothing where it cannot agree."""
    pins = {pin[layer] for layer, _ in members if layer in pin}
    if pins:
        return {None if bits == "float" else bits for bits in pins} if len(pins) == 1 else set()
    return set.intersection(*(set(offered.get(layer, BITS)) for layer, _ in members))


@settings(max_examples=60, deadline=None)
@given(asked(), st.sampled_from([4.0, 16.0]), st.integers(0, 9))
def test_members_agree_on_every_draw_and_in_the_answer(case, limit, seed):
    name, targets, wishes, class_of = case
    allowed = {part: agreed(members, wishes["pin"], wishes["candidates"]) for part, members in class_of.items()}
    make, example = NETS[name]
    try:
        searchable = convert(make(), example, targets=targets, bits=BITS, limit=limit, seed=seed, **wishes)
    except BudgetError as error:
        nothing = all(len(bits) == 1 and bits & {3, 5, None} for bits in allowed.values())
        assert "every layer is pinned" in str(error) if nothing else "cannot be kept" in str(error)
        assert nothing or limit == 4.0
        return
    except ConfigurationError as error:
        assert "must agree" in str(error) and not all(allowed.values())
        return
    assert all(allowed.values())
    slots = {frozenset(slot.members) for slot in searchable.plan.problem.slots}
    assert slots == {frozenset(class_of[part]) for slot in slots for part in slot}
    seen = []
    for _ in range(4):
        searchable.draw()
        seen.append(now(searchable))
    seen.append(answer(searchable))
    for bits in seen:
        for part, members in class_of.items():
            assert bits.get(part) in allowed[part]
            assert len({bits.get(member) for member in members}) == 1
    for layer, told in groups(searchable).items():
        mine = [members for part, members in class_of.items() if part[0] == layer and len(members) > 1]
        assert bool(told) == bool(mine)
        for group, given_as in wishes["groups"].items():
            if mine and layer in (given_as["layers"] if isinstance(given_as, dict) else given_as):
                assert group in told or not any(layer in {name for name, _ in members} for members in mine)


class TestTied:
    def test_one_quantizer_counted_once_and_run_twice(self):
        model = Tied()
        searchable = SearchableModel(
            model, Budget("average_bits", 16.0), words(4, 7), bits=[4, 8], sampler="fixed", allocation=[8, 4, 8]
        )
        assert model.decode.parametrizations.weight[0] is model.embed.parametrizations.weight[0]
        assert model.decode.parametrizations.weight.original is model.embed.parametrizations.weight.original
        assert groups(searchable) == {"embed": "tied to embed", "middle": None, "decode": "tied to embed"}
        cost = searchable.allocation().cost
        table, middle = 40 * 12, 12 * 12
        assert cost.average_bits["weight"] == (8 * table + 4 * middle) / (table + middle)
        # packed weights and their scales once; scales of what middle and decode read; middle's bias
        assert cost.model_size == (table + 4) + (middle // 2 + 4) + 4 + 4 + 4 * 12
        assert cost.bitops == 7 * middle * 4 * 4 + 7 * table * 8 * 8

    def test_a_pin_of_one_is_a_pin_of_both(self):
        searchable = convert(Tied(), words(), pin={"decode": {"weight": 6}}, bits=[2, 4], limit=6.0)
        assert answer(searchable)["embed", "weight"] == answer(searchable)["decode", "weight"] == 6
        assert answer(searchable)["decode", "activation"] in (2, 4)

    def test_a_float_pin_leaves_both_untouched(self):
        model = Tied()
        convert(model, words(), pin={"embed": "float"})
        assert model.decode.weight is model.embed.weight and not parametrize.is_parametrized(model.embed)

    def test_layer_bits_count_the_weight_once(self):
        searchable = SearchableModel(Tied(), Budget("layer_bits", 5.0), words(), bits=[2, 8], targets=["weight"])
        assert searchable.allocation().budget.achieved == 5.0  # (8 + 2) / 2; of three it would be 4 or 6

    def test_an_allocation_that_unties_them_is_refused(self):
        allocation = convert(Tied(), words(), bits=[4]).allocation()
        text = allocation.to_json().rpartition('"bits": 4')
        layers = [layer.model_copy(deep=True) for layer in allocation.layers]
        decode = layers[2].model_copy(
            update={
                "targets": {**layers[2].targets, "weight": layers[2].targets["weight"].model_copy(update={"bits": 2})}
            }
        )
        untied = allocation.model_copy(update={"layers": (*layers[:2], decode)})
        assert text[1] and untied.bits() == {"embed": 4, "middle": 4, "decode": 2}
        with pytest.raises(AllocationError, match=r"share one bit-width, .* embed.weight 4, decode.weight 2"):
            convert(Tied(), words(), sampler="fixed", allocation=untied)
        with pytest.raises(AllocationError, match=r"'embed' and 'decode' share one, .* 4 and 2 bits; give them the"):
            precsearch.apply_allocation(Tied(), untied)


class TestShared:
    def test_what_a_residual_stream_is_read_with(self):
        searchable = convert(Residual(), X, share=["residual"])
        found = groups(searchable)
        assert {name for name, group in found.items() if group} == {"a1", "b1", "short"}
        slots = [slot.members for slot in searchable.plan.problem.slots if len(slot.members) > 1]
        assert slots == [(("a1", "activation"), ("b1", "activation"), ("short", "activation"))]

    def test_one_input_of_several_layers(self):
        class Heads(nn.Module):
            def __init__(self):
                super().__init__()
                self.q, self.k, self.v = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)

            def forward(self, x):
                return self.q(x) * self.k(x) + self.v(x.abs())

        x = numbers(4, 6)
        alone, together = convert(Heads(), x), convert(Heads(), x, share=["shared_input"])
        assert set(groups(alone).values()) == {None}
        assert groups(together) == {"q": "shared_input 1", "k": "shared_input 1", "v": None}
        assert set(groups(convert(Heads(), x, share=["residual"])).values()) == {None}

    def test_targets_without_activations_share_nothing(self):
        assert set(groups(convert(Residual(), X, share=["residual"], targets=["weight"])).values()) == {None}

    def test_overlaps_of_all_kinds_become_one(self):
        searchable = convert(
            Residual(),
            X,
            share=["residual"],
            groups={"late": ["b*"], "more": {"layers": ["b2", "out"], "targets": ["weight"]}},
        )
        slots = {frozenset(slot.members) for slot in searchable.plan.problem.slots if len(slot.members) > 1}
        assert slots == {
            frozenset((name, "activation") for name in ("a1", "b1", "b2", "short")),
            frozenset((name, "weight") for name in ("b1", "b2", "out")),
        }
        assert groups(searchable)["b1"] == "late + more + residual 1"


class TestOwn:
    @pytest.mark.parametrize(
        ("patterns", "members"),
        [(["a1", "b*"], {"a1", "b1", "b2"}), (["type:Conv2d"], {"stem", "a1", "a2", "b1", "b2", "short"}),
         (["*1", "type:Linear"], {"a1", "b1", "out"}), ("a*", {"a1", "a2"})],
    )  # fmt: skip
    def test_by_name_pattern_and_type(self, patterns, members):
        searchable = convert(Residual(), X, groups={"mine": patterns})
        assert {name for name, group in groups(searchable).items() if group == "mine"} == members
        assert sorted(len(s.members) for s in searchable.plan.problem.slots)[-2:] == [len(members)] * 2

    def test_for_some_targets(self):
        searchable = convert(Residual(), X, targets=ALL, groups={"g": {"layers": ["a*"], "targets": ["gradient"]}})
        slots = [slot.members for slot in searchable.plan.problem.slots if len(slot.members) > 1]
        assert slots == [(("a1", "gradient"), ("a2", "gradient"))]

    def test_gradients_are_grouped_where_they_are_named_or_alone(self):
        both = convert(Residual(), X, targets=["weight", "gradient"], groups={"g": ["a*"]})
        assert [s.members for s in both.plan.problem.slots if len(s.members) > 1] == [
            (("a1", "weight"), ("a2", "weight"))
        ]
        alone = convert(Residual(), X, targets=["gradient"], groups={"g": ["a*"]})
        assert [len(slot.members) for slot in alone.plan.problem.slots].count(2) == 1

    def test_a_pin_inside_pins_all_whatever_their_candidates(self):
        searchable = convert(
            Residual(),
            X,
            groups={"g": ["a1", "a2", "out"]},
            pin={"a1": {"weight": 6}},
            candidates={"out": [2, 4]},
            limit=6.0,
        )
        bits = answer(searchable)
        assert {bits[name, "weight"] for name in ("a1", "a2", "out")} == {6}
        assert {bits[name, "activation"] for name in ("a1", "a2", "out")} <= {2, 4}
        assert groups(searchable)["a1"] == "g"

    def test_a_coupled_budget_over_a_group_is_kept(self):
        searchable = SearchableModel(
            Residual(), Budget("bitops", 1.2e6), X, groups={"g": {"layers": ["type:Conv2d"], "targets": ["activation"]}}
        )
        for _ in range(5):
            searchable.draw()
            bits = now(searchable)
            spent = sum(
                layer.macs * bits[layer.name, "weight"] * bits[layer.name, "activation"]
                for layer in searchable.conversion.layers
            )
            assert spent <= 1.2e6
        assert searchable.allocation().cost.bitops <= 1.2e6

    @pytest.mark.parametrize("as_list", [True, False])
    def test_a_fixed_allocation_must_agree(self, as_list):
        given_bits = [4, 2, 8, 4, 4, 4, 4]
        other = convert(Residual(), X, sampler="fixed", limit=16.0, allocation=given_bits).allocation()
        assert list(other.bits().values()) == given_bits
        told = r"these share one bit-width, but the allocation gives them several: a1.weight 2, a2.weight 8"
        with pytest.raises(AllocationError, match=told):
            convert(Residual(), X, sampler="fixed", limit=16.0, groups={"g": ["a*"]},
                    allocation=given_bits if as_list else other)  # fmt: skip


MISTAKES = {
    "two pins": ({"groups": {"g": ["a*"]}, "pin": {"a1": 4, "a2": 8}},
                 r"in 'g' a1 \(weight\) is pinned to 4 bits, a2 \(weight\) is pinned to 8 bits; pin them alike"),
    "float and bits": ({"groups": {"g": ["a*"]}, "pin": {"a1": {"activation": "float"}, "a2": 8}},
                       r"a1 \(activation\) is pinned to float, a2 \(activation\) is pinned to 8 bits"),
    "nothing in common": ({"groups": {"g": ["a*"]}, "candidates": {"a1": [2, 3], "a2": {"weight": [4, 8]}}},
                          r"in 'g' no bit-width .*a1 \(weight\) has 2/3, a2 \(weight\) has 4/8; give them one in comm"),
    "by an overlap": ({"groups": {"g": ["a*"], "h": ["a2", "out"]}, "pin": {"a1": 4, "out": 8}},
                      r"in 'g \+ h' a1 \(weight\) is pinned to 4 bits, out \(weight\) is"),
    "by a stream": ({"share": ["residual"], "pin": {"a1": 4, "short": 8}},
                    r"in 'residual 1' a1 \(activation\) is pinned to 4 bits, short \(activ"),
    "one layer": ({"groups": {"g": ["out"]}}, r"`groups.g` must name at least two layers, but out is out alone; name"),
    "one by type": ({"groups": {"g": ["type:Linear", "out"]}}, "type:Linear, out is out alone"),
    "none": ({"groups": {"g": []}}, "`groups.g` must .* but it names none; name another one, or drop the group"),
    "no such layer": ({"groups": {"g": ["a1", "shot"]}}, r"`groups.g` .* no layer 'shot'; did you mean 'short'\? Its"),
    "no such pattern": ({"groups": {"g": ["a1", "c*"]}}, r"no layer 'c\*'.* Its layers: stem, a1"),
    "no such type": ({"groups": {"g": ["type:Conv1d"]}}, "no type of layer 'type:Conv1d'; did you mean 'type:Conv2d'"),
    "no such target": ({"groups": {"g": {"layers": ["a*"], "targets": ["weights"]}}}, "must be one of weight, activat"),
    "target that is not quantized": ({"groups": {"g": {"layers": ["a*"], "targets": ["gradient"]}}},
                                     r"`groups.g.targets` sets the gradient, .* \(weight, activation\); add it to"),
    "no layers": ({"groups": {"g": {"layer": ["a*"]}}}, "takes a list of layers, or `layers` and `targets`, but got"),
    "unknown share": ({"share": ["input"]}, "share must be one of residual, shared_input, but got 'input'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told_once(case):
    options, told = MISTAKES[case]
    with pytest.raises(ConfigurationError, match=told) as caught:
        convert(Residual(), X, bits=BITS, **options)
    assert "\n" not in str(caught.value)


def test_a_target_that_a_member_cannot_have():
    told = r"`groups.g`: the activation of embed cannot be set: it has no float numbers; take the layer out"
    with pytest.raises(ConfigurationError, match=told):
        convert(Transformer(), words(), groups={"g": {"layers": ["embed", "out"], "targets": ["activation"]}})


def test_a_tied_layer_cannot_be_pinned_away_from_its_owner():
    told = r"in 'tied to embed' embed \(weight\) is pinned to 4 bits, decode \(weight\) is pinned to 8 bits; pin them a"
    with pytest.raises(ConfigurationError, match=told):
        convert(Tied(), words(), pin={"embed": 4, "decode": 8})


def test_grouped_slots_learn_from_all_their_members():
    """The gradient of a group's logits is that of every member: pinned to a group of two, it changes."""
    found = {}
    for grouped in (["a1", "a2"], ["a1", "b1"]):
        searchable = convert(Residual(), X, groups={"g": grouped}, targets=["weight"], seed=3)
        searchable(X).square().mean().backward()
        slot = next(s for s, each in enumerate(searchable.plan.problem.slots) if len(each.members) == 2)
        assert len(searchable.dials.quantizers[slot]) == 2
        found[tuple(grouped)] = searchable.sampler.logits.grad[slot].numpy()
    assert all(np.abs(gradient).max() > 0 for gradient in found.values())
