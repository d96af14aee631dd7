"""
The model as an OpenVINO graph, built straight from its tensors: no tracing, no torch.

Every node has a name of its own choosing, so that the same tensors give the same bytes. Three things differ from the traced
model, none of them in what it computes: token types are no input (of one text they are all 0 and folded into the position
table, of a pair they follow from where its first text ends); query, key and value are one matrix product; where the head reads
[CLS] alone, the last layer is computed for it alone.

Shapes: B texts, S tokens, H hidden size, L labels, N heads, D = H / N.
Source: Devlin et al. 2018 (arXiv:1810.04805); tensor names of Hugging Face's BertForSequenceClassification,
BertForTokenClassification and BertForQuestionAnswering.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS, LOGITS
from bertjob_serving.optimize import gaps
from bertjob_serving.optimize.weights import WORDS, Array, BertConfig, Trained
from bertjob_tasks.masked_lm import TOP
from bertjob_tasks.task import Reads

MASKED: Final = -10000.0
"""Added to the scores of padding. Source: google-research/bert, modeling.py."""

Node: TypeAlias = ov.Node


class Store(Protocol):
    """How weights stand in the graph; the graph around them is the same for every precision."""

    def matrix(self, name: str, values: Array) -> Node:
        """Return float32 *values* (out, in) as the right-hand side of a transposed product."""
        ...

    def rows(self, name: str, values: Array, ids: Node) -> Node:
        """Return float32 rows (B, S, H) of the table *values* (V, H), picked by *ids* (B, S)."""
        ...


class Float32:
    """Weights as they were trained."""

    def matrix(self, name: str, values: Array) -> Node:
        """Return the constant."""
        return ops.constant(values, name=name)

    def rows(self, name: str, values: Array, ids: Node) -> Node:
        """Return a gather from the constant table."""
        return ops.gather(ops.constant(values, name=name), ids, _index(0, f"{name}.axis"), name=f"{name}.rows")


def build(
    trained: Trained, *, store: Store, reads: Reads = "first", sep_id: int | None = None, mask_id: int | None = None
) -> ov.Model:
    """
    Return the model: ``input_ids`` and ``attention_mask`` (B, S) int32 to ``logits`` float32.

    Args:
        trained: the model's tensors.
        store: how weights stand in the graph.
        reads: "first": the head reads [CLS], logits are (B, L); "mean", "cls": there is no head, they are (B, H) of length 1; else it reads all, they are (B, S, L).
        sep_id: id of [SEP] for pairs of texts; None: every input is one text.
        mask_id: id of [MASK], for a head that fills it in: outputs are (B, K, 2 T) as ``masked_lm`` describes them, where K is
            the most gaps of a text and rows without a gap are -1; None: any other head.

    Raises:
        ValueError: a tensor is missing or has another shape than the configuration says.

    """
    graph = _Graph(trained, store)
    ids = ops.parameter([-1, -1], np.int32, name=INPUT_IDS)
    mask = ops.parameter([-1, -1], np.int32, name=ATTENTION_MASK)
    ids.output(0).set_names({INPUT_IDS})
    mask.output(0).set_names({ATTENTION_MASK})
    bias = _mask_bias(mask)
    hidden = graph.embed(ids, sep_id=sep_id)
    for index in range(trained.config.layers):
        only_cls = reads in ("first", "cls") and index == trained.config.layers - 1
        hidden = graph.layer(index, hidden, bias, only_cls=only_cls)
    if reads in ("first", "cls"):
        hidden = ops.squeeze(hidden, _index(1, "cls.axis"), name="cls")
    if reads == "mean":
        hidden = _total(hidden, mask)  # the mean has the same direction
    if reads in ("mean", "cls"):
        logits = _of_length_one(hidden)
    elif mask_id is not None:
        logits = graph.fill(hidden, gaps.find(ids, mask_id))
    else:
        logits = graph.classify(graph.pool(hidden) if reads == "first" else hidden)
    logits.output(0).set_names({LOGITS})
    return ov.Model([ops.result(logits, name="logits.result")], [ids, mask], "bert-classifier")


class _Graph:
    """Blocks of the encoder over one model's tensors."""

    def __init__(self, trained: Trained, store: Store) -> None:
        self._config: BertConfig = trained.config
        self._trained, self._store = trained, store

    def embed(self, ids: Node, *, sep_id: int | None) -> Node:
        """Return the normalized sum of word, position and type embeddings (B, S, H); *sep_id* as in ``build``."""
        base = "bert.embeddings"
        words = self._trained.tensor(WORDS, None, self._config.hidden_size)
        positions = self._trained.tensor(
            f"{base}.position_embeddings.weight", self._config.max_positions, self._config.hidden_size
        )
        types = self._trained.tensor(f"{base}.token_type_embeddings.weight", None, self._config.hidden_size)
        table = ops.constant(positions + types[0], name=f"{base}.positions")
        length = ops.gather(
            ops.shape_of(ids, name=f"{base}.shape"),
            _index(1, f"{base}.one"),
            _index(0, f"{base}.zero"),
            name=f"{base}.length",
        )
        stop = ops.unsqueeze(length, _index(0, f"{base}.front"), name=f"{base}.stop")
        used = ops.slice(
            table,
            _vector([0], f"{base}.start"),
            stop,
            _vector([1], f"{base}.step"),
            _vector([0], f"{base}.rows"),
            name=f"{base}.used",
        )
        rows = self._store.rows(f"{base}.word_embeddings", words, self._row_numbers(ids))
        vectors = ops.add(rows, used, name=f"{base}.sum")
        if sep_id is not None:
            step = ops.constant((types[1] - types[0])[None, None, :], name=f"{base}.types")
            second = ops.multiply(_in_second(ids, sep_id), step, name=f"{base}.second.types")
            vectors = ops.add(vectors, second, name=f"{base}.typed")
        return self._norm(vectors, f"{base}.LayerNorm")

    def _row_numbers(self, ids: Node) -> Node:
        """Return the rows (B, S) of the word embeddings that token *ids* have."""
        base, rows = "bert.embeddings.vocabulary", self._trained.word_rows
        if rows is None:
            return ids
        return ops.gather(ops.constant(rows, name=base), ids, _index(0, f"{base}.axis"), name=f"{base}.rows")

    def layer(self, index: int, hidden: Node, bias: Node, *, only_cls: bool) -> Node:
        """Return the hidden states after one encoder layer, (B, S, H), or (B, 1, H) for [CLS] alone."""
        base = f"bert.encoder.layer.{index}"
        queried = (
            ops.gather(hidden, _vector([0], f"{base}.cls"), _index(1, f"{base}.cls.axis"), name=f"{base}.cls.states")
            if only_cls
            else hidden
        )
        context = self._attention(f"{base}.attention.self", queried, hidden, bias)
        attended = self._linear(f"{base}.attention.output.dense", context)
        hidden = self._norm(
            ops.add(attended, queried, name=f"{base}.attention.sum"), f"{base}.attention.output.LayerNorm"
        )
        wide = self._activate(self._linear(f"{base}.intermediate.dense", hidden), f"{base}.intermediate.activation")
        narrow = self._linear(f"{base}.output.dense", wide)
        return self._norm(ops.add(narrow, hidden, name=f"{base}.sum"), f"{base}.output.LayerNorm")

    def pool(self, cls: Node) -> Node:
        """Return the pooled [CLS] states (B, H)."""
        return ops.tanh(self._linear("bert.pooler.dense", cls), name="bert.pooler.tanh")

    def classify(self, x: Node) -> Node:
        """Return the logits (..., L) of states (..., H): hidden layers of the head if any, output."""
        index = 0
        while f"head.{index}.weight" in self._trained.tensors:
            x = ops.gelu(self._linear(f"head.{index}", x), "erf", name=f"head.{index}.activation")
            index += 1
        return self._linear(self._trained.output, x)

    def fill(self, hidden: Node, found: gaps.Gaps) -> Node:
        """Return the likeliest words (B, K, 2 T) of the gaps among states (B, S, H)."""
        base = "cls.predictions"
        x = gaps.picked(hidden, found, name=f"{base}.states")
        x = self._activate(self._linear(f"{base}.transform.dense", x), f"{base}.transform.activation")
        x = self._norm(x, f"{base}.transform.LayerNorm")
        words = self._trained.tensor(WORDS, None, self._config.hidden_size)
        logits = self._product(f"{base}.decoder", x, words, self._trained.tensor(f"{base}.bias", len(words)))
        return gaps.likeliest(logits, found, top=TOP)

    def _attention(self, base: str, queried: Node, hidden: Node, bias: Node) -> Node:
        names, heads = ("query", "key", "value"), self._trained.layer_heads(base)
        if queried is hidden:
            fused = self._joined(base, names, hidden)
            query, key, value = (
                self._heads(f"{base}.{name}", node, heads=heads) for name, node in zip(names, fused, strict=True)
            )
        else:
            fused = self._joined(base, names[1:], hidden)
            query = self._heads(f"{base}.query", self._linear(f"{base}.query", queried), heads=heads)
            key, value = (
                self._heads(f"{base}.{name}", node, heads=heads) for name, node in zip(names[1:], fused, strict=True)
            )
        mixed = ops.scaled_dot_product_attention(query, key, value, bias, name=f"{base}.product")
        back = ops.transpose(mixed, _vector([0, 2, 1, 3], f"{base}.order"), name=f"{base}.back")
        width = heads * self._config.head_size
        return ops.reshape(back, _vector([0, 0, width], f"{base}.shape"), special_zero=True, name=f"{base}.context")

    def _joined(self, base: str, names: tuple[str, ...], x: Node) -> list[Node]:
        """Return several products of the same input, computed as one."""
        weight, bias = self._trained.joined(base, names)
        joined = self._product(f"{base}.{'_'.join(names)}", x, weight, bias)
        parts = ops.split(joined, _index(2, f"{base}.split.axis"), len(names), name=f"{base}.split")
        return [parts.output(index) for index in range(len(names))]

    def _heads(self, base: str, x: Node, *, heads: int) -> Node:
        """Return (B, S, N D) as (B, N, S, D)."""
        shape = _vector([0, 0, heads, self._config.head_size], f"{base}.shape")
        split = ops.reshape(x, shape, special_zero=True, name=f"{base}.split")
        return ops.transpose(split, _vector([0, 2, 1, 3], f"{base}.order"), name=f"{base}.heads")

    def _linear(self, base: str, x: Node) -> Node:
        weight = self._trained.tensor(f"{base}.weight", None, None)
        return self._product(base, x, weight, self._trained.tensor(f"{base}.bias", weight.shape[0]))

    def _product(self, base: str, x: Node, weight: Array, bias: Array) -> Node:
        product = ops.matmul(x, self._store.matrix(f"{base}.weight", weight), False, True, name=f"{base}.product")
        return ops.add(product, ops.constant(bias, name=f"{base}.bias"), name=base)

    def _norm(self, x: Node, base: str) -> Node:
        """Return the layer normalization over the last axis."""
        normal = ops.mvn(
            x, _vector([-1], f"{base}.axes"), True, self._config.layer_norm_eps, "inside_sqrt", name=f"{base}.normal"
        )
        size = self._config.hidden_size
        scaled = ops.multiply(
            normal,
            ops.constant(self._trained.tensor(f"{base}.weight", size), name=f"{base}.weight"),
            name=f"{base}.scaled",
        )
        return ops.add(scaled, ops.constant(self._trained.tensor(f"{base}.bias", size), name=f"{base}.bias"), name=base)

    def _activate(self, x: Node, name: str) -> Node:
        return _ACTIVATIONS[self._config.activation](x, name)


_ACTIVATIONS: Final[Mapping[str, Callable[[Node, str], Node]]] = {
    "gelu": lambda x, name: ops.gelu(x, "erf", name=name),
    "gelu_new": lambda x, name: ops.gelu(x, "tanh", name=name),
    "gelu_pytorch_tanh": lambda x, name: ops.gelu(x, "tanh", name=name),
    "relu": lambda x, name: ops.relu(x, name=name),
}


def _in_second(ids: Node, sep_id: int) -> Node:
    """Return (B, S, 1): 1 for the tokens of the second text, 0 up to the first [SEP]; padding may have either."""
    found = ops.equal(ids, ops.constant(np.int32(sep_id), name="pair.sep"), name="pair.found")
    counts = ops.convert(found, np.float32, name="pair.counts")
    before = ops.cum_sum(counts, _index(1, "pair.axis"), exclusive=True, name="pair.before")
    return ops.unsqueeze(ops.clamp(before, 0.0, 1.0, name="pair.second"), _index(2, "pair.last"), name="pair.types")


def _total(hidden: Node, mask: Node) -> Node:
    """Return the sum of the tokens' states, (B, H)."""
    kept = ops.unsqueeze(ops.convert(mask, np.float32, name="mean.float"), _index(2, "mean.last"), name="mean.mask")
    masked = ops.multiply(hidden, kept, name="mean.masked")
    return ops.reduce_sum(masked, _vector([1], "mean.axes"), name="mean.total")


def _of_length_one(x: Node) -> Node:
    return ops.normalize_l2(x, _vector([1], "vector.axes"), 1e-12, "max", name="vector")


def _mask_bias(mask: Node) -> Node:
    """Return (B, 1, 1, S): 0 for tokens, ``MASKED`` for padding."""
    kept = ops.convert(mask, np.float32, name="mask.float")
    absent = ops.subtract(_scalar(1.0, "mask.one"), kept, name="mask.absent")
    bias = ops.multiply(absent, _scalar(MASKED, "mask.masked"), name="mask.scores")
    return ops.unsqueeze(bias, _vector([1, 2], "mask.axes"), name="mask.bias")


def _index(value: int, name: str) -> Node:
    return ops.constant(np.int64(value), name=name)


def _vector(values: list[int], name: str) -> Node:
    return ops.constant(np.array(values, np.int64), name=name)


def _scalar(value: float, name: str) -> Node:
    return ops.constant(np.float32(value), name=name)
