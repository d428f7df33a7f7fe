"""What single layers may have and must have: by name, pattern, type and target; on every draw and in the answer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Residual, Transformer, numbers, words
from test_any_model import convert
from test_groups import answer, now

from precsearch import ConfigurationError
from precsearch.precision.samplers import SAMPLERS

X = numbers(4, 3, 8, 8)
NAMES = ["stem", "a1", "a2", "b1", "b2", "short", "out"]
ALL = ("weight", "activation", "gradient")
DRAWN = [name for name in SAMPLERS if name != "fixed"]


def test_by_target_and_type():
    searchable = convert(
        Residual(), X, targets=ALL, limit=8.0, bits=[2, 3],
        pin={"type:Conv2d": {"activation": 5}, "out": {"weight": "float", "gradient": 7}, "a*": {"gradient": "float"}},
        candidates={"type:Linear": {"activation": [4, 6]}, "b1": [8], "b*": {"gradient": [1, 2]}},
    )  # fmt: skip
    bits = answer(searchable)
    convolutions = NAMES[:-1]
    assert {bits[name, "activation"] for name in convolutions} == {5}
    assert ("out", "weight") not in bits and bits["out", "gradient"] == 7 and bits["out", "activation"] in (4, 6)
    assert ("a1", "gradient") not in bits and ("a2", "gradient") not in bits
    assert bits["b1", "weight"] == 8 and bits["b1", "gradient"] in (1, 2)
    slots = {slot.members[0]: slot for slot in searchable.plan.problem.slots}
    assert ("a1", "gradient") not in slots and ("b1", "activation") not in slots


def test_the_last_entry_that_names_a_layer_holds():
    options = {"limit": 8.0, "targets": ["weight"]}
    found = answer(convert(Residual(), X, pin={"a*": 4, "b*": 6, "b2": 5}, **options))
    assert (found["a1", "weight"], found["b1", "weight"], found["b2", "weight"]) == (4, 6, 5)
    turned = answer(convert(Residual(), X, pin={"b2": 5, "b*": 6}, **options))
    assert turned["b2", "weight"] == 6


def test_a_pin_holds_over_candidates():
    found = answer(convert(Residual(), X, pin={"a1": 5}, candidates={"*": [2, 3]}, limit=8.0))
    assert found["a1", "weight"] == found["a1", "activation"] == 5
    assert {bits for (name, _), bits in found.items() if name != "a1"} <= {2, 3}


def test_a_pin_of_all_targets_leaves_out_what_a_layer_cannot_have():
    found = answer(convert(Transformer(), words(), pin={"embed": 6}, limit=8.0))
    assert found["embed", "weight"] == 6 and ("embed", "activation") not in found


def test_a_gradient_alone_of_a_layer_is_pinned():
    searchable = convert(Residual(), X, targets=ALL, pin={"out": {"gradient": 8}})
    (quantizer,) = [m for name, m in searchable.model.named_modules() if name == "out.gradient_quantizer"]
    assert quantizer.bits == (8,) and len(searchable.plan.problem.slots) == 3 * len(NAMES) - 1


own_bits = st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True).map(sorted)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        own_bits | st.dictionaries(st.sampled_from(ALL), own_bits, min_size=1),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(DRAWN),
    st.integers(0, 99),
)
def test_every_draw_and_the_answer_keep_to_the_candidates(offered, sampler, seed):
    searchable = convert(Residual(), X, targets=ALL, bits=[2, 4], candidates=offered, limit=9.0, sampler=sampler)
    searchable.generator.manual_seed(seed)

    def may(layer, target):
        own = offered.get(layer, [2, 4])
        return own.get(target, [2, 4]) if isinstance(own, dict) else own

    for bits in [*((searchable.draw(), now(searchable))[1] for _ in range(4)), answer(searchable)]:
        assert bits.keys() == {(layer, target) for layer in NAMES for target in ALL}
        assert all(found in may(*part) for part, found in bits.items())
    frozen = searchable.freeze()
    kept = [m.bits for m in frozen.modules() if hasattr(m, "chosen_bits")]
    assert len(kept) == 21 and all(len(bits) == 1 for bits in kept)


@pytest.mark.parametrize("sampler", DRAWN)
def test_what_is_drawn_is_what_is_set(sampler):
    """Quantizers know their own candidates only; the draw counts in those of all."""
    offered = {"a1": [3, 8], "b1": [1], "out": {"weight": [4, 8], "activation": [1, 2, 3]}}
    searchable = convert(Residual(), X, bits=[2, 4], candidates=offered, limit=8.0, sampler=sampler)
    draw, drawn = searchable.sampler.draw, []
    searchable.sampler.draw = lambda temperature: drawn.append(draw(temperature)) or drawn[-1]
    problem = searchable.plan.problem
    for _ in range(6):
        searchable.draw()
        for s, quantizers in enumerate(searchable.dials.quantizers):
            for quantizer in quantizers:
                assert quantizer.chosen_bits == problem.bits[drawn[-1].candidates[s]]
                if drawn[-1].relaxed_SK is not None:
                    relaxed, own = drawn[-1].relaxed_SK, [problem.bits.index(bits) for bits in quantizer.bits]
                    assert float(relaxed[s, own].detach().sum()) == pytest.approx(1.0, abs=1e-4)
                    assert quantizer.learns
                    if quantizer.known:
                        step, reach, _ = quantizer.ranges()
                        assert torch.equal(reach, quantizer.reach[quantizer.bits.index(quantizer.chosen_bits)])
                        assert torch.equal(step, reach / quantizer.levels(quantizer.chosen_bits))
                        (told,) = torch.autograd.grad(reach.sum(), relaxed, retain_graph=True)
                        assert torch.equal(told[s, own], quantizer.reach.sum(1))
                        assert not told[[other for other in range(len(told)) if other != s]].any()
    solved = searchable.sampler.solve()
    searchable.settle()
    assert all(
        quantizer.chosen_bits == problem.bits[solved[s]]
        for s, quantizers in enumerate(searchable.dials.quantizers)
        for quantizer in quantizers
    )
    searchable.freeze()
    assert [own[0].bits for own in searchable.dials.quantizers] == [(problem.bits[k],) for k in solved]


def test_ranges_belong_to_a_layer_s_own_candidates():
    """A layer with candidates of its own computes with the range of the bits drawn, not of another's column."""
    searchable = convert(
        Residual(), X, bits=[2, 4], candidates={"a1": [3, 8], "b1": [1]}, limit=8.0, scale="max", quantizer="symmetric"
    )
    searchable(X)
    weight = searchable.model.a1.weight
    for bits, codes in ((3, 7), (8, 255)):
        for s, slot in enumerate(searchable.plan.problem.slots):
            if slot.members == (("a1", "weight"),):
                searchable.dials.quantizers[s][0].choose((3, 8).index(bits))
        weight = searchable.model.a1.weight.detach()
        reach = float(weight.abs().max())
        step = reach / (2 ** (bits - 1) - 1)
        assert torch.allclose(weight / step, (weight / step).round(), atol=1e-3)
        assert 2 < len(weight.unique()) <= codes
        assert reach == pytest.approx(float(searchable.model.a1.parametrizations.weight.original.detach().abs().max()))


MISTAKES = {
    "pin of no target": ({"pin": {"a1": {"gradient": 4}}},
                         r"`pin.a1` sets the gradient, .* targets \(weight, activation\); add it to `targets`"),
    "candidates of no target": ({"candidates": {"a1": {"gradient": [4]}}}, "`candidates.a1` sets the gradient"),
    "pin of an unknown target": ({"pin": {"a1": {"weights": 4}}}, "`pin.a1`: a target must be one of weight, act"),
    "unknown type": ({"pin": {"type:Conv": 4}}, "no type of layer 'type:Conv'; did you mean 'type:Conv2d'"),
    "pattern of nothing": ({"candidates": {"c*": [4]}}, r"`candidates` must name .* no layer 'c\*'.* Its layers: st"),
    "not ascending": ({"candidates": {"a1": [4, 2]}}, r"`candidates.a1`: candidate .* ascending .* got \[4, 2\]"),
    "none": ({"candidates": {"a1": []}}, r"`candidates.a1`: candidate bit-widths must be whole, .* but got \[\]"),
    "too many bits": ({"candidates": {"a1": {"weight": [17]}}}, r"from 1 to 16, .* but got \[17\]"),
    "float among candidates": ({"candidates": {"a1": ["float"]}}, r"must be whole, from 1 to 16.* got \['float'\]"),
    "everything pinned": ({"pin": {"*": 4}}, "every layer is pinned; remove a pin"),
    "a word that is none": ({"pin": {"*": {"activation": "flaot"}}}, "1 to 16 bits or 'float', but got 'flaot'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told_once(case):
    options, told = MISTAKES[case]
    with pytest.raises(ConfigurationError, match=told) as caught:
        convert(Residual(), X, **options)
    assert "\n" not in str(caught.value)


def test_a_target_that_a_layer_does_not_have():
    with pytest.raises(
        ConfigurationError, match=r"`pin.embed`: the activation of embed cannot be set: it has no float"
    ):
        convert(Transformer(), words(), pin={"embed": {"activation": 8}})
    told = "the gradient of .*out_proj cannot be set: its module's forward is bypassed"
    with pytest.raises(ConfigurationError, match=told):
        convert(Transformer(), words(), targets=ALL, candidates={"*.out_proj": {"gradient": [8]}})
