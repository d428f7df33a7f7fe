"""Which layers a model has: their weights, inputs, MACs, and what they read in common."""

from precsearch.layers.example import Example as Example
from precsearch.layers.inventory import Inventory as Inventory
from precsearch.layers.inventory import Layer as Layer
from precsearch.layers.inventory import SharedTensor as SharedTensor
from precsearch.layers.inventory import fingerprint as fingerprint
from precsearch.layers.take import INDICES as INDICES
from precsearch.layers.take import take_inventory as take_inventory
from precsearch.layers.weights import Weight as Weight
from precsearch.layers.weights import find_weight as find_weight
from precsearch.layers.weights import layer_type as layer_type
from precsearch.layers.weights import weights_of as weights_of
