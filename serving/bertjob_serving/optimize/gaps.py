"""
The part of the graph that finds [MASK] and names the likeliest words for it.

Only gaps go through the output layer, which is as wide as the vocabulary, and only the likeliest words leave the graph.
Shapes: B texts, S tokens, H hidden size, V words, K the most gaps of a text (1 at least), T words that are named.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import openvino as ov
from openvino import opset15 as ops

Node: TypeAlias = ov.Node


class Gaps(NamedTuple):
    """Where the gaps are."""

    places: Node
    """(B, K) int32 tokens, those of each text ascending; of texts with fewer gaps the last ones are no gaps."""
    are_real: Node
    """(B, K) float32: 1 for a gap, 0 for none."""


def find(ids: Node, mask_id: int) -> Gaps:
    """Return the gaps of token ids (B, S)."""
    equal = ops.equal(ids, ops.constant(np.int32(mask_id), name="gaps.mask"), name="gaps.equal")
    flags = ops.convert(equal, np.float32, name="gaps.flags")
    axis = ops.constant(np.int64(1), name="gaps.axis")
    counts = ops.reduce_sum(flags, axis, name="gaps.counts")
    most = ops.reduce_max(counts, ops.constant(np.int64(0), name="gaps.texts"), name="gaps.most")
    at_least_one = ops.maximum(most, ops.constant(np.float32(1), name="gaps.least"), name="gaps.some")
    wanted = ops.convert(at_least_one, np.int64, name="gaps.wanted")
    # Earlier gaps rank above later ones, and all gaps above other tokens.
    bonus = ops.multiply(flags, ops.constant(np.float32(1 << 20), name="gaps.far"), name="gaps.bonus")
    ranks = ops.subtract(bonus, ops.cum_sum(flags, axis, name="gaps.order"), name="gaps.ranks")
    best = ops.topk(ranks, wanted, 1, "max", "value", index_element_type="i32", name="gaps.best")
    places = best.output(1)
    return Gaps(places, ops.gather(flags, places, axis, batch_dims=1, name="gaps.real"))


def picked(hidden: Node, found: Gaps, *, name: str) -> Node:
    """Return the states (B, K, H) of the gaps among states (B, S, H)."""
    axis = ops.constant(np.int64(1), name=f"{name}.axis")
    return ops.gather(hidden, found.places, axis, batch_dims=1, name=name)


def likeliest(logits: Node, found: Gaps, *, top: int) -> Node:
    """Return (B, K, 2 T): the highest probabilities and whose they are, of logits (B, K, V); -1 where there is no gap."""
    chances = ops.softmax(logits, 2, name="gaps.chances")
    best = ops.topk(
        chances,
        ops.constant(np.int64(top), name="gaps.top"),
        2,
        "max",
        "value",
        index_element_type="i32",
        name="gaps.likeliest",
    )
    numbers = ops.convert(best.output(1), np.float32, name="gaps.numbers")
    rows = ops.concat([best.output(0), numbers], 2)
    real = ops.unsqueeze(found.are_real, ops.constant(np.int64(2), name="gaps.last"), name="gaps.rows")
    kept = ops.multiply(rows, real, name="gaps.kept")
    return ops.add(
        kept,
        ops.subtract(real, ops.constant(np.float32(1), name="gaps.absent"), name="gaps.missing"),
        name="gaps.answers",
    )
