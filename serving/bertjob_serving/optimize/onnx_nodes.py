"""Nodes and constants of an ONNX graph that grows."""

from typing import Any, Final

import numpy as np
from onnx import helper, numpy_helper

from bertjob_serving.engine import Array

OWN: Final = "com.microsoft"
"""Domain of ONNX Runtime's own operations."""


class Nodes:
    """The nodes and constants of a graph that grows; every value has a name of its own choosing."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: Array) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def scalar(self, name: str, value: np.generic) -> str:
        """Add a constant without dimensions and return its name."""
        return self.constant(name, np.array(value))

    def whole(self, name: str, *values: int) -> str:
        """Add a constant vector of integers and return its name."""
        return self.constant(name, np.array(values, np.int64))

    def add(self, kind: str, name: str, *inputs: str, own: bool = False, **attributes: Any) -> str:
        """Add a node with one output and return its name; *own*: of ONNX Runtime's own operations."""
        domain = OWN if own else ""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name


def add_pair(nodes: Nodes, kind: str, name: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
    """Add a node with two outputs and return their names."""
    outputs = (f"{name}.values", f"{name}.numbers")
    nodes.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=name, **attributes))
    return outputs
