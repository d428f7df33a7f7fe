"""Samplers: how an allocation is drawn for one step, by name; one class each."""

from precsearch.precision.samplers.base import Draw, Sampler
from precsearch.precision.samplers.constant import Fixed, Random, Uniform
from precsearch.precision.samplers.learned import GumbelSoftmax, PerturbAndMap
from precsearch.precision.samplers.multinomial import Multinomial

__all__ = ["SAMPLERS", "Draw", "Fixed", "Sampler"]

SAMPLERS: dict[str, type[Sampler]] = {
    "perturb-and-map": PerturbAndMap,
    "multinomial": Multinomial,
    "gumbel-softmax": GumbelSoftmax,
    "uniform": Uniform,
    "random": Random,
    "fixed": Fixed,
}
