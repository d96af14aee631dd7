"""
The part of the ONNX graph that finds [MASK] and names the likeliest words for it: what ``gaps`` is for OpenVINO.

Shapes: B texts, S tokens, H hidden size, V words, K the most gaps of a text (1 at least), T words that are named.
Source: onnx/onnx, docs/Operators.md.
"""

from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from bertjob_serving.engine import INPUT_IDS, LOGITS
from bertjob_serving.optimize.onnx_nodes import Nodes, add_pair
from bertjob_tasks.masked_lm import TOP


class Gaps(NamedTuple):
    """Where the gaps are."""

    places: str
    """(B, K) int64 tokens, those of each text ascending; of texts with fewer gaps the last ones are no gaps."""
    are_real: str
    """(B, K) float32: 1 for a gap, 0 for none."""


def find(nodes: Nodes, mask_id: int) -> Gaps:
    """Return the gaps of the token ids."""
    add = nodes.add
    equal = add("Equal", "gaps.equal", INPUT_IDS, nodes.scalar("gaps.mask", np.int32(mask_id)))
    flags = add("Cast", "gaps.flags", equal, to=TensorProto.FLOAT)
    counts = add("ReduceSum", "gaps.counts", flags, nodes.whole("gaps.axis", 1), keepdims=0)
    most = add("ReduceMax", "gaps.most", counts, keepdims=1)
    some = add("Max", "gaps.some", most, nodes.scalar("gaps.least", np.float32(1)))
    wanted = add("Cast", "gaps.wanted", some, to=TensorProto.INT64)
    # Earlier gaps rank above later ones, and all gaps above other tokens.
    bonus = add("Mul", "gaps.bonus", flags, nodes.scalar("gaps.far", np.float32(1 << 20)))
    order = add("CumSum", "gaps.order", flags, nodes.scalar("gaps.along", np.int64(1)))
    _, places = add_pair(nodes, "TopK", "gaps.best", add("Sub", "gaps.ranks", bonus, order), wanted, axis=1)
    return Gaps(places, add("GatherElements", "gaps.real", flags, places, axis=1))


def picked(nodes: Nodes, hidden: str, found: Gaps) -> str:
    """Return the states (B, K, H) of the gaps among states (B, S, H)."""
    places = nodes.add("Unsqueeze", "gaps.places", found.places, nodes.whole("gaps.last", 2))
    return nodes.add("GatherND", "gaps.states", hidden, places, batch_dims=1)


def likeliest(nodes: Nodes, logits: str, found: Gaps) -> None:
    """Add (B, K, 2 T) as what is answered: the highest probabilities and whose they are, of (B, K, V); -1 where there is no gap."""
    add = nodes.add
    chances = add("Softmax", "gaps.chances", logits, axis=2)
    values, numbers = add_pair(nodes, "TopK", "gaps.likeliest", chances, nodes.whole("gaps.top", TOP), axis=2)
    rows = add("Concat", "gaps.rows", values, add("Cast", "gaps.numbers", numbers, to=TensorProto.FLOAT), axis=2)
    real = add("Unsqueeze", "gaps.kept.rows", found.are_real, nodes.whole("gaps.rows.last", 2))
    missing = add("Sub", "gaps.missing", real, nodes.scalar("gaps.absent", np.float32(1)))
    add("Add", LOGITS, add("Mul", "gaps.kept", rows, real), missing)
