"""Taking an ONNX graph apart and putting it together again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


class Draft:
    """A graph that nodes and initializers are written to.

    Args:
        model: read from; `finish` changes it.

    Attributes:
        nodes: in the order they run.
        constants: every initializer by name, as arrays.
    """

    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self.model = model
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {
            each.name: numpy_helper.to_array(each) for each in model.graph.initializer
        }

    def node(self, operator: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """Append a node -> the name of its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=f"{output}/{operator}", **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Add an initializer -> its name."""
        self.constants[name] = np.asarray(value)
        return name

    def finish(self) -> ModelProto:
        """The model with these nodes, and those of the initializers that they use."""
        from onnx import numpy_helper

        used = {name for node in self.nodes for name in node.input}
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:], graph.metadata_props[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        )
        for node in graph.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        return self.model


def readers(nodes: Iterable[NodeProto]) -> dict[str, list[NodeProto]]:
    """Value -> the nodes that read it, each once."""
    found: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.input):
            found.setdefault(name, []).append(node)
    return found


def attributes(node: NodeProto) -> dict[str, Any]:
    """Of a node, by name."""
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
